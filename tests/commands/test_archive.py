"""What an archive keeps, and what a replay makes of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from docruns.commands.archive.forget import forget_runs
from docruns.commands.archive.replay import FEW
from docruns.core.errors import ConfigError
from docruns.sandbox import Sandbox
from docruns.store.archive.folder import Folder
from docruns.store.archive.rewriting import compact, expire, remove_runs
from docruns.store.archive.writing import ArchiveWriter, Entry
from docruns.store.target import Target
from proofs.children import Children, Ended
from proofs.compare import differences
from support.leftovers import everything
from support.loading import FEW_LISTED, query

ARCHIVE = "answers"
"""The folder of the archive, in the working directory of the commands."""


def parts(folder: Path) -> list[Path]:
    """The parts of an archive, oldest first."""
    return sorted((folder / ARCHIVE).rglob("*.parquet"))


class Place:
    """A platform and a folder in which commands run."""

    def __init__(self, children: Children, sandbox: Sandbox, folder: Path, provider: str) -> None:
        self.children, self.sandbox, self.folder, self.provider = children, sandbox, folder, provider
        self.url = sandbox.extend_url if provider == "extend" else sandbox.plextera_url

    def run(self, command: str, *arguments: str, **how: Any) -> Ended:
        """A command about the provider."""
        return self.children.run(self.folder, command, self.provider, *arguments, **how)

    def load(self, *arguments: str, **how: Any) -> Ended:
        """A load that keeps its answers."""
        return self.run("load", "--base-url", self.url, "--archive", ARCHIVE, *arguments, **how)

    def archive(self, command: str, *arguments: str) -> Ended:
        """A command about the archive."""
        options = ("archive", command, self.provider, "--archive", ARCHIVE, *arguments)
        return self.children.run(self.folder, *options)

    def differences(self, database: str) -> list[str]:
        """Where the tables of `database` differ from those that were loaded."""
        return differences(self.folder / "docruns.duckdb", self.folder / database, self.provider)


@pytest.fixture(params=["extend 2026-02-09", "extend 2024-12-23", "plextera"])
def place(request: pytest.FixtureRequest, children: Children, tmp_path: Path) -> Iterator[Place]:
    """A small platform; with an old version of Extend's API, only lists have the dates of nested runs."""
    provider, _, version = request.param.partition(" ")
    if version:
        (tmp_path / ".dlt").mkdir()
        (tmp_path / ".dlt" / "config.toml").write_text(f'[sources.extend]\napi_version = "{version}"\n')
    with Sandbox(runs=30, seed=3, standalone=6, plextera_runs=25, corpus=FEW_LISTED) as sandbox:
        yield Place(children, sandbox, tmp_path, provider)


def change(place: Place) -> None:
    """Reviews, new runs, finished runs and two deletions."""
    if place.provider == "extend":
        extend = place.sandbox.extend
        extend.review(8)
        extend.add(3)
        gone = [run["id"] for run in extend.truth() if run["resource"] == "workflow_runs"][:2]
        for run_id in gone:
            extend.delete(run_id)
        return
    plextera = place.sandbox.plextera
    plextera.reprocess(5)
    plextera.add(3)
    gone = [run["id"] for run in plextera.truth() if run["resource"] == "workflow_runs"][:2]
    for run_id in gone:
        plextera.delete(run_id)


