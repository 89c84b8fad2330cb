"""Work: bytes on disk to rows committed in DuckDB, merged into a database that holds some.

No network: docruns goes through its normal source and load, see replay.py for what is replaced.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.contenders import Bench, Rival, copied
from benchmarks.processes import TESTS, FailedError, Ran, environment, ours, run
from benchmarks.report import Row, Section, at_least, fastest, missing, ratio, row

BOUNDS = (
    ("flat dict rows through dlt", "dlt_rows", None, 15.0),
    ("rest_api, nested, as it comes", "rest_api", "nested", 40.0),
    ("DuckDB's read_json and SQL, the faster one", "duckdb_sql", None, 1.5),
)


def replay(folder: Path, corpus: Path, *options: object, database: Path | None = None) -> Ran:
    """docruns over a corpus, into folder/rows.duckdb."""
    command = ours("replay", corpus, database or folder / "rows.duckdb", *options)
    return run(command, folder, environment(folder, [TESTS]))


def measure(bench: Bench) -> Section:
    """docruns, then each rival."""
    section = Section("work", "Work: bytes on disk to rows in DuckDB, no network")
    heavy = _docruns(bench, section, "heavy")
    _docruns(bench, section, "light")
    found: list[tuple[Rival, Row]] = []
    for rival in bench.rivals:
        if rival.work:
            found.append((rival, section.add(_rival(bench, section, rival))))
    for what, folder, way, least in BOUNDS:
        theirs = [r for v, r in found if v.folder == folder and way in (None, v.way)]
        if theirs:
            bound = at_least(
                f"docruns to {what}, heavy", ratio(heavy.rate, fastest(theirs)), least, " ×"
            )
            whole = [found.wall_s / found.runs for found in theirs if found.wall_s]
            if whole and heavy.wall_s:
                bound.found += f" ({min(whole) * heavy.runs / heavy.wall_s:.1f} × with imports)"
            section.bind(bound)
    return section


def _docruns(bench: Bench, section: Section, size: str) -> Row:
    runs = max(20, bench.runs // 10)
    before = max(5, runs // 20)
    corpus = bench.cache.corpus(size, bench.runs)
    with bench.cache.scratch() as folder:
        replay(folder / "base", corpus, "--runs", before)
        found = [
            replay(copied(folder / "base", folder / "again"), corpus, "--runs", before + runs)
            for _ in range(bench.repeat)
        ]
    return section.add(row(f"docruns, {size}", runs, found, f"merged into {before:,} runs"))


def _rival(bench: Bench, section: Section, rival: Rival) -> Row:
    runs = rival.runs("work", bench.runs)
    before = max(5, runs // 20)
    corpus = bench.cache.corpus("heavy", bench.runs)
    try:
        with bench.cache.scratch() as folder:
            (folder / "base").mkdir()
            if rival.merges:
                bench.load(rival, folder / "base", "--corpus", corpus, "--runs", before)
            truth = folder / "truth"
            replay(truth, corpus, "--runs", runs)
            found = []
            for _ in range(bench.repeat):
                again = copied(folder / "base", folder / "again")
                ran = bench.load(rival, again, "--corpus", corpus, "--runs", runs)
                said = bench.compared(rival, again, runs, ran, truth / "rows.duckdb")
                found.append(ran)
    except FailedError as error:
        return missing(rival.title, error)
    into = f"merged into {before} of them" if rival.merges else "into nothing"
    bench.check_rows(section, rival, said)
    return row(f"{rival.title}, heavy", runs, found, f"{into}; {said}")
