"""Ids in requests and rows: opaque, whatever they hold."""

from __future__ import annotations

import json
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docruns.core.payload import MAX_CHARS, is_usable
from docruns.core.tables import PROCESSOR_RUNS, WORKFLOW_RUNS, WORKFLOW_STEPS
from docruns.net.client import Client
from docruns.net.messages import ConnectionSettings, segment
from docruns.net.shared_budget import Budget
from docruns.providers.extend import api, workflow_runs
from docruns.providers.plextera import pages
from docruns.providers.plextera import runs as plextera
from docruns.store.arrow import to_tables
from docruns.sync.plan import ListedRun
from support.raw import Raw, answer

LISTS = [
    api.run_lists("2026-02-09", None)[0],
    pages.ListEndpoint("workflow_runs", "/workflow-runs", frozenset(), pages.Paging()),
]
TEXT = st.text(min_size=1, max_size=20) | st.sampled_from(
    ["../x", "a/b", "a?b=c", "a#b", "%2e%2e", "a\\b", "//x", "http://x/", "\0", "a;b", " ", "\n"]
)


@settings(max_examples=300, deadline=None)
@given(TEXT.filter(is_usable))
def test_an_id_is_one_segment_of_the_path(id_: str) -> None:
    """An id cannot leave its list, add a query or a fragment, or change in the URL."""
    for runs in LISTS:
        plain = runs.detail("x").path
        url = httpx.URL(f"http://h/base{runs.detail(id_).path}")
        assert (url.host, url.query, url.fragment) == ("h", b"", "")
        path = url.raw_path.decode()
        assert path.count("/") == f"/base{plain}".count("/")
        assert unquote(path.rpartition("/")[2]) == id_


@pytest.mark.parametrize("id_", ["a;b=c", "a/../b", "a?b#c", "%2F", "a:b@c", "é 1", "(1),*'!$&+"])
def test_an_id_is_sent_as_it_was_encoded(id_: str) -> None:
    """No library between the client and the socket writes an id in another way."""
    with Raw(answer()) as server:
        settings = ConnectionSettings(f"http://127.0.0.1:{server.port}", {})
        with Client(settings, Budget(), api.explain, api.check) as client:
            client.get(LISTS[0].detail(id_)._replace(params=(("token", id_),)))
        path = f"/workflow_runs/{segment(id_)}?token={segment(id_)}"
        assert server.requests[0].startswith(f"GET {path} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize("id_", [None, "", ".", "..", "x" * (MAX_CHARS + 1)])
def test_what_no_request_can_ask_for(id_: str | None) -> None:
    """An id that is missing, a folder, or longer than a URL cannot be requested."""
    assert not is_usable(id_)


def test_the_longest_id_has_an_address() -> None:
    """The longest id fits into a URL, also in the characters that take most room."""
    id_ = "\U0001f600" * MAX_CHARS
    assert is_usable(id_)
    assert len(str(httpx.URL("http://h/" + segment(id_)))) < 65_000


def nested(*ids: object) -> bytes:
    """A workflow run of Extend whose steps hold extract runs with these ids."""
    steps = [
        {"result": {"extractRun": {"id": id_, "status": "PROCESSED", "output": {"value": {"n": i}}}}}
        for i, id_ in enumerate(ids)
    ]
    return json.dumps({"id": "w", "status": "PROCESSED", "stepRuns": steps}).encode()


@pytest.mark.parametrize("id_", ["", "..", "w", "first", None, 7, "x" * (MAX_CHARS + 1)])
def test_a_nested_run_that_can_be_no_row_stays_in_its_step(id_: object) -> None:
    """A nested run without an id, or with another run's, stays in its step and overwrites none."""
    body = nested("first", id_, "last")
    read = workflow_runs.workflow_run(
        body, ListedRun("w", None, None, None), workflow_runs.Context("2026-02-09")
    )
    runs = [row["id"] for row in read.batch.dicts(PROCESSOR_RUNS)]
    assert (runs, read.nested_ids) == (["first", "last"], ("first", "last"))
    steps = read.batch.dicts(WORKFLOW_STEPS)
    assert [row["processor_run_id"] for row in steps] == ["first", None, "last"]
    kept = json.loads(steps[1]["output"])["extractRun"]
    assert (kept["id"], kept["output"]) == (id_, {"value": {"n": 1}})
    to_tables(read.batch)


@pytest.mark.parametrize("id_", ["", "w", "first", None, 7])
def test_an_output_that_can_be_no_row_stays_in_its_step(id_: object) -> None:
    """The same up to version 2025-04-21, where nested runs are in `outputs`."""
    output = {"type": "EXTRACT", "status": "PROCESSED", "output": {"value": {"n": 1}}}
    outputs = [{**output, "id": i} for i in ("first", id_, "last")]
    body = json.dumps({"success": True, "workflowRun": {"id": "w", "outputs": outputs}}).encode()
    read = workflow_runs.workflow_run(
        body, ListedRun("w", None, None, None), workflow_runs.Context("2025-04-21")
    )
    steps = read.batch.dicts(WORKFLOW_STEPS)
    assert [row["processor_run_id"] for row in steps] == ["first", None, "last"]
    assert json.loads(steps[1]["output"]) == {**output, "id": id_}


@pytest.mark.parametrize("id_", ["", "..", "r", "first", None, 7])
def test_a_nested_run_of_plextera_that_can_be_no_row_stays_in_its_step(id_: object) -> None:
    """The same for Plextera, in full and as a summary."""
    runs = [{"id": i, "status": "COMPLETED", "steps": []} for i in ("first", id_, "last")]
    body = json.dumps({"id": "r", "steps": [{"nestedRuns": {"count": 3, "data": runs}}]}).encode()
    read = plextera.workflow_run(body, ListedRun("r", None, None, None), plextera.Context())
    assert {row["id"] for row in read.batch.dicts(WORKFLOW_RUNS)} == {"r", "first", "last"}
    assert len(read.batch.dicts(WORKFLOW_RUNS)) == 3
    [step] = read.batch.dicts(WORKFLOW_STEPS)
    assert json.loads(step["extra"]) == {"nestedRuns": {"data": [runs[1]]}}
