"""Full and read-only disks, damaged files and special paths: each ends with one line that says what to do,
and no data is lost."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dlt.common.storages.load_package import PackageStorage

from docruns.commands import load
from docruns.core.errors import DocrunsError
from docruns.core.tables import RUN_TABLES
from docruns.sandbox import Sandbox
from docruns.store import lookup, pipeline
from docruns.store.pipeline import open_pipeline
from docruns.store.target import Target, working_folder
from proofs.children import Children, Ended
from support.loading import Loader, query, state
from support.truth import spooled, wrong

BIG = 3_000_000
"""Characters of the random text that fills a disk; compression cannot halve them."""


Load = Callable[..., Ended]


@pytest.fixture
def big_run(few_runs: Sandbox, loaded: Path) -> Iterator[None]:
    """A run that is not loaded yet, with a text that takes megabytes in every file that contains it."""
    run = {
        "object": "extract_run",
        "id": "exr_big",
        "status": "PROCESSED",
        "config": {},
        "output": {"value": {"text": random.Random(7).randbytes(BIG // 2).hex()}, "metadata": {}},
    }
    few_runs.extend.put(json.dumps(run), resource="extract_runs")
    yield
    few_runs.extend.delete("exr_big")


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[int], None]]:
    """A disk of `size` bytes; the function that it yields changes the size."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a disk")
    try:
        yield (
            lambda larger: (
                subprocess.run(["mount", "-o", f"remount,size={larger}", str(folder)], check=True) and None
            )
        )
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def shut(folder: Path) -> Iterator[None]:
    """A folder in which no process can write."""
    if os.geteuid():
        folder.chmod(0o500)
        yield
        folder.chmod(0o700)
        return
    bind = ["mount", "--bind", str(folder), str(folder)]
    if subprocess.run(bind, capture_output=True, check=False).returncode:
        pytest.skip("root writes anywhere, and may not mount here")
    subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def says(ended: Ended, *words: object, code: int = 1) -> None:
    """The command ended with the exit code and one line that contains the words, without a traceback or dlt's
    pages of text."""
    assert ended.code == code, ended.err
    *before, last = ended.err.splitlines()
    assert last.startswith("docruns: ")
    for word in words:
        assert str(word) in last
    assert "Traceback (most" not in ended.err.replace("with message Traceback (most", "")
    assert len(before) < 15, ended.err


@pytest.mark.fault(33)
@pytest.mark.usefixtures("big_run")
def test_no_space_for_the_work(docruns_load: Load, few_runs: Sandbox, loaded: Path, tmp_path: Path) -> None:
    """The disk of the working folder is full: the database does not change, the folder is emptied, and one
    load with more space repairs everything."""
    work, before = tmp_path / "work", state(loaded)
    elsewhere = {"DLT_DATA_DIR": str(work)}
    with small_disk(work, 500_000) as grow:
        full = docruns_load(environment=elsewhere)
        says(full, work, "no space is left", "Free some", "DLT_DATA_DIR")
        assert spooled(work) == []
        assert state(loaded) == before
        grow(100_000_000)
        assert docruns_load(environment=elsewhere).code == 0
    assert wrong(loaded, few_runs) == {}


@pytest.mark.fault(33)
def test_no_space_at_any_moment(docruns_load: Load, tmp_path: Path) -> None:
    """Wherever the disk of the working folder fills, the error says so: dlt may look for a file that it could not
    write."""
    moments = set()
    for size in range(100_000, 500_000, 25_000):
        folder, database = tmp_path / f"disk{size}", str(tmp_path / f"{size}.duckdb")
        with small_disk(folder, size):
            ended = docruns_load("--database", database, environment={"DLT_DATA_DIR": str(folder)})
        if ended.code:
            says(ended, folder, "no space is left", "DLT_DATA_DIR")
            # the last folder or file that the message names
            moments.add(
                re.sub(r"[0-9.]+", "", ended.err.splitlines()[-1].partition(": ")[2].partition(":")[0])
            )
    assert len(moments) > 1, moments


@pytest.mark.fault(33)
@pytest.mark.usefixtures("big_run")
def test_no_space_for_the_database(
    docruns_load: Load, few_runs: Sandbox, loaded: Path, tmp_path: Path
) -> None:
    """The disk of the database is full: the database stays readable and does not change, and one load with
    more space repairs everything."""
    before = state(loaded)
    with small_disk(tmp_path / "disk", loaded.stat().st_size + 200_000) as grow:
        database = Path(shutil.move(loaded, tmp_path / "disk"))
        full = docruns_load("--database", str(database))
        says(full, database, "no space is left", "Free some")
        assert spooled(tmp_path) == []
        assert state(database) == before
        grow(100_000_000)
        assert docruns_load("--database", str(database)).code == 0
        assert wrong(database, few_runs) == {}


