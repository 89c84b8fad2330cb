"""`docruns doctor`: what is wrong with a database and its loads, and what to do."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from docruns.commands.health import doctor
from docruns.commands.health.doctor import Finding, Limits, examine, exit_code
from docruns.sandbox import Sandbox
from docruns.store.target import Target, exclusive
from proofs.children import Children
from support.processes import HOLD_FILE, another


@pytest.fixture(autouse=True)
def address(few_runs: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform is in the environment, as for a scheduled job."""
    monkeypatch.setenv("SOURCES__EXTEND__BASE_URL", few_runs.extend_url)


LIMITS = Limits()


def topics(database: Path, limits: Limits = LIMITS) -> dict[str, Finding]:
    """The gravest finding of each topic."""
    found = sorted(examine(database, limits), key=lambda each: bool(each.exit_code))
    return {finding.topic: finding for finding in found}


def test_a_healthy_database(loaded: Path, few_runs: Sandbox) -> None:
    """All is well: the key, the last load, the rows, the disk. One request is sent."""
    found = examine(loaded, Limits())
    assert exit_code(found) == 0, found
    said = {finding.topic: finding.text for finding in found}
    assert "accepts the key" in said["key"] and said["quarantine"] == "empty"
    assert "min ago, complete, watermark" in said["last load"]
    assert said["rows"] == "each key has one row, and each package is whole"
    assert "docruns " in said["versions"] and "GB are free" in said["disk"]
    assert sum(few_runs.stats.routes.values()) == 1


def test_each_kind_of_trouble(loaded: Path) -> None:
    """Each trouble is named with its advice, and has the exit code of who must act."""
    with duckdb.connect(str(loaded)) as connection:
        connection.execute(
            "INSERT INTO extend.quarantine BY NAME SELECT 'workflow_runs' AS resource, 'run_' || n AS id, "
            "now() AS first_seen_at, now() AS last_seen_at, 1 AS attempts, 'ShapeError' AS error, "
            "'run run_' || n || ': no id' AS message, _dlt_load_id FROM range(3) AS t (n), extend.syncs LIMIT 3"
        )
        connection.execute(
            "UPDATE extend.workflow_runs SET is_final = false, updated_at = '2020-01-01' WHERE id = "
            "(SELECT min(id) FROM extend.workflow_runs)"
        )
        connection.execute("UPDATE extend.syncs SET incomplete_lists = 'workflow_runs: 3 are missing'")
    found = topics(loaded)
    assert exit_code(list(found.values())) == 3
    assert found["quarantine"].text.startswith("3 of workflow_runs since 20")
    assert found["quarantine"].text.endswith("ShapeError: run …: no id")
    assert found["unfinished"].text == "2 workflow runs have not become final for 30 days"
    assert found["left out"].text == "lists that may lack runs: workflow_runs: 3 are missing"
    with duckdb.connect(str(loaded)) as connection:
        connection.execute("INSERT INTO extend.fields SELECT * FROM extend.fields LIMIT 2")
        connection.execute("UPDATE extend.syncs SET finished_at = finished_at - INTERVAL 3 DAY")
    found = topics(loaded)
    assert exit_code(list(found.values())) == 1
    assert found["rows"].text == "keys with more than one row: 2 in fields"
    assert found["rows"].advice == "Run `docruns load extend --full`."
    assert found["last load"].text.startswith("3 days ago, complete")
    assert topics(loaded, Limits(load_age=timedelta(days=9)))["last load"].exit_code == 0


def test_key_disk_and_locks(
    loaded: Path, few_runs: Sandbox, monkeypatch: pytest.MonkeyPatch, children: Children
) -> None:
    """A refused key ends with 4. A held file is a finding; a load at work is none, unless it hangs."""
    few_runs.fault("status", status=401)
    ended = children.run(
        loaded.parent, "doctor", "--json", environment={"SOURCES__EXTEND__BASE_URL": few_runs.extend_url}
    )
    found = json.loads(ended.out)
    assert (ended.code, found["exit_code"]) == (4, 4)
    assert [each["topic"] for each in found["findings"] if each["exit_code"]] == ["key"]
    monkeypatch.setattr(doctor, "FREE_BYTES", 10**18)
    assert (topics(loaded)["disk"].exit_code, topics(loaded)["disk"].advice[:4]) == (1, "Free")
    monkeypatch.setattr(doctor, "FREE_BYTES", 0)
    with exclusive(Target("extend", loaded), "docruns load extend"):
        assert topics(loaded)["locks"].exit_code == 0
        assert topics(loaded, Limits(load_age=timedelta(seconds=-5)))["locks"].exit_code == 1
    monkeypatch.setattr(doctor, "_WAIT_S", 0.1)
    with another(HOLD_FILE, str(loaded)) as process:
        assert str(process.pid) in topics(loaded)["locks"].text


def test_spans() -> None:
    """Ages are in the unit that people use."""
    spans = [doctor._span(timedelta(minutes=m)) for m in (0, 119, 120, 2879, 2880)]
    assert spans == ["0 min", "119 min", "2 h", "47 h", "2 days"]
