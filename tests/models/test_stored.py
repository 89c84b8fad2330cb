"""Models that are tables, on DuckDB and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import psycopg2
import pytest
from pandas.testing import assert_frame_equal

import docruns
from docruns.commands.answers.dataset_views import renew_views, sql_of, views_of
from docruns.commands.archive.forget import forget_runs
from docruns.commands.load import load_runs
from docruns.commands.reconcile.sweep import sweep_deleted
from docruns.core.errors import ConfigError, DocrunsError
from docruns.models.model import ALWAYS_VIEWS, LARGE, ORDER
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from support.loading import connect, query
from support.model_rows import rows_of_duckdb, rows_of_postgres
from support.postgres import rows

TABLES = [name for name in ORDER if name not in ALWAYS_VIEWS | LARGE]

_KINDS = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = {} AND table_type = 'BASE TABLE'"
)


def tables(database: Path, dataset: str = "extend") -> set[str]:
    """The models that are tables."""
    return {name for (name,) in query(database, _KINDS.format("?"), f"{dataset}_answers")}


def test_tables_have_the_rows_of_the_views(database: Path, copied: Path) -> None:
    """Every model has the same columns, rows and description, whichever it is; the way back leaves no table."""
    before = views_of(database, "extend")
    for dataset in ("extend", "plextera"):
        assert renew_views(Target(dataset, copied), materialized="table") >= len(ORDER)
        assert tables(copied, dataset) == set(TABLES)
        for view in views_of(database, dataset)[1]:
            name = f'{dataset}_answers."{view.name}"'
            assert rows_of_duckdb(copied, name) == rows_of_duckdb(database, name), name
    assert views_of(copied, "extend") == before
    assert sql_of(copied, "extend", "cost") == sql_of(database, "extend", "cost")
    # what they are is what they stay
    assert renew_views(Target("extend", copied)) == 0
    ours, theirs = (
        docruns.read(each, "extend").where(source="API").model("drift") for each in (copied, database)
    )
    by = ["processor_id", "processor_version", "week"]
    assert len(ours) > 0
    assert_frame_equal(*(each.sort_values(by, ignore_index=True) for each in (ours, theirs)))
    with pytest.raises(ConfigError, match="field_accuracy"):
        docruns.read(copied, "extend").model("nothing")
    assert renew_views(Target("extend", copied), materialized="view") >= len(ORDER)
    assert tables(copied) == set()
    assert views_of(copied, "extend") == before


def test_one_model_as_a_table(database: Path, copied: Path) -> None:
    """Each model can be made a table alone, a large one too: with the rows of the view. The others stay what they are."""
    target, there = Target("extend", copied), set[str]()
    for name in sorted({*TABLES, *LARGE}):
        assert renew_views(target, materialized="table", name=name) >= 1
        there.add(name)
        assert tables(copied) == there
        answer = f"extend_answers.{name}"
        assert rows_of_duckdb(copied, answer) == rows_of_duckdb(database, answer), name
    with duckdb.connect(str(copied)) as connection:
        connection.execute("INSERT INTO extend_answers.lineage (path) VALUES ('planted')")
    planted = "SELECT count(*) FROM extend_answers.lineage WHERE path = 'planted'"
    # no other model reads cost: lineage keeps its rows until it is asked for
    assert renew_views(target, materialized="view", name="cost") == 1
    assert tables(copied) == there - {"cost"}
    assert query(copied, planted) == [(1,)]
    assert renew_views(target, materialized="table", name="lineage") == 1
    assert query(copied, planted) == [(0,)]
    # all of them are made tables, and a large one that is one stays one
    renew_views(target, materialized="table")
    assert tables(copied) == there
    assert renew_views(target) == 0
    for name, hint in (
        ("backlog", "always a view"),
        ("linage", r"Did you mean lineage\?"),
        ("x", "Models are"),
    ):
        with pytest.raises(ConfigError, match=hint):
            renew_views(target, materialized="table", name=name)
    assert tables(copied) == there


@pytest.fixture
def small() -> Iterator[Sandbox]:
    """A platform that a test may change."""
    with Sandbox(runs=8, standalone=2, seed=18, document_size="light", plextera_runs=0) as running:
        yield running


def test_when_tables_are_filled(small: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load fills them only if rows have changed since: runs that are new, changed, marked as deleted or forgotten. A
    sweep and `forget` fill them at once."""
    monkeypatch.setenv("ANSWERS__MATERIALIZED", "table")
    target = Target("extend", tmp_path / "s.duckdb")

    def load() -> bool:
        """Whether a load has filled the tables: a row that nobody loaded is gone."""
        with duckdb.connect(str(target.database)) as connection:
            connection.execute("INSERT INTO extend_answers.cost (workflow_name) VALUES ('nobody')")
        load_runs(connect(small, "extend"), target)
        return (
            query(target.database, "SELECT 1 FROM extend_answers.cost WHERE workflow_name = 'nobody'") == []
        )

    load_runs(connect(small, "extend"), target)
    assert tables(target.database) == set(TABLES)
    assert not load()
    small.extend.review(2)
    assert load()
    assert not load()
    with duckdb.connect(str(target.database)) as connection:
        connection.execute(
            "UPDATE extend.processor_runs SET deleted_at = now() "
            "WHERE id = (SELECT min(processor_run_id) FROM extend_answers.documents)"
        )
    assert load()
    ((deleted,),) = query(target.database, "SELECT min(workflow_run_id) FROM extend_answers.documents")
    small.extend.delete(deleted)
    sweep_deleted(connect(small, "extend"), target)
    assert deleted not in sum(
        query(target.database, "SELECT workflow_run_id FROM extend_answers.documents"), ()
    )
    assert not load()
    ((forgotten, run_id),) = query(
        target.database, "SELECT workflow_run_id, processor_run_id FROM extend_answers.documents LIMIT 1"
    )
    before = query(target.database, "SELECT count(*) FROM extend_answers.documents")
    forget_runs("extend", {forgotten or run_id}, target)
    after = query(target.database, "SELECT count(*) FROM extend_answers.documents")
    assert after < before
    as_tables = {name: rows_of_duckdb(target.database, f"extend_answers.{name}") for name in TABLES}
    # the file was written anew, and what is in it is still known as what docruns has made
    assert renew_views(target, materialized="view") >= len(ORDER)
    for name, found in as_tables.items():
        assert found == rows_of_duckdb(target.database, f"extend_answers.{name}"), name


