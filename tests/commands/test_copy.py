"""`docruns copy` and `docruns verify --against`: a second database with the rows of the first one, without requests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from docruns.commands.cli.app import app
from docruns.commands.load import load_runs
from docruns.commands.reconcile.against import verify_against
from docruns.commands.warehouse import copy
from docruns.commands.warehouse.copy import CopySummary, copy_runs
from docruns.core.errors import ConfigError, DocrunsError
from docruns.sandbox import Sandbox
from docruns.store.duckdb import loaded as loaded_file
from docruns.store.target import Target
from proofs import compare
from proofs.children import Children, Ended
from support.loading import Loader, connect, query


def copied(source: Path, to: Path, **how: Any) -> CopySummary:
    """A copy of the file, which must succeed."""
    return copy_runs(Target("extend", source), Target("extend", to), "extend", **how)


@pytest.fixture(autouse=True)
def everything_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tables that say how a database was loaded, too."""
    monkeypatch.setattr(compare, "PASSING", {"_copied"})


def test_a_file_that_is_not_complete(load_extend: Loader, tmp_path: Path) -> None:
    """A copy of a file whose last load left runs due is not complete either."""
    load_extend(tmp_path / "t.duckdb", max_runs=3)
    assert not copied(tmp_path / "t.duckdb", tmp_path / "copy.duckdb").complete


