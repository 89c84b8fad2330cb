"""Archive: what keeping answers costs a load, and a replay beside DuckDB's own SQL on the same bytes.

The archive is made from the corpus, and the replay is the installed command, with all that it does. Both sides take turns.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.contenders import Bench, Rival
from benchmarks.corpus import Corpus
from benchmarks.processes import FailedError, Ran, environment, run
from benchmarks.report import Row, Section, at_least, at_most, fastest, missing, ratio, row
from benchmarks.work import replay as load

FASTER_THAN_SQL, FASTER_THAN_FLAT = 1.25, 8
MEMORY_MB = 600
SMALLER_THAN_JSON = 0.05
DEARER_LOAD = 1.08


def measure(bench: Bench) -> Section:
    """Measure loads with an archive and without, then replays beside the rivals that read files."""
    section = Section("archive", "Archive: kept answers, and replays of heavy runs")
    runs = max(20, bench.runs // 10)
    corpus = bench.cache.corpus("heavy", bench.runs)
    with bench.cache.scratch() as folder:
        kept, bare = [], []
        for number in range(bench.repeat):
            at = folder / f"load{number}"
            kept.append(load(at / "kept", corpus, "--runs", runs, "--archive", at / "answers"))
            bare.append(load(at / "bare", corpus, "--runs", runs))
        section.add(row("docruns, heavy, with an archive", runs, kept))
        section.add(row("docruns, heavy, without", runs, bare))
        # of each pair, so that the machine's speed is the same for both
        dearer = sorted(one.cpu_s / other.cpu_s for one, other in zip(kept, bare, strict=True))[
            len(kept) // 2
        ]
        section.bind(
            at_most("CPU of a load with an archive to that without, in pairs", dearer, DEARER_LOAD, " ×")
        )
        answers = folder / "load0" / "answers"
        size = sum(path.stat().st_size for path in answers.rglob("*.parquet"))
        json_bytes = Corpus(corpus, runs).bytes
        what = f"archive of {runs:,} heavy runs to their JSON, {json_bytes / 1e6:.0f} MB"
        section.bind(at_most(what, size / json_bytes, SMALLER_THAN_JSON, " ×"))
        _beside_rivals(bench, section, answers, runs)
    return section


def _beside_rivals(bench: Bench, section: Section, answers: Path, runs: int) -> None:
    """Replay, and let each rival read the same runs, in turns."""
    rivals = [rival for rival in bench.rivals if rival.folder in ("duckdb_sql", "dlt_rows")]
    ours: list[Ran] = []
    theirs: dict[str, list[Ran]] = {rival.title: [] for rival in rivals}
    why: dict[str, FailedError] = {}
    for number in range(bench.repeat):
        folder = answers.parent / f"round{number}"
        ours.append(_replay(folder, answers))
        for rival in rivals:
            here = folder / f"{rival.folder}-{rival.way}"
            here.mkdir()
            corpus = bench.cache.corpus("heavy", bench.runs)
            try:
                ran = bench.load(rival, here, "--corpus", corpus, "--runs", _runs(rival, runs))
                theirs[rival.title].append(ran)
            except FailedError as error:
                why[rival.title] = error
    own = section.add(row("docruns replay, heavy", runs, ours, "into nothing"))
    rows: dict[str, list[Row]] = {}
    for rival in rivals:
        title, found = f"{rival.title}, heavy", theirs[rival.title]
        error = why.get(rival.title)
        one = (
            row(title, _runs(rival, runs), found, "into nothing") if error is None else missing(title, error)
        )
        rows.setdefault(rival.folder, []).append(section.add(one))
    times = ratio(own.rate, fastest(rows.get("duckdb_sql", [])))
    section.bind(
        at_least("replay to DuckDB's read_json and SQL, the faster one", times, FASTER_THAN_SQL, " ×")
    )
    times = ratio(own.rate, fastest(rows.get("dlt_rows", [])))
    section.bind(at_least("replay to flat dict rows through dlt", times, FASTER_THAN_FLAT, " ×"))
    section.bind(at_most("memory of a replay", own.peak_mb, MEMORY_MB, " MB"))


def _runs(rival: Rival, runs: int) -> int:
    """Slow rivals read a tenth: compare runs/s."""
    return runs if rival.folder == "duckdb_sql" else max(20, runs // 10)


def _replay(folder: Path, answers: Path) -> Ran:
    """Run the installed `docruns replay extend` into folder/rows.duckdb."""
    docruns = Path(sys.executable).with_name("docruns")
    command: list[str | Path] = [docruns, "replay", "extend", "--json", "--archive", answers]
    ran = run([*command, "--database", folder / "rows.duckdb"], folder, environment(folder))
    assert ran.told["complete"] and not ran.told["requests"], ran.told
    return ran
