"""The plan: the memory and the CPU that each listed run costs, with simulated lists. No server and no network.

    python tests/benchmarks/plan.py [RUNS …] [--only WHAT …]       default: 100,000 and 1,000,000 runs

Each measurement is a process of its own. The list comes from a generator, and the answer to each request is an id. What
reads them is docruns as it is:

    list      nothing reads the list: what the generator costs
    plan      a first load walks the list and plans what is due
    load      ... and takes all runs, in packages of 1,000: each is one row of one table, which goes nowhere
    again     nothing is new, and the list is in order: the walk ends after two pages
    whole     nothing is new, and the list is in no order: all of it is walked
    verify    as many runs are in a DuckDB file
    sweep     the same
    half      count the runs of packages that were not committed, in the same file

“above” is the peak of the resident memory above what the process had after its imports. The program exits with 1 where
a bound is broken.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import md5
from pathlib import Path
from typing import Any

if __name__ == "__main__" and not __package__:
    # a script: import from tests/ instead of its folder
    sys.path[0] = str(Path(__file__).parents[1])

from benchmarks.processes import TESTS, environment, ours, run

TOP = datetime(2026, 5, 1, tzinfo=UTC)
"""The newest change."""
APART = timedelta(seconds=7)
PAGE = CHUNK = 1000
OVERLAP = timedelta(hours=1)
STATUSES = ("PROCESSED", "FAILED", "CANCELLED")
SUMMARIES = tuple({"workflowVersionId": f"workflow_version_{n:021}"} for n in range(50))

MANY, MOST_MB = 1_000_000, 300
"""A million runs take at most 300 MB above the start."""


def id_of(number: int) -> str:
    """An id as long as Extend's. The database makes the same ones."""
    return f"workflow_run_{md5(str(number).encode()).hexdigest()[:21]}"


def pages(runs: int) -> Iterator[list[Any]]:
    """The list, newest change first. Ids and times are new objects, as a decoder makes them."""
    from docruns.sync.plan import ListedRun

    for start in range(0, runs, PAGE):
        yield [
            ListedRun(
                id_of(number),
                STATUSES[number % 3],
                TOP - number * APART - timedelta(seconds=60),
                TOP - number * APART,
                True,
                SUMMARIES[number % 50],
            )
            for number in range(start, min(start + PAGE, runs))
        ]


@dataclass
class Client:
    """Answers each request with the run's id."""

    usage: Any

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None: ...

    def get_many(self, requests: Iterator[Any], ahead: Any = None) -> Iterator[tuple[Any, Any]]:
        """Each request with its answer."""
        from docruns.net.messages import Reply

        for request in requests:
            yield request, Reply(request.subject.encode(), {})


def load(runs: int, saved: dict[str, Any], *, is_ordered: bool = True, only_plan: bool = False) -> None:
    """A load of one list, or its plan alone."""
    from docruns.core.batch import Batch
    from docruns.core.parsed import ParsedRun
    from docruns.core.settings import Settings
    from docruns.core.tables import WORKFLOW_RUNS
    from docruns.net.messages import Request, Usage
    from docruns.sync.lists import Platform, RunList
    from docruns.sync.sync import Sync

    def parse(body: bytes, listed: Any, _: Any) -> Any:
        batch = Batch()
        batch.add(WORKFLOW_RUNS, WORKFLOW_RUNS.row(id=body.decode(), status=listed.status))
        return ParsedRun(batch, listed.status, True, updated_at=listed.updated_at)

    run_list = RunList(
        "workflow_runs",
        lambda _: pages(runs),
        parse,
        lambda id_: Request("/" + id_, subject=id_),
        is_ordered=lambda: is_ordered,
    )
    client: Any = Client(Usage())
    settings = Settings(overlap=OVERLAP, chunk_runs=CHUNK)
    sync = Sync(
        Platform("simulated", client, settings, (run_list,), lambda _: [], clock=lambda: TOP + OVERLAP)
    )
    package = 0
    with sync:
        sync.start_package("0")
        for _ in sync.plans.walk_lists([(run_list, saved)]):
            pass
        while not only_plan and (not package or sync.may_go_on):
            sync.start_package(str(package := package + 1))
            for batch in sync.batches(run_list, saved):
                batch.taken()
    counts = sync.metrics.counts
    assert counts.listed in (runs, 2 * PAGE), counts
    assert only_plan or counts.fetched + counts.unchanged == counts.listed, counts


