"""Work: bytes on disk to rows committed in DuckDB, merged into a database that has some rows.

There is no network: docruns uses its normal source and load; replay.py lists what is replaced.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.contenders import Bench, Rival, copied
from benchmarks.corpus import Corpus
from benchmarks.processes import TESTS, FailedError, Ran, environment, ours, run
from benchmarks.report import Bound, Row, Section, at_most, fastest, missing, ratio, row

RATES = (
    ("flat dict rows through dlt", "dlt_rows", None),
    ("rest_api, nested, as it comes", "rest_api", "nested"),
    ("DuckDB's read_json and SQL, the faster one", "duckdb_sql", None),
)
"""Rivals whose speed is compared without a bound: this machine's speed changes between two measurements."""

CPU_OF_SQL = 1.35
MEMORY_OF_SQL = 0.25
SMALLER_THAN_JSON = 1 / 8


def replay(folder: Path, corpus: Path, *options: object, database: Path | None = None) -> Ran:
    """Run docruns on a corpus, into folder/rows.duckdb."""
    command = ours("replay", corpus, database or folder / "rows.duckdb", *options)
    return run(command, folder, environment(folder, [TESTS]))


def measure(bench: Bench) -> Section:
    """Measure docruns, then each rival."""
    section = Section("work", "Work: bytes on disk to rows in DuckDB, no network")
    heavy = _docruns(bench, section, "heavy")
    section.bind(_file_size(bench))
    _docruns(bench, section, "light")
    found: list[tuple[Rival, Row]] = []
    for rival in bench.rivals:
        if rival.work:
            found.append((rival, section.add(_rival(bench, section, rival))))
    for what, folder, way in RATES:
        theirs = [r for v, r in found if v.folder == folder and way in (None, v.way)]
        if theirs:
            times = ratio(heavy.rate, fastest(theirs))
            times_text = "not measured" if times is None else f"{times:.2f} ×"
            section.bind(Bound(f"rate, docruns to {what}", times_text, "–", None))
    section.bind(*_beside_sql(bench))
    return section


def _beside_sql(bench: Bench) -> list[Bound]:
    """Load the same bytes with DuckDB's own SQL and with docruns alternately, so that the machine's speed is
    the same for both."""
    rival = next((r for r in bench.rivals if r.folder == "duckdb_sql" and r.way == "trees"), None)
    if rival is None:
        return []
    runs, corpus = rival.runs("work", bench.runs), bench.cache.corpus("heavy", bench.runs)
    ours_, theirs = [], []
    with bench.cache.scratch() as folder:
        for number in range(max(3, bench.repeat)):
            ours_.append(replay(folder / f"ours{number}", corpus, "--runs", runs))
            here = folder / f"theirs{number}"
            here.mkdir()
            theirs.append(bench.load(rival, here, "--corpus", corpus, "--runs", runs))
    one, other = row("docruns", runs, ours_), row(rival.title, runs, theirs)
    cpu, memory = ratio(one.cpu_ms, other.cpu_ms), ratio(one.peak_mb, other.peak_mb)
    return [
        at_most("CPU of a heavy run to that of DuckDB's own SQL, in turns", cpu, CPU_OF_SQL, " ×"),
        at_most("memory to that of DuckDB's own SQL", memory, MEMORY_OF_SQL, " ×"),
    ]


def _file_size(bench: Bench) -> Bound:
    """The bound for the size of a database of some heavy runs."""
    runs = max(20, bench.runs // 10)
    corpus = bench.cache.corpus("heavy", bench.runs)
    with bench.cache.scratch() as folder:
        replay(folder, corpus, "--runs", runs)
        return file_size(folder, corpus, runs)


def file_size(folder: Path, corpus: Path, runs: int) -> Bound:
    """The bound for the size of a database, relative to the JSON of the answers."""
    size = (folder / "rows.duckdb").stat().st_size
    json_bytes = Corpus(corpus, runs).bytes
    what = f"database of {runs:,} heavy runs to their JSON, {json_bytes / 1e6:.0f} MB"
    return at_most(what, size / json_bytes, SMALLER_THAN_JSON, " ×")


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
