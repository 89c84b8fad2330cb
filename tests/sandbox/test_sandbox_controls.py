"""The controls in Python and over HTTP."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from conftest import Client, rows, walk
from docruns.sandbox import Sandbox


def truth(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    return {run["id"]: run for run in sandbox.extend.truth()}


def test_added_runs_are_the_newest(sandbox: Sandbox, client: Client) -> None:
    """Added runs exist at once, with the requested status, after all older runs, in both kinds of list."""
    before = walk(client(sandbox), "/extract_runs")
    ids = sandbox.extend.add(3, kind="invoice")
    waiting = (
        sandbox.extend.add(status="PENDING")
        + sandbox.extend.add(status="REJECTED")
        + sandbox.extend.add(status="FAILED")
    )
    listed = rows(client(sandbox).get("/workflow_runs").json())
    assert [row["id"] for row in listed[:6]] == [*reversed(ids + waiting)]
    assert [row["status"] for row in listed[:3]] == ["FAILED", "REJECTED", "PENDING"]
    assert len(walk(client(sandbox), "/extract_runs")) > len(before)
    with pytest.raises(ValueError, match="no workflow"):
        sandbox.extend.add(kind="poem")


@pytest.mark.parametrize("version", ["2026-02-09", "2025-04-21"])
def test_a_late_review_changes_values_and_moves_the_run(
    sandbox: Sandbox, client: Client, version: str
) -> None:
    """Each late review changes some value, increases updatedAt of the run and of its extract runs, and has
    its edits."""
    http = client(sandbox, version)
    id = sandbox.extend.add(kind="claim")[0]
    seen = []
    for _ in range(3):
        before = truth(sandbox)[id]
        seen.append(http.get(f"/workflow_runs/{id}").content)
        assert sandbox.extend.review(id) == [id]
        after = truth(sandbox)[id]
        assert (
            after["updated_at"] > before["updated_at"]
            and after["values"] != before["values"]
            and any(after["corrections"].values())
        )
        assert rows(http.get("/workflow_runs").json())[0]["id"] == id
    new = client(sandbox)
    extracts = walk(new, "/extract_runs", sourceId=id, source="WORKFLOW_RUN")
    assert all(
        row["reviewed"] and row["edited"] and row["updatedAt"] > before["updated_at"] for row in extracts
    )
    assert len(set(seen)) == 3


def test_a_review_can_take_rows_away(client: Client) -> None:
    """At least one review leaves fewer rows and fewer metadata entries than the machine read."""
    with Sandbox(runs=30, document_size="heavy") as sandbox:
        ids = sandbox.extend.review(5)
        shrunk = 0
        for id in ids:
            for step in client(sandbox).get(f"/workflow_runs/{id}").json()["stepRuns"]:
                run = step["result"].get("extractRun")
                shrunk += bool(run) and len(run["output"]["metadata"]) < len(run["initialOutput"]["metadata"])
        assert shrunk


def test_reviews_can_share_a_moment(sandbox: Sandbox) -> None:
    """Runs reviewed together have equal updatedAt."""
    ids = sandbox.extend.review(4, together=True)
    assert len({truth(sandbox)[id]["updated_at"] for id in ids}) == 1


def test_unfinished_runs_finish(sandbox: Sandbox, client: Client) -> None:
    """finish() ends every unfinished run; its processor runs appear, and no date is before the change."""
    ids = sandbox.extend.add(status="PENDING") + sandbox.extend.add(status="PROCESSING")
    mark = max(run["updated_at"] for run in truth(sandbox).values())
    assert set(ids) <= set(sandbox.extend.finish())
    assert {run["status"] for run in truth(sandbox).values() if run["resource"] == "workflow_runs"} & {
        "PENDING",
        "PROCESSING",
    } == set()
    for id in ids:
        run = client(sandbox).get(f"/workflow_runs/{id}").json()
        assert run["stepRuns"] and truth(sandbox)[id]["updated_at"] > mark
        for row in walk(client(sandbox), "/extract_runs", sourceId=id):
            assert row["updatedAt"] > mark


def test_failed_and_deleted_runs(sandbox: Sandbox, client: Client) -> None:
    """fail() ends a run without outputs and with a reason; delete() removes it from lists and details in
    every version."""
    http = client(sandbox)
    failed, gone, gone_too = sandbox.extend.add(3, kind="invoice")
    sandbox.extend.fail(failed)
    run = http.get(f"/workflow_runs/{failed}").json()
    assert run["status"] == "FAILED" and run["failureReason"] and run["usage"] is not None
    sandbox.extend.delete(gone)
    assert http.delete(f"/workflow_runs/{gone_too}").json() == {"id": gone_too}
    for id in (gone, gone_too):
        assert http.get(f"/workflow_runs/{id}").status_code == 404
        assert id not in {row["id"] for row in walk(http, "/workflow_runs")}
        assert walk(http, "/extract_runs", sourceId=id) == []


@pytest.mark.parametrize(("merge", "nested"), [("shallow", {"b": 2}), ("deep", {"a": 1, "b": 2})])
def test_metadata_merges_as_switched(
    sandbox: Sandbox, client: Client, merge: str, nested: dict[str, int]
) -> None:
    """Updates merge key by key, nested objects as a whole or deeply, as the switch says; null is stored as
    null."""
    sandbox.extend.switch(merge=merge)
    http, id = client(sandbox), sandbox.extend.add()[0]
    http.post(f"/workflow_runs/{id}", json={"metadata": {"n": {"a": 1}, "gone": "x"}})
    got = http.post(f"/workflow_runs/{id}", json={"metadata": {"n": {"b": 2}, "gone": None}}).json()[
        "metadata"
    ]
    assert (got["n"], got["gone"]) == (nested, None)


def test_updates_move_or_refuse_as_switched(sandbox: Sandbox, client: Client) -> None:
    """Switches decide whether an update changes updatedAt and whether a finished run accepts one; bad bodies
    are refused."""
    http, id = client(sandbox, "2025-04-21"), sandbox.extend.add()[0]
    before = truth(sandbox)[id]["updated_at"]
    assert http.post(f"/v1/workflow_runs/{id}", json={"name": "New"}).json()["workflowRun"]["name"] == "New"
    assert truth(sandbox)[id]["updated_at"] == before
    sandbox.extend.switch(update_moves=True)
    http.post(f"/workflow_runs/{id}", json={"metadata": {"k": 1}})
    assert truth(sandbox)[id]["updated_at"] > before
    for body in (
        b"{",
        b"[]",
        b'{"name": 3}',
        b'{"metadata": []}',
        b'{"metadata": {"k": "' + b"x" * 10_000 + b'"}}',
    ):
        assert http.post(f"/workflow_runs/{id}", content=body).status_code == 400
    sandbox.extend.switch(update_finished=False)
    assert http.post(f"/workflow_runs/{id}", json={"name": "Late"}).status_code == 400
    with pytest.raises(ValueError, match="finished"):
        sandbox.extend.rename(id, name="Late")
    with pytest.raises(ValueError, match="unknown switch"):
        sandbox.extend.switch(colour="red")


def test_given_payloads_are_served_verbatim(sandbox: Sandbox, client: Client) -> None:
    """A payload that is put is served byte for byte and listed in the order of its times, until it is
    replaced or deleted."""
    http = client(sandbox)
    hostile = b'{"id": "workflow_run_\\ud83d\\ude00", "status": "PROCESSED", "total": 1.000000000000000000001, "total": 2}'
    row = {
        "object": "workflow_run",
        "id": "wild",
        "status": "NEEDS_REVIEW",
        "updatedAt": "2031-01-01T00:00:00Z",
    }
    assert sandbox.extend.put(hostile, row) == "wild"
    assert http.get("/workflow_runs/wild").content == hostile
    assert rows(http.get("/workflow_runs", params={"status": "NEEDS_REVIEW"}).json())[0] == {
        **row,
        "createdAt": rows(http.get("/workflow_runs").json())[0]["createdAt"],
    }
    sandbox.extend.put("{}", row)
    assert http.get("/workflow_runs/wild").content == b"{}"
    assert [found["id"] for found in walk(http, "/workflow_runs")].count("wild") == 1
    walk(http, "/extract_runs")
    sandbox.extend.put({"id": "exr_wild", "status": "PROCESSED"}, resource="extract_runs")
    assert rows(http.get("/extract_runs").json())[0]["id"] == "exr_wild"
    sandbox.extend.delete("wild")
    assert http.get("/workflow_runs/wild").status_code == 404


def test_zero_retention_results_are_consumed_and_counted(sandbox: Sandbox, client: Client) -> None:
    """Reading a zero-retention verify run uses up its only copy; `verify_reads` counts such reads and not
    lists."""
    http = client(sandbox)
    ids = [row["id"] for row in rows(http.get("/verify_runs").json())]
    assert sandbox.stats.verify_reads == 0
    first = [http.get(f"/verify_runs/{id}").json()["output"] for id in ids]
    again = [http.get(f"/verify_runs/{id}").json()["output"] for id in ids]
    assert None not in first and 0 < again.count(None) < len(again)
    assert sandbox.stats.verify_reads == 2 * len(ids)


def test_stats_tell_lists_from_details(sandbox: Sandbox, client: Client) -> None:
    """The statistics count requests by route, lists apart from details, and the maximum in flight; reset sets
    them to zero."""
    http = client(sandbox)
    id = rows(http.get("/workflow_runs").json())[0]["id"]
    http.get(f"/workflow_runs/{id}")
    http.get(f"/v1/workflow_runs/{id}")
    assert (sandbox.stats.lists, sandbox.stats.details) == (1, 2)
    assert sandbox.stats.routes == {"GET /workflow_runs": 1, "GET /workflow_runs/{id}": 2}
    sandbox.set(latency=0.05)
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda _: httpx.get(f"{sandbox.extend_url}/workflow_runs", headers=dict(http.headers)),
                range(4),
            )
        )
    until = time.monotonic() + 5
    while sandbox.stats.in_flight and time.monotonic() < until:
        time.sleep(0.01)  # the client has the answer before the server counts it as sent
    assert 2 <= sandbox.stats.max_in_flight <= 4 and sandbox.stats.in_flight == 0
    sandbox.stats.reset()
    assert sandbox.stats.requests == 0 and sandbox.stats.routes == {}


def test_http_controls_do_what_the_python_ones_do(sandbox: Sandbox, client: Client) -> None:
    """Every control works from another process with JSON over HTTP; a mistake is answered with 400 and its
    reason."""
    control = httpx.Client(base_url=f"{sandbox.url}/_sandbox")
    (id,) = control.post("/extend/runs", json={"n": 1, "kind": "receipt"}).json()["ids"]
    assert control.post("/extend/review", json={"runs": [id]}).json() == {"ids": [id]}
    control.post("/extend/rename", json={"id": id, "name": "N", "metadata": {"a": 1}})
    known = next(run for run in control.get("/extend/truth").json() if run["id"] == id)
    assert (known["name"], known["metadata"]["a"]) == ("N", 1) and known == truth(sandbox)[id]
    assert control.post("/extend/switches", json={"merge": "deep"}).json()["merge"] == "deep"
    control.post("/extend/fail", json={"id": id})
    control.post("/extend/delete", json={"id": id})
    assert id not in truth(sandbox)
    control.post("/extend/finish", json={})
    control.post("/extend/put", json={"detail": "{}", "summary": {"id": "w"}})
    assert client(sandbox).get("/workflow_runs/w").json() == {}
    control.post("/faults", json={"kind": "status", "status": 503})
    assert client(sandbox).get("/workflow_runs").status_code == 503
    control.post("/faults", json={"kind": "status", "times": None})
    control.delete("/faults")
    assert control.get("/faults").json() == {"faults": []}
    assert control.get("/stats").json()["faults"] == {"status": 1}
    assert control.post("/settings", json={"latency": 0.01, "rate_limit": 100}).json() == {
        "latency": 0.01,
        "rate_limit": 100,
    }
    control.post("/stats/reset")
    assert control.get("/stats").json()["requests"] == 0
    for path, body in (
        ("/faults", {"kind": "x"}),
        ("/extend/review", {"runs": ["no"]}),
        ("/extend/runs", {"many": 1}),
        ("/settings", {"a": 1}),
        ("/extend/runs", []),
    ):
        assert control.post(path, json=body).status_code == 400
    assert control.get("/nothing").status_code == 404
    control.close()


def test_controls_are_safe_while_requests_run(sandbox: Sandbox, client: Client) -> None:
    """While threads add, review and delete runs, every page of a list stays complete."""
    http, stop = client(sandbox), threading.Event()

    def churn() -> None:
        while not stop.is_set():
            sandbox.extend.delete(sandbox.extend.add()[0])
            sandbox.extend.review(2)

    workers = [threading.Thread(target=churn) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(5):
            assert (
                len(
                    {
                        row["id"]
                        for row in rows(http.get("/workflow_runs", params={"maxPageSize": 1000}).json())
                    }
                )
                >= 40
            )
            assert http.get("/extract_runs").status_code == 200
    finally:
        stop.set()
        for worker in workers:
            worker.join()