def loaded_state(runs: int) -> dict[str, Any]:
    """The state after a load of all runs."""
    from docruns.sync.plan import State

    recent = {id_of(n): TOP - n * APART for n in range(min(runs, OVERLAP // APART + 1))}
    return State(watermark=TOP, recent=recent).save()


def fill(database: Path, runs: int) -> None:
    """A dataset with these runs, made of one that a load has made."""
    import duckdb

    from docruns.commands.load import load_runs
    from docruns.providers.extend import connect_extend
    from docruns.sandbox import Sandbox
    from docruns.store.target import Target

    with Sandbox(runs=3, seed=1, standalone=0) as sandbox:
        load_runs(connect_extend(base_url=sandbox.extend_url), Target("extend", database))
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TEMP TABLE one AS SELECT * FROM extend.workflow_runs LIMIT 1")
        for table in ("workflow_runs", "processor_runs"):
            connection.execute(f"DELETE FROM extend.{table}")
        connection.execute(
            "INSERT INTO extend.workflow_runs SELECT * EXCLUDE (n) REPLACE ("
            "'workflow_run_' || md5(n::VARCHAR)[:21] AS id, "
            f"TIMESTAMPTZ '{TOP.isoformat()}' - n * INTERVAL {APART.seconds} SECONDS AS updated_at) "
            "FROM one, range(?) AS r (n)",
            [runs],
        )


def over_database(what: str, database: Path, runs: int) -> None:
    """One command over the database."""
    from docruns.commands.reconcile.sweep import sweep_deleted
    from docruns.commands.reconcile.verify import verify_runs
    from docruns.providers.extend import connect_extend
    from docruns.store import lookup
    from docruns.store.pipeline import open_for_reading
    from docruns.store.target import Target

    target = Target("extend", database)
    if what == "half":
        with open_for_reading("extend", target) as running:
            assert lookup.count_half_loaded(running) == 0
        return
    base = connect_extend(base_url="http://127.0.0.1:9")
    main, *others = base.lists
    lists = (
        replace(main, pages=lambda _: pages(runs)),
        *(replace(each, pages=lambda _: iter([[]])) for each in others),
    )
    platform = replace(base, lists=lists)
    if what == "verify":
        verified = verify_runs(platform, target)
        assert not verified.differs, verified.as_dict()
    else:
        swept = sweep_deleted(platform, target)
        assert not any(swept.marked.values()), swept


MEASURES: dict[str, Callable[[int, Path], None]] = {
    "list": lambda runs, _: [None for _ in pages(runs)].clear(),
    "plan": lambda runs, _: load(runs, {}, only_plan=True),
    "load": lambda runs, _: load(runs, {}),
    "again": lambda runs, _: load(runs, loaded_state(runs)),
    "whole": lambda runs, _: load(runs, loaded_state(runs), is_ordered=False),
    "verify": lambda runs, database: over_database("verify", database, runs),
    "sweep": lambda runs, database: over_database("sweep", database, runs),
    "half": lambda runs, database: over_database("half", database, runs),
}
OVER_DATABASE = {"verify", "sweep", "half"}


def measure(what: str, runs: int, database: Path) -> None:
    """One measurement, in a process of its own. Its last line of output is what it has found."""
    # a process has these before its work
    import docruns.commands.reconcile.sweep
    import docruns.commands.reconcile.verify
    import docruns.sync.sync  # noqa: F401

    if what == "fill":
        fill(database, runs)
        return
    before, started = peak_mb(), time.process_time()
    MEASURES[what](runs, database)
    cpu_s, peak = time.process_time() - started, peak_mb()
    print(json.dumps({"cpu_s": cpu_s, "peak_mb": peak, "above_mb": peak - before}))


def peak_mb() -> float:
    """The largest resident memory of this process so far."""
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=int, default=[MANY // 10, MANY])
    parser.add_argument("--only", nargs="+", choices=list(MEASURES), default=list(MEASURES))
    parser.add_argument("--sources", type=Path, help="the folder of another docruns, to compare with")
    asked = parser.parse_args()
    paths = [TESTS] if asked.sources is None else [asked.sources.absolute(), TESTS]
    print(
        "| what | runs | peak MB | above MB | CPU s | CPU µs a run |\n| --- | --- | --- | --- | --- | --- |"
    )
    broken = []
    with tempfile.TemporaryDirectory(prefix="docruns-") as temporary:
        folder = Path(temporary)
        env = environment(folder, paths)
        for runs in asked.runs:
            database = folder / f"{runs}.duckdb"
            if OVER_DATABASE & {*asked.only}:
                run(ours("plan", "--measure", "fill", runs, database), folder, env)
            for what in asked.only:
                told = run(ours("plan", "--measure", what, runs, database), folder, env).told
                cpu, peak, above = told["cpu_s"], told["peak_mb"], told["above_mb"]
                figures = f"{peak:,.0f} | {above:,.0f} | {cpu:.2f} | {cpu / runs * 1e6:.2f}"
                print(f"| {what} | {runs:,} | {figures} |", flush=True)
                if runs == MANY and above > MOST_MB:
                    broken.append(
                        f"{what}: {above:,.0f} MB above the start, and at most {MOST_MB} are allowed"
                    )
    print("\n".join(broken))
    return 1 if broken else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    else:
        sys.exit(main())
