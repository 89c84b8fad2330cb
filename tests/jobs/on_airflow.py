"""Run the DAGs of `pipelines/airflow_extend.py` on a small platform: hourly, a backfill by month, a refused key.

AIRFLOW_HOME=… python on_airflow.py, in the environment of Airflow, after `airflow db migrate`
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docruns
from docruns.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "pipelines"))


def states(run: Any) -> dict[str, str]:
    """The state of each task of a DAG run."""
    return {str(task.task_id): str(task.state) for task in run.get_task_instances()}


def main() -> None:
    """Exits with an error where a step fails."""
    with Sandbox(runs=40, plextera_runs=0, seed=3) as platform:
        os.environ["SOURCES__EXTEND__BASE_URL"] = platform.extend_url
        import airflow_extend as jobs

        for first in (datetime(2026, 8, 1, tzinfo=UTC), datetime(2026, 9, 1, tzinfo=UTC)):
            run = jobs.monthly.test(logical_date=first)
            assert states(run) == {"load_month": "success"}, states(run)
            begin, end = run.data_interval_start, run.data_interval_end
            assert (end - begin).days >= 28, (begin, end)
            query = "SELECT count(*), min(updated_at), max(updated_at) FROM workflow_runs"
            (held,) = docruns.read(jobs.DATABASE).sql(query).values
            print(
                f"=> {begin:%Y-%m-%d} to {end:%Y-%m-%d}: {held[0]} workflow runs in the database", flush=True
            )
            assert held[1] >= datetime(2026, 7, 1, tzinfo=UTC) and held[2] < end
        run = jobs.hourly.test()
        assert set(states(run).values()) == {"success"}, states(run)
        print("=> the hourly load agrees with the platform", flush=True)
        platform.fault("status", status=401, times=None)
        run = jobs.hourly.test()
        assert states(run)["load_what_is_due"] == "failed", states(run)
        platform.clear_faults()
        platform.fault("status", status=429, retry_after=3600, times=None)
        # Airflow tries any other error than AirflowFailException again, five minutes later
        try:
            jobs.call("load")
        except RuntimeError:
            print("=> a refused key is not tried again, a busy platform is", flush=True)
        else:
            sys.exit("a busy platform is no error")


if __name__ == "__main__":
    main()
