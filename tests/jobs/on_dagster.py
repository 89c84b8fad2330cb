"""Run `pipelines/dagster_extend.py` on a small platform: six months in one run, the check, the hourly job, two jobs at
once, and what goes wrong.

DOCRUNS_FIRST_MONTH=2026-04-01 DOCRUNS_RETRY_S=1 python on_dagster.py, in the environment of Dagster
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import dagster as dg

import docruns
from docruns.sandbox import Sandbox
from jobs.faults import FAULTS, at_work, kill_while_it_loads

ROOT = Path(__file__).parents[2]
DATABASE = Path(os.environ["DOCRUNS_DATABASE"])
MONTH_MS = 30 * 86_400_000
LISTS = 1.5
sys.path.insert(0, str(ROOT / "pipelines"))

RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
QUIET = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}
"""Two runs in threads of one process cannot both capture its output."""


def six_months(running: Sandbox) -> None:
    """Runs of April to September."""
    for _ in range(4):
        running.extend.clock.advance(MONTH_MS)
        running.extend.add(3)


def events(result: Any) -> list[str]:
    """The kinds of the events of a run."""
    return [event.event_type_value for event in result.all_events]


def months(job: Any, platform: Sandbox, instance: dg.DagsterInstance) -> None:
    """Six partitions in one run, with hardly more list requests than one load."""
    docruns.load("extend", database=DATABASE.with_name("once.duckdb"))
    at_once = platform.stats.lists
    platform.stats.reset()
    keys = job.MONTHS.get_partition_keys()[:6]
    tags = dict(zip(RANGE, (keys[0], keys[-1]), strict=True))
    done = dg.materialize([job.extend_month], instance=instance, tags=tags)
    assert done.success
    assert platform.stats.lists <= LISTS * at_once, (platform.stats.lists, at_once)
    for spec in job.SPECS:
        assert set(instance.get_materialized_partitions(spec.key)) == set(keys), spec.key
    ((rows,),) = docruns.read(DATABASE).sql("SELECT count(*) FROM workflow_runs").values
    lists = f"{platform.stats.lists} list requests, {at_once} of one load"
    print(f"=> {keys[0]} to {keys[-1]}: {rows} workflow runs, {len(job.SPECS)} assets, {lists}", flush=True)


def faults(job: Any, platform: Sandbox, instance: dg.DagsterInstance) -> None:
    """Dagster tries again what may pass, and nothing else."""
    due = job.defs.get_job_def("extend_due")
    for number, fault in enumerate(FAULTS):
        job.DATABASE = DATABASE.with_name(f"fault{number}.duckdb")
        with at_work(fault, platform, job.DATABASE) as tries:
            ended = due.execute_in_process(instance=instance, raise_on_error=False)
        seen = events(ended)
        assert tries.number == (2 if fault.may_pass else 1), (fault, tries.number)
        assert ended.success == fault.may_pass, (fault, seen)
        assert ("STEP_UP_FOR_RETRY" in seen) == fault.may_pass, (fault, seen)
        print(f"=> {fault.name}: {'tried again' if fault.may_pass else 'failed at once'}", flush=True)
    job.DATABASE = DATABASE


def two_at_once(job: Any, instance: dg.DagsterInstance) -> None:
    """Two jobs that are started together load one after the other."""
    instance.event_log_storage.set_concurrency_slots("docruns_extend", 1)
    due, ended = job.defs.get_job_def("extend_due"), []

    def run() -> None:
        ended.append(due.execute_in_process(instance=instance, raise_on_error=False))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.success for result in ended] == [True, True]
    assert not any("STEP_UP_FOR_RETRY" in events(result) for result in ended)
    print("=> two jobs at once take turns", flush=True)


def killed(platform: Sandbox) -> None:
    """A run that is killed is started again by Dagster's daemon, with the settings of `pipelines/dagster.yaml`."""
    home, database = DATABASE.with_name("home"), DATABASE.with_name("killed.duckdb")
    home.mkdir()
    shutil.copy(ROOT / "pipelines" / "dagster.yaml", home)
    environment = {**os.environ, "DAGSTER_HOME": str(home), "DOCRUNS_DATABASE": str(database)}
    bin, file = Path(sys.executable).parent, ("-f", str(ROOT / "pipelines" / "dagster_extend.py"))
    launch = [str(bin / "dagster"), "job", "launch", *file, "-j", "extend_due"]
    with (home / "log").open("w") as log, dg.DagsterInstance.from_config(str(home)) as instance:
        said = {"env": environment, "stdout": log, "stderr": log}
        daemon = subprocess.Popen([str(bin / "dagster-daemon"), "run", *file], **said)
        try:
            subprocess.run(launch, check=True, **said)
            kill_while_it_loads(platform, database).join(300)
            statuses: list[str] = []
            give_up = time.monotonic() + 300
            while statuses != ["FAILURE", "SUCCESS"] and time.monotonic() < give_up:
                time.sleep(0.5)
                statuses = sorted(run.status.value for run in instance.get_runs())
            assert statuses == ["FAILURE", "SUCCESS"], (statuses, (home / "log").read_text()[-8000:])
        finally:
            daemon.terminate()
            daemon.wait()
    print("=> a killed run: started again", flush=True)


def main() -> None:
    """Exits with an error where a step fails."""
    with (
        Sandbox(runs=12, plextera_runs=0, seed=3, now="2026-05-25") as platform,
        dg.DagsterInstance.local_temp(overrides=QUIET) as instance,
    ):
        six_months(platform)
        os.environ["SOURCES__EXTEND__BASE_URL"] = platform.extend_url
        import dagster_extend as job

        months(job, platform, instance)
        due = job.defs.get_job_def("extend_due").execute_in_process(instance=instance)
        assert due.success
        (checked,) = (
            dg.Definitions(asset_checks=[job.agrees_with_the_platform])
            .get_implicit_global_asset_job_def()
            .execute_in_process(instance=instance)
            .get_asset_check_evaluations()
        )
        assert checked.passed, checked.metadata
        print("=> the check agrees", flush=True)
        two_at_once(job, instance)
        faults(job, platform, instance)
        killed(platform)


if __name__ == "__main__":
    main()
