"""Loads of two machines into one dataset of PostgreSQL: one at a time, and a killed one leaves no lock."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import psycopg2
import pytest

from docruns.commands.load import load_runs
from docruns.core.errors import LockedError
from docruns.providers.extend import connect_extend
from docruns.sandbox import Sandbox
from docruns.sandbox.wire import Reply, Request
from docruns.store.pipeline import open_for_reading, open_pipeline
from docruns.store.target import Target, _key_of, exclusive
from proofs.children import Children, Ended
from support.postgres import doubled, locks, rows

Docruns = Callable[..., Ended]
COUNT = "SELECT count(*) FROM {}.{}"


@pytest.fixture(autouse=True)
def configured(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting that .dlt/secrets.toml would contain."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server)


def command(sandbox: Sandbox, name: str, dataset: str, *more: str) -> tuple[str, ...]:
    """A command on a dataset of PostgreSQL."""
    where = ("--destination", "postgres", "--dataset", dataset, "--base-url", sandbox.extend_url)
    return (name, "extend", *where, *more)


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until a condition holds."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


@pytest.mark.fault(13)
def test_two_machines(
    server: str, few_runs: Sandbox, children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load of a second machine into the same dataset ends at once and names the first one; after that no key
    has two rows."""
    started, released, handle = Event(), Event(), few_runs._gate.handle

    def held(request: Request) -> Reply:
        started.set()
        released.wait(120)
        return handle(request)

    load = command(few_runs, "load", "two")
    with monkeypatch.context() as patch, Children() as others:
        patch.setattr(few_runs._gate, "handle", held)
        first = children.start(tmp_path / "first", *load)
        try:
            assert started.wait(120)
            second = others.run(tmp_path / "second", *load)
        finally:
            released.set()
        assert first.wait().code == 0
        assert second.code == 1, second.err
        said = f"postgres (two): docruns load extend (process {first.pid} on "
        (line,) = second.err.splitlines()
        assert said in line and "is at work on it since 20" in line and "Wait until" in line
        assert others.run(tmp_path / "second", *load).code == 0
    assert rows(server, COUNT.format("two", "workflow_runs")) == [(12,)]
    assert doubled(server, "two") == []
    assert locks(server) == 0


@pytest.mark.fault(13)
def test_a_lock_that_is_lost(
    server: str, few_runs: Sandbox, children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load whose lock is lost writes no further package: another machine may be at work."""
    started, handle = Event(), few_runs._gate.handle

    def busy(request: Request) -> Reply:
        if "/workflow_runs/" in request.path:
            started.set()
            return Reply(503, b"{}")
        return handle(request)

    load = command(few_runs, "load", "lost")
    with monkeypatch.context() as patch, Children() as others:
        patch.setattr(few_runs._gate, "handle", busy)
        first = children.start(tmp_path / "first", *load)
        assert started.wait(120)
        rows(server, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        patch.setattr(few_runs._gate, "handle", handle)
        second = others.run(tmp_path / "second", *load)
        ended = first.wait()
    assert second.code == 0, second.err
    assert ended.code == 1
    assert "the connection that held the lock of the dataset was lost" in ended.err
    assert rows(server, COUNT.format("lost", "_dlt_loads")) == [(1,)]
    assert rows(server, COUNT.format("lost", "workflow_runs")) == [(12,)]
    assert doubled(server, "lost") == []


def test_a_package_of_another_load(server: str, few_runs: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load waits for a package that another one still writes, and gives up with a named error."""
    monkeypatch.setattr("docruns.store.target._PACKAGE_PATIENCE_S", 0.6)
    target = Target("package", destination="postgres")
    with psycopg2.connect(server) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_key_of(target, "package"),))
        with pytest.raises(
            LockedError, match=r"postgres \(package\): another load has been writing a package"
        ):
            load_runs(connect_extend(base_url=few_runs.extend_url), target)
    assert load_runs(connect_extend(base_url=few_runs.extend_url), target).complete


def test_what_writes_takes_the_lock(
    server: str, few_runs: Sandbox, children: Children, tmp_path: Path
) -> None:
    """`sweep` and `push` wait for no load and write beside none; another dataset is free, and what only reads
    is not refused."""
    load = command(few_runs, "load", "one")
    assert children.run(tmp_path / "a", *load).code == 0
    target = Target("one", destination="postgres")
    push = ("--from", "SELECT id, 'x' AS name FROM one.workflow_runs WHERE false")
    with exclusive(target, "docruns load extend"), open_pipeline("extend", target):
        assert locks(server) == 1
        for words in (command(few_runs, "sweep", "one"), command(few_runs, "push", "one", *push)):
            ended = children.run(tmp_path / "b", *words)
            assert ended.code == 1
            assert "postgres (one): docruns load extend (process " in ended.err
        with (
            open_for_reading("extend", target),
            open_pipeline("extend", Target("other", destination="postgres")),
        ):
            assert locks(server) == 2
    assert locks(server) == 0


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("x4 after extract's commit", marks=pytest.mark.fault(2)),
        pytest.param("l8 some tables merged", marks=pytest.mark.fault(6)),
        pytest.param("l10 after _dlt_loads", marks=pytest.mark.fault(7)),
    ],
)
def test_a_killed_load_leaves_no_lock(
    point: str, server: str, few_runs: Sandbox, children: Children, tmp_path: Path
) -> None:
    """After `kill -9` another machine loads into the dataset, and every run is there once."""
    dataset = f"killed_{point.partition(' ')[0]}"
    load = command(few_runs, "load", dataset)
    assert children.run(tmp_path / "first", *load, point=point).code == -9
    wait_for(lambda: locks(server) == 0)
    after = children.run(tmp_path / "second", *load)
    assert after.code == 0, after.err
    assert rows(server, COUNT.format(dataset, "workflow_runs")) == [(12,)]
    assert doubled(server, dataset) == []
