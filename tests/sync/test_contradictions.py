"""Platforms that contradict themselves: lists and details that disagree, orders that are not kept, lists refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from docruns.commands.health.check import check_access
from docruns.commands.load import Summary, load_runs
from docruns.core.batch import Batch
from docruns.core.errors import MissingError, RefusedError, ServerError
from docruns.core.parsed import ParsedRun
from docruns.core.settings import Settings
from docruns.net.client import Client
from docruns.net.messages import Request, Retry, Usage
from docruns.providers.extend import connect_extend
from docruns.providers.extend.api import Pager, run_lists
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from docruns.sync.lists import Platform, RunList
from docruns.sync.plan import ListedRun
from docruns.sync.sync import Sync
from support.loading import FEW_LISTED, Loader, query, settled
from support.truth import wrong

Load = Callable[..., Summary]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is tried twice, without waiting."""
    monkeypatch.setattr(Retry.__init__, "__defaults__", (2, 0.0, 0.0, 20.0, 20.0))


@pytest.fixture
def platform() -> Iterator[Sandbox]:
    """A platform for one test."""
    with Sandbox(
        runs=50, standalone=5, seed=3, document_size="light", plextera_runs=0, corpus=FEW_LISTED
    ) as running:
        yield running


@pytest.fixture
def load(load_extend: Loader, platform: Sandbox, tmp_path: Path) -> Load:
    """Load the platform into `c.duckdb`."""
    return lambda **options: load_extend(tmp_path / "c.duckdb", base_url=platform.extend_url, **options)[0]


def ids_of(platform: Sandbox) -> list[str]:
    """The platform's workflow runs, oldest change first."""
    return sorted(changes(platform), key=changes(platform).__getitem__)


def changes(platform: Sandbox) -> dict[str, str]:
    """The last change of each workflow run, by id."""
    return {r["id"]: r["updated_at"] for r in platform.extend.truth() if r["resource"] == "workflow_runs"}


def of_one(table: str, id_: str, column: str) -> list[tuple[Any, ...]]:
    """A column of one run in `c.duckdb`."""
    return query(Path("c.duckdb"), f"SELECT {column} FROM extend.{table} WHERE id = '{id_}'")


@pytest.mark.fault(21)
def test_a_404_that_passes(load: Load, platform: Sandbox) -> None:
    """Ten listed runs answer 404 in two loads: both count them and are not complete, and the next one loads them."""
    away = ids_of(platform)[5:15]
    for id_ in away:
        platform.fault("status", f"/workflow_runs/{id_}", status=404, times=None)
    first = load()
    assert (first.complete, first.lacks_runs, first.gone, first.quarantined) == (False, True, 10, 0)
    again = load()
    assert (again.complete, again.gone, again.fetched) == (False, 10, 0)
    assert query(Path("c.duckdb"), "SELECT sum(gone), bool_or(complete) FROM extend.syncs") == [(20, False)]
    assert query(Path("c.duckdb"), "SELECT 1 FROM extend.workflow_runs WHERE deleted_at IS NOT NULL") == []
    assert len(query(Path("c.duckdb"), "SELECT 1 FROM extend.quarantine WHERE resolved_at IS NULL")) == 10
    platform.clear_faults()
    second = load()
    assert (second.complete, second.gone, second.fetched) == (True, 0, 10)
    assert wrong(Path("c.duckdb"), platform) == {}
    assert query(Path("c.duckdb"), "SELECT 1 FROM extend.quarantine WHERE resolved_at IS NULL") == []


@pytest.mark.fault(21)
def test_a_404_of_a_deleted_run(load: Load, platform: Sandbox) -> None:
    """A run that is deleted while it is loaded is marked once no list shows it; a later load asks no more."""
    load()
    (changed,) = platform.extend.review(1)
    platform.fault("status", f"/workflow_runs/{changed}", status=404, times=None)
    assert load().gone == 1
    assert of_one("workflow_runs", changed, "deleted_at") == [(None,)]
    platform.extend.delete(changed)
    assert load().complete
    assert of_one("workflow_runs", changed, "deleted_at IS NOT NULL") == [(True,)]
    platform.stats.reset()
    assert load().complete
    assert "GET /workflow_runs/{id}" not in platform.stats.routes