def test_replay_equals_the_loads(place: Place) -> None:
    """After loads with changes, deletions and a kill in the archive's write, a replay makes equal tables, and the load
    after it asks for no run."""
    assert place.load(environment={f"SOURCES__{place.provider}__CHUNK_RUNS".upper(): "20"}).code == 0
    change(place)
    killed = place.load(point="docruns.store.archive.writing:PartFile.finish")
    assert killed.code == -9
    orphan = place.load(point="dlt.pipeline.pipeline:Pipeline.normalize")
    assert orphan.code == -9
    assert place.load().code == 0
    swept = place.run("sweep", "--base-url", place.url, environment=setting(place))
    assert swept.code == 0, swept.err
    assert json.loads(place.load("--json").out.splitlines()[-1])["fetched"] == 0
    marked = f"SELECT count(*) FROM {place.provider}.workflow_runs WHERE deleted_at IS NOT NULL"
    assert query(place.folder / "docruns.duckdb", marked)[0][0] >= 2

    replayed = place.run("replay", "--archive", ARCHIVE, "--database", "again.duckdb", "--json")
    assert replayed.code == 0, replayed.err
    assert json.loads(replayed.out.splitlines()[-1])["requests"] == 0
    assert place.differences("again.duckdb") == []
    place.sandbox.stats.reset()
    after = place.run("load", "--base-url", place.url, "--database", "again.duckdb", "--json")
    assert after.code == 0, after.err
    assert json.loads(after.out.splitlines()[-1])["complete"]
    assert place.sandbox.stats.details == 0
    assert place.differences("again.duckdb") == []

    before = held(place)
    assert before["is_whole"]
    assert place.archive("compact").code == 0
    assert held(place) == before | {"parts": 1, "size": held(place)["size"]}
    assert held(place)["size"] < before["size"]
    # a replay into a database that is loaded changes nothing, and keeps its state
    assert place.run("replay", "--archive", ARCHIVE, "--database", "again.duckdb").code == 0
    assert place.differences("again.duckdb") == []
    assert place.run("replay", "--archive", ARCHIVE, "--database", "compacted.duckdb").code == 0
    assert place.differences("compacted.duckdb") == []


def held(place: Place) -> dict[str, Any]:
    """What `archive status` says."""
    (found,) = json.loads(place.archive("status", "--json").out)
    assert isinstance(found, dict)
    return found


def setting(place: Place) -> dict[str, str]:
    """The environment in which `archive` is a setting."""
    return {f"SOURCES__{place.provider}__ARCHIVE".upper(): ARCHIVE}


@pytest.fixture
def extend(children: Children, tmp_path: Path) -> Iterator[Place]:
    """A platform of few light runs."""
    with Sandbox(
        runs=12, seed=5, standalone=3, document_size="light", plextera_runs=0, corpus=FEW_LISTED
    ) as sandbox:
        yield Place(children, sandbox, tmp_path, "extend")


PLANTED = "a7Qz-planted-0123456789-PLANTED-9876543210-x"
"""A text that is in one run, in fields, names and messages."""


SIGNATURE = "4f1c0a77de5517b2c9e1"


def planted_run(place: Place, id_: str) -> None:
    """Add a run that contains the text, with a processor run inside it, and URLs that are signed."""
    url = f"https://files.invalid/a.pdf?X-Amz-Signature={SIGNATURE}"
    step = {"object": "workflow_step_run", "id": f"{id_}_s", "result": {"text": PLANTED, "url": url}}
    run = {
        "object": "workflow_run", "id": id_, "status": "FAILED", "name": PLANTED, "metadata": {"who": PLANTED},
        "failureMessage": f"{PLANTED} {url}", "other": [url, "https://b.invalid/c?page=1"], "stepRuns": [step],
    }  # fmt: skip
    place.sandbox.extend.put(json.dumps(run), {"id": id_, "status": "FAILED"})


def texts(folder: Path) -> str:
    """All that the parts of an archive hold, as one text."""
    return "\n".join(repr(pq.read_table(path).to_pylist()) for path in parts(folder))


