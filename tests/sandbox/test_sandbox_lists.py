"""Lists: order, pages, tokens, filters, versions of the same run, determinism."""

from __future__ import annotations

import httpx
import pytest

from conftest import VERSIONS, Client, rows, walk
from docruns.sandbox import Sandbox


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("sort", ["updatedAt", "createdAt"])
@pytest.mark.parametrize("direction", ["desc", "asc"])
def test_pages_give_every_run_once_in_order(
    calm: Sandbox, client: Client, version: str, sort: str, direction: str
) -> None:
    """All pages together have every workflow run once, in the requested order, in every version."""
    found = walk(client(calm, version), "/workflow_runs", sortBy=sort, sortDir=direction, maxPageSize=23)
    times = [row[sort] for row in found]
    assert times == sorted(times, reverse=direction == "desc")
    assert sorted(row["id"] for row in found) == sorted(
        run["id"] for run in calm.extend.truth() if run["resource"] == "workflow_runs"
    )


def test_defaults_are_ten_rows_newest_change_first(calm: Sandbox, client: Client) -> None:
    """Without parameters a list has ten rows, ordered by updatedAt, newest first."""
    found = rows(client(calm).get("/workflow_runs").json())
    assert len(found) == 10
    assert [row["updatedAt"] for row in found] == sorted((row["updatedAt"] for row in found), reverse=True)


def test_several_runs_share_a_moment(calm: Sandbox, client: Client) -> None:
    """Several runs have the same updatedAt, so a watermark alone cannot decide what was loaded."""
    times = [row["updatedAt"] for row in walk(client(calm), "/workflow_runs")]
    assert len(set(times)) < len(times)


@pytest.mark.parametrize("size", ["0", "1001", "-1", "ten"])
def test_page_size_is_checked(calm: Sandbox, client: Client, size: str) -> None:
    """A page size outside 1..1000 is refused with 400, in the version's error shape."""
    assert (
        client(calm).get("/workflow_runs", params={"maxPageSize": size}).json()["code"] == "INVALID_REQUEST"
    )
    old = client(calm, "2025-04-21").get("/workflow_runs", params={"maxPageSize": size})
    assert (old.status_code, old.json()["success"]) == (400, False)


def test_token_belongs_to_its_query(calm: Sandbox, client: Client) -> None:
    """A token with other filters, order or page size, or without URL encoding, is refused with 400."""
    http = client(calm)
    token = http.get("/workflow_runs", params={"maxPageSize": 5}).json()["nextPageToken"]
    assert {"=", "+", "/", ":"} <= set(token)
    good = {"maxPageSize": 5, "nextPageToken": token}
    assert http.get("/workflow_runs", params=good).status_code == 200
    for change in (
        {"status": "PROCESSED"},
        {"sortDir": "asc"},
        {"maxPageSize": 6},
        {"nextPageToken": token[:-4]},
        {"nextPageToken": "x"},
    ):
        assert http.get("/workflow_runs", params={**good, **change}).status_code == 400
    assert (
        http.get(f"/workflow_runs?maxPageSize=5&nextPageToken={token.replace('/', '%2F')}").status_code == 400
    )


@pytest.mark.parametrize(
    ("switch", "end"),
    [("missing", {}), ("null", {"nextPageToken": None}), ("empty", {"nextPageToken": ""})],
)
def test_last_page_can_end_in_three_ways(
    sandbox: Sandbox, client: Client, switch: str, end: dict[str, str | None]
) -> None:
    """The last page has no token, null, or an empty one, as the switch says."""
    sandbox.extend.switch(last_page=switch)
    reply = client(sandbox).get("/workflow_runs", params={"maxPageSize": 1000}).json()
    assert {key: value for key, value in reply.items() if key == "nextPageToken"} == end


