"""A job to schedule: loads all due runs of Extend into one DuckDB file.

    cron: 15 * * * *  cd /srv/docruns && .venv/bin/python pipelines/extend_to_duckdb.py

The job sets where rows go and from which date on. If it is killed, its next start continues after the last
committed runs. The key and all other settings come from .dlt/ or the environment. Exit code 3 means that runs
are missing: the line says how many are quarantined, how many answered 404 and which lists failed or
did not show all runs.
"""

import sys
from pathlib import Path

from docruns.commands.load import load_runs
from docruns.core.errors import DocrunsError
from docruns.providers.extend import connect_extend
from docruns.store.target import Target

TARGET = Target(dataset="extend", database=Path("docruns.duckdb"))
SINCE = None  # with "2026-01-01" older runs are not loaded
CHUNK_RUNS = 1000  # per commit


def main() -> int:
    """Load and print one line. Returns the exit code."""
    try:
        summary = load_runs(connect_extend(since=SINCE, chunk_runs=CHUNK_RUNS), TARGET)
    except DocrunsError as error:
        print(f"extend: {error}", file=sys.stderr)
        return error.exit_code
    print(
        f"extend: {summary.fetched} runs fetched, {summary.quarantined} quarantined, {summary.gone} gone, "
        f"lists that lack runs: {', '.join([*summary.failed_lists, *summary.incomplete_lists]) or 'none'}, {TARGET}"
    )
    return 3 if summary.lacks_runs else 0


if __name__ == "__main__":
    sys.exit(main())
