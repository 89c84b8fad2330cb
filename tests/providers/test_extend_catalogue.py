"""The catalogue of Extend: entries that cannot be read go to quarantine, and the others are loaded."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docruns.core.errors import RefusedError
from docruns.net import client
from docruns.sandbox import Sandbox
from docruns.sandbox.wire import Reply, Request
from support.loading import Loader, query
from support.planted import Answer, plant

KINDS = ("workflows", "extractors", "classifiers", "splitters")
EMPTY = b'{"object":"list","data":[]}'
AT = '"updatedAt":"2026-09-20T00:00:00Z"'

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Three runs and a catalogue that tests replace."""
    with Sandbox(runs=3, standalone=0, seed=3) as running:
        yield running


def entries(*rows: str) -> bytes:
    """A list of one page."""
    return f'{{"object":"list","data":[{",".join(rows)}]}}'.encode()


def catalogue(**lists: bytes) -> dict[str, Answer]:
    """Answers for the lists of the catalogue; all others are empty."""
    answers: dict[str, Answer] = {f"/extend/{kind}": EMPTY for kind in KINDS}
    return answers | {f"/extend/{kind}": body for kind, body in lists.items()}


def good(id_: str) -> dict[str, Answer]:
    """A workflow's details and its one version."""
    path, quoted = f"/extend/workflows/{id_}", json.dumps(id_)
    version = f'{{"id":{json.dumps("v " + id_)},"version":"1","steps":[]}}'
    return {
        path: f'{{"id":{quoted},{AT}}}'.encode(),
        f"{path}/versions": entries(version),
        f"{path}/versions/v {id_}": version.encode(),
    }


def quarantined(database: Path) -> dict[tuple[str, str], tuple[str, int, bool]]:
    """Message, number of loads and whether it is resolved, by list and id."""
    sql = "SELECT resource, id, message, attempts, resolved_at IS NOT NULL FROM extend.quarantine"
    return {(list_, id_): tuple(rest) for list_, id_, *rest in query(database, sql)}  # type: ignore[misc]


def runs(database: Path) -> int:
    """Workflow runs in a database."""
    return int(query(database, "SELECT count(*) FROM extend.workflow_runs")[0][0])


ROWS = {
    "null": "not a JSON object",
    "7": "not a JSON object",
    "[]": "not a JSON object",
    "{}": "without an id",
    '{"id":7}': "without an id",
    '{"id":""}': "without an id",
    '{"id":".."}': "without an id",
    '{"id":"' + "i" * 3000 + '"}': "without an id",
    '{"id":"twice","name":"a","name":"b"}': "the key 'name' comes twice",
    '{"id":"latin-1","x":"\xe9"}': "UTF-8",
}