def test_filters_select(calm: Sandbox, client: Client) -> None:
    """Status, workflow, batch and file name filters give exactly the matching runs; an unknown status is
    refused."""
    http = client(calm)
    everything = walk(http, "/workflow_runs")
    some = next(row for row in everything if row["batchId"])
    for params, matches in (
        ({"status": "NEEDS_REVIEW"}, lambda row: row["status"] == "NEEDS_REVIEW"),
        (
            {"workflowId": some["workflow"]["id"]},
            lambda row: row["workflow"]["id"] == some["workflow"]["id"],
        ),
        ({"batchId": some["batchId"]}, lambda row: row["batchId"] == some["batchId"]),
        (
            {"fileNameContains": "invoice"},
            lambda row: any("invoice" in file["name"] for file in row["files"]),
        ),
    ):
        assert (
            walk(http, "/workflow_runs", maxPageSize=7, **params)
            == [row for row in everything if matches(row)]
            != []
        )
    assert http.get("/workflow_runs", params={"status": "DONE"}).status_code == 400


def test_processor_runs_can_be_found_by_their_source(calm: Sandbox, client: Client) -> None:
    """source=WORKFLOW_RUN with sourceId gives the processor runs of a workflow run; the other sources give the
    stand-alone ones, each in one of them."""
    http = client(calm)
    run = next(row for row in walk(http, "/workflow_runs", status="PROCESSED") if row["usage"])
    inside = [
        step["result"]["extractRun"]["id"]
        for step in http.get(f"/workflow_runs/{run['id']}").json()["stepRuns"]
        if "extractRun" in step["result"]
    ]
    mine = walk(http, "/extract_runs", source="WORKFLOW_RUN", sourceId=run["id"])
    assert [row["id"] for row in reversed(mine)] == inside
    alone = [
        row["id"]
        for source in ("API", "STUDIO", "BATCH_PROCESSOR_RUN", "ADMIN")
        for row in walk(http, "/extract_runs", source=source)
    ]
    assert sorted(alone) == sorted(
        known["id"] for known in calm.extend.truth() if known["resource"] == "extract_runs"
    )


@pytest.mark.parametrize(
    ("known", "sizes"), [("either", (3, 3)), ("limit", (10, 3)), ("maxPageSize", (3, 10))]
)
def test_the_page_size_of_parse_runs_has_two_names(
    calm: Sandbox, client: Client, known: str, sizes: tuple[int, int]
) -> None:
    """/parse_runs takes its page size from maxPageSize or limit; a switch makes it ignore one of them."""
    http = client(calm)
    calm.extend.switch(parse_page_size=known)
    found = [len(rows(http.get("/parse_runs", params={name: 3}).json())) for name in ("maxPageSize", "limit")]
    assert len({row["id"] for row in walk(http, "/parse_runs", "limit")}) > 10
    calm.extend.switch(parse_page_size="either")
    assert found == list(sizes)


def test_a_run_that_changes_while_paging_jumps_to_the_front(sandbox: Sandbox, client: Client) -> None:
    """A run that is reviewed during a descending walk moves out of the unread part; the next walk finds it
    first."""
    http = client(sandbox)
    first = http.get("/workflow_runs", params={"maxPageSize": 5}).json()
    waiting = next(
        run["id"]
        for run in sandbox.extend.truth()
        if run["status"] == "PROCESSED" and run["id"] not in {row["id"] for row in first["data"]}
    )
    sandbox.extend.review(waiting)
    rest = http.get(
        "/workflow_runs", params={"maxPageSize": 5, "nextPageToken": first["nextPageToken"]}
    ).json()
    assert waiting not in {row["id"] for row in rest["data"]}
    assert rows(http.get("/workflow_runs").json())[0]["id"] == waiting


