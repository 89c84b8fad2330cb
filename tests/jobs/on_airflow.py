"""Run the DAGs of `pipelines/airflow_extend.py` on a small platform: hourly, a month, a backfill, and what goes wrong.

AIRFLOW_HOME=… DOCRUNS_RETRY_S=1 python on_airflow.py, in the environment of Airflow, after `airflow db migrate`
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docruns
from docruns.sandbox import Sandbox
from jobs.faults import FAULTS, at_work, kill_while_it_loads

ROOT = Path(__file__).parents[2]
DATABASE = Path(os.environ["DOCRUNS_DATABASE"])
LISTS = 1.5
sys.path.insert(0, str(ROOT / "pipelines"))


def states(run: Any) -> dict[str, str]:
    """The state of each task of a DAG run."""
    return {str(task.task_id): str(task.state) for task in run.get_task_instances()}


def a_month(job: Any) -> None:
    """The interval of a month begins and ends with it, and nothing else is loaded."""
    run = job.monthly.test(logical_date=datetime(2026, 9, 1, tzinfo=UTC))
    assert states(run) == {"load": "success"}, states(run)
    begin, end = run.data_interval_start, run.data_interval_end
    assert (end - begin).days >= 28, (begin, end)
    query = "SELECT count(*), min(updated_at), max(updated_at) FROM workflow_runs"
    (held,) = docruns.read(job.DATABASE).sql(query).values
    assert held[0] and held[1] >= begin and held[2] < end
    print(f"=> {begin:%Y-%m-%d} to {end:%Y-%m-%d}: {held[0]} workflow runs", flush=True)


def months(job: Any, platform: Sandbox) -> None:
    """A backfill reads the lists once."""
    platform.stats.reset()
    docruns.load("extend", database=DATABASE.with_name("once.duckdb"))
    at_once = platform.stats.lists
    platform.stats.reset()
    run = job.backfill.test(run_conf={"months": "2026-07..2026-09"})
    assert states(run) == {"load": "success"}, states(run)
    assert platform.stats.lists <= LISTS * at_once, (platform.stats.lists, at_once)
    print(f"=> three months at once: {platform.stats.lists} list requests, {at_once} of one load", flush=True)


def faults(job: Any, platform: Sandbox) -> None:
    """Airflow tries again what may pass, and nothing else."""
    for number, fault in enumerate(FAULTS):
        job.DATABASE = DATABASE.with_name(f"fault{number}.duckdb")
        with at_work(fault, platform, job.DATABASE) as tries:
            run = job.backfill.test(run_conf={"months": "2026-09..2026-09"})
        assert tries.number == (2 if fault.may_pass else 1), (fault, tries.number)
        assert states(run) == {"load": "success" if fault.may_pass else "failed"}, (fault, states(run))
        print(f"=> {fault.name}: {'tried again' if fault.may_pass else 'failed at once'}", flush=True)
    job.DATABASE = DATABASE


@contextmanager
def execution_api(log: Path) -> Iterator[None]:
    """Airflow's server for tasks, which then run in processes of their own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    os.environ |= {
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
    }
    airflow = str(Path(sys.executable).parent / "airflow")
    server = [
        airflow,
        "api-server",
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--workers",
        "1",
        "--apps",
        "execution",
    ]
    with log.open("w") as out, subprocess.Popen(server, stdout=out, stderr=out) as running:
        try:
            while running.poll() is None and not answers(int(port)):
                time.sleep(0.2)
            yield
        finally:
            running.terminate()


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def killed(job: Any, platform: Sandbox) -> None:
    """A task whose process is killed is tried again, and goes on where it was."""
    database = DATABASE.with_name("killed.duckdb")
    # the process of the task reads the file of the DAGs again
    os.environ["DOCRUNS_DATABASE"] = str(database)
    with execution_api(DATABASE.with_name("api.log")):
        killer = kill_while_it_loads(platform, database)
        run = job.backfill.test(run_conf={"months": "2026-07..2026-09"}, use_executor=True)
    killer.join(1)
    (task,) = run.get_task_instances()
    assert (task.state, task.try_number) == ("success", 2), (task.state, task.try_number)
    print("=> a killed task: tried again", flush=True)


def main() -> None:
    """Exits with an error where a step fails."""
    with Sandbox(runs=20, plextera_runs=0, seed=3) as platform:
        os.environ["SOURCES__EXTEND__BASE_URL"] = platform.extend_url
        import airflow_extend as job

        a_month(job)
        months(job, platform)
        run = job.hourly.test()
        assert set(states(run).values()) == {"success"}, states(run)
        print("=> the hourly load agrees with the platform", flush=True)
        faults(job, platform)
        killed(job, platform)


if __name__ == "__main__":
    main()
