"""Plextera's entry and its lists: keys, errors, page numbers that shift, sorting and filters under every
switch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import Client, turn_pages
from docruns.sandbox import Sandbox

EXAMPLES = Path(__file__).parents[1] / "support" / "payloads" / "plextera"
RUNS, EXTRACTIONS = "/workflow-runs", "/document-insights/extractions"

Http = Callable[..., httpx.Client]


@pytest.fixture
def own() -> Iterator[Sandbox]:
    """A small sandbox for one test."""
    with Sandbox(runs=4, plextera_runs=30, seed=5) as sandbox:
        yield sandbox


def error(reply: httpx.Response, status: int, example: str = "") -> dict[str, Any]:
    """The body of an error reply, checked against its example and its header."""
    assert reply.status_code == status, reply.text
    body: dict[str, Any] = reply.json()["error"]
    assert body["requestId"] == reply.headers["x-request-id"]
    if example:
        theirs = json.loads((EXAMPLES / f"error_{status}_{example}.json").read_text())["error"]
        assert body.keys() == theirs.keys()
        assert (body["code"], body["retryable"]) == (theirs["code"], theirs["retryable"])
    return body


@pytest.mark.parametrize("sent", ["", "sk_test", "Bearer sk_test", "api-key", "api-key a b", "Api-Key:x"])  # fmt: skip
def test_keys_come_after_the_word(own: Sandbox, plextera: Http, sent: str) -> None:
    """A missing key, a key without its scheme, another scheme and a malformed key are answered with 401."""
    error(plextera(own, authorization=sent).get(RUNS), 401, "unauthorized")
    assert plextera(own).get(RUNS).status_code == 200


def test_only_accepted_keys_pass(plextera: Http) -> None:
    """With `api_keys` other keys are answered with 401, also on unknown paths."""
    with Sandbox(runs=1, api_keys={"sk_live_1"}) as sandbox:
        assert plextera(sandbox, authorization="api-key sk_live_1").get(RUNS).status_code == 200
        assert plextera(sandbox).get(RUNS).status_code == 401
        assert plextera(sandbox).get("/nothing").status_code == 401


def test_request_ids_are_echoed_or_made(own: Sandbox, plextera: Http) -> None:
    """Header and error body return a client's request id; without one the sandbox makes one per request."""
    given = plextera(own, **{"x-request-id": "mine-1"})
    assert error(given.get(f"{RUNS}/none"), 404, "not_found")["requestId"] == "mine-1"
    made = [plextera(own).get(RUNS).headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1] and all(id.startswith("req_") for id in made)


@pytest.mark.parametrize(
    ("accept", "status"),
    [("text/html", 406), ("application/json;q=0", 406), ("application/json", 200), ("text/html, */*;q=0.1", 200)],
)  # fmt: skip
def test_json_must_be_acceptable(own: Sandbox, plextera: Http, accept: str, status: int) -> None:
    """A request whose Accept header does not allow JSON is answered with 406."""
    reply = plextera(own, accept=accept).get(RUNS)
    assert reply.status_code == status
    assert status == 200 or error(reply, 406)["code"] == "NOT_ACCEPTABLE"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/workflows", 404, "NOT_FOUND"),
        ("GET", "/workflow-runs/", 404, "NOT_FOUND"),
        ("GET", "/workflow-runs/a/b", 404, "NOT_FOUND"),
        ("GET", "/workflow-runs/not-an-id", 404, "NOT_FOUND"),
        ("GET", "/document-insights/extractions/000000000000000000000000", 404, "NOT_FOUND"),
        ("GET", "/files/file_01KQ3T8W5N7B2XDV4HJ6M9RCEA", 404, "NOT_FOUND"),
        ("POST", "/workflow-runs", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/document-insights/extractions/x", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_whatever_is_not_there_is_refused(
    own: Sandbox, plextera: Http, method: str, path: str, status: int, code: str
) -> None:
    """Unknown paths and ids are answered with 404, other methods with 405, in the same envelope."""
    assert error(plextera(own).request(method, path), status)["code"] == code


def test_feedback_is_counted_and_refused(own: Sandbox, plextera: Http) -> None:
    """Feedback is refused and changes only the statistics."""
    reply = plextera(own).post(f"{EXTRACTIONS}/x/feedback", json={"message": "wrong"})
    assert error(reply, 405)["retryable"] is False
    assert own.stats.routes == {"POST /document-insights/extractions/{extractionId}/feedback": 1}
    assert own.stats.writes == 1


