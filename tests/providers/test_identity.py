"""A dataset holds the runs of one platform and one workspace, because the state of one would hide runs of the
other.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from docruns.commands.load import load_runs
from docruns.commands.reconcile.sweep import sweep_deleted
from docruns.commands.reconcile.verify import verify_runs
from docruns.core.errors import ConfigError
from docruns.core.settings import platform_of
from docruns.providers.extend import connect_extend
from docruns.providers.extend import source as module
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from support.loading import FEW_LISTED, connect, query


@pytest.fixture(scope="module")
def sandbox() -> Any:
    """A platform that no test changes."""
    with Sandbox(8, standalone=2, plextera_runs=8, corpus=FEW_LISTED) as running:
        yield running


def load_into(database: Path, sandbox: Sandbox, provider: str = "extend", **options: Any) -> Any:
    """Load into a database whose name is not that of its dataset."""
    return load_runs(connect(sandbox, provider, **options), Target(provider, database))


def moved(database: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load as if the platform had another address."""
    monkeypatch.setattr(module, "platform_of", lambda _: "api.extend.ai")
    load_into(database, sandbox)


def test_runs_of_another_platform_are_refused(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watermark of one platform, the demo's for example, would hide runs of the other."""
    database = tmp_path / "d.duckdb"
    load_into(database, sandbox)
    requests = sandbox.stats.requests
    with pytest.raises(ConfigError, match=r"this machine.*api\.extend\.ai.*--dataset") as refused:
        moved(database, sandbox, monkeypatch)
    assert refused.value.key == "sources.extend.base_url"
    assert refused.value.exit_code == 2
    assert sandbox.stats.requests == requests
    assert query(database, "SELECT count(*) FROM extend.syncs") == [(1,)]


@pytest.mark.parametrize("provider", ["extend", "plextera"])
def test_runs_of_another_workspace_are_refused(tmp_path: Path, sandbox: Sandbox, provider: str) -> None:
    """An organisation's key reaches several workspaces, and each has its own watermark."""
    name = {"extend": "workspace_id", "plextera": "workspace"}[provider]
    load_into(tmp_path / "d.duckdb", sandbox, provider, **{name: "ws_a"})
    with pytest.raises(ConfigError, match=r"ws_a.*ws_b") as refused:
        load_into(tmp_path / "d.duckdb", sandbox, provider, **{name: "ws_b"})
    assert refused.value.key == f"sources.{provider}.{name}"


@pytest.mark.parametrize(("before", "now"), [("ws_a", None), (None, "ws_b")])
def test_a_workspace_that_is_not_set(
    tmp_path: Path, sandbox: Sandbox, before: str | None, now: str | None
) -> None:
    """The refusal reads well also where one of the loads names no workspace, and says what to do."""
    load_into(tmp_path / "d.duckdb", sandbox, workspace_id=before)
    with pytest.raises(ConfigError) as refused:
        load_into(tmp_path / "d.duckdb", sandbox, workspace_id=now)
    owners = [
        f"the workspace {name}" if name else "the key's own workspace (no workspace_id is set)"
        for name in (before, now)
    ]
    todo = "set it to ws_a." if before else "remove the setting."
    message = str(refused.value)
    assert f"extend holds runs of {owners[0]}, and this load reads {owners[1]}: " in message
    assert f"Name another --dataset (or --database), or {todo}" in message
    assert "None" not in message


def test_a_full_load_takes_nothing_for_known(tmp_path: Path, sandbox: Sandbox) -> None:
    """`--full` continues the dataset under another address, and loses nothing if the load is interrupted."""
    database = tmp_path / "d.duckdb"
    load_into(database, sandbox)
    with Sandbox(8, seed=11, standalone=2, corpus=FEW_LISTED) as other:
        # all of it is older than what is loaded
        cut = load_into(database, other, workspace_id="ws_b", full=True, max_runs=3)
        assert not cut.complete
        assert load_into(database, other, workspace_id="ws_b").complete
    found = "SELECT workspace, count(*) FROM extend.workflow_runs GROUP BY 1 ORDER BY 1"
    assert query(database, found) == [("ws_b", 8), (None, 8)]


@pytest.mark.parametrize("full", [False, True])
def test_versions_whose_runs_have_other_ids_do_not_mix(tmp_path: Path, sandbox: Sandbox, full: bool) -> None:
    """The dataset would have every processor run twice, once under each id."""
    database = tmp_path / "d.duckdb"
    load_into(database, sandbox, api_version="2025-04-21")
    load_into(database, sandbox, api_version="2024-12-23")
    with pytest.raises(ConfigError, match=r"other ids.*--dataset") as refused:
        load_into(database, sandbox, api_version="2026-02-09", full=full)
    assert refused.value.key == "sources.extend.api_version"


@pytest.mark.parametrize("compare", [verify_runs, sweep_deleted])
def test_runs_of_a_version_with_other_ids_are_not_compared(
    tmp_path: Path, sandbox: Sandbox, compare: Callable[..., Any]
) -> None:
    """All runs would be missing, or gone. The words are those of a load, which would refuse as well."""
    database = tmp_path / "d.duckdb"
    load_into(database, sandbox, api_version="2025-04-21")
    with pytest.raises(ConfigError) as refused:
        load_into(database, sandbox)
    requests = sandbox.stats.requests
    with pytest.raises(ConfigError) as found:
        compare(connect(sandbox, "extend"), Target("extend", database))
    assert str(found.value) == str(refused.value)
    assert sandbox.stats.requests == requests


def test_a_dataset_that_says_nothing_takes_what_comes(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Datasets of older versions do not store whose runs they hold."""
    database = tmp_path / "d.duckdb"
    with monkeypatch.context() as patch:
        patch.setattr("docruns.providers.identity.check_identity", lambda _: None)
        load_into(database, sandbox)
    moved(database, sandbox, monkeypatch)
    monkeypatch.undo()
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    with pytest.raises(ConfigError, match=r"api\.extend\.ai.*this machine"):
        load_into(database, sandbox)


def test_all_addresses_of_this_machine_are_one_platform() -> None:
    """A sandbox has a new port each time, and the oldest API version has its own host."""
    assert platform_of("http://127.0.0.1:1/x") == platform_of("http://[::1]:2") == "this machine"
    assert platform_of("https://API.eu1.extend.ai/") == "api.eu1.extend.ai"
    first, *others = (source(version) for version in ("v1", "2025-04-21", "2024-12-23"))
    assert all(first == other for other in others)
    assert source("2026-02-09")["base_url"] == first["base_url"] == "api.extend.ai"


def source(version: str) -> Any:
    """The identity of the runs that Extend's source loads."""
    return connect_extend("k" * 20, api_version=version).settings.origin


def test_another_filter_of_the_lists_is_refused(tmp_path: Path, sandbox: Sandbox) -> None:
    """The lists of another filter show other runs, and the state would hide those that are old. A full load reads them
    all."""
    database, count = tmp_path / "d.duckdb", "SELECT count(*) FROM plextera.workflow_runs"
    load_into(database, sandbox, "plextera", extra_params={"status": "FAILED"})
    few = query(database, count)
    with pytest.raises(ConfigError, match="plextera was loaded with other parameters") as refused:
        load_into(database, sandbox, "plextera")
    # a parameter can be a secret
    assert "FAILED" not in str(refused.value)
    assert "FAILED" not in str(
        connect(sandbox, "plextera", extra_params={"status": "FAILED"}).settings.origin
    )
    assert load_into(database, sandbox, "plextera", full=True).complete
    assert query(database, count) > few


@pytest.mark.parametrize(
    ("provider", "setting", "before", "now"),
    [("plextera", "max_depth", 0, 5), ("extend", "include_parse_output", False, True)],
)
def test_a_setting_of_the_rows_that_has_changed(
    tmp_path: Path,
    sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    provider: str,
    setting: str,
    before: Any,
    now: Any,
) -> None:
    """A warning says once that loaded runs keep their rows; a full load reads them again without one."""
    database = tmp_path / "d.duckdb"
    load_into(database, sandbox, provider, **{setting: before})
    load_into(database, sandbox, provider, **{setting: before})
    assert caplog.text == ""
    load_into(database, sandbox, provider, **{setting: now})
    said = f"sources.{provider}.{setting} was {json.dumps(before)} and is {json.dumps(now)} now"
    assert caplog.text.count(said) == 1
    assert "--full reads them again" in caplog.text
    load_into(database, sandbox, provider, **{setting: now})
    load_into(database, sandbox, provider, **{setting: before}, full=True)
    assert caplog.text.count("keep their rows") == 1
