"""The rivals, the alternatives to docruns, each in its own environment, below rivals/."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cache import RIVALS, Cache
from benchmarks.processes import TESTS, FailedError, Ran, environment, run
from benchmarks.report import Bound, Section

COUNT = Path(__file__).with_name("count.py")

Counts = Mapping[str, str]
"""For each table of docruns: the SQL that counts a database's rows for it."""

_SAME: Counts = {
    **{name: f"SELECT count(*) FROM extend.{name}" for name in ("fields", "insights", "citations")},
    "scores": "SELECT round(sum(ocr_confidence) + sum(review_agent_score), 1) FROM extend.fields",
    "words": "SELECT sum(length(content)) FROM extend.insights",
    "boxes": 'SELECT sum("left") + sum(bottom) FROM extend.citations',
}
_METADATA = "extend.workflow_runs__step_runs__result__extract_run__output__metadata"
_NESTED: Counts = {
    "fields": f"SELECT count(*) FROM {_METADATA}",
    "insights": f"SELECT count(*) FROM {_METADATA}__insights",
    "citations": f"SELECT count(*) FROM {_METADATA}__citations",
}
SAME = "the same rows"
_WHY_NESTED = "a row for each path of one output, where docruns has one for each path of all three"


@dataclass(frozen=True)
class Rival:
    """One way to load with one rival.

    `work` and `wire` are its number of runs per 10,000 requested ones; with 0 it takes no part in that
    measurement.
    """

    folder: str
    title: str
    way: str = ""
    work: int = 0
    wire: int = 0
    counts: Counts | None = None
    """None: the rival flattens nothing."""
    why: str = ""
    """The reason why its counts differ from docruns's."""
    merges: bool = True

    def runs(self, measure: str, asked: int) -> int:
        """The number of runs it loads: slow rivals load fewer."""
        return max(20, asked * int(getattr(self, measure)) // 10_000)


CONTENDERS = (
    Rival("dlt_rows", "dlt, flat dict rows, parquet", work=100, counts=_SAME),
    Rival(
        "rest_api",
        "dlt rest_api, nested, as it comes",
        "nested",
        work=50,
        wire=50,
        counts=_NESTED,
        why=_WHY_NESTED,
    ),
    Rival(
        "rest_api",
        "dlt rest_api, nested, 16 at a time, parquet",
        "parquet",
        work=50,
        wire=300,
        counts=_NESTED,
        why=_WHY_NESTED,
    ),
    Rival(
        "rest_api",
        "dlt rest_api, JSON blobs, 16 at a time, parquet",
        "blobs",
        work=100,
        wire=500,
    ),
    Rival(
        "official_client",
        "official client, 16 threads, pandas",
        wire=100,
        counts=_SAME,
    ),
    Rival("singer", "Singer: singer-sdk, target-duckdb", wire=100),
    Rival("pyairbyte", "PyAirbyte, declarative source", wire=200),
    *(
        Rival(
            "duckdb_sql",
            f"DuckDB alone, read_json and SQL, {way}",
            way,
            work=1000,
            counts=_SAME,
            why="metadata does not name every path" if way == "paths" else "",
            merges=False,
        )
        for way in ("trees", "paths")
    ),
)


class Bench:
    """The settings of every measurement: number of runs, number of repetitions, and the rivals."""

    def __init__(self, cache: Cache, runs: int, repeat: int, chosen: set[str] | None) -> None:
        self.cache = cache
        self.runs = runs
        self.repeat = repeat
        self.rivals = [r for r in CONTENDERS if chosen is None or r.folder in chosen]

    def load(self, rival: Rival, folder: Path, *arguments: object) -> Ran:
        """Run one load into folder/rival.duckdb."""
        script = RIVALS / rival.folder / "run.py"
        command: list[str | Path] = [self.cache.python(rival.folder), script]
        command += ["--database", folder / "rival.duckdb"]
        if rival.way:
            command += ["--way", rival.way]
        # each rival implements the contract in rivals/contract.py
        env = environment(folder, [RIVALS])
        return run([*command, *map(str, arguments)], folder, env, too_long_s=900)

    def compared(self, rival: Rival, folder: Path, runs: int, ran: Ran, truth: Path) -> str:
        """A note on how the rival's rows differ from docruns's; '' when they are equal."""
        if ran.told.get("runs") != runs:
            raise FailedError(f"{ran.told.get('runs')} runs of {runs:,} arrived")
        if rival.counts is None:
            return "nothing is flattened"
        # a rival's DuckDB may be newer than the project's, which cannot open its file
        python = self.cache.python(rival.folder)
        ours_, theirs = count(truth, _SAME), count(folder / "rival.duckdb", rival.counts, python)
        differing = [
            f"{name} {theirs[name] / ours_[name] - 1:+.1%}"
            for name in rival.counts
            if theirs[name] != ours_[name]
        ]
        if not differing:
            return SAME
        return f"{', '.join(differing)}: {rival.why or 'nobody knows why'}"

    def check_rows(self, section: Section, rival: Rival, said: str) -> None:
        """Bind a rival that is meant to produce docruns's rows to produce them."""
        if rival.counts is not None and not rival.why:
            what = f"fields, insights and citations of {rival.title}"
            section.bind(Bound(what, said, SAME, said == SAME))


def count(database: Path, counts: Counts, python: str | Path = sys.executable) -> dict[str, float]:
    """The results of SQL on a database, run in another process."""
    folder = database.parent
    command = [python, "-P", COUNT, str(database), json.dumps(dict(counts))]
    told: dict[str, Any] = run(command, folder / "count", environment(folder, [TESTS])).told
    return told


def copied(source: Path, target: Path) -> Path:
    """A fresh copy of a folder, for the next repetition."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target
