"""Extend on Dagster: an asset a table, a partition a month of last changes, `verify` as a check, an hourly load.

One run at a time may write to a DuckDB file: `dagster instance concurrency set docruns_extend 1` gives the pool
one slot. Only errors that may pass by themselves are tried again.
"""

import os

import dagster as dg

import docruns
from docruns.core.tables import TABLES

DATABASE = os.environ.get("DOCRUNS_DATABASE", "docruns.duckdb")
MONTHS = dg.MonthlyPartitionsDefinition(os.environ.get("DOCRUNS_FIRST_MONTH", "2026-01-01"), end_offset=1)
SPECS = [dg.AssetSpec(["extend", t.name], description=t.doc, kinds={"duckdb", "dlt"}) for t in TABLES]
ONE = {"pool": "docruns_extend", "retry_policy": dg.RetryPolicy(max_retries=3, delay=300)}


def load(context, **window):
    def log(package):
        context.log.info(f"committed up to {package.watermark}: {package.rows}")

    try:
        return docruns.load("extend", database=DATABASE, on_package=log, **window)
    except docruns.DocrunsError as error:
        raise dg.Failure(str(error), allow_retries=error.retryable) from None


@dg.multi_asset(specs=SPECS, partitions_def=MONTHS, **ONE)
def extend_month(context: dg.AssetExecutionContext):
    window = context.partition_time_window
    summary = load(context, since=window.start, until=window.end)
    for spec in SPECS:
        rows = summary.rows.get(spec.key.path[-1], 0)
        yield dg.MaterializeResult(spec.key, metadata={"rows": rows, "watermark": str(summary.watermark)})


@dg.op(**ONE)
def load_what_is_due(context: dg.OpExecutionContext) -> None:
    for table, rows in load(context).rows.items():
        context.log_event(dg.AssetMaterialization(["extend", table], metadata={"rows": rows}))


@dg.asset_check(asset=dg.AssetKey(["extend", "workflow_runs"]))
def agrees_with_the_platform() -> dg.AssetCheckResult:
    found = docruns.verify("extend", database=DATABASE, deep=20).as_dict()
    return dg.AssetCheckResult(passed=found["equal"], metadata={"first": str(found["first"])})


@dg.job
def extend_due():
    load_what_is_due()


HOURLY = dg.ScheduleDefinition(job=extend_due, cron_schedule="15 * * * *")
defs = dg.Definitions(
    [extend_month], jobs=[extend_due], schedules=[HOURLY], asset_checks=[agrees_with_the_platform]
)
