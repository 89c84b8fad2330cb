"""Sync through all layers: windows, unfinished runs, deleted runs, small states."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from docruns.commands.load import load_runs
from docruns.core.batch import Batch
from docruns.core.errors import RefusedError
from docruns.core.parsed import ParsedRun
from docruns.core.settings import Settings
from docruns.net.messages import Retry, Usage
from docruns.providers.extend import connect_extend
from docruns.sandbox import Sandbox
from docruns.sandbox.wire import Reply
from docruns.store.target import Target
from docruns.sync.lists import Platform, RunList
from docruns.sync.plan import ListedRun
from docruns.sync.quarantine import excerpt
from docruns.sync.sync import Sync
from support.leftovers import everything, quoted
from support.loading import FEW_LISTED, Loader, query
from support.planted import plant


def workflow_truth(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    """The platform's workflow runs by id."""
    return {r["id"]: r for r in sandbox.extend.truth() if r["resource"] == "workflow_runs"}


def held(database: Path) -> dict[str, str]:
    """Status by id of the workflow runs in a database."""
    return dict(query(database, "SELECT id, status FROM extend.workflow_runs"))


def truth(sandbox: Sandbox) -> dict[str, str]:
    """Status by id of the platform's workflow runs."""
    return {id_: run["status"] for id_, run in workflow_truth(sandbox).items()}


def fetched(sandbox: Sandbox) -> int:
    """Workflow runs fetched in full since the last reset."""
    return sandbox.stats.routes.get("GET /workflow_runs/{id}", 0)


