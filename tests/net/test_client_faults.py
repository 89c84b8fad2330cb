"""Faults of networks, proxies and servers, each over real HTTP."""

from __future__ import annotations

import gzip
import re
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docruns.core.errors import (
    ApiError,
    BusyError,
    ConfigError,
    InvalidError,
    RefusedError,
    ServerError,
    ShapeError,
    UnreachableError,
)
from docruns.net.client import Client
from docruns.net.messages import ConnectionSettings, Request, Retry
from docruns.net.shared_budget import Budget
from docruns.net.transport import _Inflater
from docruns.providers.extend import api
from docruns.sandbox import Sandbox
from docruns.sandbox.faults import gzip_members
from support.raw import CERTIFICATE, Proxy, Raw, answer, free_port

QUICK = Retry(attempts=3, first=0.01, cap=0.05, deadline=20.0)
LIST = Request("/workflow_runs", (("maxPageSize", 5),))
WRITE = Request("/workflow_runs/wr_1", body=b'{"name": "x"}', idempotent=False)
KEY = "sk_live_secret"


def client(base_url: str, **options: Any) -> Client:
    """A client that waits only a little."""
    settings = ConnectionSettings(
        base_url,
        api.headers(KEY, "2026-02-09", None),
        **{"retry": QUICK, "timeout": 5.0, **options},
    )
    return Client(settings, Budget(), api.explain, api.check)


def at(port: int) -> str:
    """The address of a server on this machine."""
    return f"http://127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies and certificates of the environment do not reach the tests."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)


