"""A second process that reads: the same rows, whatever becomes of it, and only where it helps."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from docruns import delegate, stream
from docruns import load as loads
from docruns.arrow import Batch
from docruns.delegate import Delegate, helps
from docruns.extend import api, rows
from docruns.feed import Listed
from docruns.model import TABLES, WORKFLOW_RUNS
from docruns.reading import Reading
from docruns.sandbox import Sandbox
from docruns.worker import Order, Result, Task, frame, next_frame, work
from loading import Loader, query, settled
from planted import plant


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Delegate]]:
    """Every load has a second process, which is there when the first run is read: those that were started."""
    found: list[Delegate] = []
    make = delegate.begun

    def begun(*about: Any) -> Delegate | None:
        one = make(*about)
        assert one is not None
        found.append(one)
        give_up = time.monotonic() + 60
        while not one.is_ready and time.monotonic() < give_up:
            time.sleep(0.01)
        return one

    monkeypatch.setattr("docruns.sync.begun", begun)
    monkeypatch.setattr("docruns.sync.helps", lambda *_: True)
    # more groups than may wait
    monkeypatch.setattr(delegate, "GROUP_RUNS", 3)
    yield found
    assert all(one._process.poll() is not None for one in found), "a process was left behind"


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs that the second process has read."""
    found: list[str] = []
    give = stream.Readings._next

    def given(self: stream.Readings) -> Iterator[delegate.Read]:
        was_read = self._waiting[0].here is None and self._waiting[0].number > 0
        for run, outcome, read in give(self):
            if was_read and read.args[0] is not None:
                found.append(run.id)
            yield run, outcome, read

    monkeypatch.setattr(stream.Readings, "_next", given)
    return found


