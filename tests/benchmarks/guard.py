"""Test whether making rows has become slower: bytes to Arrow, compared with a constant computation.

    ratio = CPU of docruns: decode, flatten, Arrow
            / CPU of json.loads and a walk in plain Python over the same bytes, in the same process

Both are repeated alternately, so that disturbances of the machine affect both, and the fastest repetition of
each counts. The ratio is the same on a slow and on a fast machine; it differs between Python versions, so
each has its own figure.

python tests/benchmarks/guard.py            print the ratio, the figure and the bound
python tests/benchmarks/guard.py --renew    write this Python's figure; the commit says why
python tests/benchmarks/guard.py --spread   print twenty ratios, each from its own process
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).with_name("guard.json")
RUNS = 12
REPEATS = 15
WORSE = 1.2
"""The allowed factor between a ratio and its figure."""
CHANCES = 3
"""The number of repetitions for a ratio that is too high: a real slowdown is slow in every process."""

Bodies = list[tuple[str, bytes]]


def bodies() -> Bodies:
    """The same heavy runs every time, as the API sends them."""
    import httpx

    from docruns.sandbox import Sandbox

    headers = {"authorization": "Bearer guard", "x-extend-api-version": "2026-02-09"}
    with (
        Sandbox(runs=RUNS, seed=11, document_size="heavy", standalone=0, plextera_runs=0) as sandbox,
        httpx.Client(base_url=sandbox.extend_url, headers=headers) as client,
    ):
        sandbox.extend.finish()
        listed = client.get("/workflow_runs", params={"maxPageSize": 1000}).json()["data"]
        return [(row["id"], client.get(f"/workflow_runs/{row['id']}").content) for row in listed]


def ours(runs: Bodies) -> int:
    """Decode, flatten and convert to Arrow, as a load does with each batch; returns the number of rows."""
    from docruns.core.batch import Batch
    from docruns.providers.extend import workflow_runs
    from docruns.providers.extend.processor_runs import Context
    from docruns.store.arrow import to_tables
    from docruns.sync.plan import ListedRun

    context = Context("2026-02-09")
    whole = Batch()
    for id_, body in runs:
        whole.update(workflow_runs.workflow_run(body, ListedRun(id_, None, None, None), context).batch)
    return len(to_tables(whole))


def reference(runs: Bodies) -> int:
    """Decode with the standard library and visit every value; this function must never change."""
    return sum(_walk(json.loads(body)) for _, body in runs)


def _walk(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(_walk(below) for below in value.values())
    if isinstance(value, list):
        return 1 + sum(_walk(below) for below in value)
    return 1


def ratio(runs: Bodies) -> float:
    """The fastest time of docruns divided by the fastest time of the reference."""
    best = {ours: float("inf"), reference: float("inf")}
    gc.collect()
    gc.disable()
    try:
        for _ in range(REPEATS):
            for work in best:
                best[work] = min(best[work], _seconds(work, runs))
                gc.collect()
    finally:
        gc.enable()
    return best[ours] / best[reference]


def _seconds(work: Callable[[Bodies], int], runs: Bodies) -> float:
    # the time of this thread alone: other threads do not count
    started = time.thread_time()
    work(runs)
    return time.thread_time() - started


def _ratios(processes: int) -> list[float]:
    """Ratios, each from its own process, the smallest first: the layout of memory differs between processes."""
    command = [sys.executable, "-P", __file__, "--once"]
    # the exit code tells whether the ratio is too high, which is what the caller decides
    said = [subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False) for _ in range(processes)]
    return sorted(float(one.stdout.split()[0]) for one in said)


def python() -> str:
    """The Python version, such as 3.11."""
    return ".".join(map(str, sys.version_info[:2]))


def figure() -> float | None:
    """The recorded ratio; None for a Python version without a figure."""
    found = json.loads(FIGURES.read_text())["ratio"].get(python())
    return None if found is None else float(found)


def main() -> int:
    """Check the ratio, write a new figure, or print the spread."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--renew", action="store_true")
    parser.add_argument("--spread", action="store_true")
    parser.add_argument("--once", action="store_true", help="do not repeat in other processes")
    asked = parser.parse_args()
    if asked.spread:
        found = _ratios(20)
        middle = statistics.median(found)
        print(f"{middle:.3f}, from {found[0] / middle - 1:+.1%} to {found[-1] / middle - 1:+.1%}")
        return 0
    now, was = ratio(bodies()), figure()
    for _ in range(0 if asked.once else CHANCES):
        if was is not None and now > was * WORSE:
            now = min(now, *_ratios(1))
    print(f"{now:.3f} now, {was} recorded for Python {python()}, {WORSE:g} times that allowed")
    if asked.renew:
        told = json.loads(FIGURES.read_text())
        told["ratio"][python()] = round(now, 3)
        FIGURES.write_text(json.dumps(told, indent=1) + "\n")
        return 0
    return 1 if was is not None and now > was * WORSE else 0


if __name__ == "__main__":
    sys.exit(main())
