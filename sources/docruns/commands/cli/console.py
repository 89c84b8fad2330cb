"""Text that the command prints: what loads, sweeps and verify did, and the data dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ...core.tables import CLEARED, TABLES, Table
from .logs import say

if TYPE_CHECKING:
    from ...store.target import Target
    from ..health.doctor import Finding
    from ..load import Summary
    from ..reconcile.sweep import SweepResult
    from ..reconcile.verify import VerifyResult
    from ..warehouse.copy import CopySummary


def report_wait(text: str) -> None:
    """Print that a command waits for another process."""
    say(f"docruns: {text}")


def show_summary(summary: Summary, target: Target) -> None:
    """Print what a load did."""
    rate, allowed = summary.per_second, summary.allowed_per_second
    print(
        f"{summary.provider}: {summary.fetched:,} runs fetched, {summary.unchanged:,} unchanged, "
        f"{summary.requests:,} requests in {summary.seconds:.1f} s"
        + (f", {rate:g} a second (limit {allowed:g})" if allowed else "")
        + ("" if summary.complete else f" (not complete: {_missing(summary)})")
    )
    _show_rows(summary, target)


def show_copy(summary: CopySummary, target: Target) -> None:
    """Print what a copy did."""
    print(
        f"{summary.provider}: {summary.copied:,} runs copied, {summary.unchanged:,} unchanged, "
        f"in {summary.seconds:.1f} s"
    )
    _show_rows(summary, target)


def _show_rows(summary: Summary | CopySummary, target: Target) -> None:
    for table, rows in sorted(summary.rows.items()):
        if rows:
            print(f"  {target.dataset}.{table:<20} {rows:>12,} rows")
    print(f"  in {target}, watermark {summary.watermark or '-'}")


def _missing(summary: Summary) -> str:
    if summary.gone:
        return "listed runs answered 404"
    if summary.incomplete_lists:
        return "a list may lack runs"
    return "lists could not be read" if summary.failed_lists else "more runs are due"


def show_sweep(result: SweepResult, target: Target) -> None:
    """Print which runs a sweep marked."""
    listed = sum(result.listed.values())
    print(f"{result.provider}: {listed:,} runs listed in {result.seconds:.1f} s")
    for table, marked in result.marked.items():
        back = result.restored[table]
        print(f"  {target.dataset}.{table:<16} {marked:>8,} marked as deleted, {back:,} restored")
    if result.still_there:
        print(f"  {result.still_there:,} are missing from the lists, but the platform still has them")
    if result.unconfirmed:
        print(f"  {result.unconfirmed:,} are missing from the lists, and could not be checked: not marked")


def show_verify(result: VerifyResult, target: Target, other: Target | None = None) -> None:
    """Print where the platform, or the `other` database, and the database differ."""
    from ..reconcile.verify import KIND_TEXT, NAMED_DIFFERENCES

    for kind, differences in result.kinds.items():
        if differences:
            print(f"{len(differences):,} {KIND_TEXT[kind]}")
        for difference in differences[:NAMED_DIFFERENCES]:
            print(f"  {difference}")
        if len(differences) > NAMED_DIFFERENCES:
            print(f"  and {len(differences) - NAMED_DIFFERENCES:,} more")
    compared = f"{sum(result.listed.values()):,} listed runs"
    if other is not None:
        compared = f"{result.rows_compared:,} rows cell by cell"
    elif result.sampled:
        compared += f", {result.rows_compared:,} rows of {result.sampled:,} runs cell by cell"
    verdict = "differs from" if result.differs else "agrees with"
    whom = "the platform" if other is None else f"{other} ({other.dataset})"
    print(f"{target} ({target.dataset}) {verdict} {whom}: {compared}")


def notices(summary: Summary, target: Target) -> Iterator[str]:
    """What a load could not load, and what happens with it."""
    if target.traits.is_log:
        yield (
            f"{target}: rows are only added to these files, so the older rows of a run that is loaded again stay. Those "
            "of its newest package (_dlt_load_id in the table of its run) count"
        )
    if summary.quarantined:
        yield quarantine_notice(summary.quarantined, target)
    if summary.gone:
        runs = "1 listed run" if summary.gone == 1 else f"{summary.gone:,} listed runs"
        yield f"{runs} answered 404; the next load tries again, and marks those as deleted that no list shows any more"
    if summary.failed_lists:
        names = ", ".join(summary.failed_lists)
        yield f"these lists could not be read, and their runs are missing: {names}; the next load tries again"
    for name, doubt in summary.incomplete_lists.items():
        yield (
            f"{name}: the list may lack runs: {doubt}. The next load reads the whole list again. If it says the same, "
            "check page_start, page_size and extra_params, then ask the platform."
        )


def quarantine_notice(number: int, target: Target) -> str:
    """How many runs are quarantined, and the query that shows why."""
    runs = "1 run is" if number == 1 else f"{number:,} runs are"
    query = f"SELECT resource, id, message FROM {target.dataset}.quarantine WHERE resolved_at IS NULL"
    return f"{runs} quarantined, see {target.dataset}.quarantine; each load tries them again. Why: {query}"


def as_report(datasets: list[dict[str, Any]], database: str) -> str:
    """What a database holds, one value a line."""
    from ...store.target import LockHolder

    lines: list[str] = []
    for dataset in datasets:
        lines.append(dataset["dataset"])
        for name, found in dataset.items():
            value = LockHolder(**found) if name == "at_work" and found is not None else found
            if name != "dataset":
                lines.append(f"  {name:<22} {value if value is not None else '-'}")
    return "\n".join(lines) or f"{database}: nothing is loaded yet"


def as_page(findings: Sequence[Finding]) -> str:
    """Findings of `doctor`, by dataset: those to act on are marked, and have their advice below."""
    lines: list[str] = []
    for dataset in dict.fromkeys(finding.dataset for finding in findings):
        lines.append(dataset or "this machine")
        for finding in findings:
            if finding.dataset == dataset:
                lines.append(f"{'!' if finding.exit_code else ' '} {finding.topic:<11} {finding.text}")
                lines += [f"  {'':<11} {finding.advice}"] if finding.advice else []
    return "\n".join(lines)


PRIVATE = (
    "document, person: private columns, which hold content of documents or identify people. The setting "
    "field_values keeps, hashes or empties them. Every table also has dlt's column _dlt_load_id, which joins to "
    "syncs.load_id."
)


def as_text() -> str:
    """The data dictionary as text, one column a line."""
    lines: list[str] = []
    for table in TABLES:
        lines += ["", f"{table.name}  (key: {', '.join(table.key)})", f"  {table.doc}"]
        lines += [
            f"    {name:<26} {type_:<10} {private:<9} {doc}" for name, type_, private, doc in _columns(table)
        ]
    return "\n".join([*lines[1:], "", PRIVATE])


def as_markdown() -> str:
    """The data dictionary as Markdown tables."""
    lines: list[str] = ["", PRIVATE]
    for table in TABLES:
        key = ", ".join(f"`{name}`" for name in table.key)
        lines += ["", f"## {table.name}", "", f"{table.doc} Key: {key}.", ""]
        lines += ["| column | type | private | meaning |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{name}` | {type_} | {private} | {doc} |" for name, type_, private, doc in _columns(table)
        ]
    return "\n".join(lines[1:])


def _columns(table: Table) -> list[tuple[str, str, str, str]]:
    return [(c.name, c.type, c.private or "", c.doc) for c in table.columns if c.name != CLEARED]
