"""Extend on Airflow 3: hourly what is due, a month each, and many months at once for a backfill. For the DAG folder.

One task at a time may write to a DuckDB file: `airflow pools set docruns 1 "one file"` makes a pool of one slot.
Only errors that may pass by themselves are tried again.
"""

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import Asset, CronDataIntervalTimetable, Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

DATABASE = os.environ.get("DOCRUNS_DATABASE", "docruns.duckdb")
TABLES = Asset("docruns_extend")
DELAY = timedelta(seconds=int(os.environ.get("DOCRUNS_RETRY_S", "300")))
ARGUMENTS = {"retries": 3, "retry_delay": DELAY, "pool": "docruns"}
ONCE = {"start_date": datetime(2026, 1, 1, tzinfo=UTC), "max_active_runs": 1, "default_args": ARGUMENTS}
# the interval of `@monthly` has no width
MONTHLY = CronDataIntervalTimetable("0 0 1 * *", timezone="UTC")
MONTHS = Param("2026-01..2026-06", type="string", description="The first and the last month.")


def call(name, **options):
    """The result of `docruns.load` or `docruns.verify` as JSON values."""
    import docruns  # the scheduler parses this file often

    try:
        return getattr(docruns, name)("extend", database=DATABASE, **options).as_dict()
    except docruns.DocrunsError as error:
        raise RuntimeError(str(error)) if error.retryable else AirflowFailException(str(error)) from None


@task(outlets=[TABLES])
def load(since=None, until=None, backfill=None):
    return call("load", since=since, until=until, backfill=backfill)


@task
def agree_with_the_platform():
    if not (found := call("verify", deep=20))["equal"]:
        raise AirflowFailException(f"platform and database differ: {found['first']}")


@dag(schedule="15 * * * *", catchup=False, **ONCE)
def docruns_extend():
    load() >> agree_with_the_platform()


@dag(schedule=MONTHLY, catchup=True, **ONCE)
def docruns_extend_months():
    load(since="{{ data_interval_start }}", until="{{ data_interval_end }}")


@dag(schedule=None, params={"months": MONTHS}, is_paused_upon_creation=False, **ONCE)
def docruns_extend_backfill():
    load(backfill="{{ params.months }}")


hourly, monthly, backfill = docruns_extend(), docruns_extend_months(), docruns_extend_backfill()
