"""Unusual platforms: failing pages, runs that change or disappear during a load, wrong clocks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from docruns.commands.load import Summary, load_runs
from docruns.commands.reconcile.verify import verify_runs
from docruns.core.errors import InvalidError, ShapeError
from docruns.net.client import Client
from docruns.net.messages import ConnectionSettings, Reply, Request, Retry
from docruns.net.shared_budget import Budget
from docruns.providers.extend import api, connect_extend
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from proofs.children import Ended
from support.loading import Loader, query, state
from support.plextera import load_plextera, tables
from support.truth import wrong

WORKFLOW_RUNS = api.run_lists("2026-02-09", None)[0]
DAY = timedelta(days=1)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists come in pages of three rows."""
    monkeypatch.setenv("SOURCES__EXTEND__PAGE_SIZE", "3")


@pytest.fixture
def client(few_runs: Sandbox, loaded: Path) -> Iterator[Client]:
    """A client of the sandbox with short waits."""
    settings = ConnectionSettings(
        few_runs.extend_url,
        api.headers("k", "2026-02-09", None),
        retry=Retry(attempts=3, first=0.01, cap=0.05),
    )
    with Client(settings, Budget(None), api.explain, api.check) as http:
        yield http


def run_text(id_: str, updated: str | None = None, **more: Any) -> str:
    """An extract run as the platform sends it."""
    dates = {} if updated is None else {"createdAt": updated, "updatedAt": updated}
    run = {"object": "extract_run", "id": id_, "status": "PROCESSED", "config": {}}
    return json.dumps({**run, **dates, **more})


@pytest.mark.fault(21)
@pytest.mark.parametrize("status", [404, 410])
def test_a_run_that_is_gone_when_it_is_asked_for(
    load_extend: Loader, few_runs: Sandbox, loaded: Path, status: int
) -> None:
    """A loaded run changes and then answers 404: the others load, its row stays, and the next load fetches it."""
    load_extend(loaded, base_url=few_runs.extend_url)
    gone = few_runs.extend.review(3)[0]
    few_runs.fault("status", f"/workflow_runs/{gone}", status=status, times=1)
    summary, _ = load_extend(loaded, base_url=few_runs.extend_url)
    assert (summary.complete, summary.gone, summary.quarantined) == (False, 1, 0)
    assert query(loaded, "SELECT id FROM extend.workflow_runs WHERE deleted_at IS NOT NULL") == []
    summary, _ = load_extend(loaded, base_url=few_runs.extend_url)
    assert (summary.complete, summary.fetched) == (True, 1)
    assert wrong(loaded, few_runs) == {}
    few_runs.stats.reset()
    load_extend(loaded, base_url=few_runs.extend_url)
    assert few_runs.stats.details == 0


@pytest.mark.fault(21)
def test_a_first_load_whose_workflow_runs_are_all_gone(load_extend: Loader, tmp_path: Path) -> None:
    """There is no row to mark, and no table.

    The others load, and this run loads when it is back.
    """
    with Sandbox(runs=1, standalone=2, seed=1, plextera_runs=0) as platform:
        gone = next(r["id"] for r in platform.extend.truth() if r["resource"] == "workflow_runs")
        platform.fault("status", f"/workflow_runs/{gone}", status=404)
        summary, _ = load_extend(tmp_path / "t.duckdb", base_url=platform.extend_url)
        assert summary.gone == 1
        assert summary.rows["processor_runs"] >= 2
        platform.clear_faults()
        load_extend(tmp_path / "t.duckdb", base_url=platform.extend_url)
        assert wrong(tmp_path / "t.duckdb", platform) == {}


@pytest.mark.fault(23)
@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("kind", ["repeat_token", "token_cycle"])
def test_a_list_that_never_ends(client: Client, few_runs: Sandbox, kind: str) -> None:
    """The load fails with a named error after little more than one request per page."""
    few_runs.fault(kind, "/workflow_runs", times=None)
    with pytest.raises(ShapeError, match="GET /workflow_runs: the list goes in circles"):
        list(api.Pager(client, 3).runs(WORKFLOW_RUNS))
    assert few_runs.stats.requests < 12


