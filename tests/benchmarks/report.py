"""The results: rows, bounds, the table in RESULTS.md, and the same as JSON."""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks.processes import HERE, FailedError, Ran

DOCUMENT = HERE / "RESULTS.md"
RESULTS = HERE / "results.json"


@dataclass
class Row:
    """One way to do one task. Figures are medians of `repeats`, None where not measured.

    `seconds` is without imports, `wall_s` the whole process; `cpu_s` and `peak_mb` cover all its processes
    together.
    """

    what: str
    runs: int = 0
    repeats: int = 0
    seconds: float | None = None
    wall_s: float | None = None
    cpu_s: float | None = None
    peak_mb: float | None = None
    note: str = ""

    @property
    def rate(self) -> float | None:
        """Runs per second, without imports."""
        return self.runs / self.seconds if self.seconds and self.runs else None

    @property
    def cpu_ms(self) -> float | None:
        """CPU time per run in milliseconds, imports included."""
        return self.cpu_s / self.runs * 1000 if self.cpu_s is not None and self.runs else None


def row(what: str, runs: int, found: Sequence[Ran], note: str = "") -> Row:
    """A row with the medians of some repetitions."""
    return Row(
        what,
        runs,
        len(found),
        statistics.median(ran.told.get("seconds", ran.wall_s) for ran in found),
        statistics.median(ran.wall_s for ran in found),
        statistics.median(ran.cpu_s for ran in found),
        statistics.median(ran.peak_mb for ran in found),
        note,
    )


def missing(what: str, error: FailedError) -> Row:
    """A row for a rival that could not be installed or run, with the reason."""
    return Row(what, note=f"did not run: {error}")


@dataclass
class Bound:
    """A guarantee and whether it holds; None where it was not measured."""

    what: str
    found: str
    wanted: str
    holds: bool | None


def at_least(what: str, found: float | None, wanted: float, unit: str = "") -> Bound:
    """A figure with a lower bound."""
    return _bound(what, found, f"≥ {wanted:g}{unit}", found is None or found >= wanted, unit)


def at_most(what: str, found: float | None, wanted: float, unit: str = "") -> Bound:
    """A figure with an upper bound."""
    return _bound(what, found, f"≤ {wanted:g}{unit}", found is None or found <= wanted, unit)


def _bound(what: str, found: float | None, wanted: str, holds: bool, unit: str) -> Bound:
    if found is None:
        return Bound(what, "not measured", wanted, None)
    return Bound(what, f"{_figure(found)}{unit}", wanted, holds)


def ratio(one: float | None, other: float | None) -> float | None:
    """One figure divided by another, None when one is missing."""
    return one / other if one is not None and other else None


def fastest(rows: Sequence[Row]) -> float | None:
    """The best rate of some rows."""
    return max((found.rate for found in rows if found.rate), default=None)


@dataclass
class Section:
    """The results of one measurement."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)
    measured: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d}")
    busy: float = field(default_factory=lambda: round(os.getloadavg()[0], 1))
    """The machine's load at the start: above 0.5, another process was running."""

    def add(self, found: Row) -> Row:
        """Add a row and print it."""
        self.rows.append(found)
        print(f"{self.name}: {_line(found)}", flush=True)
        return found

    def bind(self, *bounds: Bound) -> None:
        """Add bounds and print them."""
        for bound in bounds:
            self.bounds.append(bound)
            mark = {True: "holds", False: "BROKEN", None: "?"}[bound.holds]
            print(f"{self.name}: {bound.what}: {bound.found}, {bound.wanted}: {mark}", flush=True)


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cells(found: Row) -> tuple[str, ...]:
    figures = (found.rate, found.cpu_ms, found.seconds, found.wall_s, found.peak_mb)
    runs = f"{found.runs:,}" if found.runs else "–"
    return (found.what, runs, *map(_figure, figures), str(found.repeats or "–"), found.note)


def _line(found: Row) -> str:
    if not found.repeats:
        return f"{found.what}: {found.note}"
    _, runs, rate, cpu_ms, seconds, wall_s, peak_mb, repeats, note = _cells(found)
    return (
        f"{found.what}: {runs} runs, {rate} a second, {cpu_ms} ms CPU a run, {seconds} s, "
        f"whole {wall_s} s, {peak_mb} MB, {repeats} times{'; ' if note else ''}{note}"
    )


def markdown(sections: Sequence[Section]) -> str:
    """All sections as Markdown, with broken figures in bold."""
    head = [
        "what",
        "runs",
        "runs/s",
        "CPU ms a run",
        "s",
        "whole process s",
        "peak MB",
        "times",
        "remarks",
    ]
    lines = []
    for section in sections:
        lines += [f"**{section.title}**", "", *_table(head, map(_cells, section.rows)), ""]
        bounds = [
            (
                bound.what,
                f"**{bound.found}**" if bound.holds is False else bound.found,
                bound.wanted,
                {True: "holds", False: "**broken**", None: "–"}[bound.holds],
            )
            for bound in section.bounds
        ]
        if bounds:
            lines += [*_table(["bound", "found", "promised", ""], bounds), ""]
    python = ".".join(map(str, sys.version_info[:2]))
    when = ", ".join(f"{s.name} {s.measured} (load {s.busy:g})" for s in sections)
    lines.append(
        f"Python {python}, {os.cpu_count()} cores; {when}, the machine's load when it began. "
        "“s” and runs/s are without imports, CPU is with them; of several processes, memory is "
        "that of all at once."
    )
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Any) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(head), line(["---"] * len(head)), *map(line, rows)]


def write(sections: Sequence[Section]) -> None:
    """Replace older sections with new ones, in both files."""
    known = {name: _section(told) for name, told in _known().items()}
    known |= {section.name: section for section in sections}
    ordered = [known.pop(name) for name in ORDER if name in known]
    RESULTS.write_text(json.dumps([asdict(section) for section in ordered], indent=1) + "\n")
    text = DOCUMENT.read_text()
    marked = re.sub(
        r"(<!-- bench -->).*(<!-- /bench -->)",
        lambda m: f"{m[1]}\n{markdown(ordered)}\n{m[2]}",
        text,
        flags=re.DOTALL,
    )
    DOCUMENT.write_text(marked)


ORDER = ("work", "wire", "growth", "second", "archive")


def _known() -> dict[str, Any]:
    if not RESULTS.exists():
        return {}
    return {told["name"]: told for told in json.loads(RESULTS.read_text())}


def _section(told: dict[str, Any]) -> Section:
    rows = [Row(**one) for one in told.pop("rows")]
    bounds = [Bound(**one) for one in told.pop("bounds")]
    return Section(**told, rows=rows, bounds=bounds)