@pytest.mark.fault(20, 52)
@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_platform_whose_details_are_all_refused(load: Load, platform: Sandbox, status: int) -> None:
    """The load ends soon with the platform's error: not every run can be at fault."""
    platform.fault("status", "/workflow_runs/*", status=status, times=None)
    kinds = {404: MissingError, 403: RefusedError, 500: ServerError}
    with pytest.raises(kinds[status]):
        load()
    assert platform.stats.requests < 200


@pytest.mark.fault(52)
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "no_id"},
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 403},
        {"kind": "html_status", "status": 403},
        {"kind": "reset"},
    ],
    ids=["no id", "500", "403", "HTML 403", "reset"],
)
def test_many_unreadable_runs_in_a_row(load: Load, platform: Sandbox, fault: dict[str, Any]) -> None:
    """25 unreadable runs go to quarantine; the others are loaded, and a later load gets the 25."""
    kind = fault.pop("kind")
    for id_ in ids_of(platform)[10:35]:
        platform.fault(kind, f"/workflow_runs/{id_}", times=None, **fault)
    first = load()
    assert (first.quarantined, first.lacks_runs) == (25, True)
    assert query(Path("c.duckdb"), "SELECT count(*) FROM extend.workflow_runs") == [(25,)]
    platform.clear_faults()
    second = load()
    assert (second.complete, second.quarantined, second.fetched) == (True, 0, 25)
    assert wrong(Path("c.duckdb"), platform) == {}


@pytest.mark.fault(50)
def test_details_that_are_older_than_their_list(load: Load, platform: Sandbox) -> None:
    """A replica lags behind: the run keeps its older date, the load says so, and the next one reads it again."""
    detail = {
        "object": "extract_run",
        "id": "exr_lags",
        "status": "PROCESSED",
        "updatedAt": "2026-05-01T00:00:00Z",
    }
    newer = {**detail, "updatedAt": "2026-05-02T00:00:00.250Z"}
    platform.extend.put(detail, newer, resource="extract_runs")
    for _ in range(2):
        lagging = load()
        assert (lagging.quarantined, lagging.lacks_runs) == (1, True)
        assert of_one("processor_runs", "exr_lags", "updated_at::date::text") == [("2026-05-01",)]
    platform.extend.put(newer, newer, resource="extract_runs")
    assert (load().quarantined, load().fetched) == (0, 0)
    assert of_one("processor_runs", "exr_lags", "updated_at::date::text") == [("2026-05-02",)]


@pytest.mark.fault(50)
def test_a_workflow_run_that_is_older_than_the_list(load: Load, platform: Sandbox) -> None:
    """Its answer has no date, but the runs inside have, and its status shows it too: the next load reads it again."""
    platform.fault("stale", "/workflow_runs/*", times=None)
    load()
    (reviewed,) = platform.extend.review(1)
    assert load().quarantined == 1
    assert of_one("quarantine", reviewed, "resolved_at IS NULL") == [(True,)]
    platform.clear_faults()
    assert load().complete
    assert wrong(Path("c.duckdb"), platform) == {}