@pytest.mark.fault(23)
@pytest.mark.usefixtures("small_pages")
def test_a_page_without_rows_does_not_end_a_list(client: Client, few_runs: Sandbox) -> None:
    """Only a page without a token ends it."""
    few_runs.fault("empty_page", "/workflow_runs", times=1)
    # each comes after one that says that it is on its way
    pages = [len(page) for page in api.Pager(client, 3).runs(WORKFLOW_RUNS)][1::2]
    assert pages[:3] == [0, 3, 3]
    assert sum(pages) >= 12


class FixedAnswers:
    """A client with fixed answers."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = [json.dumps(answer).encode() for answer in answers]

    def begin(self, _: Any) -> None:
        pass

    def get(self, _: Request) -> Reply:
        return Reply(self.answers.pop(0), {})


@pytest.mark.fault(23)
@pytest.mark.parametrize("cycle", [1, 3])
def test_pages_that_repeat_with_new_tokens(cycle: int) -> None:
    """A list that shows the same pages again and again, each with another token, ends with a named error."""
    client_: Any = FixedAnswers(
        *({"data": [{"id": f"r{page % cycle}"}], "nextPageToken": f"t{page}"} for page in range(50))
    )
    with pytest.raises(ShapeError, match="goes in circles: 10 pages in a row have the rows of earlier ones"):
        list(api.Pager(client_).runs(WORKFLOW_RUNS))
    assert len(client_.answers) == 50 - cycle - 10


@pytest.mark.fault(23)
@pytest.mark.parametrize("token", ["", None])
def test_an_empty_token_is_none(token: str | None) -> None:
    """It does not request the first page again."""
    client_: Any = FixedAnswers({"data": [{"id": "a"}], "nextPageToken": token})
    assert [run.id for page in api.Pager(client_).runs(WORKFLOW_RUNS) for run in page] == ["a"]


@pytest.mark.fault(24)
@pytest.mark.usefixtures("small_pages")
def test_runs_that_change_while_they_are_listed(
    load_extend: Loader, few_runs: Sandbox, loaded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs are reviewed, deleted and added between two pages: after this load and the next the rows are
    correct.
    """
    real, pages = api.Pager.pages, []

    def meddled(*arguments: Any) -> Iterator[Any]:
        for page in real(*arguments):
            pages.append(page)
            if len(pages) in (2, 4):
                few_runs.extend.review(2)
                few_runs.extend.add(1)
                few_runs.extend.delete(few_runs.extend.add(1)[0])
            yield page

    monkeypatch.setattr(api.Pager, "pages", meddled)
    deleted = few_runs.extend.add(1)[0]
    load_extend(loaded, base_url=few_runs.extend_url)
    assert len(pages) > 10
    monkeypatch.undo()
    load_extend(loaded, base_url=few_runs.extend_url)
    assert wrong(loaded, few_runs) == {}
    few_runs.extend.delete(deleted)


@pytest.mark.fault(25)
@pytest.mark.usefixtures("small_pages")
def test_a_token_that_expires(load_extend: Loader, few_runs: Sandbox, loaded: Path) -> None:
    """The list is walked again, once.

    A second expiry fails the load and leaves the state unchanged.
    """
    few_runs.extend.review(4)
    before = state(loaded)
    few_runs.fault("expired_token", "/workflow_runs", times=None)
    with pytest.raises(InvalidError, match="GET /workflow_runs 400"):
        load_extend(loaded, base_url=few_runs.extend_url)
    assert state(loaded) == before
    few_runs.clear_faults()
    few_runs.fault("expired_token", "/workflow_runs", times=1, after=2)
    load_extend(loaded, base_url=few_runs.extend_url)
    assert wrong(loaded, few_runs) == {}


