"""Growth: the cost per run with more runs and with a larger database. Heavy runs, no network."""

from __future__ import annotations

from benchmarks.contenders import Bench, copied
from benchmarks.report import Row, Section, at_most, ratio, row
from benchmarks.work import file_size, replay

STEPS = (1, 10, 50, 100)
SMALL = 1000
"""The number of runs up to which a load is short enough to be repeated."""


def measure(bench: Bench) -> Section:
    """Measure loads of 1, 10, 50 and 100 times as many runs, then loads of changed runs."""
    section = Section("growth", "Growth: the same work on more runs, no network")
    unit = max(5, bench.runs // 100)
    corpus = bench.cache.corpus("heavy", unit * STEPS[-1])
    rows: dict[int, Row] = {}
    with bench.cache.scratch() as folder:
        for times in STEPS:
            here, runs = folder / str(times), unit * times
            found = []
            for _ in range(bench.repeat if runs <= SMALL else 1):
                (here / "rows.duckdb").unlink(missing_ok=True)
                found.append(replay(here, corpus, "--runs", runs))
            rows[times] = section.add(row(f"docruns, {times} ×", runs, found))
        changed, base = max(1, unit), folder / str(STEPS[-1])
        section.bind(file_size(base, corpus, unit * STEPS[-1]))
        alone = []
        for number in range(bench.repeat):
            alone.append(replay(folder / f"alone{number}", corpus / "changed"))
        first = section.add(row("changed runs into an empty database", changed, alone))
        merged = [replay(copied(base, folder / "again"), corpus, "--after") for _ in range(bench.repeat)]
        assert merged[-1].told["runs"] == changed, merged[-1].told
        what = f"the same merged into {unit * STEPS[-1]:,} runs"
        again = section.add(row(what, changed, merged))
    each = {times: ratio(found.seconds, found.runs) for times, found in rows.items()}
    section.bind(
        at_most("time of a run, 50 × to 1 ×", ratio(each[50], each[1]), 1.3, " ×"),
        at_most("time of a run, 50 × to 10 ×", ratio(each[50], each[10]), 1.3, " ×"),
        at_most("1 % merged to the same into nothing", ratio(again.seconds, first.seconds), 3, " ×"),
        at_most("memory, 100 ×", rows[100].peak_mb, 500, " MB"),
        at_most("memory, 100 × to 10 ×", ratio(rows[100].peak_mb, rows[10].peak_mb), 1.2, " ×"),
    )
    return section
