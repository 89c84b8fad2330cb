"""SQLite by SQLAlchemy: the rows of DuckDB, with moments and JSON as such, by the command and by a plain pipeline."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import dlt
import pytest
from typer.testing import CliRunner

from docruns import extend
from docruns.commands.cli.app import app
from docruns.sandbox import Sandbox


@pytest.fixture(autouse=True)
def configured(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings that .dlt/config.toml and secrets.toml would contain."""
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", f"sqlite:///{tmp_path / 'runs.sqlite'}")
    monkeypatch.setenv("SOURCES__EXTEND__BASE_URL", sandbox.extend_url)


def docruns(*arguments: str) -> dict[str, Any]:
    """The JSON object that a command on SQLite prints. It must succeed."""
    result = CliRunner().invoke(app, [*arguments, "--destination", "sqlalchemy", "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query; a dataset is a file beside the one that the address names."""
    with closing(sqlite3.connect(folder / "runs__extend.sqlite")) as connection:
        return connection.execute(sql).fetchall()


def test_a_plain_pipeline_and_the_command(sandbox: Sandbox, tmp_path: Path) -> None:
    """A plain pipeline stores JSON as JSON, and its rows are those of the platform: the command continues them,
    fetches nothing twice, and finds what has changed and what was deleted."""
    pipeline = dlt.pipeline(
        "plain", pipelines_dir=str(tmp_path), destination="sqlalchemy", dataset_name="extend"
    )
    pipeline.run(extend())
    for (text,) in rows(tmp_path, "SELECT metadata FROM workflow_runs WHERE metadata IS NOT NULL"):
        assert isinstance(json.loads(text), dict)
    assert rows(
        tmp_path, "SELECT 1 FROM workflow_runs WHERE json_extract(metadata, '$.internal_id') IS NOT NULL"
    )
    assert docruns("load", "extend")["fetched"] == 0
    assert len(sandbox.extend.review(5)) == docruns("load", "extend")["fetched"]
    assert docruns("verify", "extend", "--deep", "1000")["equal"]
    ((gone,),) = rows(tmp_path, "SELECT id FROM workflow_runs ORDER BY id LIMIT 1")
    sandbox.extend.delete(gone)
    assert docruns("sweep", "extend", "--yes")["marked"]["workflow_runs"] == 1
    assert docruns("verify", "extend")["equal"]
    (report,) = json.loads(
        CliRunner().invoke(app, ["status", "--destination", "sqlalchemy", "--json"]).stdout
    )
    assert (report["dataset"], report["workflow_runs"], report["deleted"], report["complete"]) == (
        "extend",
        40,
        1,
        True,
    )
    assert report["watermark"].endswith("Z") and report["at_work"] is None
    found = rows(tmp_path, "SELECT id FROM workflow_runs WHERE deleted_at > '2026-01-01 00:00:00'")
    assert found == [(gone,)]