def test_entries_that_cannot_be_read(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """Each is quarantined with its reason.

    Good entries and runs are loaded, with one request each.
    """
    odd = "../ö?\"'#"
    answers = catalogue(workflows=entries(*ROWS, f'{{"id":"ok",{AT}}}', f'{{"id":{json.dumps(odd)}}}'))
    body = answers["/extend/workflows"]
    assert isinstance(body, bytes)
    answers["/extend/workflows"] = body.decode().replace(json.dumps(odd), "@").encode("latin-1").replace(
        b"@", json.dumps(odd).encode()
    )  # fmt: skip
    asked = plant(sandbox, answers | good("ok") | good(odd))
    database = tmp_path / "c.duckdb"
    summary, _ = load_extend(database, base_url=sandbox.extend_url)
    assert (summary.complete, summary.quarantined, runs(database)) == (True, len(ROWS), 3)
    found = quarantined(database)
    assert len(found) == len(ROWS)
    reasons = [message for message, *_ in found.values()]
    assert all(any(reason in message for message in reasons) for reason in ROWS.values())
    assert {key[1] for key in found if not key[1].startswith("(no id)")} == {"twice", "latin-1"}
    assert sorted(query(database, "SELECT id FROM extend.workflows")) == [(odd,), ("ok",)]
    versions = sorted(query(database, "SELECT workflow_id, id FROM extend.workflow_versions"))
    assert versions == [(odd, f"v {odd}"), ("ok", "v ok")]
    del asked[:]
    summary, _ = load_extend(database, base_url=sandbox.extend_url)
    assert summary.quarantined == len(ROWS)
    assert {loads for _, loads, _ in quarantined(database).values()} == {2}
    assert not any(path.startswith("/extend/workflows/") for path in asked)


LISTS: dict[str, tuple[bytes, str]] = {
    "html": (b"<html>", "not JSON"),
    "list": (b"[]", "not a JSON object"),
    "no list": (b"{}", "the answer has no list 'data'"),
    "object": (b'{"data":{}}', "'data' is not a list"),
    "text": (b'{"data":"x"}', "'data' is not a list"),
    "error": (b'{"error":"x"}', "an error with status 200"),
    "token": (b'{"data":[],"nextPageToken":{}}', "the page token is not a text"),
    "deep": (b'{"data":' + b"[" * 2000 + b"]" * 2000 + b"}", "nested too deeply"),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_cannot_be_read(name: str, load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """The list is quarantined; other lists and runs are loaded. A later good answer resolves it."""
    body, reason = LISTS[name]
    answers = catalogue(extractors=body, workflows=entries(f'{{"id":"ok",{AT}}}')) | good("ok")
    plant(sandbox, answers)
    database = tmp_path / "l.duckdb"
    summary, _ = load_extend(database, base_url=sandbox.extend_url)
    assert (summary.complete, summary.quarantined, runs(database)) == (True, 1, 3)
    [(key, (message, loads, over))] = quarantined(database).items()
    assert (key, loads, over) == (("extractors", "(list)"), 1, False)
    assert reason in message
    assert query(database, "SELECT id FROM extend.workflows") == [("ok",)]
    answers["/extend/extractors"] = EMPTY
    summary, _ = load_extend(database, base_url=sandbox.extend_url)
    assert summary.quarantined == 0
    [(_, loads, over)] = quarantined(database).values()
    assert (loads, over) == (1, True)


DETAILS: dict[str, tuple[str, bytes, str, str]] = {
    "draft is html": ("", b"<html>", "ok", "not JSON"),
    "draft without id": ("", b'{"id":"ok","draftVersion":{}}', "ok", "the answer has no id"),
    "versions are html": ("/versions", b"<html>", "ok", "not JSON"),
    "version without id": ("/versions", entries("{}"), "(no id) 44136fa355b3", "without an id"),
    "version is html": ("/versions/v ok", b"<html>", "v ok", "not JSON"),
    "version is empty": ("/versions/v ok", b"{}", "v ok", "the answer has no id"),
    "version is latin-1": ("/versions/v ok", b'{"id":"v ok","x":"\xe9"}', "v ok", "UTF-8"),
    "version has two names": ("/versions/v ok", b'{"id":"v ok","x":1,"x":2}', "v ok", "'x' comes"),
}


@pytest.mark.parametrize("name", DETAILS)
def test_details_that_cannot_be_read(
    name: str, load_extend: Loader, sandbox: Sandbox, tmp_path: Path
) -> None:
    """All other entries are loaded. Each load tries the failed one until it can be read."""
    path, body, id_, reason = DETAILS[name]
    listed = entries(f'{{"id":"ok",{AT}}}', f'{{"id":"other",{AT}}}')
    answers = catalogue(workflows=listed) | good("ok") | good("other")
    mended = answers[f"/extend/workflows/ok{path}"]
    answers[f"/extend/workflows/ok{path}"] = body
    asked = plant(sandbox, answers)
    database = tmp_path / "d.duckdb"
    summary, _ = load_extend(database, base_url=sandbox.extend_url)
    assert (summary.complete, summary.quarantined, runs(database)) == (True, 1, 3)
    [(key, (message, _, over))] = quarantined(database).items()
    assert (key, over) == (("workflows", id_), False)
    assert reason in message
    assert sorted(query(database, "SELECT id FROM extend.workflows")) == [("ok",), ("other",)]
    assert ("v other",) in query(database, "SELECT id FROM extend.workflow_versions")
    answers[f"/extend/workflows/ok{path}"] = mended
    summary, _ = load_extend(database, base_url=sandbox.extend_url)
    assert summary.quarantined == 0
    assert len(query(database, "SELECT id FROM extend.workflow_versions")) == 2
    if not id_.startswith("(no id)"):
        assert [over for *_, over in quarantined(database).values()] == [True]
    del asked[:]
    load_extend(database, base_url=sandbox.extend_url)
    assert not any(path.startswith("/extend/workflows/") for path in asked)


@pytest.mark.parametrize("shape", ["[]", '"x"', "7", '{"a":1,"a":2}', "{}", "null"])
def test_a_configuration_of_any_shape(
    shape: str, load_extend: Loader, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The configuration is kept as it came. Only an object has a schema."""
    path = "/extend/extractors/ex/versions"
    version = f'{{"id":"exv","version":"1","config":{shape}}}'
    answers: dict[str, Answer] = catalogue(extractors=entries(f'{{"id":"ex",{AT}}}'))
    answers |= {"/extend/extractors/ex": b'{"id":"ex"}', path: entries('{"id":"exv"}')}
    plant(sandbox, answers | {f"{path}/exv": version.encode()})
    database = tmp_path / "v.duckdb"
    summary, _ = load_extend(database, base_url=sandbox.extend_url)
    assert summary.quarantined == 0
    found = query(database, "SELECT config, schema FROM extend.processor_versions")
    assert found == [(None if shape == "null" else shape, None)]


def test_a_refused_key_ends_the_load(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """A refused key does not depend on an entry: none goes to quarantine."""

    def refuse(_: Request) -> Reply:
        return Reply(401, b"{}")

    plant(sandbox, catalogue() | {"/extend/workflows": refuse})
    with pytest.raises(RefusedError):
        load_extend(tmp_path / "r.duckdb", base_url=sandbox.extend_url)


def test_an_entry_that_is_listed_twice_is_read_once(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A list that starts again, or shifts, repeats rows."""
    row = f'{{"id":"ok",{AT}}}'
    asked = plant(sandbox, catalogue(workflows=entries(row, row)) | good("ok"))
    load_extend(tmp_path / "t.duckdb", base_url=sandbox.extend_url)
    assert asked.count("/extend/workflows/ok") == 1


def test_a_large_catalogue_does_not_ask_for_all_at_once(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bounded number of requests is in flight, because due runs wait behind them.

    The rows are equal.
    """
    load_extend(tmp_path / "a.duckdb")
    monkeypatch.setattr(sys.modules["docruns.providers.extend.entries"], "AT_ONCE", 2)
    begin, in_flight = client.Client.begin, [0]

    def counted(client: client.Client, requests: Any) -> None:
        begin(client, requests)
        in_flight.append(sum(bool(re.search(r"s/.", each.path)) for each in client._prefetched))

    monkeypatch.setattr(client.Client, "begin", counted)
    load_extend(tmp_path / "b.duckdb")
    assert 1 < max(in_flight) <= 6, "of two lists of the catalogue, and of the evaluation sets"
    tables = ("workflows", "workflow_versions", "processors", "processor_versions")
    for table in (*tables, "evaluation_sets", "evaluation_items", "expected_fields"):
        sql = f"SELECT * EXCLUDE (_dlt_load_id) FROM extend.{table} ORDER BY ALL"
        rows = query(tmp_path / "a.duckdb", sql)
        assert rows == query(tmp_path / "b.duckdb", sql)
        assert rows
