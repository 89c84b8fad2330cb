"""Arbitrary answers: readers parse each into rows for the tables, or refuse it as sync expects."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_examples import cells_of, lost

from docruns.core.codec import clean
from docruns.core.errors import ApiError
from docruns.net.messages import Reply
from docruns.providers.extend import api as extend_api
from docruns.providers.extend.api import run_lists
from docruns.providers.plextera import api as plextera_api
from docruns.providers.plextera import pages as plextera_pages
from docruns.sync.plan import ListedRun
from fuzz import target
from support.extend_payloads import RUNS, load, read, run_of, version

SEEDS = target.seeds()
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


class Literal(str):
    """JSON text that is encoded as it is."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object whose keys may repeat."""


def written(value: Any) -> str:
    """The value as JSON text."""
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{json.dumps(k)}:{written(v)}" for k, v in value) + "}"
    if isinstance(value, dict):
        return written(Pairs(value.items()))
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value)


def nodes(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every node."""
    yield path
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for step, below in inner:
            yield from nodes(below, (*path, step))


def replaced(document: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """A copy with another value at one path."""
    if not path:
        return value
    whole = copy.deepcopy(document)
    parent = whole
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    return whole


# all the keys that any reader asks for, so that arbitrary objects look like something
KEYS = sorted(
    {step for _, body in SEEDS for path in nodes(json.loads(body)) for step in path if isinstance(step, str)}
    | {"", "a.b", "a[0]", "]", "[0]", "\0", "\ud800", "splits", "chunks", "runId", "extractionId"}
)
TEXTS = st.text(max_size=5) | st.sampled_from(
    ["PROCESSED", "EXTRACT", "SPLIT", "extract_run", "workflow_run", "2026-02-09", "2026-02-09T01:02:03Z", "id", "\ud800"]
)  # fmt: skip
LITERALS = st.sampled_from(
    ["1e999", "-0", "-0.0", "1" * 25, "9" * 400, "9" * 5000, "1.50", "NaN", '"\\u0000"']
).map(Literal)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | LITERALS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.tuples(st.sampled_from(KEYS) | st.text(max_size=3), inner), max_size=5).map(Pairs)
    ),
    max_leaves=25,
)  # fmt: skip
OBJECTS = st.lists(st.tuples(st.sampled_from(KEYS), VALUES), max_size=12).map(Pairs)


@QUICK
@given(st.sampled_from(sorted(target.READERS)), OBJECTS, st.sampled_from(["r", "ü", "\0"]))
def test_any_object_is_read_or_refused(kind: str, run: Pairs, id_: str) -> None:
    """Each reader gets arbitrary JSON with an id in front."""
    target.read(kind, written(Pairs([("id", id_), *run])).encode("utf-8", "surrogatepass"))


@QUICK
@given(st.sampled_from(SEEDS), st.data(), VALUES)
def test_any_node_of_an_example_may_be_anything(
    seed: tuple[str, bytes], data: st.DataObject, value: Any
) -> None:
    """One node of an example answer is replaced by any JSON."""
    kind, body = seed
    document = json.loads(body)
    path = data.draw(st.sampled_from(list(nodes(document))))
    target.read(kind, written(replaced(document, path, value)).encode())


@QUICK
@given(st.sampled_from(SEEDS), st.data())
def test_any_bytes_of_an_example_may_be_anything(seed: tuple[str, bytes], data: st.DataObject) -> None:
    """A few bytes of an example answer are cut out, doubled or overwritten."""
    kind, body = seed
    mutated = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated)))
        end = at + data.draw(st.integers(0, 12))
        piece = data.draw(st.binary(max_size=4) | st.just(bytes(mutated[at:end]) * 2))
        mutated[at:end] = piece
    target.read(kind, bytes(mutated))


@QUICK
@given(st.sampled_from(sorted(target.READERS)), st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(kind: str, body: bytes) -> None:
    """Each reader gets arbitrary bytes."""
    target.read(kind, body)


# nothing is lost

# values that rows leave out by decision: those of the catalogue, a version's number as text,
# the document itself
UNSAID = re.compile(r"(.*\.)?(createdBy|version)\b.*|(.*\.)?(parseRun\.)?output(Url)?(\[\])*.*|type")
MARKS: list[Any] = [
    "MARK", 918273645, 918273645.5, True, ["MARK"], {"MARK": "MARK"}, [{"id": "MARK"}], {"id": "MARK"}, [["MARK"]],
]  # fmt: skip


@settings(QUICK, max_examples=300)
@given(st.sampled_from(RUNS), st.data(), st.sampled_from(MARKS))
def test_a_value_of_another_type_is_not_lost(name: str, data: st.DataObject, mark: Any) -> None:
    """One node of an example is replaced by a value of another type: cells hold it and all others."""
    document = load(name)
    document = document.get("payload", document)
    run = run_of(document)
    prefix = next((k for k in ("workflowRun", "processorRun") if k in document), None)
    path = data.draw(st.sampled_from([p for p in nodes(run) if p and p[-1] not in ("id", "object")]))
    spoiled = replaced(run, path, mark)
    try:
        missing = lost({prefix: spoiled} if prefix else spoiled, name)
    except target.REFUSED:
        return
    assert [text for text in missing if not UNSAID.match(text.partition(" = ")[0])] == []


@pytest.mark.parametrize("mark", [mark for mark in MARKS if "MARK" in str(mark)], ids=str)
def test_a_presigned_url_is_left_out_whatever_its_type(mark: Any) -> None:
    """The test above found this: readers dropped a presigned URL only if it was a text."""
    name = "legacy_processor_run.2026-02-09"
    document = load(name)
    run = run_of(document)
    assert "presignedUrl" in run["files"][0]
    run["files"][0]["presignedUrl"] = mark
    assert lost(document, name) == []
    assert not any("MARK" in str(cell) for cell in cells_of(read(document, version(name)).batch))


# lists and errors


def listing(body: bytes) -> Any:
    """A client that always gets the same page."""

    def get(_: object) -> Reply:
        extend_api.check(body, "GET /x")
        return Reply(body, {})

    return SimpleNamespace(get=get, begin=lambda _: None)


ROWS = st.lists(OBJECTS | VALUES, max_size=4)
PAGES = (
    st.tuples(ROWS, VALUES).map(
        lambda page: Pairs([("data", page[0]), ("workflowRuns", page[0]), ("pageInfo", page[1])])
    )
    | st.tuples(ROWS, SCALARS).map(lambda page: Pairs([("data", page[0]), ("nextPageToken", page[1])]))
    | OBJECTS
)


@QUICK
@given(PAGES)
def test_any_page_is_rows_or_an_error_of_ours(page: Pairs) -> None:
    """Each row is a run, or one without an id that keeps its text. No row is missing."""
    body = written(page).encode("utf-8", "surrogatepass")
    for api_version in ("2026-02-09", "v1"):
        runs, _ = run_lists(api_version, None)
        try:
            _, found = islice(extend_api.Pager(listing(body)).runs(runs), 2)
        except ApiError:
            continue
        _all_there(found, body, runs.envelope)
    paging = plextera_pages.Paging(size=100, sort=False)
    listed = plextera_pages.ListEndpoint("runs", "/runs", frozenset(), paging)
    try:
        found = next(plextera_pages.run_pages(listing(body), listed))
    except ApiError:
        return
    _all_there(found, body, "data")


def _all_there(found: list[ListedRun], body: bytes, envelope: str) -> None:
    # a list that is empty may be left out
    rows = json.loads(clean(body), parse_int=str).get(envelope) or []
    assert len(found) == len(rows)
    for run, row in zip(found, rows, strict=True):
        assert run.id or json.loads((run.summary or {})["row"], parse_int=str) == row
        assert run.changed


@QUICK
@given(
    st.integers(400, 599),
    st.binary(max_size=40) | OBJECTS.map(lambda o: written(o).encode("utf-8", "surrogatepass")),
)
def test_any_refusal_has_a_name(status: int, body: bytes) -> None:
    """Any body of a refused request gives a named error."""
    for explain in (extend_api.explain, plextera_api.explain):
        assert isinstance(explain(status, {}, body, "GET /x"), ApiError)


# what a longer run has found: python -m fuzz


@pytest.mark.parametrize("path", sorted(target.FOUND.glob("*/*")), ids=lambda path: path.name)
def test_what_once_broke(path: Path) -> None:
    """Inputs with which a fuzzer once broke a reader, by reader."""
    target.read(path.parent.name, path.read_bytes())


def test_seeds_are_read() -> None:
    """The fuzzer begins with valid answers of every kind and version."""
    assert {kind for kind, _ in SEEDS} == set(target.READERS)
    assert all(target.read(kind, body) is not None for kind, body in SEEDS)
    assert {version(name) for name in RUNS} <= {"2026-02-09", "2025-04-21", "2024-12-23", "v1"}