def test_forget_leaves_no_byte(extend: Place) -> None:
    """A run that is forgotten is in no table, in no part of the archive, in no file, and in no later replay: neither
    in a compacted part nor in what killed loads have left, the log of the database among it."""
    planted_run(extend, "workflow_run_planted")
    unreadable = {"id": "another", "name": PLANTED}
    extend.sandbox.extend.put(json.dumps(unreadable), {"id": "workflow_run_bad", "status": "FAILED"})
    assert extend.load("--publish", "copy.duckdb").code == 3
    planted_run(extend, "workflow_run_planted")
    assert extend.load().code == 3
    assert extend.archive("compact").code == 0
    planted_run(extend, "workflow_run_planted")
    assert extend.load(point="docruns.store.archive.writing:PartFile.finish").code == -9
    assert list(extend.folder.rglob("*.part"))
    assert extend.load(point="l8 some tables merged").code == -9
    assert list(extend.folder.rglob("*.wal"))
    files = [path for path in extend.folder.rglob("*") if path.is_file()]
    assert sum(PLANTED.encode() in path.read_bytes() for path in files) >= 2
    assert PLANTED in texts(extend.folder)
    tables = {"workflow_runs", "workflow_steps", "quarantine"}
    (inner,) = query(
        extend.folder / "docruns.duckdb",
        "SELECT id, workflow_run_id FROM extend.processor_runs WHERE workflow_run_id IS NOT NULL LIMIT 1",
    )
    refused = extend.run("forget", "--id", inner[0])
    assert (refused.code, inner[1] in refused.err) == (2, True)

    (extend.folder / "ids").write_text("workflow_run_planted\nworkflow_run_bad\nworkflow_run_nowhere\n")
    options = ("--from", "ids", "--archive", ARCHIVE, "--publish", "copy.duckdb", "--json")
    done = extend.run("forget", *options)
    assert done.code == 0, done.err
    result = json.loads(done.out.splitlines()[-1])
    assert (result["runs"], result["unknown"]) == (1, 1)
    assert result["tables"].keys() == tables
    left = everything(extend.folder)
    assert [path for path, found in left.items() if PLANTED.encode() in found] == []
    assert [path for path in left if path.endswith((".part", ".wal"))] == []
    for name in ("docruns.duckdb", "copy.duckdb"):
        (record,) = query(
            extend.folder / name, "SELECT runs, deleted_rows, archive_rows FROM extend.forgotten"
        )
        assert record == (1, result["rows"], result["answers"])
    assert extend.run("replay", "--archive", ARCHIVE, "--database", "again.duckdb").code == 0
    assert [text for text in extend.differences("again.duckdb") if not text.startswith("forgotten")] == []


@pytest.mark.parametrize("destination", ["sqlalchemy", "ducklake", "filesystem"])
def test_forget_where_deleted_rows_stay(destination: str) -> None:
    """A destination that may keep older versions of its tables is refused before anything is removed."""
    with pytest.raises(ConfigError, match="older versions of its tables"):
        forget_runs("extend", {"any"}, Target("extend", destination=destination, table_format=None))


def test_what_is_kept_is_private(extend: Place) -> None:
    """The archive holds neither the key nor a signed URL, and only its owner reads it; with hashed or dropped values
    there is none."""
    planted_run(extend, "workflow_run_planted")
    extend.sandbox.extend.put('{"id": "another"}', {"id": "workflow_run_bad", "status": "FAILED"})
    key = {"EXTEND_API_KEY": "sk_live_0123456789abcdef"}
    assert extend.load(environment=key).code == 3
    for _ in range(2):
        found = everything(extend.folder / ARCHIVE)
        for secret in (key["EXTEND_API_KEY"], SIGNATURE):
            assert [path for path, held in found.items() if secret.encode() in held] == []
        kept = texts(extend.folder)
        assert extend.archive("compact").code == 0
    assert "https://b.invalid/c?page=1" in kept
    for path in (extend.folder / ARCHIVE).rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    for name, value in (("FIELD_VALUES", "drop"), ("DROP_COLUMNS", '["fields.value_json"]')):
        refused = extend.load("--database", "other.duckdb", environment={f"SOURCES__EXTEND__{name}": value})
        assert refused.code == 2
        assert f"sources.extend.{name.lower()}" in refused.err
        assert "sources.extend.archive" in refused.err
    # an archive may be read into a database that keeps less
    hidden = {"SOURCES__EXTEND__FIELD_VALUES": "drop"}
    replayed = extend.run("replay", "--archive", ARCHIVE, "--database", "less.duckdb", environment=hidden)
    assert replayed.code == 3, replayed.err
    assert query(extend.folder / "less.duckdb", "SELECT count(value_json) FROM extend.fields") == [(0,)]
    # the run that cannot be read is the only one that the next load asks for
    extend.sandbox.stats.reset()
    options = ("--base-url", extend.url, "--database", "less.duckdb")
    assert extend.run("load", *options, environment=hidden).code == 3
    assert extend.sandbox.stats.details == 1