@pytest.mark.fault(15)
@pytest.mark.parametrize(("retry_after", "seconds"), [(1, 1.0), ("date", 2.0)])
def test_retry_after_stops_everybody(sandbox: Sandbox, retry_after: float | str, seconds: float) -> None:
    """After a 429 with seconds or a date, no request reaches the platform before that is over."""
    sandbox.fault("status", status=429, times=1, after=3, retry_after=retry_after, seconds=seconds)
    with client(sandbox.extend_url, concurrency=2) as http:
        for _ in range(3):
            http.get(LIST)
        started = time.monotonic()
        outcomes = [outcome for _, outcome in http.get_many([LIST] * 4)]
        waited = time.monotonic() - started
    assert not [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
    # a date has whole seconds
    assert waited >= 1.0
    assert http.usage.throttled_s == pytest.approx(waited, abs=0.9)
    assert http.usage.retries == sandbox.stats.throttled == 1
    # one was on its way
    assert sandbox.stats.requests == 8


@pytest.mark.fault(15)
def test_an_hour_is_not_waited(sandbox: Sandbox) -> None:
    """A Retry-After past the deadline ends all waiting requests at once, with advice."""
    sandbox.fault("status", status=429, times=99, retry_after=3600)
    started = time.monotonic()
    with client(sandbox.extend_url) as http:
        outcomes = [outcome for _, outcome in http.get_many([LIST] * 40)]
    assert time.monotonic() - started < 5
    assert {type(outcome) for outcome in outcomes} == {BusyError}
    assert sandbox.stats.requests <= 16
    message = str(outcomes[-1])
    assert "GET /workflow_runs 429: asked to wait, 3,6" in message
    assert "Start again later" in message


def test_bytes_of_a_header_that_are_no_text() -> None:
    """A header in Latin-1 does not hide the refusal: the request is tried again."""
    first = answer(b"{}", 503).replace(b"\r\n\r\n", b"\r\nx-reason: caf\xe9 ferm\xe9\r\n\r\n")
    with Raw(first, answer()) as platform:
        settings = ConnectionSettings(at(platform.port), api.headers(KEY, "2026-02-09", None), retry=QUICK)
        with Client(settings, Budget(), api.explain, api.check) as http:
            assert http.get(LIST).body == b'{"data": []}'
            assert http.usage.retries == 1


def test_a_redirect_to_nowhere_is_named() -> None:
    """A redirect to an invalid address is not followed either."""
    with (
        Raw(answer(b"", 302, location="https://[bad")) as platform,
        client(at(platform.port)) as http,
        pytest.raises(ApiError, match="redirected to an invalid address"),
    ):
        http.get(LIST)


@pytest.mark.fault(17)
def test_refused_connections_are_tried_again() -> None:
    """The client reaches a server that starts a moment later; the error names a missing one."""
    with free_port() as port, client(at(port)) as http:
        with pytest.raises(UnreachableError, match=rf"cannot reach 127.0.0.1:{port}") as caught:
            http.get(LIST)
        assert http.usage.requests == QUICK.attempts
        assert "Check base_url, the network and the proxy" in str(caught.value)
    patient = Retry(attempts=20, first=0.1, cap=0.2, deadline=20)
    with client(at(port), retry=patient) as http, socket.socket() as late:
        late.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        late.bind(("127.0.0.1", port))
        threading.Timer(0.5, late.listen).start()
        threading.Thread(target=_serve_once, args=(late,), daemon=True).start()
        assert http.get(LIST).body == b'{"data": []}'
    assert http.usage.retries >= 2


def _serve_once(listener: socket.socket) -> None:
    while True:
        try:
            connection = listener.accept()[0]
        except OSError:
            time.sleep(0.05)
            continue
        with connection:
            connection.recv(65536)
            connection.sendall(answer())
        return


@pytest.mark.fault(17)
def test_a_kept_connection_that_closes_is_counted() -> None:
    """After a kept connection closes without an answer, the next try counts as a request."""
    with Raw(answer(), b"", answer()) as server, client(at(server.port)) as http:
        http.get(LIST)
        http.get(LIST)
        assert (http.usage.requests, http.usage.retries) == (3, 1)
        assert len(server.requests) == 3


@pytest.mark.fault(19)
def test_a_drip_that_lasts_is_named(sandbox: Sandbox) -> None:
    """An endless body whose bytes are each in time ends with the total time-out, in each try."""
    sandbox.fault("drip", times=None, seconds=0.1)
    started = time.monotonic()
    with (
        client(sandbox.extend_url, total_timeout=0.5) as http,
        pytest.raises(UnreachableError, match=r"no end within 0\.5 s"),
    ):
        http.get(LIST)
    assert http.usage.requests == QUICK.attempts
    assert time.monotonic() - started < 5


@pytest.mark.fault(17)
def test_no_try_begins_past_the_deadline(sandbox: Sandbox) -> None:
    """Tries end with the deadline, even if more of them are allowed."""
    sandbox.fault("status", status=503, times=None)
    retry = Retry(attempts=1000, first=0.1, cap=0.1, deadline=0.5)
    started = time.monotonic()
    with client(sandbox.extend_url, retry=retry) as http, pytest.raises(ServerError):
        http.get(LIST)
    assert time.monotonic() - started < 2
    assert 3 <= http.usage.requests <= 12


@pytest.mark.fault(20)
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_at_once(sandbox: Sandbox, status: int) -> None:
    """One request, and the message says what to check without showing the key."""
    sandbox.fault("status", status=status, times=None)
    with (
        client(sandbox.extend_url) as http,
        pytest.raises(RefusedError, match="Check that the key") as e,
    ):
        http.get(LIST)
    assert sandbox.stats.requests == 1
    assert KEY not in str(e.value) and KEY not in repr(e.value)


@pytest.mark.fault(22)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    """The error names the other host; no connection is made to it, so the key cannot leak there."""
    with Raw(answer()) as other:
        location = f"{at(other.port)}/workflow_runs"
        with Raw(answer(b"", status, location=location)) as server, client(at(server.port)) as http:
            message = f"redirected to 127.0.0.1:{other.port}, and not followed"
            with pytest.raises(ApiError, match=message):
                http.get(LIST)
            assert len(server.requests) == 1
        assert (other.connections, other.requests) == (0, [])


@pytest.mark.fault(55)
@pytest.mark.parametrize("kind", ["gzip", "gzip_members", "chunked", "large_header", "many_headers"])
def test_other_forms_of_the_same_answer(sandbox: Sandbox, kind: str) -> None:
    """A compressed answer, one without a length, and one with a large head give the same body as a plain one."""
    with client(sandbox.extend_url) as http:
        plain = http.get(LIST).body
        sandbox.fault(kind)
        reply = http.get(LIST)
    assert reply.body == plain
    assert http.usage.bytes == 2 * len(plain)


@pytest.mark.parametrize(
    ("kind", "details"),
    [("bomb", {"megabytes": 100}), ("chunked", {}), ("status", {"status": 200})],
    ids=["bomb", "without a length", "with its length"],
)
def test_answers_that_are_too_large(sandbox: Sandbox, kind: str, details: dict[str, Any]) -> None:
    """Reading ends at max_response_mb, without a second try, in the memory of the limit."""
    large = Request("/workflow_runs", (("maxPageSize", 1000),))
    limit_mb = 1.0 if kind == "bomb" else 0.01
    sandbox.fault(kind, times=1, **details) if kind != "status" else None
    with client(sandbox.extend_url, max_response_mb=limit_mb) as http:
        tracemalloc.start()
        try:
            with pytest.raises(ShapeError, match=f"max_response_mb is {limit_mb:g}") as caught:
                http.get(large)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert not caught.value.retryable
    assert http.usage.requests == 1
    # the sandbox makes a bomb of pieces of a mebibyte, in this process
    assert peak < 5 * 2**20


@pytest.mark.parametrize("coding", ["br", "deflate", "zstd", "gzip, gzip"])
def test_codings_that_were_not_asked_for(coding: str) -> None:
    """The client asks for gzip only, and does not decode a body in another coding."""
    body = zlib.compress(b" " * 2**20)
    with Raw(answer(body, content_encoding=coding)) as server, client(at(server.port)) as http:
        with pytest.raises(ShapeError, match=f"in '{coding}', which was not asked for"):
            http.get(LIST)
        assert b"accept-encoding: gzip\r\n" in server.requests[0].lower() + b"\r\n"


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    "body",
    [
        b"no gzip",
        gzip.compress(b"{}")[:-4],
        gzip.compress(b'{"data": []}') + b"more",
        gzip.compress(b'{"data": []}') + gzip.compress(b" ")[:-4],
        b"\0" + gzip.compress(b'{"data": []}'),
        gzip.compress(b""),
        b"",
    ],
    ids=["no gzip", "cut", "more", "a cut member", "zeros before", "an empty member", "nothing"],
)
def test_gzip_that_is_none(body: bytes) -> None:
    """Invalid gzip, and gzip that is cut off or followed by more, is no answer."""
    with Raw(answer(body, content_encoding="gzip")) as server, client(at(server.port)) as http:
        with pytest.raises(ShapeError):
            http.get(LIST)
        assert len(server.requests) == QUICK.attempts


