"""The command line and the output of every rival, with the standard library alone.

run.py (--base-url URL | --corpus FOLDER) --database FILE [--runs N] [--way NAME]
    loads, and prints {"seconds": …, "runs": …} as its last line: seconds without imports

Each rival runs in its own environment, with the folder of this file on PYTHONPATH. Rivals that
parse an answer leave out a parse run's chunks, which are the document itself, because docruns
leaves them out too.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

VERSION = "2026-02-09"
TOKEN = "bench"
THREADS = 16
"""Requests in flight where a rival has a setting for it; docruns's default."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-url")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--runs", type=int, help="number of the corpus's oldest runs; default: all")
    parser.add_argument("--way", default="")
    return parser.parse_args()


def bodies(corpus: Path, runs: int | None) -> Iterator[bytes]:
    """Workflow runs as the API sends them, read from the file one at a time."""
    with (corpus / "runs.jsonl").open("rb") as lines:
        yield from islice(lines, runs)


def processor_runs(run: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The processor runs in the steps of a workflow run."""
    for step in run["stepRuns"]:
        result = step.get("result") or {}
        for key in ("extractRun", "classifyRun", "splitRun", "parseRun"):
            if result.get(key):
                yield result[key]


class Told:
    """The figures that are printed at the end."""

    def __init__(self) -> None:
        self.runs = 0


@contextmanager
def measured() -> Iterator[Told]:
    """Measure and print the time of the block."""
    told = Told()
    started = time.perf_counter()
    yield told
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "runs": told.runs}), flush=True)
