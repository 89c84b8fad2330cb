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
from docruns.net.messages import segment
from docruns.providers.extend import api, workflow_runs
from docruns.providers.plextera import api as plextera_api
from docruns.providers.plextera import runs as plextera
from docruns.store.arrow import to_tables
from docruns.sync.plan import ListedRun

LISTS = [
    api.run_lists("2026-02-09", None)[0],
    plextera_api.ListEndpoint(
        "workflow_runs", "/workflow-runs", frozenset(), plextera_api.Paging()
    ),
]
TEXT = st.text(min_size=1, max_size=20) | st.sampled_from(
    ["../x", "a/b", "a?b=c", "a#b", "%2e%2e", "a\\b", "//x", "http://x/", "\0", "a;b", " ", "\n"]
)


CLIENT = httpx.Client(base_url="http://h/base")


@settings(max_examples=300, deadline=None)
@given(TEXT.filter(is_usable))
def test_an_id_is_one_segment_of_the_path(id_: str) -> None:
    """Nothing in an id leads out of the list, adds a query or a fragment, or changes on its way."""
    for runs in LISTS:
        plain = runs.detail("x").path
        url = CLIENT.build_request("GET", runs.detail(id_).path).url
        assert (url.host, url.query, url.fragment) == ("h", b"", "")
        path = url.raw_path.decode()
        assert path.count("/") == f"/base{plain}".count("/")
        assert unquote(path.rpartition("/")[2]) == id_


@pytest.mark.parametrize("id_", [None, "", ".", "..", "x" * (MAX_CHARS + 1)])
def test_what_no_request_can_ask_for(id_: str | None) -> None:
    """Missing, a folder, or longer than an address."""
    assert not is_usable(id_)


def test_the_longest_id_has_an_address() -> None:
    """In the characters that take most room."""
    id_ = "\U0001f600" * MAX_CHARS
    assert is_usable(id_)
    assert len(str(httpx.URL("http://h/" + segment(id_)))) < 65_000


def nested(*ids: object) -> bytes:
    """A workflow run of Extend whose steps hold extract runs with these ids."""
    steps = [
        {
            "result": {
                "extractRun": {"id": id_, "status": "PROCESSED", "output": {"value": {"n": i}}}
            }
        }
        for i, id_ in enumerate(ids)
    ]
    return json.dumps({"id": "w", "status": "PROCESSED", "stepRuns": steps}).encode()


@pytest.mark.parametrize("id_", ["", "..", "w", "first", None, 7, "x" * (MAX_CHARS + 1)])
def test_a_nested_run_that_can_be_no_row_stays_in_its_step(id_: object) -> None:
    """One without an id, with its workflow run's, or with another one's: kept as it came, nothing overwritten."""
    body = nested("first", id_, "last")
    read = workflow_runs.workflow_run(
        body, ListedRun("w", None, None, None), workflow_runs.Context("2026-02-09")
    )
    runs = [row["id"] for row in read.batch.dicts(PROCESSOR_RUNS)]
    assert (runs, read.inside) == (["first", "last"], ("first", "last"))
    steps = read.batch.dicts(WORKFLOW_STEPS)
    assert [row["processor_run_id"] for row in steps] == ["first", None, "last"]
    kept = json.loads(steps[1]["output"])["extractRun"]
    assert (kept["id"], kept["output"]) == (id_, {"value": {"n": 1}})
    to_tables(read.batch)


@pytest.mark.parametrize("id_", ["", "w", "first", None, 7])
def test_an_output_that_can_be_no_row_stays_in_its_step(id_: object) -> None:
    """The same up to 2025-04-21, where nested runs stand in `outputs`."""
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
    """The same, in full and as a summary."""
    runs = [{"id": i, "status": "COMPLETED", "steps": []} for i in ("first", id_, "last")]
    body = json.dumps({"id": "r", "steps": [{"nestedRuns": {"count": 3, "data": runs}}]}).encode()
    read = plextera.workflow_run(body, ListedRun("r", None, None, None), plextera.Context())
    assert {row["id"] for row in read.batch.dicts(WORKFLOW_RUNS)} == {"r", "first", "last"}
    assert len(read.batch.dicts(WORKFLOW_RUNS)) == 3
    [step] = read.batch.dicts(WORKFLOW_STEPS)
    assert json.loads(step["extra"]) == {"nestedRuns": {"data": [runs[1]]}}
