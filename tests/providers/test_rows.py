"""`docruns.rows`: the reader of answers, for engines that have no dlt."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

import docruns
from docruns.core.errors import ConfigError, ShapeError
from docruns.core.tables import FIELDS, PROCESSOR_RUNS, WORKFLOW_RUNS
from docruns.sandbox import Sandbox
from docruns.sync.plan import ListedRun
from support.loading import connect

CPU = "import resource, sys; {}; print(resource.getrusage(resource.RUSAGE_SELF).ru_utime, *sys.modules)"


def imported(statement: str) -> tuple[float, set[str]]:
    """Seconds of CPU that a process takes to run a statement, and the modules that it has then."""
    command = [sys.executable, "-c", CPU.format(statement)]
    seconds, *modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), {name.partition(".")[0] for name in modules}


def test_the_reader_imports_little() -> None:
    """The readers need no dlt, pyarrow, httpx or pandas, and little more time than msgspec."""
    pairs = []
    for _ in range(3):
        base, _ = imported("import msgspec")
        ours, modules = imported("import docruns; docruns.rows('extend'); docruns.rows('plextera', 'v1')")
        assert not modules & {
            "dlt",
            "pyarrow",
            "httpx",
            "aiohttp",
            "pandas",
            "duckdb",
            "fsspec",
            "typer",
            "rich",
        }
        pairs.append(ours / max(base, 0.01))
    assert min(pairs) < 8


@pytest.mark.parametrize("provider", ["extend", "plextera"])
def test_rows_of_any_answer(sandbox: Sandbox, provider: str) -> None:
    """The reader gives the rows of workflow runs and of processor runs, listed in either form."""
    platform, read = connect(sandbox, provider), docruns.rows(provider, workspace="ours")
    counted = {"workflow_runs": 0, "processor_runs": 0, "fields": 0}
    with platform.client as client:
        for run_list in platform.lists:
            page = next(page for page in run_list.pages(None) if page)
            for run in page[:5]:
                body = client.get(run_list.detail(run.id)).body if run_list.detail else None
                parsed = read(body, run)
                row: dict[str, Any] = {"feed": run_list.name, **run._asdict()}
                row["summary"] = json.dumps(run.summary)
                again = read(body, row)
                for table in (WORKFLOW_RUNS, PROCESSOR_RUNS, FIELDS):
                    assert parsed.batch.dicts(table) == again.batch.dicts(table)
                    counted[table.name] += len(parsed.batch.dicts(table))
                own = WORKFLOW_RUNS if run_list is platform.lists[0] else PROCESSOR_RUNS
                ids = [each["id"] for each in parsed.batch.dicts(own) if each["workspace"] == "ours"]
                assert run.id in ids
    assert all(counted.values())


def test_what_is_no_answer() -> None:
    """The reader raises an error for another run's answer, and names a wrong provider or version."""
    listed = ListedRun("workflow_run_1", "PROCESSED", None, None)
    with pytest.raises(ShapeError):
        docruns.rows("extend")(b'{"object": "workflow_run", "id": "workflow_run_2"}', listed)
    with pytest.raises(ConfigError, match="no platform"):
        docruns.rows("other")
    for provider in ("extend", "plextera"):
        with pytest.raises(ConfigError, match="api_version"):
            docruns.rows(provider, "v0")