def test_versions_agree_about_a_run(calm: Sandbox, client: Client) -> None:
    """Id, status, values, metadata and credits of a run are equal in every version; before 2025 the reviewer
    is a user id."""
    new, old, older, oldest = (client(calm, version) for version in VERSIONS)
    for row in walk(new, "/workflow_runs", status="PROCESSED")[:25]:
        run = new.get(f"/workflow_runs/{row['id']}").json()
        extracts = [
            step["result"]["extractRun"] for step in run["stepRuns"] if "extractRun" in step["result"]
        ]
        for http in (old, older, oldest):
            other = http.get(f"/workflow_runs/{row['id']}").json()["workflowRun"]
            assert (other["id"], other["status"], other["metadata"]) == (
                run["id"],
                run["status"],
                run["metadata"],
            )
            outputs = [output for output in other["outputs"] if output["type"] == "EXTRACT"]
            assert [_values(output["output"]) for output in outputs] == [
                _values(extract["output"]) for extract in extracts
            ]
            assert [output["id"].split("_")[1] for output in outputs] == [
                extract["id"].split("_")[1] for extract in extracts
            ]
            if run["reviewed"]:
                assert ("@" in other["reviewedBy"]) == (http is old)
        assert (
            run["usage"] is None
            or run["usage"]["credits"]
            == old.get(f"/workflow_runs/{row['id']}").json()["workflowRun"]["usage"]["credits"]
        )


def _values(output: dict) -> object:
    return (
        output["value"]
        if output.keys() == {"value", "metadata"}
        else {name: field["value"] for name, field in output.items()}
    )


def test_old_and_new_ids_reach_the_same_processor_run(calm: Sandbox, client: Client) -> None:
    """A processor run is found by its old and its new id, in both resources."""
    row = rows(client(calm).get("/extract_runs").json())[0]
    old = row["id"].replace("exr_", "dpr_")
    assert client(calm).get(f"/extract_runs/{old}").json()["id"] == row["id"]
    assert client(calm, "2025-04-21").get(f"/processor_runs/{row['id']}").json()["processorRun"]["id"] == old


def test_listing_processor_runs_under_2024_is_a_switch(sandbox: Sandbox, client: Client) -> None:
    """Whether 2024-12-23 lists processor runs is unknown, so a switch decides."""
    http = client(sandbox, "2024-12-23")
    assert http.get("/processor_runs").status_code == 404
    sandbox.extend.switch(list_processor_runs_2024=True)
    assert rows(http.get("/processor_runs").json())


def test_equal_seeds_give_equal_bytes(client: Client) -> None:
    """Two sandboxes with equal arguments and changes give equal bytes; another seed gives other bytes."""
    answers = []
    for seed in (11, 11, 12):
        with Sandbox(runs=30, seed=seed) as sandbox:
            sandbox.extend.add(2)
            changed = sandbox.extend.review(3)
            http = client(sandbox)
            ids = [row["id"] for row in walk(http, "/workflow_runs")]
            answers.append(
                (
                    changed,
                    [http.get(f"/workflow_runs/{id}").content for id in ids],
                    http.get("/extract_runs").content,
                )
            )
    assert answers[0] == answers[1] != answers[2]


def test_now_moves_every_timestamp(client: Client) -> None:
    """`now` is the end of the sixty days of history, and no time is after it."""
    with Sandbox(runs=30, now="2026-01-31T00:00:00Z") as sandbox:
        times = [row["updatedAt"] for row in walk(client(sandbox), "/workflow_runs")]
    assert min(times) > "2025-11-30" and max(times) <= "2026-01-31"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"authorization": ""}, 401, "UNAUTHORIZED"),
        ({"authorization": "Basic x"}, 401, "UNAUTHORIZED"),
        ({"x-extend-api-version": ""}, 400, "INVALID_REQUEST"),
        ({"authorization": "Bearer org_1"}, 400, "INVALID_REQUEST"),
    ],
)
def test_bad_headers_are_refused(
    calm: Sandbox, client: Client, headers: dict[str, str], status: int, code: str
) -> None:
    """A request without a key or a version, or with an organisation key but no workspace, is refused with a
    request id."""
    reply = (
        client(calm, **{"x-extend-api-version": "2026-02-09", **headers}).get("/workflow_runs")
        if "x-extend-api-version" not in headers
        else httpx.get(f"{calm.extend_url}/workflow_runs", headers={"authorization": "Bearer x"})
    )
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert reply.headers["x-extend-request-id"] == reply.json()["requestId"]


def test_only_known_keys_pass_when_keys_are_given(client: Client) -> None:
    """With api_keys any other key is refused with 401; replies return the version header."""
    with Sandbox(runs=1, api_keys={"sk_good"}) as sandbox:
        assert client(sandbox).get("/workflow_runs").status_code == 401
        good = client(sandbox, authorization="Bearer sk_good").get("/workflow_runs")
        assert (good.status_code, good.headers["x-extend-api-version"]) == (200, "2026-02-09")