def test_a_wrong_setting_of_the_models(
    load_extend: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused before a row is copied."""
    load_extend(tmp_path / "t.duckdb", max_runs=3)
    monkeypatch.setenv("ANSWERS__MATERIALIZED", "incremental")
    with pytest.raises(ConfigError, match=r"answers\.materialized"):
        copied(tmp_path / "t.duckdb", tmp_path / "copy.duckdb")
    assert not (tmp_path / "copy.duckdb").exists()


def test_only_what_has_changed_is_copied_again(
    sandbox: Sandbox, load_extend: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first copy has all rows of all tables, the next ones those runs whose rows have changed: reviewed, swept,
    pushed. A load goes on in a copy where the file was."""
    monkeypatch.setenv("SOURCES__EXTEND__BASE_URL", sandbox.extend_url)
    source, to = tmp_path / "t.duckdb", tmp_path / "copy.duckdb"
    load_extend(source)
    first = copied(source, to)
    assert (first.copied, first.unchanged, first.complete) == (40 + runs_in(source), 0, True)
    assert compare.differences(source, to) == []
    again = copied(source, to)
    assert (again.copied, again.packages, again.rows) == (0, 0, {})

    reviewed = set(sandbox.extend.review(3))
    ids = [id_ for (id_,) in query(source, "SELECT id FROM extend.workflow_runs ORDER BY id")]
    gone, named = [id_ for id_ in ids if id_ not in reviewed][:2]
    sandbox.extend.delete(gone)
    rows = f"SELECT '{named}' AS id, true AS \"metadata.seen\""
    for command in (["load"], ["sweep", "--yes"], ["push", "--from", rows]):
        result = CliRunner().invoke(app, [command[0], "extend", "--database", str(source), *command[1:]])
        assert result.exit_code == 0, result.output
    changed = copied(source, to)
    assert compare.differences(source, to) == []
    newest = "WHERE _dlt_load_id = (SELECT max(load_id) FROM extend._dlt_loads)"
    assert query(to, f"SELECT id FROM extend.workflow_runs {newest} ORDER BY id") == [
        (id_,) for id_ in sorted({*reviewed, gone, named})
    ]
    assert changed.copied + changed.unchanged == 40 + runs_in(source)
    assert changed.complete

    summary, _ = load_extend(to)
    assert (summary.complete, summary.fetched) == (True, 0)
    # from here on it is more than a copy
    with pytest.raises(ConfigError, match=r"holds what .* does not"):
        copied(source, to)


def runs_in(database: Path) -> int:
    """How many processor runs it holds."""
    return int(query(database, "SELECT count(*) FROM extend.processor_runs")[0][0])


@pytest.mark.parametrize(
    "point", ["x4 after extract's commit", "l8 only fields merged", "l9 before _dlt_loads"]
)
def test_a_killed_copy(point: str, loaded: Path, children: Children, tmp_path: Path) -> None:
    """After a kill the next copy makes it whole, also where the file is by then what it was before: rows of a part of
    the tables are not what the fingerprints say."""
    to = tmp_path / "copy.duckdb"
    copied(loaded, to)
    change = "UPDATE extend.fields SET value = {} WHERE path = (SELECT min(path) FROM extend.fields)"
    with duckdb.connect(str(loaded)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT * FROM extend.fields")
        connection.execute(change.format("'other'"))
    arguments = ("copy", "extend", "--from", str(loaded), "--database", str(to))
    ended: Ended = children.run(tmp_path / "killed", *arguments, point=point)
    assert ended.code == -9, ended.err
    with duckdb.connect(str(loaded)) as connection:
        connection.execute("DELETE FROM extend.fields; INSERT INTO extend.fields FROM kept; DROP TABLE kept")
    copied(loaded, to)
    assert compare.differences(loaded, to) == []
    assert compare.doubled_keys(to) == 0


def test_a_copy_in_several_packages(
    loaded: Path, few_runs: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that fails half way is continued by the next one; a load may continue it instead, and fetches only what
    it lacks."""
    to, loaded_on = tmp_path / "copy.duckdb", tmp_path / "on.duckdb"
    names = ("expected_fields", "evaluation_items", "processors", "processor_versions", "workflow_versions")
    others = sum(query(loaded, f"SELECT count(*) FROM extend.{name}")[0][0] for name in names)
    monkeypatch.setattr(loaded_file, "PACKAGE_ROWS", others + 150)
    real: Callable[..., None] = copy.load_package
    calls: list[int] = []

    def fail_second(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise DocrunsError("the second package")
        real(*arguments)

    for path in (to, loaded_on):
        calls.clear()
        monkeypatch.setattr(copy, "load_package", fail_second)
        with pytest.raises(DocrunsError, match="the second package"):
            copied(loaded, path)
    monkeypatch.setattr(copy, "load_package", real)
    ((held,),) = query(to, "SELECT count(*) FROM extend.workflow_runs")
    assert 0 < held < 12
    rest = copied(loaded, to)
    assert rest.packages >= 1
    assert rest.unchanged >= held
    assert compare.differences(loaded, to) == []
    summary = load_runs(connect(few_runs, "extend"), Target("extend", loaded_on))
    assert summary.complete
    assert 0 < summary.fetched < 14
    found = verify_against("extend", Target("extend", loaded_on), Target("extend", loaded))
    assert [str(each) for each in found.cells] == []


def test_what_is_not_copied(load_extend: Loader, tmp_path: Path) -> None:
    """Two files do not mix in one dataset; a file that a kill has left at two versions, that is missing or holds no
    such dataset is refused, and nothing is made."""
    one, two, to = (tmp_path / name for name in ("one.duckdb", "two.duckdb", "to.duckdb"))
    load_extend(one)
    load_extend(two)
    copied(one, to)
    for target in (to, one):
        with pytest.raises(ConfigError, match=r"holds what .*two\.duckdb does not"):
            copied(two, target)
    with pytest.raises(ConfigError, match="is the target too"):
        copied(one, one)
    with pytest.raises(ConfigError, match=r"nowhere\.duckdb does not exist"):
        copied(tmp_path / "nowhere.duckdb", to)
    new = Target("other", tmp_path / "new.duckdb")
    with pytest.raises(ConfigError, match=r"holds no such dataset \(other\)"):
        copy_runs(Target("other", one), new, "extend")
    with duckdb.connect(str(two)) as connection:
        connection.execute("UPDATE extend.fields SET _dlt_load_id = 'killed'")
    with pytest.raises(DocrunsError, match="a killed load left"):
        copy_runs(Target("extend", two), new, "extend")
    assert not new.database.exists()


def test_verify_against(loaded: Path, tmp_path: Path) -> None:
    """`verify --against` names cells and rows that differ, and keys with several rows, and exits with 1; JSON is
    compared by its value."""
    to = tmp_path / "copy.duckdb"
    arguments = ["verify", "extend", "--database", str(to), "--dataset", "copied", "--against", str(loaded)]
    arguments += ["--against-dataset", "extend"]
    copying = ["copy", "extend", "--from", str(loaded), "--from-dataset", "extend"]
    made = CliRunner().invoke(app, [*copying, "--database", str(to), "--dataset", "copied"])
    assert made.exit_code == 0, made.output
    equal = CliRunner().invoke(app, arguments)
    assert (equal.exit_code, "agrees with" in equal.stdout) == (0, True), equal.output
    with duckdb.connect(str(to)) as connection:
        run = connection.execute
        run("UPDATE copied.processor_runs SET config = json_pretty(config)")
        ((id_,),) = run("SELECT min(id) FROM copied.workflow_runs").fetchall()
        run(
            "UPDATE copied.workflow_runs SET deleted_at = '2026-01-01 00:00:00Z', status = 'odd' WHERE id = ?",
            [id_],
        )
        ((lost,),) = run("SELECT max(id) FROM copied.workflow_runs").fetchall()
        run("DELETE FROM copied.workflow_runs WHERE id = ?", [lost])
        run("INSERT INTO copied.processor_runs SELECT * FROM copied.processor_runs LIMIT 1")
    result = CliRunner().invoke(app, [*arguments, "--json"])
    found = json.loads(result.stdout.splitlines()[-1])
    assert (result.exit_code, found["equal"], found["cells"], found["doubled"]) == (1, False, 3, 1)
    first = found["first"]["cells"]
    assert f"workflow_runs {lost}: only in the other database" in first
    assert any(text.startswith(f'workflow_runs {id_} status: database "odd", other') for text in first)
    refused = CliRunner().invoke(app, [*arguments, "--deep", "3"])
    assert "excludes --deep" in str(refused.exception)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nope.duckdb", "nope.duckdb does not exist"),
        ("nowhere", "nowhere is not a destination"),
        ("snowflake", "snowflake is not tested"),
        (".", ". is a folder"),
        ("md:x", "md:x is no file"),
    ],
)
def test_another_database_that_is_none(loaded: Path, place: str, words: str) -> None:
    """The error names the option that names it."""
    asked = ["verify", "extend", "--database", str(loaded), "--against", place]
    with pytest.raises(ConfigError, match=f"^--against: {re.escape(words)}"):
        CliRunner().invoke(app, asked, catch_exceptions=False)


def test_a_schema_there_that_has_no_plain_name(loaded: Path) -> None:
    """The error names the option for the schema there."""
    asked = [
        "verify",
        "extend",
        "--database",
        str(loaded),
        "--against",
        str(loaded),
        "--against-dataset",
        "A",
    ]
    with pytest.raises(ConfigError, match=r"^--against-dataset: 'A' is"):
        CliRunner().invoke(app, asked, catch_exceptions=False)
