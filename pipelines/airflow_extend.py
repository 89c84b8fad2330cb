"""Extend on Airflow 3: hourly what is due, and a month each for a backfill. Put this file into the DAG folder.

One task at a time may write to a DuckDB file: `airflow pools set docruns 1 "one file"` makes a pool of one slot.
Only errors that may pass by themselves are tried again.
"""

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import Asset, CronDataIntervalTimetable, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

DATABASE = os.environ.get("DOCRUNS_DATABASE", "docruns.duckdb")
TABLES = Asset("docruns_extend")
ARGUMENTS = {"retries": 3, "retry_delay": timedelta(minutes=5), "pool": "docruns"}
ONCE = {"start_date": datetime(2026, 1, 1, tzinfo=UTC), "max_active_runs": 1, "default_args": ARGUMENTS}
# the interval of `@monthly` has no width
MONTHLY = CronDataIntervalTimetable("0 0 1 * *", timezone="UTC")


def call(name, **options):
    """The result of `docruns.load` or `docruns.verify` as JSON values."""
    import docruns  # the scheduler parses this file often

    try:
        return getattr(docruns, name)("extend", database=DATABASE, **options).as_dict()
    except docruns.DocrunsError as error:
        raise RuntimeError(str(error)) if error.retryable else AirflowFailException(str(error)) from None


@task(outlets=[TABLES])
def load_what_is_due():
    return call("load")


@task(outlets=[TABLES])
def load_month():
    context = get_current_context()
    return call("load", since=context["data_interval_start"], until=context["data_interval_end"])


@task
def agree_with_the_platform():
    if not (found := call("verify", deep=20))["equal"]:
        raise AirflowFailException(f"platform and database differ: {found['first']}")


@dag(schedule="15 * * * *", catchup=False, **ONCE)
def docruns_extend():
    load_what_is_due() >> agree_with_the_platform()


@dag(schedule=MONTHLY, catchup=True, **ONCE)
def docruns_extend_months():
    load_month()


hourly, monthly = docruns_extend(), docruns_extend_months()
