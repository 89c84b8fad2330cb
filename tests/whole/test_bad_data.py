"""Answers that no platform should send, over HTTP into DuckDB: they load in full or go to quarantine with a
reason.

One load contains all bad answers of a platform, with good runs between them: the good runs must load,
whatever the other answers contain.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from docruns.commands.load import Summary, load_runs
from docruns.core.flatten.flatten import rebuild
from docruns.net import messages
from docruns.providers.extend import connect_extend
from docruns.providers.plextera import connect_plextera
from docruns.sandbox import Sandbox
from docruns.sandbox.wire import Reply, Request
from docruns.store.target import Target
from docruns.sync.lists import Platform
from support import poison
from support.loading import query
from support.planted import Answer, plant
from support.poison import Poison

SOUND = 5


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is not JSON is retried once, without waiting; many bad runs do not end the load."""
    monkeypatch.setattr("docruns.sync.prefetch.SUSPICIOUS", 1000)
    given = messages.Retry.__init__

    def quick(self: Any, *_: Any, **__: Any) -> None:
        given(self, attempts=2, first=0.0, cap=0.0)

    monkeypatch.setattr(messages.Retry, "__init__", quick)


@pytest.fixture
def empty() -> Iterator[Sandbox]:
    """Platforms without any runs of their own."""
    with Sandbox(runs=0, standalone=0, plextera_runs=0) as sandbox:
        yield sandbox


def load_into(database: Path, connect: Callable[..., Platform], **options: Any) -> Summary:
    """Load a platform into a DuckDB file."""
    platform = connect(**options)
    return load_runs(platform, Target(platform.name, database))


def mixed(runs: list[Poison], sound: list[Poison]) -> list[Poison]:
    """Good runs first, last and between the bad ones.

    There are never twenty bad runs in a row, which would mean a broken platform.
    """
    bad = [run for run in runs if run.reason]
    good = [run for run in runs if not run.reason]
    share = len(good) // len(bad)
    found: list[Poison] = []
    for i, run in enumerate(bad):
        found += [run, *good[i * share : (i + 1) * share]]
    found += good[len(bad) * share :]
    step = len(found) // (SOUND - 1) + 1
    for i, run in enumerate(sound):
        found.insert(i * (step + 1), run)
    assert {run.name for run in found} == {run.name for run in (*runs, *sound)}
    return found


def moments(n: int) -> list[str]:
    """`n` timestamps, one second apart."""
    return [f"2026-09-20T{i // 3600:02d}:{i // 60 % 60:02d}:{i % 60:02d}Z" for i in range(n)]


def compare(database: Path, dataset: str, runs: list[Poison]) -> None:
    """Each run is in its table, or in quarantine with its reason."""
    loaded = {id_ for (id_,) in query(database, f"SELECT id FROM {dataset}.processor_runs")}
    quarantined = dict(
        query(database, f"SELECT id, message FROM {dataset}.quarantine WHERE resolved_at IS NULL")
    )
    assert loaded == {run.run_id for run in runs if run.reason is None}
    assert quarantined.keys() == {run.run_id for run in runs if run.reason is not None}
    wrong = {
        run.name: (run.reason, quarantined[run.run_id])
        for run in runs
        if run.reason is not None and run.reason not in quarantined[run.run_id]
    }
    assert wrong == {}


def rebuilt(database: Path, dataset: str) -> dict[str, Any]:
    """The value of each run, rebuilt from its rows of fields."""
    rows: defaultdict[str, list[tuple[str, str | None]]] = defaultdict(list)
    sql = f"SELECT processor_run_id, path, value_json FROM {dataset}.fields ORDER BY 1, position"
    for run_id, path, text in query(database, sql):
        rows[run_id].append((path, text))
    return {run_id: rebuild(texts) for run_id, texts in rows.items()}


