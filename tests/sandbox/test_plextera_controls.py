"""The controls of the Plextera workspace, in Python and over HTTP, and their effects in the API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from conftest import turn_pages
from docruns.sandbox import Sandbox

RUNS, EXTRACTIONS = "/workflow-runs", "/document-insights/extractions"

Http = Callable[..., httpx.Client]


@pytest.fixture
def own() -> Iterator[Sandbox]:
    """A small sandbox for one test."""
    with Sandbox(runs=0, plextera_runs=30, seed=5) as sandbox:
        yield sandbox


def told(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    return {each["id"]: each for each in sandbox.plextera.truth()}


def child(run: dict[str, Any]) -> dict[str, Any]:
    """The only run nested in the first step."""
    nested = run["steps"][0]["nestedRuns"]
    assert nested["count"] == len(nested["data"]) == 1
    found: dict[str, Any] = nested["data"][0]
    return found


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "CLOSED", "PROCESSING"])
def test_runs_can_be_added(own: Sandbox, plextera: Http, status: str) -> None:
    """New runs have the requested status, are the newest of the list, and have their extractions."""
    before = told(own)
    ids = own.plextera.add(3, kind="claim", size="heavy", status=status)
    assert [row["id"] for row in turn_pages(plextera(own), RUNS)[:3]] == ids[::-1]
    after = told(own)
    assert {after[id]["status"] for id in ids} == {status}
    read = [one for id in ids for one in after[id]["extractions"].values()]
    assert {one for one in after.keys() - before.keys() if after[one]["resource"] == "extractions"} == set(read)  # fmt: skip
    if status == "COMPLETED":
        assert [len(after[one]["values"]["services"]) >= 23 for one in read] == [True] * 3


@pytest.mark.parametrize("depth", [1, 2, 40])
def test_runs_can_be_nested_as_deep_as_asked(own: Sandbox, plextera: Http, depth: int) -> None:
    """Runs are nested one in the other, each with its own id and the same step ids; the innermost one read a
    document."""
    (id,) = own.plextera.add(depth=depth, kind="receipt")
    run = plextera(own).get(f"{RUNS}/{id}").json()
    seen = [run["id"]]
    for _ in range(depth):
        assert run["steps"][0]["id"] == "step_01"
        run = child(run)
        seen.append(run["id"])
    truth = told(own)
    assert len(set(seen)) == depth + 1 and truth[run["id"]]["depth"] == depth
    assert truth[truth[run["id"]]["extractions"]["step_01"]]["values"]["receiptNumber"]


def test_nesting_has_no_limit(own: Sandbox, plextera: Http) -> None:
    """A thousand levels of nesting are served, although few JSON readers accept them."""
    (id,) = own.plextera.add(depth=1000)
    assert plextera(own).get(f"{RUNS}/{id}").content.count(b'"stepsTotal"') == 1001


@pytest.mark.parametrize("depth", [0, 3])
def test_a_run_can_be_nested_in_itself(own: Sandbox, plextera: Http, depth: int) -> None:
    """The innermost run repeats the outermost one, with steps that count their runs and do not list them."""
    own.plextera.switch(nested_readable=True)
    (id,) = own.plextera.add(depth=depth, cycle=True)
    run = plextera(own).get(f"{RUNS}/{id}").json()
    for _ in range(max(depth, 1)):
        run = child(run)
        assert run["id"] != id
    again = plextera(own).get(f"{RUNS}/{run['id']}").json()
    for inner in (run, again):
        echo = child(inner)
        assert echo["id"] == id
        assert echo["steps"][0]["nestedRuns"] == {"count": 1, "data": []}
    truth = [one for one in own.plextera.truth() if one.get("root_id") == id]
    assert len(truth) == max(depth, 1) + 1


def test_a_run_can_have_ten_thousand_steps(own: Sandbox, plextera: Http) -> None:
    """A run with ten thousand steps lists them in order, each with its own id."""
    (id,) = own.plextera.add(steps=10_000, kind="invoice")
    run = plextera(own).get(f"{RUNS}/{id}").json()
    assert [step["id"] for step in run["steps"][:2]] == ["step_01", "step_02"]
    assert len({step["id"] for step in run["steps"]}) == 10_000 == told(own)[id]["steps"]


def test_finishing_ends_what_is_under_way(own: Sandbox, plextera: Http) -> None:
    """`finish` ends unfinished runs, the runs in them and extractions as COMPLETED, after every earlier time,
    with all their steps."""
    ids = own.plextera.add(4, kind="mailbox-sweep", status="PROCESSING")
    own.plextera.add_extractions(2, status="QUEUED")
    before = told(own)
    open_before = {id for id, one in before.items() if one["status"] in ("QUEUED", "PROCESSING")}
    last = max(one["updated_at"] for one in before.values())
    assert set(ids) <= set(own.plextera.finish())
    after = told(own)
    assert {after[id]["status"] for id in open_before} == {"COMPLETED"}
    assert all(after[id]["updated_at"] > last for id in open_before)
    # new records are not older than records that existed before
    assert all(after[id]["created_at"] > last for id in after.keys() - before.keys())
    for id in ids:
        run = plextera(own).get(f"{RUNS}/{id}").json()
        assert {step["status"] for step in run["steps"]} == {"COMPLETED"} and len(run["steps"]) == 2
    assert own.plextera.finish() == []


def test_a_change_inside_moves_the_runs_around_it(own: Sandbox) -> None:
    """When a nested run ends, `updatedAt` of all runs above it increases; their status stays."""
    (id,) = own.plextera.add(depth=2, status="PROCESSING")
    before = told(own)
    inside = next(one for one in before.values() if one.get("root_id") == id and one["depth"] == 2)
    own.plextera.finish(inside["id"])
    after = told(own)
    assert after[inside["id"]]["status"] == "COMPLETED"
    for above in (id, inside["parent_id"]):
        assert after[above]["status"] == "PROCESSING"
        assert after[above]["updated_at"] > before[above]["updated_at"]


def test_runs_can_fail_and_be_closed(own: Sandbox, plextera: Http) -> None:
    """A failed run has an error and a failed step without output; a closed one has no error."""
    http = plextera(own)
    (one,) = own.plextera.add(kind="invoice")
    own.plextera.fail(one)
    run = http.get(f"{RUNS}/{one}").json()
    assert (run["status"], run["steps"][-1]["status"]) == ("FAILED", "FAILED")
    assert run["steps"][-1]["message"] == run["error"]["message"]
    assert "output" not in run["steps"][-1]
    (two,) = own.plextera.add(kind="invoice", status="PROCESSING")
    assert own.plextera.close(two) == [two]
    closed = http.get(f"{RUNS}/{two}").json()
    assert closed["status"] == "CLOSED" and "error" not in closed and closed["completedAt"]
    assert closed["updatedAt"] > run["updatedAt"]
    assert turn_pages(http, RUNS, status="CLOSED")[0]["id"] == two


def test_extractions_can_be_processed_again(own: Sandbox, plextera: Http) -> None:
    """Reprocessing gives an ended extraction a new output and a later `updatedAt` each time; id and
    `createdAt` stay."""
    http = plextera(own)
    (id,) = own.plextera.add_extractions(kind="invoice")
    seen = [http.get(f"{EXTRACTIONS}/{id}").json()]
    for _ in range(3):
        assert own.plextera.reprocess(id) == [id]
        seen.append(http.get(f"{EXTRACTIONS}/{id}").json())
    assert len({str(one["output"]) for one in seen}) == 4
    assert len({one["updatedAt"] for one in seen}) == 4
    assert [one["updatedAt"] for one in seen] == sorted(one["updatedAt"] for one in seen)
    assert {one["createdAt"] for one in seen} == {seen[0]["createdAt"]}
    own.plextera.reprocess(id, finish=False)
    under_way = http.get(f"{EXTRACTIONS}/{id}").json()
    assert (under_way["status"], under_way["outputAvailable"]) == ("PROCESSING", False)
    assert not under_way.keys() & {"output", "completedAt", "error"}
    own.plextera.fail(id, status="REJECTED")
    assert http.get(f"{EXTRACTIONS}/{id}").json()["error"]["code"] == "UNSUPPORTED_DOCUMENT"


def test_deleted_records_are_gone(own: Sandbox, plextera: Http) -> None:
    """Deleting a run also deletes the runs in it and leaves its extractions; a step still names a deleted
    extraction."""
    http = plextera(own)
    own.plextera.switch(nested_listed=True)
    (outer,) = own.plextera.add(depth=2)
    (other,) = own.plextera.add(kind="receipt")
    truth = told(own)
    family = {id for id, one in truth.items() if one.get("root_id") == outer}
    own.plextera.delete(outer)
    assert not family & told(own).keys() and len(family) == 3
    assert not family & {row["id"] for row in turn_pages(http, RUNS)}
    assert {http.get(f"{RUNS}/{id}").status_code for id in family} == {404}
    read = truth[other]["extractions"]["step_01"]
    own.plextera.delete(read)
    assert http.get(f"{EXTRACTIONS}/{read}").status_code == 404
    assert http.get(f"/files/{truth[read]['file_id']}").status_code == 404
    assert read in http.get(f"{RUNS}/{other}").text
    own.plextera.finish()
    assert turn_pages(http, RUNS) and turn_pages(http, EXTRACTIONS)


@pytest.mark.parametrize(
    ("control", "arguments"),
    [
        ("add", {"status": "DONE"}), ("add", {"kind": "poem"}), ("add", {"kind": "poem", "depth": 2}), ("add", {"size": "huge"}),
        ("add", {"steps": 0}), ("add", {"depth": -1}), ("add_extractions", {"kind": "poem"}), ("add_extractions", {"status": "CLOSED"}),
        ("fail", {"id": "none"}), ("delete", {"id": "none"}), ("close", {"target": "none"}), ("reprocess", {"target": ["none"]}),
        ("switch", {"page_base": 2}), ("switch", {"page_base": True}), ("switch", {"nested_listed": 1}), ("switch", {"colour": "red"}),
        ("put", {"detail": {"id": "x"}, "resource": "poems"}),
    ],
)  # fmt: skip
def test_impossible_wishes_change_nothing(own: Sandbox, control: str, arguments: dict[str, Any]) -> None:  # fmt: skip
    """A wrong argument raises ValueError and changes nothing in the workspace."""
    before, switches = told(own), own.plextera.switch()
    with pytest.raises(ValueError):
        getattr(own.plextera, control)(**arguments)
    assert (told(own), own.plextera.switch()) == (before, switches)


def test_controls_work_over_http(own: Sandbox, plextera: Http) -> None:
    """Every control has a path below /_sandbox/plextera and answers with ids or settings."""
    at = httpx.Client(base_url=f"{own.url}/_sandbox/plextera")

    def post(path: str, **body: Any) -> Any:
        reply = at.post(path, json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    with at:
        runs = post("/runs", n=2, status="PROCESSING", depth=1)["ids"]
        assert len(runs) == 2
        assert post("/runs", cycle=True)["ids"] and post("/runs", steps=12)["ids"]
        assert post("/close", target=runs[0])["ids"] == runs[:1]
        assert runs[1] in post("/finish")["ids"]
        (one,) = post("/extractions", kind="receipt")["ids"]
        assert post("/reprocess", target=one)["ids"] == [one]
        post("/fail", id=one, status="REJECTED")
        assert post("/put", detail={"id": "odd"})["id"] == "odd"
        post("/delete", id="odd")
        assert post("/switches", field_shape="B")["field_shape"] == "B"
        assert at.get("/switches").json() == own.plextera.switch()
        assert at.get("/truth").json() == list(own.plextera.truth())
        wrong = at.post("/switches", json={"page_base": 7})
        assert wrong.status_code == 400 and "page_base cannot be 7" in wrong.json()["error"]
        assert at.get("/nothing").status_code == 404
    truth = told(own)
    assert (truth[runs[0]]["status"], truth[one]["status"]) == ("CLOSED", "REJECTED")


def test_every_switch_turns_back(own: Sandbox, plextera: Http) -> None:
    """After every switch was changed and reset, the bytes are the same as before."""
    http = plextera(own)
    before = [http.get(path, params={"size": 100}).content for path in (RUNS, EXTRACTIONS)]
    usual = own.plextera.switch()
    own.plextera.switch(
        runs_sort="refused", extractions_sort="ignored", steps_in_list="null", nested_listed=True, nested_readable=True,
        nested_detail="summaries", field_shape="B", output_in_list=True, page_base=1, page_info="no_totals", status_filter="ignored",
        detail_differs=True, page_zero="empty", page_cap=3, page_offset="asked", past_end="last", rows_swap=True, extractions_readable=False,
    )  # fmt: skip
    turned = own.plextera.switch()
    assert all(turned[name] != usual[name] for name in usual)
    assert [http.get(path, params={"size": 100}).content for path in (RUNS, EXTRACTIONS)] != before
    own.plextera.switch(**usual)
    assert [http.get(path, params={"size": 100}).content for path in (RUNS, EXTRACTIONS)] == before


def test_workspaces_are_cheap_to_make() -> None:
    """Twenty thousand runs take less than three seconds of CPU time, and almost none before their first
    use."""
    began = time.process_time()
    sandbox = Sandbox(runs=0, plextera_runs=20_000)
    assert time.process_time() - began < 0.2
    assert len(sandbox.plextera.runs) > 20_000
    assert time.process_time() - began < 3


def test_there_are_as_many_runs_as_of_extend_unless_told() -> None:
    """`plextera_runs` defaults to `runs`; both count top-level runs."""
    for arguments, want in (({"runs": 12}, 12), ({"runs": 12, "plextera_runs": 3}, 3)):
        sandbox = Sandbox(**arguments)
        runs = [one for one in sandbox.plextera.truth() if one.get("depth") == 0]
        assert len(runs) == want
