"""Fixtures that more than one module of tests uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from docruns import extend
from docruns.load import Summary, Target, load
from docruns.sandbox import Sandbox
from docruns.sync import Sync
from loading import Loader


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own working directory, dlt folder and configuration, and no key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    for name in ("EXTEND_API_KEY", "EXTEND_WORKSPACE_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A small platform of its own."""
    with Sandbox(runs=40, seed=3) as running:
        yield running


@pytest.fixture
def load_extend(sandbox: Sandbox, tmp_path: Path) -> Loader:
    """Load the sandbox's runs into a DuckDB file; keywords go to `extend`."""

    def run(database: Path = tmp_path / "t.duckdb", **options: Any) -> tuple[Summary, Sync]:
        syncs: list[Sync] = []
        options.setdefault("base_url", sandbox.extend_url)

        def make(on_sync: Callable[[Sync], None]) -> Any:
            return extend(**options, on_sync=lambda sync: (syncs.append(sync), on_sync(sync)))

        summary = load(make, Target("extend", database))
        return summary, syncs[0]

    return run