def test_removed_and_unknown_paths_say_so(calm: Sandbox, client: Client) -> None:
    """A removed path is answered with 410 and the code ENDPOINT_REMOVED, an unknown path or id with 404."""
    http = client(calm)
    assert http.get("/parser_runs/pr_x").json()["code"] == "ENDPOINT_REMOVED"
    assert http.get("/nothing").json()["code"] == "NOT_FOUND"
    assert http.get("/workflow_runs/workflow_run_nope").json()["code"] == "NOT_FOUND"
    assert client(calm, "2025-04-21").get("/extract_runs").status_code == 404


def test_evaluation_sets_hold_the_truth_of_runs(sandbox: Sandbox, client: Client) -> None:
    """An item's files are those of a run, and its expected output is what the run should have read."""
    http = client(sandbox)
    mistakes = {id: paths for run in sandbox.extend.truth() for id, paths in run["mistakes"].items()}
    by_file: dict[tuple[str, ...], list[str]] = {}
    for run in walk(http, "/extract_runs", status="PROCESSED"):
        files = run["files"] or [run["file"]]
        by_file.setdefault(tuple(file["id"] for file in files), []).append(run["id"])
    invoices = sandbox.extend.evaluation.truth()[0]
    found = 0
    for item in invoices["items"]:
        for id in by_file.get(tuple(item["file_ids"]), ()):
            run = http.get(f"/extract_runs/{id}").json()
            if run["extractor"] is None or run["extractor"]["id"] != invoices["processor_id"]:
                continue
            read = (run["initialOutput"] or run["output"])["value"]
            wrong = {path.partition("[")[0].partition(".")[0] for path in mistakes[id]}
            for name, value in item["expected"]["value"].items():
                assert name in wrong or name == "line_items" or read[name] == value
            found += 1
    assert found >= 3


def test_controls_of_evaluation_sets(sandbox: Sandbox, client: Client) -> None:
    """Items are changed, added and removed, through HTTP too, and the set's date says so; a switch takes all away."""
    http = client(sandbox)
    [first, *_] = walk(http, "/evaluation_sets", sortBy="createdAt", sortDir="asc")
    path = f"/evaluation_sets/{first['id']}"
    items = walk(http, f"{path}/items", sortDir="asc")
    tell = httpx.Client(base_url=f"{sandbox.url}/_sandbox/extend/evaluation")
    expected = {"value": {"total": None}}
    tell.post("change", json={"id": items[0]["id"], "expected": expected}).raise_for_status()
    added = tell.post("add", json={"set_id": first["id"]}).json()["id"]
    tell.post("remove", json={"id": items[1]["id"]}).raise_for_status()
    assert http.get(f"{path}/items/{items[0]['id']}").json()["expectedOutput"] == expected
    ids = [item["id"] for item in items]
    assert [row["id"] for row in walk(http, f"{path}/items", sortDir="asc")] == [ids[0], *ids[2:], added]
    assert http.get(f"{path}/items/{ids[1]}").status_code == 404
    assert http.get(path).json()["updatedAt"] > first["updatedAt"]
    assert [row["id"] for row in tell.get("truth").json()[0]["items"]] == [ids[0], *ids[2:], added]
    by_processor = walk(http, "/evaluation_sets", entityId=first["entity"]["id"])
    assert [row["id"] for row in by_processor] == [first["id"]]
    old = client(sandbox, "2025-04-21")
    assert old.get(path).json()["evaluationSet"]["processorId"].startswith("dp_")
    assert old.get(f"{path}/items/{added}").json()["evaluationSetItem"]["fileId"].startswith("file_")
    assert client(sandbox, "2024-12-23").get("/evaluation_sets").status_code == 404
    sandbox.extend.switch(list_evaluation_sets=False)
    assert {http.get(each).status_code for each in ("/evaluation_sets", path, f"{path}/items")} == {404}
    tell.close()
