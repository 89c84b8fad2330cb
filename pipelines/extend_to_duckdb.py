"""A job to schedule: loads all due runs of Extend into one DuckDB file.

    cron: 15 * * * *  cd /srv/docruns && .venv/bin/python pipelines/extend_to_duckdb.py

The job sets where rows go and from which date on. If it is killed, its next start continues after the last
committed runs. The key and all other settings come from .dlt/ or the environment. Exit code 3 means that runs
are missing: the line says how many are quarantined, how many answered 404 and which lists failed or
did not show all runs.
"""

import sys

import docruns

DATABASE = "docruns.duckdb"
SINCE = None  # with "2026-01-01" older runs are not loaded


def main() -> int:
    """Load and print one line. Returns the exit code."""
    try:
        summary = docruns.load("extend", database=DATABASE, since=SINCE)
    except docruns.DocrunsError as error:
        print(f"extend: {error}", file=sys.stderr)
        return error.exit_code
    print(
        f"extend: {summary.fetched} runs fetched, {summary.quarantined} quarantined, {summary.gone} gone, "
        f"lists that lack runs: {', '.join([*summary.failed_lists, *summary.incomplete_lists]) or 'none'}, {DATABASE}"
    )
    return summary.exit_code


if __name__ == "__main__":
    sys.exit(main())
