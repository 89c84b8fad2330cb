"""What the command prints of what loads, sweeps and verifications have found.

The data dictionary as text and as Markdown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...store.target import Target

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...store.target import Target
    from ..load import Summary
    from ..sweep import Swept
    from ..verify import Verified

from ...core.tables import CLEARED, TABLES, Table


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show_summary(summary: Summary, target: Target) -> None:
    """What a load has done."""
    rate, allowed = summary.per_second, summary.allowed_per_second
    print(
        f"{summary.provider}: {summary.fetched:,} runs read, {summary.unchanged:,} unchanged, "
        f"{summary.requests:,} requests in {summary.seconds:.1f} s"
        + (f", {rate:g} of {allowed:g} a second that are allowed" if allowed else "")
        + ("" if summary.complete else " (not complete: more is due)")
    )
    for table, rows in sorted(summary.rows.items()):
        if rows:
            print(f"  {target.dataset}.{table:<20} {rows:>12,} rows")
    print(f"  in {target}, watermark {summary.watermark or '-'}")


def show_swept(swept: Swept, target: Target) -> None:
    """Which runs a sweep has found gone."""
    print(f"{swept.provider}: {sum(swept.listed.values()):,} runs listed in {swept.seconds:.1f} s")
    for table, number in swept.marked.items():
        print(f"  {target.dataset}.{table:<16} {number:>8,} gone, {swept.restored[table]:,} back")
    if swept.still_there:
        print(f"  {swept.still_there:,} are in no list, and the platform still has them")
    if swept.unconfirmed:
        print(f"  {swept.unconfirmed:,} are in no list, and could not be asked for: not marked")


def show_verified(found: Verified, target: Target) -> None:
    """Where platform and database differ."""
    from ..verify import SAYS, SHOWN

    for kind, differences in found.kinds.items():
        if differences:
            print(f"{len(differences):,} {SAYS[kind]}")
        for one in differences[:SHOWN]:
            print(f"  {one}")
        if len(differences) > SHOWN:
            print(f"  and {len(differences) - SHOWN:,} more")
    compared = f"{sum(found.listed.values()):,} listed runs"
    if found.sampled:
        compared += f", {found.rows_compared:,} rows of {found.sampled:,} runs cell by cell"
    verdict = "differs from" if found.differs else "agrees with"
    print(f"{target} ({target.dataset}) {verdict} the platform: {compared}")


def quarantine_notice(number: int, target: Target) -> str:
    """How many runs are quarantined, and the query that tells why."""
    which = "1 run is" if number == 1 else f"{number:,} runs are"
    why = f"SELECT resource, id, message FROM {target.dataset}.quarantine WHERE resolved_at IS NULL"
    return f"{which} quarantined, see {target.dataset}.quarantine; they are tried again in each load. Why: {why}"


PRIVATE = (
    "document, person: private columns, which say what a document says or who somebody is. The setting "
    "field_values keeps, hashes or empties them. Every table has dlt's _dlt_load_id as well, as in syncs.load_id."
)


def as_text() -> str:
    """Tables and columns, one a line."""
    lines: list[str] = []
    for table in TABLES:
        lines += ["", f"{table.name}  (key: {', '.join(table.key)})", f"  {table.doc}"]
        lines += [
            f"    {name:<26} {type_:<10} {private:<9} {doc}"
            for name, type_, private, doc in _columns(table)
        ]
    return "\n".join([*lines[1:], "", PRIVATE])


def as_markdown() -> str:
    """The same as Markdown tables."""
    lines: list[str] = ["", PRIVATE]
    for table in TABLES:
        key = ", ".join(f"`{name}`" for name in table.key)
        lines += ["", f"## {table.name}", "", f"{table.doc} Key: {key}.", ""]
        lines += ["| column | type | private | meaning |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{name}` | {type_} | {private} | {doc} |"
            for name, type_, private, doc in _columns(table)
        ]
    return "\n".join(lines[1:])


def _columns(table: Table) -> list[tuple[str, str, str, str]]:
    return [(c.name, c.type, c.private or "", c.doc) for c in table.columns if c.name != CLEARED]