def test_an_archive_with_a_gap_hides_no_run(extend: Place) -> None:
    """What a load without an archive has read is asked for after the replay, and nothing else."""
    assert extend.run("load", "--base-url", extend.url).code == 0
    extend.sandbox.extend.review(2)
    extend.sandbox.extend.add(2)
    assert extend.load().code == 0
    assert not held(extend)["is_whole"]
    kept = sum(number for feed, number in held(extend)["runs"].items() if feed.endswith("_runs"))
    assert extend.run("replay", "--archive", ARCHIVE, "--database", "again.duckdb").code == 0
    after = extend.run("load", "--base-url", extend.url, "--database", "again.duckdb", "--json")
    assert after.code == 0, after.err
    fresh = extend.run("load", "--base-url", extend.url, "--database", "fresh.duckdb", "--json")
    fetched = [json.loads(each.out.splitlines()[-1])["fetched"] for each in (after, fresh)]
    assert 0 < kept == fetched[1] - fetched[0]
    assert extend.differences("again.duckdb") == []


def test_a_write_that_fails_stops_the_load(extend: Place) -> None:
    """Where the archive cannot be written, nothing is committed, and the message names it; old answers expire."""
    (extend.folder / ARCHIVE).write_text("a file")
    failed = extend.load()
    assert failed.code == 1
    assert "archive" in failed.err
    assert "Traceback" not in failed.err
    counted = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'workflow_runs'"
    assert query(extend.folder / "docruns.duckdb", counted) == [(0,)]
    (extend.folder / ARCHIVE).unlink()
    assert extend.load("--max-runs", "3").code == 0
    (day,) = (extend.folder / ARCHIVE).rglob("day=*")
    day.rename(day.with_name("day=2020-01-31"))
    assert extend.archive("expire", "--older-than", "30d").code == 0
    assert parts(extend.folder) == []
    empty = extend.run("replay", "--archive", ARCHIVE, "--database", "again.duckdb")
    assert (empty.code, "holds no answers" in empty.err) == (2, True)


@pytest.mark.parametrize(
    "rewrite",
    [compact, lambda folder: expire(folder, date(2020, 1, 1)), lambda folder: remove_runs(folder, {"none"})],
    ids=["compact", "expire", "forget"],
)
def test_unfinished_parts_are_removed(rewrite: Callable[[Folder], object], tmp_path: Path) -> None:
    """Each rewrite removes the hidden file of a load that was killed, and keeps the parts, and the hidden file of a load
    that runs."""
    for name in ("one", "two"):
        writer = ArchiveWriter(str(tmp_path), "extend", None, "2026-02-09", {}, lambda body: body)
        writer.begin(name, {})
        writer.add(Entry("workflow_runs", name), b"{}")
        if name == "one":
            writer.finish({})
    # the second load is in its first row group
    writer._flush()
    rewrite(Folder(str(tmp_path), "extend"))
    assert sorted(path.name for path in tmp_path.rglob("*.par*")) == [".two.parquet.part", "one.parquet"]
    # it ends there: a kill closes its files
    assert writer._part is not None
    writer._part._writer.close()
    writer._part._file.close()
    rewrite(Folder(str(tmp_path), "extend"))
    assert [path.name for path in tmp_path.rglob("*.par*")] == ["one.parquet"]