@pytest.mark.fault(33)
@pytest.mark.usefixtures("big_run")
def test_a_file_that_may_not_grow(
    docruns_load: Load, few_runs: Sandbox, loaded: Path, tmp_path: Path
) -> None:
    """A limit on the size of files (ulimit) is reported like a full disk."""
    before = state(loaded)
    says(docruns_load(file_bytes=loaded.stat().st_size + 100_000), "no space is left")
    assert spooled(tmp_path) == []
    assert state(loaded) == before
    assert docruns_load().code == 0
    assert wrong(loaded, few_runs) == {}


@pytest.mark.fault(33)
def test_no_space_for_the_copy(docruns_load: Load, few_runs: Sandbox, loaded: Path, tmp_path: Path) -> None:
    """`--publish` on a full disk keeps the loaded runs and the older copy, and leaves no other file."""
    few_runs.extend.add(1)
    with small_disk(tmp_path / "disk", loaded.stat().st_size * 3 // 2) as grow:
        copy = tmp_path / "disk" / "copy.duckdb"
        shutil.copy(loaded, copy)
        before = copy.read_bytes()
        says(docruns_load("--publish", str(copy)), copy.parent, "no space is left")
        assert list(copy.parent.iterdir()) == [copy]
        assert copy.read_bytes() == before
        assert wrong(loaded, few_runs) == {}
        grow(100_000_000)
        assert docruns_load("--publish", str(copy)).code == 0
        assert wrong(copy, few_runs) == {}


@pytest.mark.fault(39)
def test_places_that_are_shut(docruns_load: Load, few_runs: Sandbox, loaded: Path, tmp_path: Path) -> None:
    """The message names the path that cannot be written; for the database and the working folder, it comes
    before any request."""
    folder = tmp_path / "shut"
    folder.mkdir()
    database = folder / "d.duckdb"
    with shut(folder):
        new = docruns_load("--database", str(database))
        says(new, folder, "cannot be written", "name another place")
        says(docruns_load(environment={"DLT_DATA_DIR": str(folder)}), folder, "DLT_DATA_DIR")
        assert few_runs.stats.requests == 0
        says(docruns_load("--publish", str(folder / "copy.duckdb")), folder, "cannot be written")
    shutil.copy(loaded, database)
    with shut(folder):
        says(docruns_load("--database", str(database)), folder, "cannot be written")
    assert docruns_load("--database", str(database)).code == 0
    assert wrong(database, few_runs) == {}


@pytest.mark.fault(36, 39)
def test_places_that_are_none(docruns_load: Load, few_runs: Sandbox, tmp_path: Path) -> None:
    """A missing folder, a folder in place of a file and a file in place of a folder are wrong use: the
    message names the option, and no request is sent."""
    (tmp_path / "file").write_text("x")
    for path, word in (("no/d.duckdb", "does not exist"), (".", "is a folder"), ("a\\b", "slash")):
        says(docruns_load("--database", path), "--database: ", word, code=2)
    for folder in ("file/below", "it's", "a=b", "100%", "what?"):
        elsewhere = {"DLT_DATA_DIR": str(tmp_path / folder)}
        says(docruns_load(environment=elsewhere), "DLT_DATA_DIR: ", folder.split("/")[0], code=2)
    assert few_runs.stats.requests == 0


@pytest.mark.fault(36)
@pytest.mark.parametrize("name", ["ünï 日本\n", "a=b 50%s 'q' \"d\"", "$HOME;#*[x]{y}", "-x"])
def test_odd_places_that_work(
    load_extend: Loader, few_runs: Sandbox, loaded: Path, tmp_path: Path, name: str
) -> None:
    """Folder and file may have any name that the file system allows."""
    (tmp_path / name).mkdir()
    database = Path(shutil.move(loaded, tmp_path / name / f"{name}.duckdb"))
    few_runs.extend.add(1)
    load_extend(database, base_url=few_runs.extend_url)
    assert wrong(database, few_runs) == {}


def cut(whole: bytes) -> bytes:
    """The first half of the file."""
    return whole[: len(whole) // 2]


def noise(_: bytes) -> bytes:
    """Random bytes in place of a database."""
    return random.Random(3).randbytes(300_000)


def emptied(whole: bytes) -> bytes:
    """The first half and zeros after it, as some file systems leave a file after a loss of power."""
    return cut(whole) + bytes(len(whole) // 2)


@pytest.mark.fault(40)
@pytest.mark.parametrize("damage", [cut, noise, emptied])
def test_a_damaged_database(
    children: Children,
    docruns_load: Load,
    few_runs: Sandbox,
    loaded: Path,
    damage: Callable[[bytes], bytes],
) -> None:
    """The message names the damaged file and says what to do, before any request; the file does not
    change."""
    damaged = damage(loaded.read_bytes())
    loaded.write_bytes(damaged)
    says(docruns_load(), "docruns.duckdb: is damaged", "move it away")
    says(children.run(loaded.parent, "status"), "docruns.duckdb: is damaged")
    assert few_runs.stats.requests == 0
    assert loaded.read_bytes() == damaged


@pytest.mark.fault(40)
def test_a_damage_that_shows_late(docruns_load: Load, few_runs: Sandbox, loaded: Path) -> None:
    """Damage in blocks that are read only when rows are replaced is reported too; a load continues on a whole
    copy in place of the file."""
    copy = loaded.with_name("copy.duckdb")
    assert docruns_load("--publish", str(copy)).code == 0
    damaged = bytearray(loaded.read_bytes())
    for block in range(12_288, len(damaged) * 2 // 3, 262_144):
        damaged[block + 3_000] ^= 0xFF
    loaded.write_bytes(damaged)
    few_runs.extend.review(12)
    says(docruns_load(), "docruns.duckdb: is damaged", "move it away")
    for path in (loaded, loaded.with_name("docruns.duckdb.wal")):
        path.unlink(missing_ok=True)
    copy.rename(loaded)
    assert docruns_load().code == 0
    assert wrong(loaded, few_runs) == {}


@pytest.mark.parametrize(
    "what",
    [
        pytest.param("lost", marks=pytest.mark.fault(9)),
        pytest.param("scribbled over", marks=pytest.mark.fault(41)),
    ],
)
def test_what_a_kill_left_is_gone_or_damaged(
    docruns_load: Load, few_runs: Sandbox, loaded: Path, tmp_path: Path, what: str
) -> None:
    """A load does not depend on the working folder: where it is lost or damaged after a kill, one load
    repairs the half-loaded runs."""
    few_runs.extend.review(8)
    small = {"SOURCES__EXTEND__CHUNK_RUNS": "5"}
    assert docruns_load(point="l8 some tables merged", environment=small).code == -9
    left = [path for path in (tmp_path / "dlt").rglob("*") if path.is_file()]
    assert len(left) > 10
    if what == "lost":
        shutil.rmtree(tmp_path / "dlt")
    else:
        for path in left:
            path.write_bytes(b'{"nonsense": ' + path.read_bytes()[:40])
    assert docruns_load().code == 0
    assert wrong(loaded, few_runs) == {}


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    "point", ["l8 only processor_runs merged", "l8 only fields merged", "l8 some tables merged"]
)
def test_a_load_repairs_a_killed_full_load(
    docruns_load: Load, few_runs: Sandbox, loaded: Path, point: str
) -> None:
    """The runs that `--full` has stored in a part of the tables are older than the watermark. The next load reads
    these again, and no others; the one after it asks for nothing."""
    assert docruns_load().code == 0
    small = {"SOURCES__EXTEND__CHUNK_RUNS": "5"}
    assert docruns_load("--full", point=point, environment=small).code == -9
    torn = half_loaded(loaded)
    assert torn
    load = docruns_load("--json")
    assert (load.code, half_loaded(loaded)) == (0, set())
    assert 0 < json.loads(load.out)["fetched"] <= len(torn)
    assert wrong(loaded, few_runs) == {}
    assert json.loads(docruns_load("--json").out)["fetched"] == 0


def test_deleted_runs_that_are_nested_in_each_other(loaded: Path) -> None:
    """The runs around half-loaded runs are each looked at once, also where deleted runs name each other."""
    (first,), (second,) = query(loaded, "SELECT id FROM extend.workflow_runs ORDER BY id LIMIT 2")
    with duckdb.connect(str(loaded)) as connection:
        for id_, parent in ((first, second), (second, first)):
            connection.execute(
                "UPDATE extend.workflow_runs SET deleted_at = now(), parent_run_id = ?, _dlt_load_id = 'killed' "
                "WHERE id = ?",
                [parent, id_],
            )
    with open_pipeline("extend", Target("extend", loaded)) as running:
        running.sync_destination()
        assert not {first, second} & lookup.half_loaded_runs(running).keys()


def half_loaded(database: Path) -> set[str]:
    """The runs with rows of a package that was not committed."""
    return {
        id_
        for table in RUN_TABLES[:9]
        for (id_,) in query(
            database,
            f"SELECT DISTINCT {table.set_of or 'id'} FROM extend.{table.name} "
            "WHERE _dlt_load_id NOT IN (SELECT load_id FROM extend._dlt_loads)",
        )
    }


@pytest.mark.fault(9)
def test_without_a_working_folder(
    load_extend: Loader, few_runs: Sandbox, loaded: Path, tmp_path: Path
) -> None:
    """A container that starts with only the database fetches no run again, and leaves no folder."""
    few_runs.extend.review(3)
    load_extend(loaded, base_url=few_runs.extend_url)
    shutil.rmtree(tmp_path / "dlt")
    summary, _ = load_extend(loaded, base_url=few_runs.extend_url)
    assert summary.fetched == 0
    assert not working_folder(Target("extend", loaded)).exists()


@pytest.mark.fault(9)
def test_a_working_folder_that_is_removed_during_a_load(
    load_extend: Loader, few_runs: Sandbox, loaded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is one line that names the folder; the next load repairs everything."""
    few_runs.extend.review(3)
    folder = working_folder(Target("extend", loaded))
    commit = pipeline.load_package

    def removing(running: Any, source: Any, target: Target) -> None:
        finish = running._get_step_info

        def without(step: Any) -> Any:
            for package in folder.glob("*/normalize/extracted"):
                shutil.rmtree(package)
            return finish(step)

        monkeypatch.setattr(running, "_get_step_info", without)
        commit(running, source, target)

    with monkeypatch.context() as patch:
        patch.setattr(load, "load_package", removing)
        with pytest.raises(DocrunsError, match=f"{folder}.*Was it removed or replaced") as caught:
            load_extend(loaded, base_url=few_runs.extend_url)
    assert len(str(caught.value).splitlines()) == 1
    load_extend(loaded, base_url=few_runs.extend_url)
    assert wrong(loaded, few_runs) == {}


@pytest.mark.fault(42)
@pytest.mark.parametrize(("table", "column"), [("_dlt_pipeline_state", "state"), ("_dlt_version", "schema")])
def test_a_damaged_state(
    load_extend: Loader, few_runs: Sandbox, loaded: Path, table: str, column: str
) -> None:
    """The message says which rows to delete; the next load then reads the lists to their ends, and fetches no
    run that is stored as it is listed."""
    load_extend(loaded, base_url=few_runs.extend_url)
    with duckdb.connect(str(loaded)) as connection:
        connection.execute(f"UPDATE extend.{table} SET {column} = left({column}, 50)")
    both = r"extend\._dlt_pipeline_state and extend\._dlt_version cannot be read.*Delete the rows"
    with pytest.raises(DocrunsError, match=both):
        load_extend(loaded, base_url=few_runs.extend_url)
    with duckdb.connect(str(loaded)) as connection:
        connection.execute("DELETE FROM extend._dlt_pipeline_state")
        connection.execute("DELETE FROM extend._dlt_version")
    few_runs.extend.review(2)
    summary, _ = load_extend(loaded, base_url=few_runs.extend_url)
    assert summary.fetched == 2
    assert wrong(loaded, few_runs) == {}


@pytest.mark.fault(9)
def test_no_statements_are_left_in_the_temporary_folder(
    load_extend: Loader, few_runs: Sandbox, loaded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file with a merge's statements belongs to the package, and is removed with it."""
    few_runs.extend.review(3)
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    move = PackageStorage.import_job

    def import_job(self: PackageStorage, load_id: str, path: str, **more: Any) -> None:
        if path.endswith(".sql"):
            # the other threads of the load still write below it
            shutil.rmtree(self.storage.storage_path, ignore_errors=True)
        move(self, load_id, path, **more)

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        patch.setattr(PackageStorage, "import_job", import_job)
        with pytest.raises(DocrunsError, match="Was it removed or replaced"):
            load_extend(loaded, base_url=few_runs.extend_url)
    assert list(temporary.rglob("*.sql")) == []
    load_extend(loaded, base_url=few_runs.extend_url)
    assert wrong(loaded, few_runs) == {}