@pytest.mark.parametrize("size", [1, 7, 2**16])
def test_gzip_in_small_pieces(size: int) -> None:
    """Members and the zeros behind them may be cut anywhere between two pieces of an answer."""
    body = b'{"data": [%s]}' % b", ".join([b"1"] * 50)
    packed = gzip_members(body)
    inflater = _Inflater("GET /")
    found = b"".join(inflater.inflate(packed[at : at + size], 10**6) for at in range(0, len(packed), size))
    assert (found, inflater.is_at_end) == (body, True)
    inflater = _Inflater("GET /")
    assert len(inflater.inflate(packed, 10)) == 10


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_refusal_in_another_coding_is_a_refusal(status: int) -> None:
    """A body that cannot be read does not hide the status that refuses."""
    reply = answer(b"nonsense", status, content_encoding="br")
    with Raw(reply) as server, client(at(server.port)) as http, pytest.raises(ApiError) as caught:
        http.get(LIST)
    assert caught.value.status == status


def test_a_coding_of_the_sandbox(sandbox: Sandbox) -> None:
    """The error names the coding, and the next try may be readable."""
    sandbox.fault("coding", times=None)
    with client(sandbox.extend_url) as http:
        with pytest.raises(ShapeError, match="'br', which was not asked for"):
            http.get(LIST)
        sandbox.clear_faults()
        sandbox.fault("coding")
        assert http.get(LIST).body


def test_no_cookie_is_kept() -> None:
    """A platform cannot tie one request to another: cookies are not sent back."""
    with Raw(answer(set_cookie="session=1; Path=/")) as server, client(at(server.port)) as http:
        for _ in range(2):
            http.get(LIST)
        assert not [sent for sent in server.requests if b"cookie" in sent.lower()]


def test_an_answer_that_is_not_http() -> None:
    """The error says that a server which does not speak HTTP does not."""
    with (
        Raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n") as server,
        client(at(server.port)) as http,
        pytest.raises(UnreachableError, match="not HTTP"),
    ):
        http.get(LIST)