def everything(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of all tables that a load of the same runs fills alike."""
    found = {}
    for table in TABLES:
        if table.name == "syncs":
            continue
        names = [
            f'"{c.name}"' for c in table.columns if c.name not in ("first_seen_at", "last_seen_at")
        ]
        try:
            found[table.name] = sorted(
                query(database, f"SELECT {', '.join(names)} FROM extend.{table.name}"), key=repr
            )
        except duckdb.CatalogException:
            continue
    return found


@pytest.mark.parametrize("version", api.VERSIONS)
def test_the_rows_are_the_same(
    version: str,
    load_extend: Loader,
    started: list[Delegate],
    taken: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of every version of the API, in one package and in many, with what the lists tell of nested runs."""
    for name, chunk_runs in (("one", None), ("many", 7)):
        load_extend(tmp_path / f"{name}.duckdb", api_version=version, chunk_runs=chunk_runs)
    assert len(started) == 2
    # where the lists tell more than two dates of a run, it is read here
    assert len(taken) > 20 or version != "2026-02-09"
    monkeypatch.setattr("docruns.sync.helps", helps)
    load_extend(tmp_path / "alone.duckdb", api_version=version)
    assert len(started) == 2
    alone = everything(tmp_path / "alone.duckdb")
    assert len(alone["fields"]) > 1000
    for name in ("one", "many"):
        assert everything(tmp_path / f"{name}.duckdb") == alone


def test_what_cannot_be_read_is_quarantined_here(
    load_extend: Loader,
    sandbox: Sandbox,
    started: list[Delegate],
    taken: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the same reason as without the process, and without harm to the runs beside it."""
    load_extend(tmp_path / "sound.duckdb")
    bad, odd, *_ = sorted(taken)
    monkeypatch.setattr("docruns.sync.helps", helps)
    name = '"name":"\\ud800"'
    plant(
        sandbox,
        {
            f"/extend/workflow_runs/{bad}": b'{"object":"workflow_run","id":"another"}',
            f"/extend/workflow_runs/{odd}": f'{{"id":"{odd}",{name}}}'.encode(),
        },
    )
    first, _ = load_extend(tmp_path / "alone.duckdb")
    monkeypatch.setattr("docruns.sync.helps", lambda *_: True)
    taken.clear()
    second, _ = load_extend(tmp_path / "two.duckdb")
    assert len(taken) > 10
    assert first.quarantined == second.quarantined > 0
    assert everything(tmp_path / "two.duckdb") == everything(tmp_path / "alone.duckdb")
    why = dict(query(tmp_path / "two.duckdb", "SELECT id, message FROM extend.quarantine"))
    assert "another" in why[bad]
    assert odd not in why


@pytest.mark.parametrize("when", [0, 1, 2])
def test_a_process_that_dies_is_missed_by_nobody(
    when: int,
    load_extend: Loader,
    started: list[Delegate],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Killed before its first answer, after it or after the second: the load reads the rest itself."""
    ask, asked = Delegate.ask, 0

    def killed(self: Delegate, answers: Any) -> int:
        nonlocal asked
        if asked == when:
            os.kill(self._process.pid, signal.SIGKILL)
        asked += 1
        return ask(self, answers)

    monkeypatch.setattr(Delegate, "ask", killed)
    load_extend(tmp_path / "killed.duckdb")
    assert started[0]._process.returncode == -signal.SIGKILL
    assert "the reading process has ended with exit code -9; answers are read here" in caplog.text
    monkeypatch.setattr("docruns.sync.helps", helps)
    load_extend(tmp_path / "alone.duckdb")
    assert everything(tmp_path / "killed.duckdb") == everything(tmp_path / "alone.duckdb")


def test_what_it_has_in_hand_counts_as_asked_for_ahead(
    load_extend: Loader, started: list[Delegate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a package is loaded, no more than a third of the next one: that is what a kill costs besides."""
    monkeypatch.setattr(delegate, "GROUP_RUNS", 64)
    commit, seen = loads.commit, list[int]()

    def slow(*about: Any) -> None:
        commit(*about)
        seen.append(settled(lambda: platform.stats.routes["GET /workflow_runs/{id}"]))

    monkeypatch.setattr(loads, "commit", slow)
    with Sandbox(runs=200, document_size="light", standalone=0, plextera_runs=0) as platform:
        load_extend(tmp_path / "a.duckdb", base_url=platform.extend_url, chunk_runs=90)
    assert len(started) == 1
    assert seen == [120, 200, 200]


def test_a_signal_to_the_whole_group_is_for_the_load(
    load_extend: Loader,
    started: list[Delegate],
    taken: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The reading process goes on: what becomes of its answers is the load's to say."""
    ask = Delegate.ask

    def told_to_end(self: Delegate, answers: Any) -> int:
        for sent in (signal.SIGTERM, signal.SIGINT):
            os.kill(self._process.pid, sent)
        return ask(self, answers)

    monkeypatch.setattr(Delegate, "ask", told_to_end)
    load_extend(tmp_path / "t.duckdb")
    assert len(started) == 1
    assert len(taken) > 20
    assert "has ended" not in caplog.text


@pytest.mark.parametrize(
    "instead",
    [
        [sys.executable, "-c", "import time; time.sleep(600)"],
        [sys.executable, "-c", "print('what?')"],
        [str(Path(__file__).parent / "no such program")],
    ],
    ids=["says nothing", "is something else", "is not there"],
)
def test_a_process_that_does_not_start_is_not_waited_for(
    instead: list[str], load_extend: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpreter may be built into another program, or be out of processes."""
    begun: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(_: list[str], **how: Any) -> subprocess.Popen[bytes]:
        begun.append(popen(instead, **how))
        return begun[0]

    monkeypatch.setattr("docruns.delegate.subprocess.Popen", start)
    monkeypatch.setattr("docruns.sync.helps", lambda *_: True)
    summary, _ = load_extend(tmp_path / "d.duckdb", chunk_runs=9)
    assert (summary.complete, summary.quarantined) == (True, 0)
    assert query(tmp_path / "d.duckdb", "SELECT count(*) FROM extend.workflow_runs") == [(40,)]
    assert all(process.poll() is not None for process in begun)


def test_it_ends_with_the_load_that_is_killed(sandbox: Sandbox, tmp_path: Path) -> None:
    """Nobody tells it: its pipe does."""
    script = f"""
import os, time
from pathlib import Path
from docruns import delegate, extend
from docruns.load import Target, load
from docruns import sync
sync.helps = lambda *_: True
make = sync.begun
def begun(*about):
    one = make(*about)
    while not one.is_ready:
        time.sleep(0.01)
    print(one._process.pid, flush=True)
    time.sleep(600)
sync.begun = begun
load(lambda on_sync: extend(base_url={sandbox.extend_url!r}, on_sync=on_sync), Target("extend", Path("k.duckdb")))
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.kill()
    give_up = time.monotonic() + 20
    while _is_there(pid) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert not _is_there(pid)


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_is_started_where_it_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """For many runs that come faster than one process reads them, on more than one core."""
    monkeypatch.setattr(delegate, "_cores", lambda: 2)
    assert helps(1000, None)
    assert helps(1000, 101.0)
    assert not helps(999, None)
    assert not helps(1000, 100.0)
    monkeypatch.setattr(delegate, "_cores", lambda: 1)
    assert not helps(1000, None)


def _worked(read: Callable[[bytes, Listed], Reading], bodies: list[bytes]) -> Result:
    runs = [Listed(f"wr_{i}", None, None, None) for i in range(len(bodies))]
    order = next_frame(io.BytesIO(frame(Order(7, runs, [len(b) for b in bodies]), bodies)))
    assert order is not None
    answer = next_frame(io.BytesIO(work(read, *order)))
    assert answer is not None
    return msgspec.msgpack.decode(answer[0], type=Result)


def test_runs_that_cannot_be_read_are_left_to_the_asker() -> None:
    """Each by itself; where a cell fits no column, the group, as nobody knows whose it is."""
    read = rows.unlisted("2026-02-09", None, False)
    bodies = [json.dumps({"id": f"wr_{i}", "status": "PROCESSED"}).encode() for i in range(3)]
    result = _worked(read, [bodies[0], b'{"id":"wr_9"}', b"[", bodies[2].replace(b"wr_2", b"wr_3")])
    assert [told is not None for told in result.told] == [True, False, False, True]
    assert (result.number, result.counts["workflow_runs"]) == (7, 2)

    def unfit(body: bytes, run: Listed) -> Reading:
        batch = Batch()
        batch.add(WORKFLOW_RUNS, WORKFLOW_RUNS.row(id=run.id, credits="many"))
        return Reading(batch, None, True)

    result = _worked(unfit, bodies)
    assert (result.told, result.counts, result.sizes) == ([None] * 3, {}, {})


def test_places_that_are_no_text_are_passed_over(
    load_extend: Loader, started: list[Delegate], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Python takes no path object where it looks for modules, and says nothing: a load goes on as well."""
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])
    summary, _ = load_extend()
    assert summary.complete and len(started) == 1


def test_a_torn_frame_is_no_frame() -> None:
    """A process that dies in the middle of an answer has not given one."""
    whole = frame(Task("extend.rows", "unlisted", {}), [b"abc"])
    assert next_frame(io.BytesIO(whole)) is not None
    for length in range(len(whole)):
        assert next_frame(io.BytesIO(whole[:length])) is None


def test_a_reader_in_another_process_imports_no_dlt() -> None:
    """Nor pandas, nor what sends requests: they take longer than a thousand answers, and memory."""
    script = (
        delegate._BEGIN.replace("import_module(f", "module = import_module(f").replace(
            ".serve()", ""
        )
        + "\nimport_module('docruns.extend.rows')"
        + "\nprint(sorted({'dlt', 'duckdb', 'pandas', 'httpx', 'aiohttp'} & sys.modules.keys()))"
        + "\nmodule.to_tables(module.Batch())"
        + "\nprint('pandas' in sys.modules)"
    )
    package = Path(delegate.__file__).parent
    folders = {"docruns": str(package), "docruns.extend": str(package / "extend")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, json.dumps(sys.path), json.dumps(folders)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["[]", "False"]