@pytest.mark.fault(26)
@pytest.mark.usefixtures("small_pages")
def test_ties_in_pages_out_of_order(load_extend: Loader, few_runs: Sandbox, loaded: Path) -> None:
    """Many runs share a timestamp and the pages are shuffled: each run is loaded once."""
    few_runs.extend.review(8, together=True)
    few_runs.fault("shuffle", "*_runs", times=None)
    few_runs.fault("duplicate", "*_runs", times=None)
    load_extend(loaded, base_url=few_runs.extend_url, chunk_runs=3)
    assert wrong(loaded, few_runs) == {}
    few_runs.stats.reset()
    load_extend(loaded, base_url=few_runs.extend_url)
    assert few_runs.stats.details == 0


@pytest.mark.fault(27)
def test_a_run_that_shows_up_late(load_extend: Loader, few_runs: Sandbox, loaded: Path) -> None:
    """Within the overlap it is loaded. Below it `verify` reports it and `--since` loads it."""
    load_extend(loaded, base_url=few_runs.extend_url)
    sql = "SELECT max(updated_at) FROM extend.processor_runs WHERE type = 'EXTRACT'"
    ((newest,),) = query(loaded, sql)
    texts = [(newest - timedelta(minutes=m)).astimezone(UTC).isoformat() for m in (50, 70)]
    few_runs.extend.put(run_text("exr_late", texts[0]), resource="extract_runs")
    few_runs.extend.put(run_text("exr_later", texts[1]), resource="extract_runs")
    load_extend(loaded, base_url=few_runs.extend_url)
    platform = connect_extend(base_url=few_runs.extend_url)
    assert verify_runs(platform, Target("extend", loaded)).missing == ["extract_runs/exr_later"]
    load_extend(loaded, base_url=few_runs.extend_url, full=True)
    assert wrong(loaded, few_runs) == {}
    for name in ("exr_late", "exr_later"):
        few_runs.extend.delete(name)


@pytest.mark.fault(28)
def test_dates_that_are_none(load_extend: Loader, few_runs: Sandbox, loaded: Path) -> None:
    """A run without a date, with an invalid one or one of 2099 is loaded, and so are later runs."""
    now = datetime.now(UTC)
    rows: list[dict[str, Any]] = [
        {"updatedAt": None, "createdAt": None},
        {},
        {"updatedAt": "2099-01-01T00:00:00Z"},
        {"updatedAt": "next Tuesday"},
        {"updatedAt": 1790337600},
        {"createdAt": "2026-09-25T12:00:00+05:45"},
        {"updatedAt": "2026-09-25T12:00:00"},
        {"updatedAt": "0001-01-01T00:00:00Z"},
    ]
    client_: Any = FixedAnswers({"data": [{"id": f"r{i}", **row} for i, row in enumerate(rows)]})
    (page,) = filter(None, api.Pager(client_).runs(WORKFLOW_RUNS))
    assert [run.id for run in page] == [f"r{i}" for i in range(len(rows))]
    assert [run.updated_at is not None for run in page] == [
        False, False, True, False, False, False, True, True,
    ]  # fmt: skip
    few_runs.extend.put(run_text("exr_future", "2099-01-01T00:00:00Z"), resource="extract_runs")
    load_extend(loaded, base_url=few_runs.extend_url)
    few_runs.extend.put(run_text("exr_next", now.isoformat()), resource="extract_runs")
    few_runs.stats.reset()
    summary, _ = load_extend(loaded, base_url=few_runs.extend_url)
    assert summary.fetched == few_runs.stats.routes["GET /extract_runs/{id}"] == 1
    assert wrong(loaded, few_runs) == {}
    for name in ("exr_future", "exr_next"):
        few_runs.extend.delete(name)


@pytest.mark.fault(1)
def test_an_extraction_that_an_earlier_load_did_not_reach(tmp_path: Path) -> None:
    """A load ended between a workflow run and its extractions: the next load links them."""
    with Sandbox(runs=1, plextera_runs=8, seed=11, document_size="light") as sandbox:
        cut = tmp_path / "cut.duckdb"
        load_plextera(sandbox, cut, max_runs=10, chunk_runs=4)
        summary, _ = load_plextera(sandbox, cut)
        assert summary.fetched > 0
        load_plextera(sandbox, tmp_path / "whole.duckdb")
    assert tables(cut) == tables(tmp_path / "whole.duckdb")
    linked = "SELECT count(workflow_run_id) > 5 FROM plextera.processor_runs"
    assert query(cut, linked) == [(True,)]