@pytest.mark.fault(50)
@pytest.mark.parametrize("after", [timedelta(seconds=10), timedelta(seconds=-30)])
def test_a_run_that_is_read_right_after_its_change(
    platform: Sandbox, tmp_path: Path, after: timedelta
) -> None:
    """Details without a date may be older than the list: a load after `replica_lag` reads the run once more. So it does
    where the platform's clock is ahead, and the change is half a minute from now."""
    now = datetime.fromisoformat(max(changes(platform).values())) + timedelta(days=1)
    sync = replace(connect_extend(base_url=platform.extend_url), clock=lambda: now)

    def load() -> int:
        return load_runs(sync, Target("extend", tmp_path / "c.duckdb")).fetched

    load()
    (fresh,) = platform.extend.review(1)
    now = datetime.fromisoformat(changes(platform)[fresh]) + after
    assert [load(), load()] == [1, 0]
    now += timedelta(hours=2)
    assert [load(), load()] == [1, 0]


@pytest.mark.fault(50)
def test_a_run_that_changes_while_its_answer_waits(platform: Sandbox, tmp_path: Path) -> None:
    """Details are requested before a list is asked for sources, which may take minutes: an answer is as old as its
    request, and a later load reads the run once more."""
    now = datetime.fromisoformat("2026-09-26T00:01:00+00:00")
    row = {
        "id": "pr_waits",
        "status": "PROCESSED",
        "createdAt": "2026-09-26T00:00:00Z",
        "updatedAt": "2026-09-26T00:00:00Z",
    }

    def put(value: str) -> None:
        detail = {"object": "parse_run", **row, "metadata": {"value": value}}
        del detail["createdAt"], detail["updatedAt"]
        platform.extend.put(detail, row, resource="parse_runs")

    def seeking(run_list: RunList) -> RunList:
        def of_source(source: str) -> Iterator[list[ListedRun]]:
            nonlocal now
            for page in run_list.of_source(source):
                if now.minute < 5:
                    settled(lambda: platform.stats.details)
                    put("new")
                    now += timedelta(minutes=5)
                yield page

        return replace(run_list, of_source=of_source) if run_list.name == "parse_runs" else run_list

    put("old")
    sync = replace(connect_extend(base_url=platform.extend_url), clock=lambda: now)
    target = Target("extend", tmp_path / "c.duckdb")
    load_runs(replace(sync, lists=tuple(map(seeking, sync.lists))), target)
    now += timedelta(hours=3)
    load_runs(sync, target)
    sql = "SELECT metadata ->> 'value' FROM extend.processor_runs WHERE id = 'pr_waits'"
    assert query(target.database, sql) == [("new",)]