@pytest.fixture(scope="module")
def many(children: Children, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database and its archive of so many runs that workers read them; the answer of one is about
    another run."""
    folder = tmp_path_factory.mktemp("many")
    with Sandbox(runs=FEW, seed=5, standalone=5, document_size="light", plextera_runs=0) as sandbox:
        sandbox.extend.put('{"id": "another"}', {"id": "workflow_run_bad", "status": "FAILED"})
        loaded = Place(children, sandbox, folder, "extend").load()
        assert loaded.code == 3, loaded.err
    return folder


def test_workers_make_the_same_tables(many: Path, children: Children, tmp_path: Path) -> None:
    """A replay with workers makes the tables that the loads have made, and puts the same run into quarantine."""
    options = ("--archive", str(many / ARCHIVE), "--workers", "2", "--json")
    replayed = children.run(tmp_path, "replay", "extend", *options)
    assert replayed.code == 3, replayed.err
    assert json.loads(replayed.out.splitlines()[-1])["quarantined"] == 1
    # the times in quarantine are those of the replay
    found = differences(many / "docruns.duckdb", tmp_path / "docruns.duckdb")
    assert [text for text in found if not text.startswith("quarantine")] == []
    failed = "SELECT id, error, message FROM extend.quarantine ORDER BY id"
    assert query(tmp_path / "docruns.duckdb", failed) == query(many / "docruns.duckdb", failed)
    counted = "SELECT sum(fetched) FROM extend.syncs"
    assert query(tmp_path / "docruns.duckdb", counted) == query(many / "docruns.duckdb", counted)


def test_workers_end_with_a_replay_that_is_killed(many: Path, children: Children, tmp_path: Path) -> None:
    """After kill -9 of a replay, no worker stays."""
    options = ("--archive", str(many / ARCHIVE), "--workers", "2")
    replay = children.start(tmp_path, "replay", "extend", *options)
    workers = wait_for(lambda: found if len(found := descendants(replay.pid)) >= 2 else None)
    replay.send(signal.SIGKILL)
    assert replay.wait().code == -9
    wait_for(lambda: None if any(map(is_running, workers)) else True)


def test_workers_do_without_pandas(many: Path, children: Children, tmp_path: Path) -> None:
    """Its import would take 40 MB and 0.3 s of each worker."""
    options = ("--archive", str(many / ARCHIVE), "--workers", "2")
    replay = children.start(tmp_path, "replay", "extend", *options)
    loaded = set[str]()
    while is_running(replay.pid):
        # the list of child processes too may be gone meanwhile
        with suppress(OSError):
            for worker in descendants(replay.pid):
                loaded |= set(re.findall(r"/(pyarrow|pandas)/", Path(f"/proc/{worker}/maps").read_text()))
    assert replay.wait().code == 3
    assert loaded == {"pyarrow"}


def test_a_worker_that_is_killed(many: Path, children: Children, tmp_path: Path) -> None:
    """A replay that loses a worker fails, and says so."""
    options = ("--archive", str(many / ARCHIVE), "--workers", "2")
    replay = children.start(tmp_path, "replay", "extend", *options)
    for worker in wait_for(lambda: found if len(found := descendants(replay.pid)) >= 2 else None):
        os.kill(worker, signal.SIGKILL)
    ended = replay.wait()
    assert (ended.code, "use fewer workers" in ended.err, "complete" in ended.out) == (1, True, False), ended


def test_workers_and_a_damaged_archive(many: Path, children: Children, tmp_path: Path) -> None:
    """An answer that no process can read gives the same message with workers and without."""
    shutil.copytree(many / ARCHIVE, tmp_path / ARCHIVE)
    for part in parts(tmp_path):
        content = part.read_bytes()
        part.write_bytes(content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :])
    ends = [
        children.run(
            tmp_path, "replay", "extend", "--archive", ARCHIVE, "--workers", workers, "--database", name
        )
        for workers, name in (("1", "one.duckdb"), ("2", "two.duckdb"))
    ]
    assert ends[0].code == ends[1].code == 1, ends
    assert ends[0].err.splitlines()[-1] == ends[1].err.splitlines()[-1]


def descendants(pid: int) -> list[int]:
    """The workers that a process has started."""
    tasks = Path(f"/proc/{pid}/task")
    found = [word for each in tasks.glob("*/children") for word in each.read_text().split()]
    # one more process of Python tracks what they share
    return [int(word) for word in found if "spawn_main" in Path(f"/proc/{word}/cmdline").read_text()]


def is_running(pid: int) -> bool:
    """The process has not ended; one that nobody has waited for is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(look: Callable[[], Any]) -> Any:
    """What a function gives as soon as it gives something."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if (found := look()) is not None:
            return found
        time.sleep(0.05)
    raise AssertionError("nothing was found in a minute")