@pytest.mark.fault(1)
def test_an_extraction_that_was_loaded_before_its_workflow_run_told_of_it(tmp_path: Path) -> None:
    """It is fetched once more to get its link, in the same load or, if that was interrupted, in the next one."""
    database = tmp_path / "p.duckdb"
    with Sandbox(runs=1, plextera_runs=8, seed=11, document_size="light") as sandbox:
        load_plextera(sandbox, database)
        linked = "SELECT workflow_run_id, count(*) FROM plextera.processor_runs GROUP BY 1"
        of = {run: n for run, n in query(database, linked) if run is not None}
        failing, unlinked = sorted(of)[:2]
        with duckdb.connect(str(database)) as connection:
            for table in ("processor_runs", "fields"):
                sql = f"UPDATE plextera.{table} SET workflow_run_id = NULL WHERE workflow_run_id IN (?, ?)"
                connection.execute(sql, [failing, unlinked])
            sql = "DELETE FROM plextera.workflow_steps WHERE workflow_run_id = ?"
            connection.execute(sql, [failing])
        sandbox.plextera.fail(failing)
        sandbox.stats.reset()
        load_plextera(sandbox, database)
        details = {r: n for r, n in sandbox.stats.routes.items() if "{" in r}
        assert sum(details.values()) == 1 + of[failing] + of[unlinked]
        sandbox.stats.reset()
        load_plextera(sandbox, database)
        assert sandbox.stats.details == 0
        load_plextera(sandbox, tmp_path / "whole.duckdb")
    assert tables(database) == tables(tmp_path / "whole.duckdb")


@pytest.mark.fault(30)
def test_a_value_that_changes_its_type(load_extend: Loader, few_runs: Sandbox, loaded: Path) -> None:
    """A number, a text, a fraction, an object, a list: one field in the same columns, with all digits."""
    found = []
    values = ("1", '"1"', "1.50", '{"b": 12345678901234567890}', "[1, 2]", "null")
    for value in values:
        body = run_text("exr_changing")[:-1] + f', "output": {{"value": {{"a": {value}}}}}}}'
        few_runs.extend.put(body, resource="extract_runs")
        load_extend(loaded, base_url=few_runs.extend_url)
        sql = (
            "SELECT list((path, value_json) ORDER BY path) FROM extend.fields "
            "WHERE processor_run_id = 'exr_changing' AND kind = 'leaf'"
        )
        found += query(loaded, sql)
    few_runs.extend.delete("exr_changing")
    assert [rows for (rows,) in found] == [
        [("a", "1")], [("a", '"1"')], [("a", "1.50")], [("a.b", "12345678901234567890")],
        [("a[0]", "1"), ("a[1]", "2")], [("a", "null")],
    ]  # fmt: skip


Clocked = Callable[..., Summary]


@pytest.fixture
def load_at(few_runs: Sandbox, loaded: Path, monkeypatch: pytest.MonkeyPatch) -> Clocked:
    """Load with a clock that is wrong by `shift()` at each reading, dlt's clock too."""
    from dlt.common.storages import load_package

    real = load_package.precise_time

    def run(shift: Callable[[], timedelta], **options: Any) -> Summary:
        monkeypatch.setattr(load_package, "precise_time", lambda: real() + shift().total_seconds())
        platform = replace(
            connect_extend(base_url=few_runs.extend_url, **options),
            clock=lambda: datetime.now(UTC) + shift(),
        )
        return load_runs(platform, Target("extend", loaded))

    return run