@pytest.mark.fault(51)
def test_a_list_in_another_order(load: Load, platform: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ignores the order that is asked for: the load notices it and reads the whole list."""
    monkeypatch.setenv("SOURCES__EXTEND__PAGE_SIZE", "20")
    platform.extend.switch(oldest_first=True)
    assert load().complete
    platform.extend.review(3)
    platform.extend.add(2)
    assert load().fetched == 5
    assert wrong(Path("c.duckdb"), platform) == {}
    platform.extend.switch(oldest_first=False)
    assert load().fetched == 0
    platform.stats.reset()
    load()
    assert platform.stats.routes["GET /workflow_runs"] < 4


@pytest.mark.fault(53)
@pytest.mark.parametrize(
    ("status", "failed"), [(400, True), (422, True), (500, True), (403, False), (404, False), (410, False)]
)
def test_one_list_that_is_refused(load: Load, platform: Sandbox, status: int, failed: bool) -> None:
    """The other lists are loaded, and the load names this one. It is incomplete where the platform has the list."""
    platform.fault("status", "/split_runs", status=status, times=None)
    summary = load()
    assert (summary.left_out, summary.lacks_runs, summary.complete) == (["split_runs"], failed, not failed)
    assert query(Path("c.duckdb"), "SELECT left_out, complete FROM extend.syncs") == [
        ("split_runs", not failed)
    ]
    assert summary.fetched >= 50
    lines = list(check_access(connect_extend(base_url=platform.extend_url)))
    assert any(line.startswith("split_runs") for line in lines)
    platform.clear_faults()
    assert (load().left_out, load().complete) == ([], True)
    assert wrong(Path("c.duckdb"), platform) == {}


def test_the_list_of_workflow_runs_is_refused(load: Load, platform: Sandbox) -> None:
    """Without it there is nothing to load."""
    platform.fault("status", "/workflow_runs", status=403, times=None)
    with pytest.raises(RefusedError):
        load()


@pytest.fixture
def reader() -> Iterator[tuple[Sandbox, Client]]:
    """A platform of parse runs, and its client."""
    with (
        Sandbox(runs=0, standalone=100, plextera_runs=0, corpus=FEW_LISTED) as running,
        connect_extend(base_url=running.extend_url).client as client,
    ):
        yield running, client


@pytest.mark.fault(53)
@pytest.mark.parametrize(("most", "requests"), [(1000, 1), (50, 2), (15, 4)])
def test_page_sizes_that_are_refused(reader: tuple[Sandbox, Client], most: int, requests: int) -> None:
    """The load asks for smaller pages, at last for the server's own size, and remembers it."""
    platform, client = reader
    platform.extend.switch(max_page_size=most)
    pager, extract_runs = Pager(client), run_lists("2026-02-09", None)[1][0]
    first = [run.id for page in pager.runs(extract_runs) for run in page]
    assert len(set(first)) == len(first) == 40
    sent = platform.stats.requests
    assert [run.id for page in pager.runs(extract_runs) for run in page] == first
    assert platform.stats.requests - sent == requests


@pytest.mark.parametrize(
    ("switches", "requests"),
    [({}, 1), ({"parse_page_size": "limit"}, 2), ({"parse_page_size": "limit", "strict": True}, 3)],
    ids=["maxPageSize", "limit", "neither"],
)
def test_page_size_under_another_name(
    reader: tuple[Sandbox, Client], switches: dict[str, Any], requests: int
) -> None:
    """A server that ignores `maxPageSize` for parse runs is asked with `limit`, which it may refuse."""
    platform, client = reader
    platform.extend.switch(**switches)
    parse_runs = next(runs for runs in run_lists("2026-02-09", None)[1] if runs.name == "parse_runs")
    assert len([run for page in Pager(client).runs(parse_runs) for run in page]) == 20
    assert platform.stats.requests == requests


def test_runs_in_quarantine_cost_one_request_each(load: Load, platform: Sandbox) -> None:
    """A run that was refused before is asked for once a load: no other run must show that the platform works."""
    refused = ids_of(platform)[10]
    platform.fault("status", f"/workflow_runs/{refused}", status=403, times=None)
    assert load().quarantined == 1
    platform.stats.reset()
    assert load().quarantined == 1
    assert platform.stats.routes["GET /workflow_runs/{id}"] == 1


@pytest.mark.parametrize(("doubt", "gone"), [(None, [("runs", "r1")]), ("it shows too few", [])])
def test_a_list_that_may_lack_runs_proves_no_deletion(doubt: str | None, gone: list[tuple[str, str]]) -> None:
    """A run that answered 404 is deleted where its list no longer shows it, unless the list may lack runs."""
    moment = datetime(2026, 9, 1, tzinfo=UTC)
    row = ListedRun("r1", "PROCESSED", moment, moment)
    client: Any = SimpleNamespace(
        usage=Usage(),
        get_many=lambda requests, _: ((each, MissingError("no such run", status=404)) for each in requests),
    )
    saved: dict[str, Any] = {}
    for page, why in (([row], None), ([], doubt)):
        run_list = RunList(
            "runs",
            lambda _, page=page: iter([page]),
            lambda *_: ParsedRun(Batch(), None, True),
            lambda id_: Request(f"/runs/{id_}", subject=id_),
            doubt=lambda why=why: why,
        )
        platform = Platform(
            "simulated",
            client,
            Settings(),
            (run_list,),
            lambda _: [],
            clock=lambda: moment + timedelta(days=1),
        )
        sync = Sync(platform)
        list(sync.batches(run_list, saved))
    assert sync.gone == gone
