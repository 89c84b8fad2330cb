"""Scale: the memory of a load and the state it stores do not grow with the number of runs."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

from .stage import Command, Figure, Figures, at_most, exactly, must, platform_process

NAME = "scale"
GROWTH = 1.3
STATE_BYTES = 1_000_000


def prove(folder: Path, few: int, many: int) -> Figures:
    """First loads of few and of many runs, without latency."""
    figures: Figures = []
    peaks = []
    for runs in (few, many):
        with platform_process(runs) as platform:
            command = Command(folder / str(runs), platform.base_url)
            ran = must(command.run())
            asked = platform.stats()
        peaks.append(ran.peak_mb)
        what = f"{runs:,} runs"
        rate, milliseconds = asked.requests / ran.seconds, ran.cpu_s / runs * 1000
        stored, whole = state_bytes(command.database)
        figures += [
            Figure(NAME, f"{what}, wall time", f"{ran.seconds:,.0f} s"),
            Figure(NAME, f"{what}, requests", f"{asked.requests:,}, {rate:,.0f} a second"),
            Figure(NAME, f"{what}, CPU of the load", f"{ran.cpu_s:,.0f} s, {milliseconds:.2f} ms a run"),
            Figure(NAME, f"{what}, peak memory", f"{ran.peak_mb:,.0f} MB"),
            exactly(NAME, f"{what}, quarantined", ran.summary["quarantined"], 0),
            at_most(NAME, f"{what}, state as stored", stored, STATE_BYTES, " bytes"),
            at_most(NAME, f"{what}, state unpacked", whole, STATE_BYTES, " bytes"),
        ]
    growth = round(peaks[1] / peaks[0], 2)
    figures.append(at_most(NAME, f"memory of {many:,} runs to that of {few:,}", growth, GROWTH))
    return figures


def state_bytes(database: Path, dataset: str = "extend") -> tuple[int, int]:
    """The size of dlt's newest state in bytes: (as stored, unpacked)."""
    import duckdb

    with duckdb.connect(str(database), read_only=True) as connection:
        sql = f"SELECT state FROM {dataset}._dlt_pipeline_state ORDER BY version DESC LIMIT 1"
        stored = str(connection.execute(sql).fetchall()[0][0])
    return len(stored), len(zlib.decompress(base64.b64decode(stored)))