@pytest.mark.fault(43)
def test_the_clock_jumps_between_loads(load_at: Clocked, few_runs: Sandbox, loaded: Path) -> None:
    """A day ahead, a day back, correct: each load fetches the changed runs and no others."""
    load_at(lambda: timedelta())
    for shift in (DAY, -DAY, -2 * DAY, timedelta(), DAY):
        few_runs.extend.review(2)
        few_runs.stats.reset()
        summary = load_at(lambda shift=shift: shift)  # type: ignore[misc]
        assert summary.complete
        assert few_runs.stats.routes["GET /workflow_runs/{id}"] == 2
        assert wrong(loaded, few_runs) == {}


@pytest.mark.fault(43)
def test_the_clock_jumps_during_a_load(load_at: Clocked, few_runs: Sandbox, loaded: Path) -> None:
    """Each reading jumps a day ahead or back: no run is lost, and few are fetched twice."""
    few_runs.extend.review(8)
    jumps = iter([timedelta(), DAY, -DAY, timedelta(), -2 * DAY] * 10_000)
    assert load_at(lambda: next(jumps), chunk_runs=3).complete
    assert wrong(loaded, few_runs) == {}
    few_runs.stats.reset()
    load_at(lambda: timedelta())
    assert few_runs.stats.details == 0
    assert wrong(loaded, few_runs) == {}


@pytest.mark.fault(43)
def test_the_clock_jumps_after_a_list_is_begun(
    load_at: Clocked,
    few_runs: Sandbox,
    loaded: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lists are requested together and read one after the other: each one counts the time of its request."""
    now, shift = datetime.now(UTC), timedelta()
    begin = Client.begin

    def begin_then_jump(client: Client, requests: Any) -> None:
        nonlocal shift
        begin(client, requests)
        shift = DAY

    soon, sooner = now + timedelta(hours=12), now + timedelta(hours=6)
    few_runs.extend.put(run_text("exr_soon", soon.isoformat()), resource="extract_runs")
    with monkeypatch.context() as jumping:
        jumping.setattr(Client, "begin", begin_then_jump)
        assert load_at(lambda: shift).complete
    few_runs.extend.put(run_text("exr_sooner", sooner.isoformat()), resource="extract_runs")
    load_at(lambda: timedelta())
    assert wrong(loaded, few_runs) == {}
    for name in ("exr_soon", "exr_sooner"):
        few_runs.extend.delete(name)


@pytest.mark.fault(37)
def test_many_loads_leave_no_trace(load_extend: Loader, few_runs: Sandbox, loaded: Path) -> None:
    """Twenty loads without changes: the working folder stays empty and the database keeps its size."""
    for _ in range(3):
        load_extend(loaded, base_url=few_runs.extend_url)
    sizes = []
    for _ in range(20):
        summary, _ = load_extend(loaded, base_url=few_runs.extend_url)
        assert summary.fetched == 0
        sizes.append(loaded.stat().st_size)
    # as large as it was, give or take a block
    assert max(sizes[10:]) <= max(sizes[:10]) + 262_144
    left = [path for path in (loaded.parent / "dlt").rglob("*") if path.is_file()]
    assert [path.stat().st_size for path in left if path.suffix == ".lock"] == [0]
    assert len(left) == 1


@pytest.mark.fault(37)
def test_two_hundred_thousand_fields(
    docruns_load: Callable[..., Ended], few_runs: Sandbox, loaded: Path
) -> None:
    """Few runs with very many fields: the memory of the process stays below 600 MB."""
    value = {f"field {i}": f"text {i}" for i in range(10_000)}
    names = [f"exr_wide_{i}" for i in range(20)]
    for name in names:
        output = {"value": value, "metadata": {}}
        few_runs.extend.put(run_text(name, output=output), resource="extract_runs")
    ended = docruns_load()
    for name in names:
        few_runs.extend.delete(name)
    assert ended.code == 0, ended.err
    sql = "SELECT count(*) FROM extend.fields WHERE processor_run_id LIKE 'exr_wide_%'"
    assert query(loaded, sql) == [(200_000,)]
    assert ended.peak_mb < 600, ended.peak_mb
