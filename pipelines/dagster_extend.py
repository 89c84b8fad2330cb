"""Extend on Dagster: an asset a table and a model, a partition a month of last changes, a check, an hourly load.

One run at a time may write to a DuckDB file (dagster.yaml). A backfill of many months is one run, month by month.
"""

import os
from datetime import timedelta

import dagster as dg

import docruns
from docruns.core.tables import TABLES
from docruns.models.model import models

DATABASE = os.environ.get("DOCRUNS_DATABASE", "docruns.duckdb")
MONTHS = dg.MonthlyPartitionsDefinition(os.environ.get("DOCRUNS_FIRST_MONTH", "2026-01-01"), end_offset=1)
RETRY = dg.RetryPolicy(max_retries=3, delay=int(os.environ.get("DOCRUNS_RETRY_S", "300")))
ONE = {"pool": "docruns_extend", "retry_policy": RETRY}
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=3))
ABOUT = {("extend", t.name): t.doc for t in TABLES} | {("extend_answers", m.name): m.about for m in models()}
SPECS = [dg.AssetSpec(key, description=about, freshness_policy=FRESH) for key, about in ABOUT.items()]


def call(name, **options):
    try:
        return getattr(docruns, name)("extend", database=DATABASE, **options)
    except docruns.DocrunsError as error:
        raise dg.Failure(str(error), allow_retries=error.retryable) from None


def load(context, event, **window):
    summary = call("load", on_package=lambda package: context.log.info(str(package)), **window)
    for key in ABOUT:
        yield event(dg.AssetKey(key), metadata={"rows": summary.rows.get(key[-1], 0)})


@dg.multi_asset(specs=SPECS, partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run(), **ONE)
def extend_month(context: dg.AssetExecutionContext):
    months = "..".join(key[:7] for key in context.partition_key_range)
    yield from load(context, dg.MaterializeResult, backfill=months)


@dg.op(**ONE)
def load_what_is_due(context: dg.OpExecutionContext) -> None:
    for event in load(context, dg.AssetMaterialization):
        context.log_event(event)


@dg.asset_check(asset=dg.AssetKey(["extend", "workflow_runs"]), **ONE)
def agrees_with_the_platform() -> dg.AssetCheckResult:
    found = call("verify", deep=20).as_dict()
    return dg.AssetCheckResult(passed=found["equal"], metadata={"first": str(found["first"])})


DUE = dg.GraphDefinition("extend_due", node_defs=[load_what_is_due]).to_job()
HOURLY = dg.ScheduleDefinition(job=DUE, cron_schedule="15 * * * *")
# a killed step counts as a failed one, which is not tried again; a killed run is
ALONE = {"executor": dg.in_process_executor, "asset_checks": [agrees_with_the_platform]}
defs = dg.Definitions([extend_month], jobs=[DUE], schedules=[HOURLY], **ALONE)