@pytest.mark.fault(31, 32)
def test_poisoned_runs_of_extend(empty: Sandbox, tmp_path: Path) -> None:
    """Every bad answer loads in full or goes to quarantine with its reason, in every load, and no other run
    is missing."""
    value = '{"value":{"total":{"amount":9.5,"iso_4217_currency_code":"EUR"},"n":[1,{"a":null}]}}'
    sound = [
        Poison(f"sound {i}", f'{{"id":"sound {i}","status":"PROCESSED","object":"extract_run","output":{value}}}'.encode())
        for i in range(SOUND)
    ]  # fmt: skip
    runs = mixed(poison.extend_runs(), sound)
    ids = [run.run_id for run in runs]
    page = {"object": "list", "data": poison.rows_of_a_list(ids, moments(len(ids)))[::-1]}
    answers = {f"/extend/extract_runs/{run.run_id}": run.body for run in runs}
    others = ("workflow", "classify", "split", "parse", "edit", "verify")
    lists = {f"/extend/{name}_runs": b'{"object":"list","data":[]}' for name in others}
    lists["/extend/extract_runs"] = json.dumps(page).encode()
    asked = plant(empty, {**lists, **answers})
    database = tmp_path / "x.duckdb"
    first = load_into(database, connect_extend, base_url=empty.extend_url)
    bad = sum(run.reason is not None for run in runs)
    assert (first.complete, first.fetched, first.quarantined) == (True, len(runs) - bad, bad)
    # a relative path, a query or a fragment in an id does not change the requested path
    assert answers.keys() <= set(asked)
    compare(database, "extend", runs)
    found = rebuilt(database, "extend")
    for run in runs:
        if run.reason is None and "lone" not in run.name:
            output = json.loads(run.body.decode("utf-8-sig")).get("output")
            whole = isinstance(output, dict) and "value" in output
            expected = output["value"] if whole else output
            assert json.dumps(found.get(run.run_id)) == json.dumps(expected), run.name
    second = load_into(database, connect_extend, base_url=empty.extend_url)
    assert (second.complete, second.fetched, second.quarantined) == (True, 0, bad)
    compare(database, "extend", runs)
    attempts = query(database, "SELECT DISTINCT attempts FROM extend.quarantine")
    assert attempts == [(2,)]


@pytest.mark.fault(31, 32)
def test_poisoned_extractions_of_plextera(empty: Sandbox, tmp_path: Path) -> None:
    """The same rule holds for Plextera's extractions; each field is also kept unchanged beside its row."""
    field = '{"name":"total","value":{"amount":9.5},"confidence":0.5}'
    sound = [
        Poison(f"sound {i}", f'{{"id":"sound {i}","status":"COMPLETED","output":{{"fields":[{field}]}}}}'.encode())
        for i in range(SOUND)
    ]  # fmt: skip
    runs = mixed(poison.plextera_extractions(), sound)
    ids = [run.run_id for run in runs]
    path = "/plextera/api/public/v1/document-insights/extractions"
    assert empty.plextera_url.endswith(path.partition("/document")[0])
    info = {"page": 0, "size": len(ids), "totalItems": len(ids), "totalPages": 1}
    page = {"data": poison.rows_of_a_list(ids, moments(len(ids)))[::-1], "pageInfo": info}
    answers = {f"{path}/{run.run_id}": run.body for run in runs}
    plant(empty, {path: json.dumps(page).encode(), **answers})
    database = tmp_path / "x.duckdb"
    first = load_into(database, connect_plextera, base_url=empty.plextera_url)
    bad = sum(run.reason is not None for run in runs)
    assert (first.complete, first.fetched, first.quarantined) == (True, len(runs) - bad, bad)
    compare(database, "plextera", runs)
    sql = "SELECT processor_run_id, value_json FROM plextera.fields WHERE path = 'total.amount'"
    assert sorted(query(database, sql)) == [(run.run_id, "9.5") for run in sound]
    second = load_into(database, connect_plextera, base_url=empty.plextera_url)
    assert (second.complete, second.fetched, second.quarantined) == (True, 0, bad)


ODD_MOMENTS: list[tuple[str, str | None]] = [
    ("null", None),
    ('""', None),
    ("0", None),
    ("1790337600", None),
    ("1790337600000", None),
    ("1e999", None),
    ("true", None),
    ("[]", None),
    ('{"seconds":1790337600}', None),
    ('"soon"', None),
    ('"0000-01-01T00:00:00Z"', None),
    ('"0001-01-01T00:00:00Z"', "0001-01-01T00:00:00+00:00"),
    ('"0001-01-01T00:00:00+14:00"', None),
    ('"1969-12-31T23:59:59.999999Z"', "1969-12-31T23:59:59.999999+00:00"),
    ('"2026-09-20T10:00:00"', "2026-09-20T10:00:00+00:00"),
    ('"2026-09-20T10:00:00+14:00"', "2026-09-19T20:00:00+00:00"),
    ('"2026-09-20T10:00:00.123456789Z"', "2026-09-20T10:00:00.123456+00:00"),
    ('"2026-09-20"', "2026-09-20T00:00:00+00:00"),
    ('"2026-09-20t10:00:00z"', None),
    ('"2026-06-30T23:59:60Z"', None),
    ('"2026-09-20T24:00:00Z"', None),
    ('"2026-02-30T00:00:00Z"', None),
    ('"2099-01-01T00:00:00Z"', "2099-01-01T00:00:00+00:00"),
    ('"9999-12-31T23:59:59Z"', "9999-12-31T23:59:59+00:00"),
    ('"9999-12-31T23:59:59-14:00"', None),
    ('"10000-01-01T00:00:00Z"', None),
    ('"2026-09-20T10:00:00Z\\u0000"', None),
]
"""JSON text of a timestamp, with the loaded value; text that is not a timestamp is kept in `extra`."""

