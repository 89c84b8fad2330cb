"""Every fault has its effect on a client."""

from __future__ import annotations

import time

import httpx
import pytest

from conftest import Client, rows, walk
from docruns.sandbox import Sandbox


@pytest.mark.parametrize("status", [401, 403, 404, 408, 410, 429, 500, 502, 503, 504])
def test_status_faults_answer_with_the_versions_error(sandbox: Sandbox, client: Client, status: int) -> None:
    """A requested status is sent as often as requested, in the error shape of the version."""
    sandbox.fault("status", "/workflow_runs", status=status, times=2)
    http = client(sandbox)
    assert [http.get("/workflow_runs").status_code for _ in range(3)] == [status, status, 200]
    assert (sandbox.stats.faults, sandbox.stats.errors) == ({"status": 2}, 2)
    sandbox.fault("status", status=status)
    old = client(sandbox, "2025-04-21").get("/workflow_runs").json()
    assert old.keys() == ({"code", "message", "retryable"} if status == 429 else {"success", "error"})


@pytest.mark.parametrize(("asked", "sent"), [(3, "3"), (0.5, "0.5"), ("date", "GMT"), (None, "")])
def test_retry_after_comes_in_every_form(
    sandbox: Sandbox, client: Client, asked: float | str | None, sent: str
) -> None:
    """Retry-After is in seconds, a date, or absent."""
    sandbox.fault("status", status=429, retry_after=asked, seconds=30)
    got = client(sandbox).get("/workflow_runs").headers.get("retry-after", "")
    assert got.endswith(sent) and bool(got) == bool(sent)


def test_bodies_can_be_wrong_in_every_way(sandbox: Sandbox, client: Client) -> None:
    """HTML, an empty body, an error, half of the JSON and broken JSON are all sent with status 200."""
    http = client(sandbox)
    good = http.get("/workflow_runs").content
    for kind in ("html", "empty", "error_200", "truncated_json", "bad_json"):
        sandbox.fault(kind)
    html, empty, error, half, bad = (http.get("/workflow_runs") for _ in range(5))
    assert {reply.status_code for reply in (html, empty, error, half, bad)} == {200}
    assert html.headers["content-type"].startswith("text/html") and html.text.startswith("<!doctype")
    assert empty.content == b""
    assert error.json()["code"] == "INTERNAL_ERROR"
    assert good.startswith(half.content) and 0 < len(half.content) < len(good)
    with pytest.raises(ValueError):
        bad.json()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("short_body", httpx.RemoteProtocolError),
        ("reset_mid", httpx.ReadError),
        ("reset", (httpx.ReadError, httpx.RemoteProtocolError)),
    ],
)
def test_connections_break_at_every_point(
    sandbox: Sandbox, client: Client, kind: str, error: type[Exception]
) -> None:
    """A short body, a reset in the middle and a reset before the first byte cause transport errors; the next
    request works."""
    sandbox.fault(kind)
    http = client(sandbox)
    with pytest.raises(error):
        http.get("/workflow_runs")
    assert http.get("/workflow_runs").status_code == 200


def test_hangs_run_into_the_clients_timeout(sandbox: Sandbox, client: Client) -> None:
    """A hanging request sends nothing for the requested time."""
    sandbox.fault("hang", seconds=5)
    with pytest.raises(httpx.ReadTimeout):
        client(sandbox).get("/workflow_runs", timeout=0.1)


@pytest.mark.parametrize(("kind", "seconds"), [("latency", 0.1), ("drip", 0.001)])
def test_slow_answers_are_whole(sandbox: Sandbox, client: Client, kind: str, seconds: float) -> None:
    """A late or dripping answer takes the requested time and is complete."""
    http = client(sandbox)
    good = http.get("/workflow_runs?maxPageSize=1").content
    sandbox.fault(kind, seconds=seconds)
    began = time.monotonic()
    assert http.get("/workflow_runs?maxPageSize=1").content == good
    assert time.monotonic() - began > 0.05


def test_answers_come_in_other_forms(sandbox: Sandbox, client: Client) -> None:
    """A compressed or chunked answer is complete, a truncated one is an error, and a bomb is a thousand times
    larger inside."""
    http = client(sandbox)
    good = http.get("/workflow_runs").content
    for kind in ("gzip", "chunked"):
        sandbox.fault(kind)
        assert http.get("/workflow_runs").content == good
    sandbox.fault("truncated_chunked")
    with pytest.raises(httpx.RemoteProtocolError):
        http.get("/workflow_runs")
    sandbox.fault("truncated_gzip")
    assert http.get("/workflow_runs").content != good
    sandbox.fault("bomb", megabytes=3)
    reply = http.get("/workflow_runs")
    assert len(reply.content) == 3 * 2**20 > 200 * int(reply.headers["content-length"])


