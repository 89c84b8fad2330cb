"""A job to schedule: everything that is due from Extend, into one DuckDB file.

    cron: 15 * * * *  cd /srv/docruns && .venv/bin/python pipelines/extend_to_duckdb.py

It chooses where rows go and since when, and holds no logic: a killed run is picked up by the next one.
The key and all other settings come from .dlt/ or the environment. Exit code 3 tells of quarantined runs.
"""

import sys
from pathlib import Path

from docruns.commands.load import load_runs
from docruns.core.errors import DocrunsError
from docruns.providers.extend import connect_extend
from docruns.store.target import Target

TARGET = Target(dataset="extend", database=Path("docruns.duckdb"))
SINCE = None  # "2026-01-01" would leave older runs out
CHUNK_RUNS = 1000  # per commit


def main() -> int:
    """Load, print one line, and give the exit code."""
    try:
        summary = load_runs(connect_extend(since=SINCE, chunk_runs=CHUNK_RUNS), TARGET)
    except DocrunsError as error:
        print(f"extend: {error}", file=sys.stderr)
        return error.exit_code
    print(f"extend: {summary.fetched} runs fetched, {summary.quarantined} quarantined, {TARGET}")
    return 3 if summary.quarantined else 0


if __name__ == "__main__":
    sys.exit(main())