NO_ROWS = [
    "1", '"x"', "[]", "true", "{}", '{"id":null}', '{"id":7}', '{"id":""}', '{"id":"."}', '{"id":".."}', '{"id":{}}',
    '{"id":"' + "i" * 2001 + '"}', '{"id":"' + "i" * 100_000 + '"}', '{"name":"no id","name":"at all"}',
]  # fmt: skip
"""Rows of a list without a usable run id."""


def run_of(id_: str, more: str = "") -> bytes:
    """A good answer."""
    return f'{{"id":{json.dumps(id_)},"status":"PROCESSED"{more}}}'.encode()


@pytest.mark.fault(28)
@pytest.mark.parametrize("platform", ["extend", "plextera"])
def test_poisoned_rows_of_a_list(platform: str, empty: Sandbox, tmp_path: Path) -> None:
    """A row without a run id goes to quarantine unchanged; a row with a run id loads, whatever else it
    contains."""
    rows = {f"at {i}": f'"updatedAt":{text}' for i, (text, _) in enumerate(ODD_MOMENTS)}
    rows |= {f"created {i}": f'"createdAt":{text}' for i, (text, _) in enumerate(ODD_MOMENTS)}
    status = [
        "null",
        "7",
        "[]",
        '""',
        '"NEW IN 2027"',
        '"' + "S" * 100_000 + '"',
        r'"\u0000\ud800"',
    ]
    rows |= {f"status {i}": f'"status":{text}' for i, text in enumerate(status)}
    rows |= {
        "twice": '"name":1,"name":2',
        "deep": f'"x":{poison.nested(500)}',
        "wide": ",".join(f'"{i}":0' for i in range(5000)),
        "latin-1": '"x":"\xe9"',
    }
    texts = [f'{{"id":"{id_}",{rest}}}' for id_, rest in rows.items()]
    whole = ",".join([*texts, *NO_ROWS]).encode("latin-1")
    source, base, path, lists = lists_of(platform, empty)
    page = b'{"data":[' + whole + b'],"pageInfo":{"totalItems":1,"totalPages":1}}'
    details = {f"{path}/{id_}": run_of(id_) for id_ in rows}
    for i, (text, _) in enumerate(ODD_MOMENTS):
        details[f"{path}/at {i}"] = run_of(f"at {i}", f',"updatedAt":{text}')
    asked = plant(empty, {**lists, path: page, **details})
    database = tmp_path / "l.duckdb"
    first = load_into(database, source, base_url=base)
    assert (first.complete, first.fetched) == (True, len(rows))
    assert first.quarantined == len(NO_ROWS)
    found = {
        id_: (at, extra)
        for id_, at, extra in query(
            database, f"SELECT id, updated_at::text, extra FROM {platform}.workflow_runs"
        )
    }
    assert found.keys() == rows.keys()
    for i, (text, at) in enumerate(ODD_MOMENTS):
        loaded, extra = found[f"at {i}"]
        same = query(database, "SELECT ?::timestamptz = ?::timestamptz", loaded, at)
        assert same == [(None if at is None else True,)], text
        if at is None and text != "null":
            assert extra is not None, (text, loaded)
            assert json.loads(extra)["updatedAt"] == json.loads(text)
    kept = query(database, f"SELECT detail, message FROM {platform}.quarantine")
    assert sorted(detail for detail, _ in kept) == sorted(text[:2000] for text in NO_ROWS)
    assert {message for _, message in kept} == {"a listed run has no id that can be asked for"}
    del asked[:]
    second = load_into(database, source, base_url=base)
    assert second.complete
    assert second.quarantined == len(NO_ROWS)


