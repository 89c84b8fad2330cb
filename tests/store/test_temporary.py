"""Temporary copies of documents: a command that was killed leaves some, and the next one on the target removes them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from docruns.sandbox import Sandbox
from docruns.store.pipeline import temporary_folder
from docruns.store.process.temporary import remove_leftovers
from docruns.store.target import Target, working_folder
from proofs.children import Children
from support.leftovers import everything, quoted
from support.loading import query
from support.processes import another

HOLD_TEMPORARY = """
import pathlib, sys
from docruns.store.pipeline import temporary_folder
from docruns.store.process.temporary import remove_leftovers
from docruns.store.target import Target
with temporary_folder(Target("extend", pathlib.Path(sys.argv[1]))) as folder:
    (folder / "sample.duckdb").write_text("a document")
    print("held", flush=True)
    sys.stdin.read()
"""


def documents(database: Path, *places: Path) -> dict[str, set[str]]:
    """The files in some folders that hold a value of a document."""
    found = query(database, "SELECT DISTINCT value FROM extend.fields WHERE length(value) > 7")
    texts = {text for (text,) in found}
    assert len(texts) > 20
    return quoted(everything(*places), texts)


@pytest.mark.parametrize("point", ["l8 some tables merged", "docruns.commands.load:_mark_gone"])
@pytest.mark.parametrize("following", ["load", "verify"])
def test_a_verify_that_is_killed(
    children: Children, few_runs: Sandbox, loaded: Path, point: str, following: str
) -> None:
    """The sample that a killed verify has loaded is removed by the next command on the target."""
    temporary = loaded.parent / "tmp"
    temporary.mkdir()
    places = (temporary, loaded.parent / "dlt")
    how = {"environment": {"TMPDIR": str(temporary)}}
    command = ("extend", "--base-url", few_runs.extend_url)
    assert children.run(loaded.parent, "verify", *command, "--deep", "9", point=point, **how).code == -9
    assert documents(loaded, *places)
    ended = children.run(loaded.parent, following, *command, **how)
    assert ended.code == 0, ended.err
    assert documents(loaded, *places) == {}
    assert not [path for path in temporary.rglob("*") if path.is_file()]


def test_a_copy_that_is_killed(children: Children, loaded: Path) -> None:
    """The rows that a killed copy has written to the disk are removed by the next copy to the target."""
    temporary = loaded.parent / "tmp"
    temporary.mkdir()
    how = {"environment": {"TMPDIR": str(temporary)}}
    command = ("copy", "extend", "--from", str(loaded), "--database", "copy.duckdb")
    point = "l8 some tables merged"
    assert children.run(loaded.parent, *command, point=point, **how).code == -9
    assert children.run(loaded.parent, *command, **how).code == 0
    assert documents(loaded, loaded.parent / "dlt", temporary) == {}
    assert not [*temporary.iterdir()]


def test_a_command_that_runs_keeps_its_folder(tmp_path: Path) -> None:
    """Commands on one target at the same time have a folder each. One whose process was killed is removed."""
    target = Target("extend", tmp_path / "d.duckdb")
    with another(HOLD_TEMPORARY, str(target.database)) as other:
        with temporary_folder(target) as folder, temporary_folder(target) as second:
            theirs = {*folder.parent.glob("*/sample.duckdb")}
            assert len(theirs) == 1
            assert folder != second
            assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        assert {*folder.parent.glob("*/*")} == theirs
        other.kill()
        other.wait()
    with temporary_folder(target):
        assert not [path for path in theirs if path.exists()]
    assert not [path for path in folder.parent.iterdir() if path.is_dir()]
    assert folder.is_relative_to(working_folder(target).parent)


def test_the_text_of_an_error_is_kept_until_the_next_command(tmp_path: Path) -> None:
    """A message names the file, so it is there after the command has ended."""
    target = Target("extend", tmp_path / "d.duckdb")
    with temporary_folder(target) as folder:
        (folder / "work").mkdir()
        (folder / "work.error").touch()
    assert [*folder.iterdir()] == [folder / "work.error"]
    remove_leftovers(folder.parent)
    assert [path.name for path in folder.parent.iterdir()] == ["lock"]


def test_a_verify_that_cannot_write(children: Children, few_runs: Sandbox, loaded: Path) -> None:
    """A verify without a sample needs no DLT_DATA_DIR. With a sample, the message names it."""
    (loaded.parent / "file").touch()
    how = {"environment": {"DLT_DATA_DIR": str(loaded.parent / "file" / "below")}}
    command = ("verify", "extend", "--base-url", few_runs.extend_url)
    ended = children.run(loaded.parent, *command, **how)
    assert ended.code == 0, ended.err
    ended = children.run(loaded.parent, *command, "--deep", "1", **how)
    assert (ended.code, ended.err.splitlines()[-1][:23]) == (2, "docruns: DLT_DATA_DIR: "), ended.err
