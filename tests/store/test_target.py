"""Where rows may go: a database in memory is gone when the command ends, so no option takes one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from docruns.commands.cli.app import app
from docruns.commands.load import load_runs
from docruns.core.errors import ConfigError
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from support.loading import connect

COMMANDS = [
    ("load", "extend"), ("sweep", "extend"), ("verify", "extend"), ("push", "extend", "--from", "SELECT 1 AS id"),
    ("push", "extend", "--dry-run", "--from", "x.csv"), ("status",), ("demo",), ("notebook",),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("path", [":memory:", ":memory:runs", "md:runs", "sqlite:x.db"])
def test_a_database_that_is_no_file_is_refused(command: tuple[str, ...], path: str, tmp_path: Path) -> None:
    """Every command names the option and the path, exits with 2 and creates nothing."""
    error = CliRunner().invoke(app, [*command, "--database", path]).exception
    assert isinstance(error, ConfigError)
    assert error.key == "--database"
    assert f"{path} is no file" in str(error)
    assert error.exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [Path, str])
def test_a_target_in_memory_is_refused(make: Callable[[str], Any]) -> None:
    """A `Target` made in Python too, and the copy that a load publishes; a file may have such a name elsewhere."""
    with pytest.raises(ConfigError, match=r"--database: :memory: is no file"):
        Target("extend", make(":memory:"))
    assert str(Target("extend", Path("/srv/:memory:"))) == "/srv/:memory:"
    assert Target("extend", make(":memory:"), "postgres").destination == "postgres"


def test_other_places_of_a_path(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--publish`, and a DuckDB destination of dlt's configuration."""
    with pytest.raises(ConfigError, match=r"--publish: :memory: is no file"):
        load_runs(
            connect(sandbox, "extend"), Target("extend", tmp_path / "d.duckdb"), publish=Path(":memory:")
        )
    monkeypatch.setenv("DESTINATION__MINE__DESTINATION_TYPE", "duckdb")
    monkeypatch.setenv("DESTINATION__MINE__CREDENTIALS", ":memory:")
    with pytest.raises(ConfigError, match="is a database in memory"):
        load_runs(connect(sandbox, "extend"), Target("extend", destination="mine"))
    assert sandbox.stats.requests == 0
