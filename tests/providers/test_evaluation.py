"""Extend's evaluation sets over HTTP: rows, what a load reads again, items that are gone, and lists that fail."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from docruns.core.flatten.flatten import rebuild
from docruns.sandbox import Sandbox
from docruns.sandbox.wire import Reply, Request
from support.extend_payloads import FOLDER
from support.loading import Loader, query
from support.planted import Answer, plant

LIST, ITEMS, ITEM = (
    "GET /evaluation_sets",
    "GET /evaluation_sets/{id}/items",
    "GET /evaluation_sets/{id}/items/{item}",
)
VERSIONS = ("2026-02-09", "2025-04-21")
OLD = "2026-03-01T00:00:00Z"

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Some runs, and three evaluation sets that tests change."""
    with Sandbox(runs=12, standalone=0, seed=3) as running:
        yield running


def asked(sandbox: Sandbox) -> tuple[int, int, int]:
    """The requests for the list of sets, for lists of items and for items since the last call."""
    found = Counter(sandbox.stats.routes)
    sandbox.stats.reset()
    return found[LIST], found[ITEMS], found[ITEM]


def outputs(database: Path) -> dict[str, Any]:
    """The expected outputs by item, put together from the rows."""
    sql = "SELECT evaluation_item_id, path, value_json FROM extend.expected_fields ORDER BY rowid"
    rows: dict[str, list[tuple[str, str]]] = {}
    for id_, path, text in query(database, sql):
        rows.setdefault(id_, []).append((path, text))
    found = {id_: {"value": rebuild([("", "{}"), *parts])} for id_, parts in rows.items()}
    sql = "SELECT id, classification FROM extend.evaluation_items WHERE classification IS NOT NULL"
    return found | {id_: {"id": class_, "type": class_} for id_, class_ in query(database, sql)}


