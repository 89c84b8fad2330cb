"""Many scheduled loads in one process: what they leave in it, and how the database grows."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path
from typing import NamedTuple

import docruns
from soak.measure import Held, held

from .stage import Figure, Figures, Platform, at_most, exactly

NAME = "steady"
WARM = 100
"""Loads after which all modules are imported, and all caches and the file have their size."""
SAMPLES = 20
MEMORY_MB, FILE = 15.0, 1.25
"""How many MB the process may grow between the means of the first and the last fifth, and how many times as large the
file may be at the end as when warm."""


class Sample(NamedTuple):
    """The process and the database after so many loads. `database_mb` has the log too."""

    loads: int
    process: Held
    database_mb: float


def prove(platform: Platform, folder: Path, loads: int) -> Figures:
    """Load a small platform as a scheduler does; one run is reviewed before every second load."""
    os.environ |= {"DLT_DATA_DIR": str(folder / "dlt"), "RUNTIME__DLTHUB_TELEMETRY": "false"}
    database, metrics = folder / "steady.duckdb", folder / "steady.prom"
    platform.settle()
    samples: list[Sample] = []
    wrong = fetched = reviewed = 0
    began = time.monotonic()
    for number in range(1, loads + 1):
        if number % 2:
            platform.change(reviewed=1)
            reviewed += number > 1
        summary = docruns.load("extend", database=database, base_url=platform.base_url, metrics_file=metrics)
        wrong += summary.exit_code != 0 or not summary.complete
        fetched += summary.fetched if number > 1 else 0
        if number >= WARM and number % max(1, (loads - WARM) // SAMPLES) == 0:
            samples.append(_look(number, database))
            print(
                f"{NAME}: {number} loads, {samples[-1].process}, {samples[-1].database_mb:.1f} MB", flush=True
            )
    seconds = (time.monotonic() - began) / loads
    found = docruns.verify("extend", database=database, base_url=platform.base_url, deep=10)
    figures = [
        Figure(NAME, f"{loads:,} loads, wall time of one", f"{seconds:.2f} s"),
        exactly(NAME, "loads that were not complete", wrong, 0),
        exactly(NAME, "runs read again", fetched, reviewed),
        exactly(NAME, "differences at the end", int(found.differs), 0),
    ]
    return figures + _growth(samples)


def _look(loads: int, database: Path) -> Sample:
    gc.collect()
    log = database.with_name(f"{database.name}.wal")
    size = sum(path.stat().st_size for path in (database, log) if path.exists())
    return Sample(loads, held(), size / 2**20)


def _growth(samples: list[Sample]) -> Figures:
    fifth = max(1, len(samples) // 5)
    first, last = samples[:fifth], samples[-fifth:]
    warm, end = first[0], last[-1]

    def mean(some: list[Sample]) -> float:
        return sum(sample.process.rss_mb for sample in some) / len(some)

    return [
        Figure(NAME, f"memory after {warm.loads} loads", f"{mean(first):.0f} MB"),
        at_most(NAME, "growth of memory since", round(mean(last) - mean(first), 1), MEMORY_MB, " MB"),
        at_most(NAME, "open files at the end", end.process.files, warm.process.files),
        at_most(NAME, "sockets at the end", end.process.sockets, warm.process.sockets),
        at_most(NAME, "threads at the end", end.process.threads, warm.process.threads),
        at_most(
            NAME, f"database, {warm.database_mb:.1f} MB when warm",
            round(end.database_mb, 1), round(warm.database_mb * FILE, 1), " MB",
        ),
    ]  # fmt: skip