@pytest.mark.parametrize("path", [RUNS, EXTRACTIONS])
@pytest.mark.parametrize("params", [{"size": 0}, {"size": 101}, {"size": "x"}, {"size": ""}, {"page": -1}, {"page": "x"}, {"status": "DONE"}])  # fmt: skip
def test_parameters_out_of_range_are_refused(
    own: Sandbox, plextera: Http, path: str, params: dict[str, Any]
) -> None:
    """A wrong page, size or status is answered with 400."""
    error(plextera(own).get(path, params=params), 400, "invalid_request")


def test_pages_are_numbered_from_zero(own: Sandbox, plextera: Http) -> None:
    """A page has fifty rows by default; the pages have every row once and nothing after the end, and the
    totals add up."""
    http = plextera(own)
    first = http.get(EXTRACTIONS).json()
    total = first["pageInfo"]["totalItems"]
    assert (len(first["data"]), first["pageInfo"]["size"]) == (min(50, total), 50)
    for size in (1, 7, 100):
        pages = -(-total // size)
        replies = [http.get(EXTRACTIONS, params={"page": n, "size": size}).json() for n in range(pages + 2)]  # fmt: skip
        rows = [row["id"] for reply in replies for row in reply["data"]]
        assert len(rows) == len(set(rows)) == total
        assert [reply["pageInfo"] for reply in replies] == [
            {"page": n, "size": size, "totalItems": total, "totalPages": pages} for n in range(pages + 2)
        ]  # fmt: skip
        assert replies[-1]["data"] == replies[-2]["data"] == []


def test_an_empty_list_is_that_of_the_example(plextera: Http) -> None:
    """An empty list equals the example, value for value."""
    with Sandbox(runs=0) as sandbox:
        theirs = json.loads((EXAMPLES / "runs_list_empty.json").read_text())
        assert plextera(sandbox).get(RUNS).json() == theirs
        assert plextera(sandbox).get(EXTRACTIONS).json() == theirs


def test_pages_can_be_numbered_from_one(own: Sandbox, plextera: Http) -> None:
    """With `page_base` 1 the first page is 1, page 0 is out of range, and the rows are the same."""
    http = plextera(own)
    usual = turn_pages(http, RUNS, size=7)
    own.plextera.switch(page_base=1)
    assert turn_pages(http, RUNS, first=1, size=7) == usual
    assert http.get(RUNS, params={"size": 7}).json()["pageInfo"]["page"] == 1
    error(http.get(RUNS, params={"page": 0}), 400, "invalid_request")


@pytest.mark.parametrize(
    ("position", "keys"),
    [("full", {"page", "size", "totalItems", "totalPages"}), ("one_page_short", {"page", "size", "totalItems", "totalPages"}), ("no_total_pages", {"page", "size", "totalItems"}), ("no_totals", {"page", "size"})],
)  # fmt: skip
def test_page_info_tells_as_much_as_the_switch_says(
    own: Sandbox, plextera: Http, position: str, keys: set[str]
) -> None:
    """`page_info` removes totals from `pageInfo`."""
    own.plextera.switch(page_info=position)
    assert plextera(own).get(RUNS).json()["pageInfo"].keys() == keys


@pytest.mark.parametrize(
    ("info", "items", "pages"), [("full", 30, 5), ("one_page_short", 30, 4), ("ones", 1, 1), ("own", 7, 1)]
)
def test_totals_can_be_wrong(own: Sandbox, plextera: Http, info: str, items: int, pages: int) -> None:
    """`page_info` makes totals too small, 1, or those of the page."""
    own.plextera.switch(page_info=info)
    said = plextera(own).get(RUNS, params={"size": 7}).json()["pageInfo"]
    assert (said["totalItems"], said["totalPages"]) == (items, pages)


def test_pages_can_be_capped_and_numbered_in_any_way(own: Sandbox, plextera: Http) -> None:
    """Capped pages have fewer rows than asked for, in a row or with gaps; page 0 may be empty or page 1 too;
    behind the end come no rows, an error or the last page."""
    http = plextera(own)
    usual = turn_pages(http, RUNS, size=7)

    def page(number: int, size: int = 7) -> list[Any]:
        return list(http.get(RUNS, params={"page": number, "size": size}).json()["data"])

    own.plextera.switch(page_cap=3)
    assert (page(0), page(1)) == (usual[:3], usual[3:6])
    own.plextera.switch(page_offset="asked")
    assert (page(0), page(1)) == (usual[:3], usual[7:10])
    own.plextera.switch(page_cap=0, page_base=1, page_zero="empty")
    assert (page(0), page(1)) == ([], usual[:7])
    own.plextera.switch(page_zero="first")
    assert page(0) == page(1) == usual[:7]
    own.plextera.switch(page_base=0, past_end="last")
    assert page(5) == page(9) == usual[28:]
    own.plextera.switch(past_end="refused")
    error(http.get(RUNS, params={"page": 5, "size": 7}), 400, "invalid_request")
    own.plextera.switch(past_end="missing")
    error(http.get(RUNS, params={"page": 5, "size": 7}), 404, "not_found")


def test_a_row_goes_and_one_comes(own: Sandbox, plextera: Http) -> None:
    """With `rows_swap` the list keeps its length, and no page has the row that moves up to the first one."""
    http = plextera(own)
    usual = turn_pages(http, RUNS, size=7)
    own.plextera.switch(rows_swap=True)
    shown = turn_pages(http, RUNS, size=7)
    assert shown == usual[:7] + usual[8:]
    assert turn_pages(http, RUNS, size=7) == usual[1:]


def test_extractions_may_be_forbidden(own: Sandbox, plextera: Http) -> None:
    """Without the right, the list of extractions and each of them answer 403; runs are readable."""
    http = plextera(own)
    (one, *_) = http.get(EXTRACTIONS).json()["data"]
    own.plextera.switch(extractions_readable=False)
    error(http.get(EXTRACTIONS), 403, "forbidden")
    error(http.get(f"{EXTRACTIONS}/{one['id']}"), 403, "forbidden")
    assert http.get(RUNS).status_code == 200


def test_rows_shift_when_runs_come_and_go(own: Sandbox, plextera: Http) -> None:
    """Pages are offsets: a new run moves the last row of a page to the next page, a deleted run makes a
    reader miss one."""
    http = plextera(own)

    def page(number: int) -> list[str]:
        return [row["id"] for row in http.get(RUNS, params={"page": number, "size": 5}).json()["data"]]  # fmt: skip

    first, second = page(0), page(1)
    (new,) = own.plextera.add()
    assert page(0) == [new, *first[:4]]
    assert page(1) == [first[4], *second[:4]]
    own.plextera.delete(new)
    own.plextera.delete(first[0])
    assert page(0) == [*first[1:], second[0]]


@pytest.mark.parametrize("key", ["createdAt", "updatedAt", "completedAt"])
@pytest.mark.parametrize(("path", "switch"), [(RUNS, "runs_sort"), (EXTRACTIONS, "extractions_sort")])  # fmt: skip
def test_lists_are_sorted_ignored_or_refused(
    own: Sandbox, plextera: Http, path: str, switch: str, key: str
) -> None:
    """Sorting is obeyed in both directions, ignored, or answered with 400; unfinished rows sort as the oldest
    by end."""
    http = plextera(own)
    own.plextera.switch(**{switch: "accepted"})
    usual = turn_pages(http, path)
    down = turn_pages(http, path, sortBy=key, size=9)
    assert [row.get(key, "") for row in down] == sorted((row.get(key, "") for row in usual), reverse=True)  # fmt: skip
    assert turn_pages(http, path, sortBy=key, sort="asc", size=9) == down[::-1]
    assert down == usual or key != "createdAt"
    error(http.get(path, params={"sortBy": "name"}), 400, "invalid_request")
    error(http.get(path, params={"sort": "up"}), 400, "invalid_request")
    own.plextera.switch(**{switch: "ignored"})
    assert turn_pages(http, path, sortBy=key, sort="asc") == usual
    assert http.get(path, params={"sortBy": "name"}).status_code == 200
    own.plextera.switch(**{switch: "refused"})
    error(http.get(path, params={"sortBy": key}), 400, "invalid_request")
    error(http.get(path, params={"sort": "asc"}), 400, "invalid_request")
    assert turn_pages(http, path) == usual


@pytest.mark.parametrize("path", [RUNS, EXTRACTIONS])
def test_status_filters_or_does_not(own: Sandbox, plextera: Http, path: str) -> None:
    """`status` filters rows, also after they change, or is ignored."""
    http = plextera(own)
    everything = turn_pages(http, path)
    for _ in range(2):
        for status in ("COMPLETED", "FAILED", "PROCESSING"):
            assert turn_pages(http, path, status=status, size=4) == [
                row for row in everything if row["status"] == status
            ]
        own.plextera.finish()
        everything = turn_pages(http, path)
    own.plextera.switch(status_filter="ignored")
    assert turn_pages(http, path, status="FAILED") == everything


def test_equal_sandboxes_give_equal_bytes(plextera: Http) -> None:
    """Equal arguments and calls give equal bytes, another seed gives other bytes."""

    def told(seed: int) -> list[bytes]:
        with Sandbox(runs=0, plextera_runs=20, seed=seed) as sandbox:
            sandbox.plextera.add(2, depth=1)
            sandbox.plextera.reprocess(3)
            sandbox.plextera.finish(1)
            http = plextera(sandbox)
            lists = [http.get(path, params={"size": 100}) for path in (RUNS, EXTRACTIONS)]
            return [
                reply.content
                for listed in lists
                for reply in (listed, *(http.get(f"{listed.url.path.removeprefix('/plextera/api/public/v1')}/{row['id']}") for row in listed.json()["data"][:20]))
            ]  # fmt: skip

    assert told(1) == told(1) != told(2)


def test_faults_can_be_for_one_platform(own: Sandbox, plextera: Http, client: Client) -> None:
    """A fault for one platform does not apply to the other; a fault without a platform applies to the next
    request to either."""
    extend, http = client(own), plextera(own)
    own.fault("status", status=503, platform="plextera")
    assert extend.get("/workflow_runs").status_code == 200
    assert error(http.get(RUNS), 503)["retryable"] is True
    own.fault("status", "/workflow*", status=500, platform="extend")
    assert http.get(RUNS).status_code == 200
    assert extend.get("/workflow_runs").status_code == 500
    own.fault("status", status=502)
    assert (http.get(RUNS).status_code, extend.get("/workflow_runs").status_code) == (502, 200)
    with pytest.raises(ValueError, match="unknown platform"):
        own.fault("status", platform="other")


@pytest.mark.parametrize(("status", "name"), [(401, "unauthorized"), (403, "forbidden"), (409, "conflict_retryable"), (422, "validation_failed"), (429, "code_inferred"), (500, "code_inferred")])  # fmt: skip
def test_status_faults_come_in_the_envelope(own: Sandbox, plextera: Http, status: int, name: str) -> None:  # fmt: skip
    """A requested status has the body of its example, with Retry-After in seconds when requested."""
    own.fault("status", f"{RUNS}/*", status=status, retry_after=2)
    reply = plextera(own).get(f"{RUNS}/x")
    error(reply, status, name)
    assert reply.headers["retry-after"] == "2"


def test_pages_can_go_wrong(own: Sandbox, plextera: Http) -> None:
    """A page can be the previous one, the first one, empty, out of order or have a row twice; an error can
    have status 200."""
    http = plextera(own)
    pages = [http.get(RUNS, params={"page": n, "size": 5}).json()["data"] for n in range(3)]

    def bent(kind: str) -> Any:
        own.fault(kind, RUNS, platform="plextera")
        return http.get(RUNS, params={"page": 2, "size": 5}).json()

    assert bent("repeat_token")["data"] == pages[1]
    assert bent("token_cycle")["data"] == pages[0]
    assert bent("empty_page")["data"] == []
    assert bent("duplicate")["data"] == [*pages[2], pages[2][0]]
    shuffled = bent("shuffle")["data"]
    assert shuffled != pages[2]
    assert {row["id"] for row in shuffled} == {row["id"] for row in pages[2]}
    assert bent("error_200")["error"]["code"] == "INTERNAL_ERROR"


def test_rate_limits_are_per_platform(plextera: Http, client: Client) -> None:
    """A request above the limit is answered with 429 and Retry-After; each platform has its own limit."""
    with Sandbox(runs=2, rate_limit=1) as sandbox:
        http = plextera(sandbox)
        assert http.get(RUNS).status_code == 200
        reply = http.get(RUNS)
        error(reply, 429, "code_inferred")
        assert reply.headers["retry-after"] == "1"
        assert client(sandbox).get("/workflow_runs").status_code == 200
        sandbox.set(rate_limit=0)
        assert [http.get(RUNS).status_code for _ in range(3)] == [200] * 3
        assert sandbox.stats.throttled == 1


def test_statistics_count_both_platforms(own: Sandbox, plextera: Http, client: Client) -> None:
    """The statistics count routes by template, and lists and details over both platforms."""
    http = plextera(own)
    row = http.get(RUNS).json()["data"][0]
    http.get(f"{RUNS}/{row['id']}")
    http.get("/nowhere")
    client(own).get("/workflow_runs")
    assert own.stats.routes == {
        "GET /workflow-runs": 1, "GET /workflow-runs/{runId}": 1, "GET (unknown)": 1, "GET /workflow_runs": 1,
    }  # fmt: skip
    assert (own.stats.lists, own.stats.details) == (3, 1)