def test_what_since_left_out_is_loaded_later(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """A load with --since, then one without: all runs are loaded, each fetched once."""
    times = sorted(run["updated_at"] for run in workflow_truth(sandbox).values())
    database = tmp_path / "s.duckdb"
    load_extend(database, since=times[25])
    assert 0 < len(held(database)) < 40
    load_extend(database, since=times[10])
    load_extend(database)
    assert held(database) == truth(sandbox)
    assert fetched(sandbox) == 40
    load_extend(database)
    assert fetched(sandbox) == 40


def test_window_apart_from_what_is_loaded_leaves_no_gap(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A window above a gap is loaded, and the next load without a window loads the gap."""
    times = sorted(run["updated_at"] for run in workflow_truth(sandbox).values())
    database = tmp_path / "w.duckdb"
    load_extend(database, until=times[10])
    load_extend(database, since=times[30])
    between = len(held(database))
    assert 10 < between < 40
    load_extend(database)
    assert held(database) == truth(sandbox)
    assert fetched(sandbox) == 40


def test_interrupted_window_is_not_fetched_twice(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The database shows which runs below the watermark an earlier load has loaded."""
    times = sorted(run["updated_at"] for run in workflow_truth(sandbox).values())
    database = tmp_path / "i.duckdb"
    load_extend(database, since=times[30])
    load_extend(database, max_runs=12, chunk_runs=4)
    load_extend(database)
    assert held(database) == truth(sandbox)
    assert fetched(sandbox) == 40


def test_a_full_load_of_a_window_that_is_interrupted_hides_nothing(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path
) -> None:
    """It ignores loaded runs, and leaves a gap: the watermark stays below the gap."""
    database = tmp_path / "w.duckdb"
    load_extend(database)
    between = sandbox.extend.add(5)
    sandbox.extend.clock.advance(3 * 86_400_000)
    later = sandbox.extend.add(10)
    times = {run_id: run["updated_at"] for run_id, run in workflow_truth(sandbox).items()}
    since = min(times[run_id] for run_id in later)
    load_extend(database, full=True, since=since, max_runs=4)
    load_extend(database)
    assert held(database).keys() >= {*between, *later}


@pytest.mark.fault(27)
def test_run_that_ends_without_a_new_change_is_seen(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path
) -> None:
    """An unfinished run far below the overlap changes only its status: it is fetched again."""
    database = tmp_path / "u.duckdb"
    run = {
        "object": "workflow_run",
        "id": "workflow_run_slow",
        "createdAt": "2026-08-01T00:00:00Z",
        "updatedAt": "2026-08-01T00:00:00Z",
    }
    for status in ("PENDING", "PROCESSING", "NEEDS_REVIEW", "PROCESSED"):
        sandbox.extend.put(json.dumps({**run, "status": status}))
        load_extend(database, recheck_for="3650d")
        assert held(database)["workflow_run_slow"] == status
        sandbox.stats.reset()
        load_extend(database, recheck_for="3650d")
        assert fetched(sandbox) == 0


def test_unfinished_runs_are_given_up_with_age(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """After `recheck_for` a run that never ends costs no list request."""
    database = tmp_path / "g.duckdb"
    load_extend(database, recheck_for="1s")
    sandbox.stats.reset()
    load_extend(database, recheck_for="1s")
    plain = sandbox.stats.routes["GET /workflow_runs"]
    assert plain == 1
    assert fetched(sandbox) == 0


@pytest.mark.fault(26)
def test_state_stays_small(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many runs share a timestamp: the state stores few, and none is fetched twice."""
    monkeypatch.setattr("docruns.sync.plan.MAX_RECENT", 3)
    database = tmp_path / "t.duckdb"
    load_extend(database, overlap="365d")
    state = query(database, "SELECT state FROM extend._dlt_pipeline_state ORDER BY version DESC")
    assert len(state[0][0]) < 10_000
    sandbox.stats.reset()
    summary, _ = load_extend(database, overlap="365d")
    assert fetched(sandbox) == 0
    assert summary.fetched == 0


def simulated(client: Any, run_list: RunList, clock: Callable[[], datetime]) -> Platform:
    """A platform of one list and no resources."""
    return Platform("simulated", client, Settings(), (run_list,), lambda _: [], clock=clock)


def test_a_run_without_details_that_goes_away_stops_nothing() -> None:
    """The list's row is its only data, so it cannot be checked by its id."""
    client: Any = SimpleNamespace(usage=Usage())
    moment = datetime(2026, 9, 1, tzinfo=UTC)
    row = ListedRun("ver_1", "PENDING", moment, moment, False, {"row": "{}"})
    saved: dict[str, Any] = {}

    def run_list_of(pages: list[list[ListedRun]]) -> RunList:
        return RunList("runs", lambda _: iter(pages), lambda *_: ParsedRun(Batch(), "PENDING", False), None)

    for run_list in map(run_list_of, ([[row]], [[]], [[]])):
        sync = Sync(simulated(client, run_list, lambda: moment + timedelta(hours=3)))
        list(sync.batches(run_list, saved))
        assert sync.is_complete
        assert "ver_1" in str(saved)


def test_a_listed_row_without_an_id_is_kept() -> None:
    """A row that cannot be fetched goes to quarantine with its text."""
    client: Any = SimpleNamespace(usage=Usage())
    row = ListedRun("", None, None, None, True, {"row": '{"status": "PROCESSED"}'})
    run_list = RunList("runs", lambda _: iter([[row]]), lambda *_: None, None)  # type: ignore[arg-type,return-value]
    sync = Sync(simulated(client, run_list, lambda: datetime.now(UTC)))
    assert list(sync.plans.walk_lists([(run_list, {})])) == []
    tables = {table.name: rows.to_pylist() for table, rows in sync.package_row()}
    (kept,) = tables["quarantine"]
    assert (kept["resource"], kept["detail"]) == ("runs", '{"status": "PROCESSED"}')
    assert kept["id"].startswith("(no id) ")
    assert tables["syncs"][0]["quarantined"] == 1


def test_what_fails_in_a_window_is_remembered(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disjoint window moves no watermark, but the state still stores its failures."""
    monkeypatch.setattr(Retry.__init__, "__defaults__", (1, 0.0, 0.0, 20.0, 20.0))
    database = tmp_path / "f.duckdb"
    load_extend(database)
    sandbox.extend.clock.advance(3 * 86_400_000)
    bad, *_ = sandbox.extend.add(3)
    since = workflow_truth(sandbox)[bad]["updated_at"]
    sandbox.fault("bad_json", f"/workflow_runs/{bad}", times=None)
    assert load_extend(database, since=since)[0].quarantined == 1
    sandbox.clear_faults()
    assert load_extend(database)[0].quarantined == 0
    found = query(database, "SELECT id, resolved_at IS NULL FROM extend.quarantine")
    assert found == [(bad, False)]


def test_a_list_that_is_away_for_once_is_known_to_lack_what_is_older(
    load_extend: Loader, tmp_path: Path
) -> None:
    """Runs of an optional list that `--since` left out are loaded later, also if the list was missing once."""
    edits = "SELECT count(*) FROM extend.processor_runs WHERE type = 'EDIT'"
    database, whole = tmp_path / "o.duckdb", tmp_path / "w.duckdb"
    with Sandbox(20, seed=1, standalone=30, document_size="light", corpus=FEW_LISTED) as sandbox:
        url = sandbox.extend_url
        load_extend(whole, base_url=url)
        load_extend(database, base_url=url, since="2026-09-10")
        assert query(database, edits) < query(whole, edits)
        sandbox.fault("status", "/edit_runs", status=404, times=1)
        load_extend(database, base_url=url, since="2026-09-10")
        load_extend(database, base_url=url)
    assert query(database, edits) == query(whole, edits)


def test_details_are_under_way_while_a_list_is_asked_for_sources(sandbox: Sandbox, tmp_path: Path) -> None:
    """The pages for the sources come one after the other: the platform's time is used meanwhile."""
    platform = connect_extend(base_url=sandbox.extend_url)
    under_way: dict[str, list[int]] = {}

    def watching(run_list: RunList) -> RunList:
        def of_source(source: str) -> Iterator[list[ListedRun]]:
            for page in run_list.of_source(source):
                requests = sandbox.stats.routes.get(f"GET /{run_list.name}/{{id}}", 0)
                under_way.setdefault(run_list.name, []).append(requests)
                yield page

        return replace(run_list, of_source=of_source)

    lists = tuple(map(watching, platform.lists))
    load_runs(replace(platform, lists=lists), Target("extend", tmp_path / "s.duckdb"))
    assert len(under_way) > 1
    assert all(min(requests) > 0 for requests in under_way.values()), under_way


def test_no_run_is_requested_before_all_lists_are_walked(sandbox: Sandbox, tmp_path: Path) -> None:
    """A row that a list shows later could be newer than the answer, and the load would take the answer for newer."""
    platform = connect_extend(base_url=sandbox.extend_url, page_size=20)
    seen: list[int] = []

    def watching(run_list: RunList) -> RunList:
        def pages(status: str | None) -> Iterator[list[ListedRun]]:
            for page in run_list.pages(status):
                seen.append(
                    sum(sandbox.stats.routes.get(f"GET /{each.name}/{{id}}", 0) for each in platform.lists)
                )
                yield page

        return replace(run_list, pages=pages)

    lists = tuple(map(watching, platform.lists))
    summary = load_runs(replace(platform, lists=lists), Target("extend", tmp_path / "s.duckdb"))
    assert summary.fetched >= 40
    assert len(seen) > len(lists)
    assert set(seen) == {0}


@pytest.mark.parametrize("path", ["/verify_runs", "/edit_runs", "/workflows", "/extractors"])
def test_a_list_that_the_key_may_not_see_stops_nothing(sandbox: Sandbox, tmp_path: Path, path: str) -> None:
    """403 for a secondary list means that the key lacks a right, not that it is wrong."""
    sandbox.fault("status", path, status=403, times=None)
    events: list[tuple[str, str]] = []
    summary = load_runs(
        connect_extend(base_url=sandbox.extend_url),
        Target("extend", tmp_path / "r.duckdb"),
        lambda stage, name, *_: events.append((stage, name)),
    )
    assert summary.complete and summary.fetched > 0 and summary.quarantined == 0
    assert ("refused", path[1:]) in events


def test_a_key_that_may_not_see_the_runs_is_refused(load_extend: Loader, sandbox: Sandbox) -> None:
    """Without the list of workflow runs a load would miss most rows."""
    sandbox.fault("status", "/workflow_runs", status=403, times=None)
    with pytest.raises(RefusedError):
        load_extend()


def test_no_signed_url_of_an_error_is_stored(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """A platform may quote a signed URL in an error: neither the table nor the state stores its query."""
    [bad] = sandbox.extend.add(1)
    message = "cannot read https:\\/\\/files.invalid\\/scan.pdf?X-Amz-Signature=SECRETSIG&x=1"
    body = '{"code": "INVALID", "message": "' + message + '", "retryable": false}'
    plant(sandbox, {f"/extend/workflow_runs/{bad}": lambda _: Reply(422, body.encode())})
    database = tmp_path / "s.duckdb"
    assert load_extend(database)[0].quarantined == 1
    [(message,)] = query(database, "SELECT message FROM extend.quarantine")
    assert "scan.pdf?…" in message
    assert "SECRETSIG" not in excerpt(body.encode())
    assert quoted(everything(database), ["SECRETSIG"]) == {}
