"""The client over real HTTP: what is retried, what is not, and how each failure is named."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docruns.core.errors import (
    ApiError,
    BlockedError,
    BusyError,
    ConfigError,
    InvalidError,
    MissingError,
    RefusedError,
    ServerError,
    ShapeError,
    UnreachableError,
)
from docruns.core.settings import check_base_url, check_key, duration, is_loopback
from docruns.net.client import Client
from docruns.net.http_errors import refusal, retry_after
from docruns.net.messages import ConnectionSettings, Reply, Request, Retry
from docruns.net.shared_budget import Budget
from docruns.providers.extend import api
from docruns.sandbox import Sandbox

QUICK = Retry(attempts=4, first=0.01, cap=0.05, deadline=20.0)
LIST = Request("/workflow_runs", (("maxPageSize", 5),))


def client(sandbox: Sandbox, **options: Any) -> Client:
    """A client of the sandbox that waits only a little."""
    budget = options.pop("budget", Budget(None))
    settings = ConnectionSettings(
        base_url=sandbox.extend_url,
        headers=api.headers(options.pop("key", "k"), "2026-02-09", None),
        **{"retry": QUICK, "timeout": 5.0, **options},
    )
    return Client(settings, budget, api.explain, api.check)


@pytest.mark.fault(15, 16, 17, 18)
@pytest.mark.parametrize(
    ("kind", "details"),
    [
        ("status", {"status": 429}),
        ("status", {"status": 500}),
        ("status", {"status": 502}),
        ("status", {"status": 503}),
        ("status", {"status": 504}),
        ("status", {"status": 408}),
        ("status", {"status": 425}),
        ("html", {}),
        ("empty", {}),
        ("error_200", {}),
        ("truncated_json", {}),
        ("bad_json", {}),
        ("short_body", {}),
        ("truncated_chunked", {}),
        ("truncated_gzip", {}),
        ("reset", {}),
        ("reset_mid", {}),
    ],
)
def test_passing_faults_are_retried(sandbox: Sandbox, kind: str, details: dict[str, Any]) -> None:
    """A fault that passes after two tries costs at most two retries and nothing else."""
    sandbox.fault(kind, "/workflow_runs", times=2, **details)
    with client(sandbox) as http:
        reply = http.get(LIST)
    assert b'"data"' in reply.body
    assert (http.usage.requests, http.usage.retries) == (3, 2)
    assert sandbox.stats.requests == 3


@pytest.mark.fault(16, 17, 18)
@pytest.mark.parametrize(
    ("kind", "details", "error"),
    [
        ("status", {"status": 429}, BusyError),
        ("status", {"status": 503}, ServerError),
        ("html", {}, ShapeError),
        ("empty", {}, ShapeError),
        ("error_200", {}, ShapeError),
        ("truncated_json", {}, ShapeError),
        ("bad_json", {}, ShapeError),
        ("truncated_gzip", {}, ShapeError),
        ("reset", {}, UnreachableError),
        ("reset_mid", {}, UnreachableError),
        ("short_body", {}, UnreachableError),
        ("truncated_chunked", {}, UnreachableError),
    ],
)
def test_lasting_faults_are_named(
    sandbox: Sandbox, kind: str, details: dict[str, Any], error: type[ApiError]
) -> None:
    """A lasting fault is raised after the last try; its message has host, request and advice."""
    sandbox.fault(kind, "/workflow_runs", times=99, **details)
    with client(sandbox) as http, pytest.raises(error) as caught:
        http.get(LIST)
    assert http.usage.requests == sandbox.stats.requests == QUICK.attempts
    host = sandbox.url.removeprefix("http://")
    assert str(caught.value).startswith(f"{host}: GET /workflow_runs")
    assert str(caught.value).endswith(error.advice) and error.advice


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidError),
        (401, RefusedError),
        (402, BlockedError),
        (403, RefusedError),
        (404, MissingError),
        (410, MissingError),
        (422, InvalidError),
    ],
)
def test_final_answers_are_not_retried(sandbox: Sandbox, status: int, error: type[ApiError]) -> None:
    """The client does not repeat a request whose answer will not change."""
    sandbox.fault("status", "/workflow_runs", status=status, times=99)
    with client(sandbox) as http, pytest.raises(error) as caught:
        http.get(LIST)
    assert http.usage.requests == 1
    assert caught.value.status == status
    assert caught.value.request == "GET /workflow_runs"


@pytest.mark.fault(17)
def test_hang_ends(sandbox: Sandbox) -> None:
    """The client leaves a silent server after the time-out and tries again."""
    sandbox.fault("hang", "/workflow_runs", times=1, seconds=5)
    with client(sandbox, timeout=0.5) as http:
        http.get(LIST)
    assert http.usage.retries == 1


def test_a_caller_in_a_hurry_gives_up(sandbox: Sandbox) -> None:
    """A server that accepts the connection and never answers is named after five times the seconds, not after minutes."""
    sandbox.fault("hang", "/workflow_runs", times=None, seconds=30)
    http, started = client(sandbox), time.monotonic()
    http.hurry(0.2)
    with http, pytest.raises(UnreachableError):
        http.get(LIST)
    assert 0.9 < time.monotonic() - started < 4


@pytest.mark.fault(19)
def test_slow_drip_ends(sandbox: Sandbox) -> None:
    """The total time-out ends a body that arrives a few bytes at a time, each of them in time."""
    sandbox.fault("drip", "/workflow_runs", times=1, seconds=0.2)
    started = time.monotonic()
    with client(sandbox, total_timeout=0.8) as http:
        http.get(LIST)
    assert http.usage.retries == 1
    assert time.monotonic() - started < 8


def test_answers_come_in_order(sandbox: Sandbox) -> None:
    """With many requests in flight, answers and errors come in the order of the requests."""
    sandbox.set(latency=0.02)
    ids = [run["id"] for run in sandbox.extend.truth() if run["resource"] == "workflow_runs"]
    wanted = [Request(f"/workflow_runs/{id_}", subject=id_) for id_ in ids]
    wanted.insert(3, Request("/workflow_runs/nobody", subject="nobody"))
    with client(sandbox, concurrency=8) as http:
        found = list(http.get_many(wanted))
    assert [request for request, _ in found] == wanted
    assert [i for i, (_, outcome) in enumerate(found) if not isinstance(outcome, Reply)] == [3]
    assert isinstance(found[3][1], MissingError)
    assert 1 < sandbox.stats.max_in_flight <= 8


def test_begin_sends_once(sandbox: Sandbox) -> None:
    """`begin` sends requests at once and together; each answer is used once, or not at all."""
    sandbox.set(latency=0.1)
    lists = [Request(f"/{name}_runs") for name in ("workflow", "extract", "split")]
    with client(sandbox, concurrency=8) as http:
        http.begin(lists)
        http.begin(lists[:1])
        bodies = [http.get(each).body for each in lists]
        assert (sandbox.stats.requests, sandbox.stats.max_in_flight) == (3, 3)
        assert len(set(bodies)) == 3
        assert http.get(lists[0]).body == bodies[0]
        assert sandbox.stats.requests == 4
        http.begin([Request("/workflow_runs/nobody")])
        with pytest.raises(MissingError):
            http.get(Request("/workflow_runs/nobody"))
        http.begin(lists)
    with http:
        assert http.get(lists[2]).body == bodies[2]


def test_an_awaited_request_overtakes_those_sent_ahead(sandbox: Sandbox) -> None:
    """A page of a list does not wait until all details that are requested ahead have had their turns."""
    ids = [run["id"] for run in sandbox.extend.truth() if run["resource"] == "workflow_runs"]
    wanted = [Request(f"/workflow_runs/{id_}", subject=id_) for id_ in ids[:30]]
    with client(sandbox, concurrency=4, budget=Budget(40)) as http:
        details = http.get_many(wanted, lambda: len(wanted))
        first = next(details)
        for token in range(2):
            http.get(Request("/workflow_runs", (("maxPageSize", 5 + token),)))
        sent_before = sandbox.stats.details
        found = [first, *details]
    assert 1 <= sent_before < 20
    assert [request for request, _ in found] == wanted
    assert all(isinstance(outcome, Reply) for _, outcome in found)


def test_few_large_answers_wait(sandbox: Sandbox) -> None:
    """Small answers wait in any number (256 by default), large ones up to 64 MiB, or 64 of them."""
    with client(sandbox) as http:
        http.get(LIST)
        assert (http._ahead(None), http._ahead(333)) == (256, 333)
        http.usage.bytes = http.usage.requests * 2**19
        assert (http._ahead(None), http._ahead(333)) == (128, 128)
        http.usage.bytes = http.usage.requests * 2**24
        assert (http._ahead(None), http._ahead(20)) == (64, 20)


def test_stopping_early_cancels_the_rest(sandbox: Sandbox) -> None:
    """A caller that stops reading answers stops the requests; no thread is left."""
    sandbox.set(latency=0.05)
    with client(sandbox, concurrency=2) as http:
        answers = http.get_many(LIST for _ in range(100))
        next(answers)
        answers.close()  # type: ignore[attr-defined]
    time.sleep(0.1)
    assert sandbox.stats.requests < 20
    assert not [thread for thread in threading.enumerate() if thread.name == "docruns-http"]


def test_two_threads_share_a_client(sandbox: Sandbox) -> None:
    """Threads may enter and leave a client at any time; the last one to leave closes it."""
    http = client(sandbox)
    errors: list[BaseException] = []

    def enter_often() -> None:
        try:
            for turn in range(150):
                with http:
                    if turn % 50 == 0:
                        http.get(LIST)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=enter_often, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    assert not [thread for thread in threads if thread.is_alive()]
    assert not [thread for thread in threading.enumerate() if thread.name == "docruns-http"]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_silence_is_called_a_time_out(silent_port: int) -> None:
    """The error about a server that never answers names the seconds that the client waited."""
    settings = ConnectionSettings(f"http://127.0.0.1:{silent_port}", {}, timeout=0.3, retry=Retry(attempts=1))
    with (
        Client(settings, Budget(None), api.explain, api.check) as http,
        pytest.raises(UnreachableError, match=r"no answer within 0\.3 s"),
    ):
        http.get(LIST)


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b'{"code":"X","message":"m","requestId":"r"}', "m", "X"),
        (b'{"error":{"code":"X","message":"m","requestId":"r"}}', "m", "X"),
        (b'{"success":false,"error":"m"}', "m", None),
        (b"<html>gateway</html>", "not JSON", None),
        (b"", "empty answer", None),
        (b"[1]", "not JSON", None),
        (b'{"code":5}', "no message", None),
    ],
)
def test_error_bodies_of_every_kind(body: bytes, message: str, code: str | None) -> None:
    """The error for a refused answer of any form holds all that the answer says."""
    error = api.explain(500, {"x-extend-request-id": "r"}, body, "GET /x")
    assert message in str(error)
    assert error.code == code
    assert error.request_id == "r"
    assert error.retryable


@given(st.integers(100, 599), st.none() | st.booleans())
def test_every_status_has_an_error(status: int, retryable: bool | None) -> None:
    """Each status has an error, and the client retries only what may pass."""
    error = refusal(status, "GET /x", "m", retryable=retryable)
    assert error.status == status
    if status in (400, 401, 402, 403, 404, 410, 422):
        assert not error.retryable
    if status >= 500 or status in (408, 425, 429):
        assert error.retryable


def test_retry_after_in_both_forms() -> None:
    """Retry-After is seconds or a date; anything else is ignored."""
    now = datetime(2026, 5, 18, 6, 30, tzinfo=UTC)
    assert retry_after("7", now) == 7.0
    assert retry_after("-7", now) == 0.0
    assert retry_after("Mon, 18 May 2026 06:30:09 GMT", now) == 9.0
    assert retry_after("Mon, 18 May 2026 06:29:00 GMT", now) == 0.0
    assert retry_after("soon", now) is None
    assert retry_after(None, now) is None


def test_durations_are_as_long_as_anybody_likes() -> None:
    """A duration may be of any length; one longer than a century is a century."""
    century = timedelta(days=36_500)
    assert duration("9999999999d", "k") == duration("9" * 400, "k") == century
    assert duration("36500d", "k") == century
    assert datetime.now(UTC) - century < datetime(1950, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://localhost", "http://[::1]:5/x"])
def test_loopback_may_be_plain_http(url: str) -> None:
    """Plain HTTP, which shows the key, is allowed to this machine only."""
    assert is_loopback(url)
    assert check_base_url(url + "/", "k") == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "http://127.evil.example.com",
        "http://localhost.example.org",
        "https://x?a=b",
        "https://u:p@x",
        "x",
        "",
        "https://x#y",
        "https://[bad",
        "https://x:99999999",
        "https://x:y",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    """An address that would leak the key, or is invalid, is refused with its config key."""
    with pytest.raises(ConfigError, match="some_key"):
        check_base_url(url, "some_key")


@pytest.mark.fault(34)
@pytest.mark.parametrize("key", ["", " ", "a b", "ключ", "a\x00b", "a\nb"])
def test_keys_that_no_header_can_carry(key: str) -> None:
    """A key with blanks or unprintable characters is refused at once; the error does not show it."""
    with pytest.raises(ConfigError) as caught:
        check_key(key, "some_key")
    assert not key.strip() or key not in str(caught.value)


@pytest.mark.fault(34)
def test_key_loses_its_line_end() -> None:
    """A key read from a file may end in a newline."""
    assert check_key(" sk_1\n", "k") == "sk_1"


@pytest.mark.parametrize("text", ["'sk_1'", '"sk_1"', ' "sk_1" \n'])
def test_key_loses_its_quotes(text: str) -> None:
    """A file of variables for containers keeps the quotes that a shell would remove."""
    assert check_key(text, "k") == "sk_1"