def test_only_what_differs_is_made(copied: Path) -> None:
    """A new field of one processor makes the views of that processor anew, and no others."""
    target = Target("extend", copied)
    with duckdb.connect(str(copied)) as connection:
        connection.execute(
            "UPDATE extend.fields SET field = 'line_items[].renamed' WHERE field = 'line_items[].amount' "
            "AND processor_run_id IN (SELECT id FROM extend.processor_runs WHERE processor_name = 'Supplier invoice')"
        )
    assert renew_views(target) == 1
    assert (
        query(copied, "SELECT count(renamed) FROM extend_answers.doc_supplier_invoice__line_items")[0][0] > 0
    )


def test_tables_in_postgres(
    server: str, reviewed: Sandbox, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have the rows of DuckDB's views. A view that somebody has built on one stays while it is filled, and keeps it
    from becoming a view."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server)
    target = Target("extend", destination="postgres")
    load_runs(connect(reviewed, "extend"), target)
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE VIEW public.mine AS SELECT count(*) FROM extend_answers.documents")
    with pytest.raises(DocrunsError, match="depend"):
        renew_views(target, materialized="table")
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("DROP VIEW public.mine")
    assert renew_views(target, materialized="table") >= len(ORDER)
    assert {name for (name,) in rows(server, _KINDS.format("%s"), "extend_answers")} == set(TABLES)
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE VIEW public.mine AS SELECT count(*) FROM extend_answers.documents")
        cursor.execute("DELETE FROM extend_answers.documents")
    assert rows(server, "SELECT * FROM public.mine") == [(0,)]
    assert renew_views(target, materialized="table") == len(TABLES)
    for view in views_of(database, "extend")[1]:
        name = f'extend_answers."{view.name}"'
        assert rows_of_postgres(server, name) == rows_of_duckdb(database, name), name
    assert rows(server, "SELECT * FROM public.mine") == query(
        database, "SELECT count(*) FROM extend_answers.documents"
    )
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("DROP VIEW public.mine")
    renew_views(target, materialized="view")
    renew_views(target, materialized="table", name="lineage")
    assert rows(server, _KINDS.format("%s"), "extend_answers") == [("lineage",)]
    assert rows_of_postgres(server, "extend_answers.lineage") == rows_of_duckdb(
        database, "extend_answers.lineage"
    )


def test_settings(
    tmp_path: Path, small: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another word than view or table, or the name of no model, is refused before the first request."""
    monkeypatch.setenv("ANSWERS__MATERIALIZED", "incremental")
    target = Target("extend", tmp_path / "w.duckdb")
    with pytest.raises(ConfigError, match=r"answers\.materialized.*Write view or table"):
        load_runs(connect(small, "extend"), target)
    for wrong, hint in (('["lineage", "edit"]', "Did you mean edits"), ('[["lineage"]]', "is no model")):
        monkeypatch.setenv("ANSWERS__MATERIALIZED", wrong)
        with pytest.raises(ConfigError, match=rf"answers\.materialized.*{hint}"):
            load_runs(connect(small, "extend"), target)
    assert small.stats.requests == 0
    # a list names the models that are tables, and the others are views
    monkeypatch.setenv("ANSWERS__MATERIALIZED", '["lineage", "edits"]')
    load_runs(connect(small, "extend"), target)
    assert tables(target.database) == {"lineage", "edits"}
    with duckdb.connect(str(target.database)) as connection:
        connection.execute("DELETE FROM extend_answers.lineage")
    small.extend.review(2)
    load_runs(connect(small, "extend"), target)
    assert query(target.database, "SELECT count(*) > 0 FROM extend_answers.lineage") == [(True,)]
    # a load without views fills them too
    monkeypatch.setenv("ANSWERS__VIEWS", "false")
    with duckdb.connect(str(target.database)) as connection:
        connection.execute("DELETE FROM extend_answers.lineage")
    small.extend.review(2)
    load_runs(connect(small, "extend"), target)
    assert query(target.database, "SELECT count(*) > 0 FROM extend_answers.lineage") == [(True,)]
    monkeypatch.delenv("ANSWERS__VIEWS")
    monkeypatch.setenv("ANSWERS__MATERIALIZED", '["edits"]')
    load_runs(connect(small, "extend"), target)
    assert tables(target.database) == {"edits"}
    # a command that the setting contradicts says what the next load does
    renew_views(target, materialized="table", name="cost")
    assert tables(target.database) == {"edits", "cost"}
    assert "answers.materialized is ['edits']: the next load" in caplog.text
    # a sweep refuses a wrong setting before it asks for a list, and `forget` before it removes a row
    monkeypatch.setenv("ANSWERS__MATERIALIZED", "edits")
    small.stats.reset()
    with pytest.raises(ConfigError, match=r"answers\.materialized"):
        sweep_deleted(connect(small, "extend"), target)
    assert small.stats.requests == 0
    ((run_id,),) = query(target.database, "SELECT min(id) FROM extend.workflow_runs")
    with pytest.raises(ConfigError, match=r"answers\.materialized"):
        forget_runs("extend", {run_id}, target)
    assert query(target.database, "SELECT min(id) FROM extend.workflow_runs") == [(run_id,)]
