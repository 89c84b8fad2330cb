"""The server: it starts and stops cleanly, speaks HTTP/1.1, prints nothing, and is fast enough for
measurements."""

from __future__ import annotations

import gc
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

import docruns.sandbox
from conftest import Client, rows
from docruns.sandbox import Sandbox
from docruns.sandbox.extend.platform import Extend
from docruns.sandbox.moments import EPOCH_NOW

FILES = Path("/proc/self/fd")


def test_stopping_leaves_nothing_behind(capfd: pytest.CaptureFixture[str]) -> None:
    """After stop there is no thread, file descriptor or listener left, even with a hanging request, and
    nothing was printed."""
    # garbage of the tests before may hold files, and would let go of them in the middle
    gc.collect()
    threads, files = (
        threading.active_count(),
        len(list(FILES.iterdir())) if FILES.is_dir() else 0,
    )
    for _ in range(3):
        with Sandbox(runs=3) as sandbox:
            sandbox.fault("hang", "/files", seconds=60)
            open_one = socket.create_connection((sandbox.host, sandbox.port))
            open_one.sendall(b"GET /extend/files HTTP/1.1\r\nhost: x\r\n\r\n")
            httpx.get(f"{sandbox.extend_url}/workflow_runs")
        open_one.close()
        with pytest.raises(OSError):
            socket.create_connection((sandbox.host, sandbox.port), timeout=1).close()
    sandbox.stop()
    assert threading.active_count() == threads
    assert not files or len(list(FILES.iterdir())) == files
    assert capfd.readouterr() == ("", "")


def test_a_taken_port_is_an_error_at_once() -> None:
    """Starting on a port that is in use raises OSError in the caller."""
    with Sandbox(runs=1) as sandbox, pytest.raises(OSError):
        Sandbox(runs=1, port=sandbox.port).start()


def test_it_can_be_started_again() -> None:
    """A stopped sandbox can be started again and keeps its state."""
    sandbox = Sandbox(runs=1)
    with sandbox:
        (id,) = sandbox.extend.add()
    with sandbox:
        assert any(run["id"] == id for run in sandbox.extend.truth())


def test_requests_are_read_however_they_arrive(calm: Sandbox) -> None:
    """A request in single bytes, two in one packet, and a body after its head are all answered in order."""
    head = b"GET /extend/workflow_runs?maxPageSize=1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x\r\nX-Extend-Api-Version: 2026-02-09\r\n\r\n"
    with socket.create_connection((calm.host, calm.port), timeout=5) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head:
            raw.sendall(bytes([byte]))
        raw.sendall(head + head)
        got = b""
        while got.count(b"HTTP/1.1 200 OK") < 3 or not got.endswith(b"}"):
            got += raw.recv(65536)
    for bad in (
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000,
    ):
        with socket.create_connection((calm.host, calm.port), timeout=5) as raw:
            try:
                raw.sendall(bad)
                assert raw.recv(10) == b""
            except ConnectionError:
                pass


def test_latency_delays_every_request(client: Client) -> None:
    """With latency a request takes at least that time, and several at once take no longer than one."""
    with Sandbox(runs=1, latency=0.05) as sandbox:
        began = time.monotonic()
        assert client(sandbox).get("/workflow_runs").status_code == 200
        assert time.monotonic() - began >= 0.05


def test_other_paths_are_not_there(calm: Sandbox) -> None:
    """Paths outside the mounts are answered with 404."""
    assert httpx.get(f"{calm.url}/").status_code == 404


def test_a_hundred_thousand_runs_are_made_in_seconds() -> None:
    """The state of 100,000 runs is created lazily: in less than five seconds, and a page of a thousand is
    quick."""
    began = time.process_time()
    Extend(100_000, seed=1, now=EPOCH_NOW, size="light")
    assert time.process_time() - began < 5


@pytest.mark.parametrize(("size", "low", "high"), [("light", 5_000, 14_000), ("heavy", 90_000, 180_000)])
def test_documents_have_the_promised_size(client: Client, size: str, low: int, high: int) -> None:
    """A light run is about 10 KB on average, a heavy one about 130 KB; about half of them are reviewed."""
    with Sandbox(runs=120, document_size=size) as sandbox:
        http = client(sandbox)
        replies = [
            http.get(f"/workflow_runs/{row['id']}")
            for row in rows(http.get("/workflow_runs", params={"maxPageSize": 120}).json())
        ]
    assert low < sum(len(reply.content) for reply in replies) / len(replies) < high
    assert 0.35 < sum(reply.json()["reviewed"] for reply in replies) / len(replies) < 0.65


def test_the_mixed_organisation_has_everything(calm: Sandbox, client: Client) -> None:
    """A mixed sandbox of 170 runs has every status, step type and run type, legacy outputs and runs without
    usage."""
    http = client(calm)
    listed = rows(http.get("/workflow_runs", params={"maxPageSize": 1000}).json())
    assert {row["status"] for row in listed} == {
        "PROCESSED",
        "NEEDS_REVIEW",
        "REJECTED",
        "FAILED",
        "CANCELLED",
        "PENDING",
        "PROCESSING",
    }
    assert any(row["usage"] is None and row["status"] == "PROCESSED" for row in listed)
    types = {
        step["stepType"]
        for row in listed
        for step in http.get(f"/workflow_runs/{row['id']}").json()["stepRuns"]
    }
    assert types == {
        "PARSE", "SPLIT", "CLASSIFY", "EXTRACT", "MERGE_EXTRACT", "CONDITIONAL_EXTRACT", "RULE_VALIDATION", "EXTERNAL_DATA_VALIDATION",
        "VALIDATION", "ROUTER",
    }  # fmt: skip


def test_exported_names_are_the_promised_ones() -> None:
    """The package exports exactly the names in __all__."""
    assert sorted(docruns.sandbox.__all__) == ["Corpus", "Fault", "Sandbox", "Stats", "serve_forever"]
    assert all(hasattr(docruns.sandbox, name) for name in docruns.sandbox.__all__)
