"""What a load costs: bytes in memory to Arrow, and the whole path from the sandbox into DuckDB.

make bench            print a table, and write it into ARCHITECTURE.md between its marks
"""

from __future__ import annotations

import os
import re
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")

import httpx

from docruns import extend
from docruns.arrow import Batch, to_tables
from docruns.extend import rows
from docruns.feed import Listed
from docruns.load import Target, load
from docruns.sandbox import Sandbox

RUNS = 400
REPEATS = 3
DOCUMENT = Path(__file__).parents[2] / "ARCHITECTURE.md"


def bodies(sandbox: Sandbox) -> list[tuple[str, bytes]]:
    """Every workflow run as the API sends it."""
    headers = {"authorization": "Bearer bench", "x-extend-api-version": "2026-02-09"}
    with httpx.Client(base_url=sandbox.extend_url, headers=headers) as client:
        page = client.get("/workflow_runs", params={"maxPageSize": 1000}).json()
        return [(r["id"], client.get(f"/workflow_runs/{r['id']}").content) for r in page["data"]]


def flatten_all(runs: list[tuple[str, bytes]]) -> int:
    """Decode, flatten, make Arrow tables; the number of rows."""
    context = rows.Context("2026-02-09")
    whole = Batch()
    for id_, body in runs:
        whole.update(rows.workflow_run(body, Listed(id_, None, None, None), context).batch)
    return len(to_tables(whole))


def load_all(sandbox: Sandbox) -> int:
    """A first load of everything into a new database; the number of rows."""
    with tempfile.TemporaryDirectory() as folder:
        target = Target("extend", Path(folder) / "bench.duckdb")
        summary = load(lambda on_sync: extend(base_url=sandbox.extend_url, on_sync=on_sync), target)
        return sum(summary.rows.values())


def median_seconds(work: Callable[..., int], *arguments: Any) -> tuple[float, int]:
    """The median of some repetitions, and what the last one gave."""
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        result = work(*arguments)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken), result


def main() -> None:
    """Measure light and heavy documents."""
    lines = [
        "| documents | KB a run | what | rows | runs/s | ms a run |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for size in ("light", "heavy"):
        with Sandbox(runs=RUNS, document_size=size) as sandbox:
            runs = bodies(sandbox)
            kilobytes = sum(len(body) for _, body in runs) / len(runs) / 1000
            for name, work, given in (
                ("bytes in memory to Arrow", flatten_all, runs),
                ("sandbox to DuckDB, sandbox included", load_all, sandbox),
            ):
                seconds, found = median_seconds(work, given)
                lines.append(
                    f"| {size} | {kilobytes:.0f} | {name} | {found:,} | {len(runs) / seconds:,.0f} "
                    f"| {seconds / len(runs) * 1000:.2f} |"
                )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines += [
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {RUNS} runs each, medians of {REPEATS}, peak {peak:,.0f} MB.",
    ]
    table = "\n".join(lines)
    print(table)
    if "--print" not in sys.argv:
        text = DOCUMENT.read_text()
        marked = re.sub(
            r"(<!-- bench -->).*(<!-- /bench -->)",
            lambda m: f"{m[1]}\n{table}\n{m[2]}",
            text,
            flags=re.DOTALL,
        )
        DOCUMENT.write_text(marked)


if __name__ == "__main__":
    main()