def test_error_messages_hold_no_query() -> None:
    """No message holds a query, which may carry a page token."""
    token = Request("/workflow_runs", (("nextPageToken", "tok_secret"),))
    for answers in (
        (b"",),
        (b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\n{",),
        (answer(b"<html>"),),
    ):
        with Raw(*answers) as server, client(at(server.port), timeout=0.3) as http:
            with pytest.raises(ApiError) as caught:
                http.get(token)
            assert "tok_secret" not in str(caught.value)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with the certificate and the private key of the TLS servers in these tests."""
    file = tmp_path / "certificate.pem"
    file.write_text(CERTIFICATE)
    return file


def test_an_unknown_certificate_is_refused(certificate: Path) -> None:
    """A server with an unknown certificate gets no request; the error names SSL_CERT_FILE."""
    with Raw(answer(), tls=certificate) as server:
        http = client(f"https://localhost:{server.port}")
        with http, pytest.raises(UnreachableError, match="SSL_CERT_FILE") as caught:
            http.get(LIST)
        assert re.search("self.signed certificate", str(caught.value))
        assert (server.connections, server.requests) == (1, [])


def test_a_certificate_of_one_s_own(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE names the authorities; a certificate of another host is still refused."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Raw(answer(), tls=certificate) as server:
        with client(f"https://localhost:{server.port}") as http:
            assert http.get(LIST).body == b'{"data": []}'
        with Proxy(server.port) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", at(proxy.port))
            http = client("https://somebody-else.test")
            with http, pytest.raises(UnreachableError, match=r"(?i)hostname mismatch"):
                http.get(LIST)
        assert len(server.requests) == 1


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_without_certificates(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing or invalid SSL_CERT_FILE is named before any request is sent."""
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(
        ConfigError, match=rf"SSL_CERT_FILE: {file} holds no certificates: .* Name a PEM file"
    ):
        client("https://platform.test").__enter__()


def test_a_url_that_is_too_long(sandbox: Sandbox) -> None:
    """A page token of any length gives an error with the request's name, not of a library."""
    token = Request("/workflow_runs", (("nextPageToken", "x" * 70_000),))
    message = "GET /workflow_runs: cannot be requested: URL too long"
    with client(sandbox.extend_url) as http, pytest.raises(ShapeError, match=message):
        http.get(token)
    assert sandbox.stats.requests == 0


@pytest.fixture
def platform(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Raw]:
    """A TLS server with a certificate of https://platform.test, which SSL_CERT_FILE trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Raw(answer(), tls=certificate) as server:
        yield server


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_proxies_are_used(platform: Raw, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client uses the environment's proxy, with its password; the proxy sees no key."""
    with Proxy(platform.port) as proxy:
        monkeypatch.setenv(name, f"http://user:pass@127.0.0.1:{proxy.port}")
        with client("https://platform.test") as http:
            assert http.get(LIST).body == http.get(LIST).body == b'{"data": []}'
    [connect] = proxy.requests
    assert connect.startswith(b"CONNECT platform.test:443 ")
    assert b"proxy-authorization: basic dxnlcjpwyxnz" in connect.lower()
    assert KEY.encode() not in connect
    assert len(platform.requests) == 2
    assert KEY.encode() in platform.requests[0]
    assert b"proxy-authorization" not in platform.requests[0].lower()


def test_a_proxy_variable_that_does_not_apply(platform: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the variable that applies to the host must be usable: HTTPS_PROXY before ALL_PROXY."""
    with Proxy(platform.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("HTTP_PROXY", "gopher://x")
        monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
        with client("https://platform.test") as http:
            assert http.get(LIST).body == b'{"data": []}'
    assert proxy.connections == 1


@pytest.mark.parametrize("exempt", ["platform.test", ".test", "*"])
def test_hosts_without_a_proxy(exempt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client connects directly to hosts in NO_PROXY (platform.test itself does not exist)."""
    with Proxy(1) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", at(proxy.port))
        monkeypatch.setenv("NO_PROXY", exempt)
        with client("https://platform.test") as http, pytest.raises(UnreachableError):
            http.get(LIST)
    assert proxy.connections == 0


def test_loopback_needs_no_proxy(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests to this machine use no proxy."""
    with Proxy(1) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, at(proxy.port))
        with client(sandbox.extend_url) as http:
            http.get(LIST)
    assert proxy.connections == 0


def test_a_proxy_that_does_not_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names a proxy that refuses or does not exist, without its password."""
    with Proxy(1, status=407) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:pass@127.0.0.1:{proxy.port}")
        with client("https://platform.test") as http, pytest.raises(UnreachableError) as caught:
            http.get(LIST)
        message = f"cannot reach platform.test: the proxy http://127.0.0.1:{proxy.port} does not connect"
        assert message in str(caught.value) and "pass" not in str(caught.value)
        assert len(proxy.requests) == QUICK.attempts
    with free_port() as port:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{port}")
        with (
            client("https://platform.test") as http,
            pytest.raises(UnreachableError, match="proxy"),
        ):
            http.get(LIST)


@pytest.mark.fault(46)
@pytest.mark.parametrize("through", ["TLS", "proxy"])
def test_a_connection_that_is_never_made(
    through: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy or a TLS handshake that hangs ends after `connect_timeout`, not after the whole exchange's time. One
    line says that docruns tries again."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        url, named = f"https://{address}", f"cannot reach {address}: no connection within 0.3 s"
        if through == "proxy":
            monkeypatch.setenv("HTTPS_PROXY", f"http://{address}")
            url = "https://platform.test"
            named = (
                f"cannot reach platform.test: no connection through the proxy http://{address} within 0.3 s"
            )
        with client(url, connect_timeout=0.3, timeout=60.0) as http:
            with pytest.raises(UnreachableError) as caught:
                http.get(LIST)
            assert http.usage.requests == QUICK.attempts
    assert named in str(caught.value)
    assert [record.message for record in caplog.records] == [
        f"GET /workflow_runs: {named}: docruns tries again"
    ]


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:1", "gopher://x"])
def test_proxies_of_other_kinds(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error about an unusable proxy names its variable, before any request is sent."""
    monkeypatch.setenv("ALL_PROXY", address)
    before = threading.active_count()
    with pytest.raises(ConfigError, match="ALL_PROXY"):
        client("https://platform.test").__enter__()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    "address", [":::x", "http://[x", "http://h:99999", "proxy host", "http://", "http://user:secret@[x"]
)
def test_a_proxy_that_is_no_address(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is no URL is refused by its name before any request is sent, without its password."""
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(ConfigError, match="HTTPS_PROXY: is not the address of a proxy") as caught:
        client("https://platform.test").__enter__()
    assert "secret" not in str(caught.value)


def test_a_proxy_that_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the proxy whose name is unknown, not the platform."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    with (
        client("https://platform.test") as http,
        pytest.raises(UnreachableError, match=r"the proxy http://proxy\.invalid"),
    ):
        http.get(LIST)


def test_a_post_carries_json(sandbox: Sandbox) -> None:
    """A request with a body is a POST of JSON."""
    with Raw(answer()) as server, client(at(server.port)) as http:
        http.get(WRITE)
        [request] = server.requests
    assert request.startswith(b"POST /workflow_runs/wr_1 ")
    assert b"content-type: application/json" in request.lower()
    assert request.endswith(b'\r\n\r\n{"name": "x"}')


@pytest.mark.parametrize(
    "first",
    [
        b"",
        answer(b"{}", 500),
        answer(b"{}", 503),
        answer(b"{}", 408),
        answer(b"<html>"),
        b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\n{",
    ],
    ids=["closed", "500", "503", "408", "HTML", "cut off"],
)
@pytest.mark.parametrize("kept", [False, True])
def test_what_may_have_been_done_is_not_done_again(first: bytes, kept: bool) -> None:
    """A POST that may have arrived is sent once, on any connection; an idempotent one again."""
    before = [answer()] if kept else []
    for idempotent, sendings in ((False, 1), (True, 2)):
        with (
            Raw(*before, first, answer()) as server,
            client(at(server.port), timeout=0.3) as http,
        ):
            if kept:
                http.get(LIST)
            request = WRITE._replace(idempotent=idempotent)
            if idempotent:
                http.get(request)
            else:
                with pytest.raises(ApiError, match="POST /workflow_runs/wr_1"):
                    http.get(request)
            posts = [sent for sent in server.requests if sent.startswith(b"POST")]
            assert len(posts) == sendings
            assert http.usage.requests == len(server.requests) == kept + sendings


def test_what_was_surely_not_done_is_done_again() -> None:
    """A POST that was refused with 429, or never left, is sent again."""
    with (
        Raw(answer(b"{}", 429, retry_after="0"), answer()) as server,
        client(at(server.port)) as http,
    ):
        http.get(WRITE)
        assert len(server.requests) == 2
    with free_port() as port, client(at(port)) as http:
        with pytest.raises(UnreachableError):
            http.get(WRITE)
        assert http.usage.requests == QUICK.attempts


def test_a_post_that_is_wrong_is_not_repeated() -> None:
    """An answer that will not change ends a POST as well."""
    with Raw(answer(b"{}", 422)) as server, client(at(server.port)) as http:
        with pytest.raises(InvalidError):
            http.get(WRITE._replace(idempotent=True))
        assert len(server.requests) == 1


def test_usage_is_reported(sandbox: Sandbox) -> None:
    """The used and the allowed rate are known while requests are sent."""
    budget = Budget(40.0)
    settings = ConnectionSettings(sandbox.extend_url, api.headers(KEY, "2026-02-09", None))
    with Client(settings, budget, api.explain, api.check) as http:
        http._measured = (time.monotonic() - 9.5, 0)
        for _ in range(40):
            http.get(LIST)
    assert http.usage.allowed_per_second == 40.0
    assert 1 < http.usage.per_second < 40
