"""Materialize every month of a small platform with `pipelines/dagster_extend.py`, and run its check and its job.

DOCRUNS_FIRST_MONTH=2026-05-01 python on_dagster.py, in the environment of Dagster
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import dagster as dg

from docruns.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "pipelines"))


def main() -> None:
    """Exits with an error where a step fails."""
    with Sandbox(runs=40, plextera_runs=0, seed=3) as platform, dg.DagsterInstance.ephemeral() as instance:
        os.environ["SOURCES__EXTEND__BASE_URL"] = platform.extend_url
        import dagster_extend as jobs

        for month in jobs.MONTHS.get_partition_keys():
            done = dg.materialize([jobs.extend_month], partition_key=month, instance=instance)
            rows = done.asset_materializations_for_node("extend_month")
            held = {each.asset_key.path[-1]: each.metadata["rows"].value for each in rows}
            print(f"=> {month}: {held['workflow_runs']} workflow runs", flush=True)
        due = jobs.defs.get_job_def("extend_due").execute_in_process(instance=instance)
        assert due.success
        (checked,) = (
            dg.Definitions(asset_checks=[jobs.agrees_with_the_platform])
            .get_implicit_global_asset_job_def()
            .execute_in_process(instance=instance)
            .get_asset_check_evaluations()
        )
        assert checked.passed, checked.metadata
        print("=> the check agrees", flush=True)
        platform.fault("status", status=401, times=None)
        refused = jobs.defs.get_job_def("extend_due").execute_in_process(
            instance=instance, raise_on_error=False
        )
        events = [event.event_type_value for event in refused.all_events]
        assert "STEP_FAILURE" in events and "STEP_UP_FOR_RETRY" not in events, events
        print("=> a refused key is not tried again", flush=True)


if __name__ == "__main__":
    main()