def test_redirects_lead_to_another_host(sandbox: Sandbox, client: Client) -> None:
    """A redirect leads to another host, to which a client must not send its key."""
    sandbox.fault("redirect", location="http://other.invalid/x")
    reply = client(sandbox).get("/workflow_runs")
    assert (reply.status_code, reply.headers["location"]) == (302, "http://other.invalid/x")


def test_pages_can_be_bent(sandbox: Sandbox, client: Client) -> None:
    """Tokens repeat, form a cycle or expire; pages are empty, out of order or have a row twice."""
    http = client(sandbox)
    params = {"maxPageSize": 5}
    first = http.get("/workflow_runs", params=params).json()
    onward = {**params, "nextPageToken": first["nextPageToken"]}
    second = http.get("/workflow_runs", params=onward).json()

    sandbox.fault("repeat_token")
    assert http.get("/workflow_runs", params=onward).json()["nextPageToken"] == first["nextPageToken"]
    sandbox.fault("token_cycle")
    back = http.get("/workflow_runs", params=onward).json()["nextPageToken"]
    assert (
        http.get("/workflow_runs", params={**params, "nextPageToken": back}).json()["data"] == first["data"]
    )
    sandbox.fault("empty_page")
    empty = http.get("/workflow_runs", params=onward).json()
    assert empty["data"] == []
    assert (
        http.get("/workflow_runs", params={**params, "nextPageToken": empty["nextPageToken"]}).json()
        == second
    )
    sandbox.fault("shuffle")
    mixed = http.get("/workflow_runs", params=params).json()["data"]
    assert mixed != first["data"] and sorted(map(str, mixed)) == sorted(map(str, first["data"]))
    sandbox.fault("duplicate")
    assert http.get("/workflow_runs", params=params).json()["data"] == [
        *first["data"],
        first["data"][0],
    ]
    sandbox.fault("expired_token")
    assert http.get("/workflow_runs", params=onward).status_code == 400


def test_faults_hit_only_what_they_name(sandbox: Sandbox, client: Client) -> None:
    """A fault can have a path pattern, a method, a number of requests to skip and a probability; clearing
    removes it."""
    http = client(sandbox)
    sandbox.fault("status", "/workflow_runs/*", times=None)
    run = rows(http.get("/workflow_runs").json())[0]
    assert http.get(f"/workflow_runs/{run['id']}").status_code == 500
    sandbox.clear_faults()
    assert http.get(f"/workflow_runs/{run['id']}").status_code == 200
    sandbox.fault("status", method="POST")
    sandbox.fault("status", "/extract_runs", after=2)
    assert [http.get("/extract_runs").status_code for _ in range(4)] == [200, 200, 500, 200]
    sandbox.fault("status", "/files", probability=0.5, times=None)
    assert {http.get("/files").status_code for _ in range(20)} == {200, 500}
    with pytest.raises(ValueError, match="unknown fault"):
        sandbox.fault("gremlins")


def test_the_rate_limit_refuses_what_is_above_it(client: Client) -> None:
    """Requests above the limit are answered with 429 and Retry-After and are counted; requests below it are
    not."""
    with Sandbox(runs=1, rate_limit=5) as sandbox:
        http = client(sandbox)
        replies = [http.get("/workflow_runs") for _ in range(8)]
        refused = [reply for reply in replies if reply.status_code == 429]
        assert 2 <= len(refused) <= 3 and replies[0].status_code == 200
        assert refused[0].headers["retry-after"] == "1" and refused[0].json()["retryable"] is True
        assert sandbox.stats.throttled == len(refused)
        counts = sandbox.stats.seconds.values()
        assert [sum(of) for of in zip(*counts, strict=True)] == [8, len(refused)]
        sandbox.set(rate_limit=0)
        assert {http.get("/workflow_runs").status_code for _ in range(20)} == {200}


def test_faults_do_not_lose_rows(sandbox: Sandbox, client: Client) -> None:
    """After all faults have applied, a sandbox lists the same rows as before."""
    http = client(sandbox)
    before = walk(http, "/workflow_runs")
    sandbox.fault("empty_page", "/workflow_runs")
    assert http.get("/workflow_runs").json()["data"] == []
    assert walk(http, "/workflow_runs") == before