def wanted(sandbox: Sandbox) -> dict[str, Any]:
    """The expected outputs by item, as the platform has them."""
    return {
        item["id"]: item["expected"] for each in sandbox.extend.evaluation.truth() for item in each["items"]
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_rows_hold_what_the_platform_has(
    version: str, load_extend: Loader, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Sets, items and outputs are those of the platform, in both versions; types come from the schema."""
    database = tmp_path / "e.duckdb"
    summary, _ = load_extend(database, api_version=version)
    assert (summary.complete, summary.quarantined, summary.left_out) == (True, 0, [])
    truth = sandbox.extend.evaluation.truth()
    sets = query(
        database,
        "SELECT id, name, processor_id, processor_type FROM extend.evaluation_sets ORDER BY created_at",
    )
    prefix = "" if version == VERSIONS[0] else "dp_"
    assert sets == [
        (
            each["id"],
            each["name"],
            prefix + each["processor_id"].split("_")[1] if prefix else each["processor_id"],
            each["type"].upper(),
        )
        for each in truth
    ]
    items = query(
        database, "SELECT evaluation_set_id, position, id, file_ids, deleted_at FROM extend.evaluation_items"
    )
    assert sorted(items) == sorted(
        (each["id"], n, item["id"], json.dumps(item["file_ids"], separators=(",", ":")), None)
        for each in truth
        for n, item in enumerate(each["items"])
    )
    assert any(len(item["file_ids"]) == 2 for each in truth for item in each["items"])
    assert outputs(database) == wanted(sandbox)
    sql = "SELECT path, field, name, kind, type, value, value_number, value_date, currency_code FROM extend."
    first = truth[0]["items"][0]
    total, day = (
        first["expected"]["value"]["line_items"][0]["amount"],
        first["expected"]["value"]["issue_date"],
    )
    found = {
        row[0]: row[1:]
        for row in query(database, f"{sql}expected_fields WHERE evaluation_item_id = ?", first["id"])
    }
    amount = total["amount"]
    assert found["line_items[0].amount"] == (
        "line_items[].amount", "amount", "leaf", "currency", str(amount).removesuffix(".0"), amount, None,
        total["iso_4217_currency_code"],
    )  # fmt: skip
    assert found["line_items"][2:4] == ("array", "array")
    assert found["line_items[0]"][2:4] == ("item", "object")
    assert found["payment_terms"][3] == "enum", "from the schema: the value is a text"
    assert found["issue_date"][3:7] == ("date", day, None, date.fromisoformat(day))
    assert query(database, "SELECT count(*) FROM extend.expected_fields WHERE _cleared IS NOT NULL") == [(0,)]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_load_reads_only_what_has_changed(
    version: str, load_extend: Loader, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A load with nothing new costs one request. A changed set costs the list and the items that may have changed."""
    database = tmp_path / "e.duckdb"

    def load() -> tuple[int, int, int]:
        load_extend(database, api_version=version)
        assert outputs(database) == wanted(sandbox)
        return asked(sandbox)

    assert load() == (1, 3, 18)
    assert load() == (1, 0, 0)
    evaluation = sandbox.extend.evaluation
    first, _second, third = evaluation.truth()
    value = first["items"][2]["expected"]["value"]
    rows = value["line_items"][:1]
    evaluation.change(first["items"][2]["id"], {"value": {**value, "line_items": rows, "total": None}})
    # rows of the list have no date: any item of the set may have changed
    assert load() == (1, 1, 6)
    evaluation.add(third["id"])
    assert load() == (1, 1, 7)
    assert load() == (1, 0, 0)
    load_extend(database, api_version=version, full=True)
    assert asked(sandbox) == (1, 3, 19)


def test_changes_that_the_set_does_not_show(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """Within `recheck_for` of a set's last change its items are listed in each load, and new ones are read."""
    database = tmp_path / "e.duckdb"
    evaluation, long = sandbox.extend.evaluation, "5000d"
    sandbox.extend.switch(items_move_sets=False)
    load_extend(database, recheck_for=long)
    asked(sandbox)
    load_extend(database, recheck_for=long)
    assert asked(sandbox) == (1, 3, 0)
    new = evaluation.add(evaluation.truth()[0]["id"])
    load_extend(database)
    assert asked(sandbox) == (1, 0, 0)
    load_extend(database, recheck_for=long)
    assert asked(sandbox) == (1, 3, 1)
    assert outputs(database)[new] == wanted(sandbox)[new]


@pytest.mark.parametrize(
    "mode", [{}, {"field_values": "hash", "hash_key": "k" * 32}, {"field_values": "drop"}]
)
def test_items_that_are_gone(
    mode: dict[str, str], load_extend: Loader, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A removed item and a removed set keep their rows, with `deleted_at`, in each way of storing values."""
    database = tmp_path / "e.duckdb"
    load_extend(database, **mode)
    evaluation = sandbox.extend.evaluation
    _, second, third = evaluation.truth()
    cells = "* EXCLUDE (deleted_at, _dlt_load_id)"
    sql = f"SELECT {cells} FROM extend.evaluation_items ORDER BY id"
    before, fields = query(database, sql), query(database, "SELECT count(*) FROM extend.expected_fields")
    removed = third["items"][1]["id"]
    evaluation.remove(removed)
    evaluation.remove(second["id"])
    load_extend(database, **mode)
    gone = {
        id_
        for (id_,) in query(database, "SELECT id FROM extend.evaluation_items WHERE deleted_at IS NOT NULL")
    }
    assert gone == {removed, *(item["id"] for item in second["items"])}
    assert query(database, "SELECT id FROM extend.evaluation_sets WHERE deleted_at IS NOT NULL") == [
        (second["id"],)
    ]
    # the places of later items move up
    position = [column for column, *_ in query(database, "DESCRIBE extend.evaluation_items")].index(
        "position"
    )
    without = [
        [row[:position] + row[position + 1 :] for row in rows] for rows in (before, query(database, sql))
    ]
    assert without[0] == without[1]
    assert query(database, "SELECT count(*) FROM extend.expected_fields") == fields
    asked(sandbox)
    load_extend(database, **mode)
    assert asked(sandbox) == (1, 0, 0)


def test_an_item_that_comes_back(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """An item that the list shows again loses its mark."""
    rows = [f'{{"id":"evi_{n}","updatedAt":"{OLD}"}}' for n in "ab"]
    answers = one_set(rows)
    plant(sandbox, answers)
    database = tmp_path / "e.duckdb"
    marked = "SELECT id FROM extend.evaluation_items WHERE deleted_at IS NOT NULL"
    for shown, gone in ((rows, []), (rows[:1], [("evi_b",)]), (rows, [])):
        answers |= one_set(shown, changed=datetime.now(UTC).isoformat())
        load_extend(database, base_url=sandbox.extend_url)
        assert query(database, marked) == gone
    assert query(database, "SELECT count(*) FROM extend.evaluation_items") == [(2,)]


def entries(*rows: str) -> bytes:
    """A list of one page."""
    return f'{{"object":"list","data":[{",".join(rows)}]}}'.encode()


def one_set(rows: list[str], changed: str = OLD) -> dict[str, Answer]:
    """A set with an extractor, and items with one field."""
    path = "/extend/evaluation_sets"
    entity = '{"object":"extractor","id":"ex_1","name":"Bill"}'
    answers: dict[str, Answer] = {
        path: entries(f'{{"id":"ev_1","name":"n","entity":{entity},"updatedAt":"{changed}"}}'),
        f"{path}/ev_1/items": entries(*rows),
        "/extend/extractors/ex_1": b'{"id":"ex_1","draftVersion":{"config":{"schema":{"properties":{"n":'
        b'{"type":"string"}}}}}}',
    }
    for id_ in (row.partition('"id":"')[2].partition('"')[0] for row in rows):
        body = {"id": id_, "evaluationSetId": "ev_1", "expectedOutput": {"value": {"n": "2026-01-01"}}}
        answers[f"{path}/ev_1/items/{id_}"] = json.dumps(body).encode()
    return answers


def test_rows_with_dates_of_their_own(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """Where a list's rows have dates, only the items with another date are read."""
    rows = [f'{{"id":"evi_{n}","updatedAt":"{OLD}"}}' for n in "abc"]
    answers = one_set(rows)
    paths = plant(sandbox, answers)
    database = tmp_path / "e.duckdb"
    load_extend(database, base_url=sandbox.extend_url)
    types = query(database, "SELECT DISTINCT type, value FROM extend.expected_fields")
    assert types == [("string", "2026-01-01")], "the schema decides, not the value"
    rows[1] = rows[1].replace("03-01", "04-01")
    answers |= one_set(rows, changed="2026-04-01T00:00:00Z")
    del paths[:]
    load_extend(database, base_url=sandbox.extend_url)
    details = [path for path in paths if path.startswith("/extend/evaluation_sets/ev_1/items/")]
    assert details == ["/extend/evaluation_sets/ev_1/items/evi_b"]
    dates = query(database, "SELECT id, month(updated_at) FROM extend.evaluation_items ORDER BY id")
    assert dates == [("evi_a", 3), ("evi_b", 4), ("evi_c", 3)]


def test_items_whose_list_has_the_output(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """An output in the list costs no request of its own."""
    row = '{"id":"evi_1","fileId":"file_1","expectedOutput":{"splits":[{"type":"invoice","startPage":1}]}}'
    answers = one_set([row])
    del answers["/extend/evaluation_sets/ev_1/items/evi_1"]
    paths = plant(sandbox, answers)
    database = tmp_path / "e.duckdb"
    load_extend(database, base_url=sandbox.extend_url)
    assert not any(path.endswith("/evi_1") for path in paths)
    sql = "SELECT path, value FROM extend.expected_fields WHERE kind = 'leaf'"
    assert query(database, sql) == [("splits[0].type", "invoice"), ("splits[0].startPage", "1")]
    assert query(database, "SELECT file_ids FROM extend.evaluation_items") == [('["file_1"]',)]


BROKEN: dict[str, tuple[str, bytes, str]] = {
    "list": ("", b"<html>", "(list)"),
    "row": ("", entries("{}"), "(no id) 44136fa355b3"),
    "items": ("/ev_1/items", b"<html>", "ev_1"),
    "items without ids": ("/ev_1/items", entries("{}"), "(no id) 44136fa355b3"),
    "item": ("/ev_1/items/evi_a", b"<html>", "evi_a"),
    "another item": ("/ev_1/items/evi_a", b'{"id":"evi_b"}', "evi_a"),
    "two values": ("/ev_1/items/evi_a", b'{"id":"evi_a","expectedOutput":{"value":{"n":1,"n":2}}}', "evi_a"),
    "processor": ("../extractors/ex_1", b"<html>", "ev_1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read(name: str, load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """It goes to quarantine, runs are loaded, and each load tries it again until it can be read."""
    path, body, id_ = BROKEN[name]
    path = f"/extend/evaluation_sets{path}" if not path.startswith("..") else f"/extend{path[2:]}"
    rows = [f'{{"id":"evi_{n}","updatedAt":"{OLD}"}}' for n in "ac"]
    good = one_set(rows)
    answers = good | {path: body}
    paths = plant(sandbox, answers)
    database = tmp_path / "e.duckdb"
    sql = "SELECT id, attempts, resolved_at IS NOT NULL FROM extend.quarantine WHERE resource = 'evaluation_sets'"
    for loads in (1, 2):
        summary, _ = load_extend(database, base_url=sandbox.extend_url)
        assert (summary.complete, summary.quarantined) == (True, 1)
        assert query(database, sql) == [(id_, loads, False)]
    assert query(database, "SELECT count(*) FROM extend.workflow_runs") == [(12,)]
    if name.startswith(("item", "another", "two")) and "/items/" in path:
        assert query(database, "SELECT id FROM extend.evaluation_items") == [("evi_c",)]
    answers |= good
    summary, _ = load_extend(database, base_url=sandbox.extend_url)
    assert summary.quarantined == 0
    assert id_.startswith("(no id)") or query(database, sql) == [(id_, 2, True)]
    found = query(database, "SELECT id FROM extend.evaluation_items WHERE deleted_at IS NULL ORDER BY id")
    assert found == [("evi_a",), ("evi_c",)]
    assert query(database, "SELECT count(*) FROM extend.expected_fields") == [(2,)]
    del paths[:]
    load_extend(database, base_url=sandbox.extend_url)
    assert [path for path in paths if "evaluation" in path] == ["/extend/evaluation_sets"]


@pytest.mark.parametrize("status", [403, 404, 410])
@pytest.mark.parametrize("path", ["", "/ev_1/items", "/ev_1/items/evi_a"])
def test_lists_that_the_server_does_not_give(
    path: str, status: int, load_extend: Loader, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A refusal leaves the load complete, and a later load reads what is then there."""

    def refuse(_: Request) -> Reply:
        return Reply(status, b'{"code":"NO"}')

    good = one_set(['{"id":"evi_a"}'], changed=(datetime.now(UTC) - timedelta(hours=3)).isoformat())
    answers = good | {f"/extend/evaluation_sets{path}": refuse}
    plant(sandbox, answers)
    database = tmp_path / "e.duckdb"
    summary, _ = load_extend(database, base_url=sandbox.extend_url)
    assert (summary.complete, summary.quarantined, summary.lacks_runs) == (True, 0, False)
    assert summary.left_out == (["evaluation_sets"] if status == 403 or not path else [])
    assert query(database, "SELECT count(*) FROM extend.workflow_runs") == [(12,)]
    answers |= good
    summary, _ = load_extend(database, base_url=sandbox.extend_url)
    assert summary.left_out == []
    assert query(database, "SELECT count(*) FROM extend.expected_fields") == [(1,)]


def test_the_switch_of_the_sandbox(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """A platform without evaluation sets is loaded as before, and older versions do not ask for them."""
    sandbox.extend.switch(list_evaluation_sets=False)
    summary, _ = load_extend(tmp_path / "e.duckdb")
    assert (summary.complete, summary.lacks_runs, summary.left_out) == (True, False, ["evaluation_sets"])
    asked(sandbox)
    for version in ("2024-12-23", "v1"):
        load_extend(tmp_path / f"{version}.duckdb", api_version=version)
    assert asked(sandbox) == (0, 0, 0)


def test_private_columns(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """Values and classes are hashed or left out, and columns that are named stay empty."""
    load_extend(tmp_path / "h.duckdb", field_values="hash", hash_key="k" * 32)
    load_extend(tmp_path / "d.duckdb", field_values="drop")
    load_extend(tmp_path / "c.duckdb", drop_columns=["expected_fields.value_json", "description"])
    private = "value, value_number, value_date, value_json, currency_code"
    sql = f"SELECT {private} FROM extend.expected_fields"
    assert set(query(tmp_path / "d.duckdb", sql)) == {(None,) * 5}
    known = {
        cell for row in query(tmp_path / "c.duckdb", sql) for cell in row if isinstance(cell, str) and cell
    }
    hashed = query(tmp_path / "h.duckdb", sql)
    assert not {cell for row in hashed for cell in row} & known
    assert {row[1:3] for row in hashed} == {(None, None)}
    sql = "SELECT classification FROM extend.evaluation_items WHERE classification IS NOT NULL"
    assert {len(class_) for (class_,) in query(tmp_path / "h.duckdb", sql)} == {32}
    assert query(tmp_path / "c.duckdb", "SELECT DISTINCT value_json FROM extend.expected_fields") == [(None,)]
    assert query(tmp_path / "c.duckdb", "SELECT DISTINCT description FROM extend.evaluation_sets") == [
        (None,)
    ]


def test_the_examples_of_the_vendor(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """The example payloads are read, with every key in a column or in extra."""
    one = (FOLDER / "evaluation_set.2026-02-09.json").read_bytes()
    item = json.loads((FOLDER / "evaluation_set_item.2026-02-09.json").read_bytes())
    id_ = json.loads(one)["id"]
    listed = {key: cell for key, cell in item.items() if key not in ("expectedOutput", "evaluationSetId")}
    path = f"/extend/evaluation_sets/{id_}/items"
    item["file"] |= {"presignedUrl": "https://x.invalid/?sig=1", "contents": {"rawText": "secret"}}
    plant(
        sandbox,
        {
            "/extend/evaluation_sets": entries(one.decode()),
            path: entries(json.dumps(listed)),
            f"{path}/{item['id']}": json.dumps(item).encode(),
        },
    )
    database = tmp_path / "e.duckdb"
    summary, _ = load_extend(database, base_url=sandbox.extend_url)
    assert summary.quarantined == 0
    assert query(
        database,
        "SELECT name, description, processor_name, processor_type, extra FROM extend.evaluation_sets",
    ) == [("Invoices, spring", "Thirty supplier bills", "Supplier invoice", "EXTRACT", None)]
    [(files, extra)] = query(database, "SELECT file_ids, extra FROM extend.evaluation_items")
    assert files == f'["{item["file"]["id"]}"]'
    assert json.loads(extra)["file"].keys() == {
        "name",
        "type",
        "parentFileId",
        "metadata",
        "createdAt",
        "updatedAt",
    }
    found = query(database, "SELECT path, kind, type, value_json FROM extend.expected_fields")
    assert found == [("invoice_number", "leaf", "string", '"HP-20417"')]