def lists_of(platform: str, sandbox: Sandbox) -> tuple[Any, str, str, dict[str, Answer]]:
    """Source, base URL, path of the list of workflow runs, and empty answers for all other lists."""
    if platform == "extend":
        kinds = ("extract", "classify", "split", "parse", "edit", "verify")
        others: dict[str, Answer] = {f"/extend/{kind}_runs": EMPTY for kind in kinds}
        return connect_extend, sandbox.extend_url, "/extend/workflow_runs", others
    prefix = "/plextera/api/public/v1"
    others = {f"{prefix}/document-insights/extractions": EMPTY}
    return connect_plextera, sandbox.plextera_url, f"{prefix}/workflow-runs", others


EMPTY = b'{"data":[],"pageInfo":{"totalItems":0,"totalPages":0}}'


def page_of(*rows: str) -> bytes:
    """A list with one page."""
    return f'{{"data":[{",".join(rows)}],"pageInfo":{{"totalItems":1,"totalPages":1}}}}'.encode()


@pytest.mark.parametrize("platform", ["extend", "plextera"])
@pytest.mark.parametrize("status", ["NEW IN 2027", "S" * 100_000, "\0 \n?&"])
def test_a_status_that_no_list_can_be_asked_for(
    platform: str, status: str, empty: Sandbox, tmp_path: Path
) -> None:
    """An unfinished run is read by its id when the list refuses its status, or when no URL can contain it."""
    source, base, path, answers = lists_of(platform, empty)
    said = f'"id":"w","status":{json.dumps(status)},"updatedAt":"2026-08-01T00:00:00Z"'
    answers |= {path: page_of(f"{{{said}}}"), f"{path}/w": f"{{{said}}}".encode()}
    plant(empty, answers)
    database = tmp_path / "s.duckdb"
    options = {"base_url": base, "recheck_for": "3650d"}
    assert load_into(database, source, **options).fetched == 1
    asked_for = []

    def refuse_filters(request: Request) -> Reply:
        asked_for.append(request.param("status"))
        return Reply(400, b"{}") if request.param("status") else Reply(200, EMPTY)

    answers |= {path: refuse_filters, f"{path}/w": run_of("w")}
    assert load_into(database, source, **options).complete
    assert (status in asked_for) == (len(status) < 1000)
    assert query(database, f"SELECT status FROM {platform}.workflow_runs") == [("PROCESSED",)]


@pytest.mark.fault(28)
@pytest.mark.parametrize("platform", ["extend", "plextera"])
def test_runs_without_a_timestamp_are_loaded_whenever_they_come(
    platform: str, empty: Sandbox, tmp_path: Path
) -> None:
    """A run without a usable date is loaded when a later load finds it, and is not fetched again after
    that."""
    source, base, path, answers = lists_of(platform, empty)
    dated = '{"id":"dated","status":"PROCESSED","updatedAt":"2026-09-20T00:00:00Z"}'
    bare = '{"id":"bare","status":"COMPLETED","updatedAt":null,"createdAt":"soon"}'
    answers |= {
        path: page_of(dated),
        f"{path}/dated": dated.encode(),
        f"{path}/bare": bare.encode(),
    }
    plant(empty, answers)
    database = tmp_path / "b.duckdb"
    assert load_into(database, source, base_url=base).fetched == 1
    answers[path] = page_of(dated, bare)
    assert load_into(database, source, base_url=base).fetched == 1
    held = query(database, f"SELECT id FROM {platform}.workflow_runs ORDER BY 1")
    assert held == [("bare",), ("dated",)]
    assert load_into(database, source, base_url=base).fetched == 0


def test_what_is_in_quarantine_stops_no_later_load(
    empty: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that failed before are retried first and do not count as new failures: new runs load after
    them."""
    monkeypatch.setattr("docruns.sync.prefetch.SUSPICIOUS", 3)
    source, base, path, answers = lists_of("extend", empty)
    rows = []
    for i in range(8):
        answers[f"{path}/r{i}"] = run_of(f"r{i}") if i % 2 else b"{}"
        rows.append(f'{{"id":"r{i}","status":"PROCESSED","updatedAt":"2026-09-20T00:00:0{i}Z"}}')
    plant(empty, answers)
    database = tmp_path / "g.duckdb"
    answers[path] = page_of(*rows[:7][::-1])
    first = load_into(database, source, base_url=base)
    assert (first.fetched, first.quarantined) == (3, 4)
    answers[path] = page_of(*rows[::-1])
    second = load_into(database, source, base_url=base)
    assert (second.complete, second.fetched, second.quarantined) == (True, 1, 4)
