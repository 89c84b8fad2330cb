"""The views of the models, on DuckDB and PostgreSQL."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest

from docruns.commands.answers.dataset_views import renew_views, views_of
from docruns.commands.load import load_runs
from docruns.core.errors import ConfigError, DocrunsError
from docruns.models.model import ORDER, models
from docruns.sandbox import Sandbox
from docruns.store.duckdb.publish import publish_copy
from docruns.store.target import Target
from proofs.models import bill
from support.loading import connect, query
from support.model_rows import rows_of_duckdb, rows_of_postgres
from support.other_duckdb import OLDEST, run_with
from support.postgres import rows as postgres_rows


def test_a_load_makes_the_views(database: Path) -> None:
    """All models and the views of processors are there, with descriptions; a second time there is nothing to do."""
    name, views = views_of(database, None)
    assert name == "extend"
    assert [view.name for view in views[: len(ORDER)]] == list(ORDER)
    assert "doc_supplier_invoice" in {view.name for view in views}
    assert "doc_supplier_invoice__line_items" in {view.name for view in views}
    for view in views:
        assert view.row
        assert view.grain
    assert renew_views(Target("extend", database)) == 0


@pytest.mark.parametrize("dataset", ["extend", "plextera"])
@pytest.mark.parametrize("model", models(), ids=lambda model: model.name)
def test_grain(database: Path, dataset: str, model: Any) -> None:
    """No two rows of a model agree in the columns of its grain."""
    columns = re.sub(r"\(.*", "", model.grain).strip()
    view = f"{dataset}_answers.{model.name}"
    doubled = query(database, f"SELECT {columns}, count(*) FROM {view} GROUP BY ALL HAVING count(*) > 1")
    assert doubled == []
    if dataset == "extend":
        assert query(database, f"SELECT count(*) FROM {view}")[0][0] > 0


def test_what_counts(copied: Path) -> None:
    """Deleted runs, try-outs in Studio, nested runs and extractions without a review are in no figure that judges the
    model or counts work: the same figures from the tables alone."""
    with duckdb.connect(str(copied)) as connection:
        reviewed = "SELECT id FROM extend.processor_runs WHERE reviewed AND type = 'EXTRACT' ORDER BY id"
        connection.execute(
            f"UPDATE extend.processor_runs SET deleted_at = now() WHERE id IN ({reviewed} LIMIT 2)"
        )
        connection.execute(
            f"UPDATE extend.processor_runs SET source = 'STUDIO' WHERE id IN ({reviewed} LIMIT 2 OFFSET 4)"
        )
        runs = "SELECT id FROM extend.workflow_runs ORDER BY id"
        connection.execute(f"UPDATE extend.workflow_runs SET deleted_at = now() WHERE id IN ({runs} LIMIT 3)")
        connection.execute(f"UPDATE extend.workflow_runs SET depth = 1 WHERE id IN ({runs} LIMIT 3 OFFSET 7)")
    counted = (
        "FROM extend.processor_runs r WHERE r.type = 'EXTRACT' AND r.status = 'PROCESSED' AND r.is_final "
        "AND r.deleted_at IS NULL"
    )
    judged = (
        "SELECT r.processor_id, r.processor_version, f.field, count(DISTINCT r.id), count(f.initial_json), "
        "count(*) FILTER (NOT f.edited), count(*) FILTER (f.edit_kind = 'changed'), count(*) FILTER (f.edit_kind = 'removed'), "
        "count(*) FILTER (f.edit_kind = 'added') "
        + counted.replace("WHERE", "JOIN extend.fields f ON f.processor_run_id = r.id WHERE")
        + " AND r.reviewed AND f.edited IS NOT NULL AND f.kind = 'leaf' AND r.source IS DISTINCT FROM 'STUDIO' "
        "GROUP BY ALL ORDER BY ALL"
    )
    model = (
        'SELECT processor_id, processor_version, field, reviewed, extracted, "right", changed, removed, added '
        "FROM extend_answers.field_accuracy ORDER BY ALL"
    )
    assert query(copied, model) == query(copied, judged)
    assert query(copied, "SELECT count(*) FROM extend_answers.documents") == query(
        copied, f"SELECT count(*) {counted}"
    )
    outermost = "FROM extend.workflow_runs WHERE deleted_at IS NULL AND coalesce(depth, 0) = 0"
    assert query(copied, "SELECT sum(runs) FROM extend_answers.throughput") == query(
        copied, f"SELECT count(*) {outermost}"
    )
    waiting = f"SELECT count(*) {outermost} AND NOT is_final"
    assert query(copied, "SELECT count(*) FROM extend_answers.backlog") == query(copied, waiting)


def test_lineage_of_a_file_that_a_run_names_twice(copied: Path) -> None:
    """A leaf has one row, with the page that its field has."""
    leaves = "SELECT count(*), count(page), sum(page) FROM"
    counted = query(copied, f"{leaves} extend_answers.lineage")
    with duckdb.connect(str(copied)) as connection:
        connection.execute(
            "INSERT INTO extend.run_files SELECT * REPLACE (position + 100 AS position) FROM extend.run_files"
        )
    assert query(copied, f"{leaves} extend_answers.lineage") == counted
    assert counted == query(
        copied,
        f"{leaves} extend.fields f JOIN extend.processor_runs r ON r.id = f.processor_run_id WHERE f.kind = 'leaf' "
        "AND f.edit_kind IS DISTINCT FROM 'removed' AND r.deleted_at IS NULL",
    )


def test_the_version_before_is_the_one_that_first_ran_before(copied: Path) -> None:
    """Also where both first ran in one week, and where their numbers are in another order."""
    with duckdb.connect(str(copied)) as connection:
        connection.execute(
            "UPDATE extend.processor_runs SET created_at = TIMESTAMPTZ '2026-08-03 12:00:00Z' - "
            "to_minutes(CAST(CAST(processor_version AS DOUBLE) * 10 AS BIGINT)) WHERE processor_version IS NOT NULL"
        )
    found = query(
        copied,
        "SELECT DISTINCT processor_id, processor_version, previous_version FROM extend_answers.drift WHERE "
        "processor_version IS NOT NULL ORDER BY processor_id, CAST(processor_version AS DOUBLE) DESC",
    )
    assert len(found) > len({processor for processor, _, _ in found})
    for (processor, version, _), (following, _, previous) in pairwise(found):
        assert previous == (version if processor == following else None)


CORRECTED = [
    # initial_json, value_json, edit_class
    ("195.4", "19.54", "wrong"),
    ("12815.1", "12815.7", "misread"),
    ("-5", "5", "misread"),
    ("1.5", "15", "misread"),
    ('"1,234.50"', '"1234.5"', "format"),
    ('"1.234,50"', '"1,234.50"', "format"),
    ('"12,50"', '"12.50"', "format"),
    ('"$ 195.40"', '"$195.40"', "format"),
    ('"$195.40"', '"$1954.0"', "wrong"),
    ('"18.05.2026"', '"18/05/2026"', "format"),
    ('"HARBOR & PINE, INC."', '"Harbor & Pine Inc"', "format"),
    ('"Harbor & Pine"', '"Harber & Pine"', "misread"),
    ('"12345678901234567"', '"12345678901234568"', "misread"),
    ("null", '"x"', "missed"),
    ('"x"', '""', "spurious"),
    (
        '{"amount":195.4,"iso_4217_currency_code":"USD"}',
        '{"amount":19.54,"iso_4217_currency_code":"USD"}',
        "wrong",
    ),
    (
        '{"amount":864.03,"iso_4217_currency_code":null}',
        '{"amount":512.77,"iso_4217_currency_code":null}',
        "wrong",
    ),
    (
        '{"amount":864.03,"iso_4217_currency_code":null}',
        '{"amount":864.08,"iso_4217_currency_code":null}',
        "misread",
    ),
    (
        '{\n "amount" : 8.50,\n "iso_4217_currency_code" : null\n}',
        '{ "iso_4217_currency_code": null, "amount": 8.5 }',
        "format",
    ),
    (
        '{"amount":8.50,"iso_4217_currency_code":"USD"}',
        '{"amount":8.5,"iso_4217_currency_code":"USD"}',
        "format",
    ),
    (
        '{"amount":8.5,"iso_4217_currency_code":"USD"}',
        '{"amount":8.5,"iso_4217_currency_code":"EUR"}',
        "wrong",
    ),
    (
        '{"amount":8.5,"iso_4217_currency_code":null}',
        '{"amount":null,"iso_4217_currency_code":null}',
        "spurious",
    ),
    (
        '{"iso_4217_currency_code":null,"amount":null}',
        '{"iso_4217_currency_code":"USD","amount":8.5}',
        "missed",
    ),
]


def test_what_a_reviewer_has_corrected(
    copied: Path, server: str, reviewed: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`edit_class` tells a spelling from another number, in DuckDB and in PostgreSQL."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server)
    load_runs(connect(reviewed, "extend"), Target("corrected", destination="postgres"))
    chosen = "SELECT processor_run_id, path FROM extend_answers.edits WHERE edit_kind = 'changed' ORDER BY 1, 2 LIMIT"
    places = query(copied, f"{chosen} {len(CORRECTED)}")
    assert len(places) == len(CORRECTED)
    change = "UPDATE {1}.fields SET initial_json = {0}, value_json = {0} WHERE processor_run_id = {0} AND path = {0}"
    asked = "SELECT edit_class FROM {1}_answers.edits WHERE processor_run_id = {0} AND path = {0}"
    with (
        duckdb.connect(str(copied)) as ours,
        psycopg2.connect(server) as connection,
        connection.cursor() as theirs,
    ):
        for place, (initial, final, expected) in zip(places, CORRECTED, strict=True):
            ours.execute(change.format("?", "extend"), [initial, final, *place])
            theirs.execute(change.format("%s", "corrected"), [initial, final, *place])
            assert ours.execute(asked.format("?", "extend"), place).fetchall() == [(expected,)], (
                initial,
                final,
            )
            theirs.execute(asked.format("%s", "corrected"), place)
            assert theirs.fetchall() == [(expected,)], (initial, final)


def test_cost_adds_up_to_the_bill(tmp_path: Path) -> None:
    """The sum is that of all runs of the platform. A cancelled extraction has the parse run of its workflow run in its own
    total, and its workflow run does not name it: it is not counted beside the workflow run."""
    database = tmp_path / "c.duckdb"
    with Sandbox(runs=40, seed=18, plextera_runs=0) as sandbox:
        sandbox.extend.add(3, kind="invoice", status="CANCELLED")
        load_runs(connect(sandbox, "extend"), Target("extend", database))
        assert query(database, "SELECT sum(credits) FROM extend_answers.cost") == [(bill(sandbox),)]


def test_cost_of_a_parse_run_that_an_extraction_started(copied: Path) -> None:
    """Outside of workflow runs, the total of an extraction contains the parse run that it started, which is a run of
    its own too. Where an extraction has no total, its parse run counts."""
    total = "SELECT sum(credits) FROM extend_answers.cost"
    alone = "FROM extend.processor_runs WHERE workflow_run_id IS NULL AND source = 'API' AND credits > 0 AND type ="
    [(parse_id, credits)] = query(copied, f"SELECT id, credits {alone} 'PARSE' ORDER BY id LIMIT 1")
    [(extract_id,)] = query(
        copied, f"SELECT id {alone} 'EXTRACT' AND total_credits IS NOT NULL ORDER BY id LIMIT 1"
    )
    before = query(copied, total)
    with duckdb.connect(str(copied)) as connection:
        connection.execute(
            "UPDATE extend.processor_runs SET source = 'DOCUMENT_PROCESSOR_RUN' WHERE id = ?", [parse_id]
        )
        connection.execute(
            "UPDATE extend.processor_runs SET parse_run_id = ?, total_credits = total_credits + ? WHERE id = ?",
            [parse_id, credits, extract_id],
        )
    assert query(copied, total) == before
    with duckdb.connect(str(copied)) as connection:
        connection.execute("UPDATE extend.processor_runs SET total_credits = NULL WHERE id = ?", [extract_id])
    assert query(copied, total) == before


def test_the_same_rows_on_postgres(
    server: str, reviewed: Sandbox, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each view has the same columns and the same rows in PostgreSQL as in DuckDB."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server)
    for dataset in ("extend", "plextera"):
        load_runs(connect(reviewed, dataset), Target(dataset, destination="postgres"))
        assert renew_views(Target(dataset, destination="postgres")) == 0
        _, views = views_of(database, dataset)
        for view in views:
            name = f'{dataset}_answers."{view.name}"'
            columns, rows = rows_of_duckdb(database, name)
            found_columns, found = rows_of_postgres(server, name)
            assert found_columns == columns
            for in_postgres, in_duckdb in zip(found, rows, strict=True):
                assert in_postgres == in_duckdb, name


def test_no_model_of_accuracy_counts_try_outs(copied: Path) -> None:
    """A run that somebody made in Studio may have another configuration than the published one."""
    models = ("leaves", "scores", "field_accuracy", "edits", "straight_through", "ground_truth_accuracy")
    assert all(rows_of_duckdb(copied, f"extend_answers.{name}")[1] for name in models)
    with duckdb.connect(str(copied)) as connection:
        connection.execute("UPDATE extend.processor_runs SET source = 'STUDIO'")
    assert [name for name in models if rows_of_duckdb(copied, f"extend_answers.{name}")[1]] == []


def test_somebody_else_s_view_on_postgres(
    server: str,
    reviewed: Sandbox,
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where it reads one of ours, PostgreSQL refuses to make that anew: the load ends well and says what to do, the old
    views stay, and the command fails."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server)
    target = Target("guarded", destination="postgres")
    load_runs(connect(reviewed, "extend"), target)
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE VIEW public.mine AS SELECT count(*) FROM guarded_answers.documents")
        cursor.execute("COMMENT ON VIEW guarded_answers.leaves IS 'An older one\nMade by docruns, older/1'")
    assert load_runs(connect(reviewed, "extend"), target).complete
    assert "The views of guarded_answers could not be made" in caplog.text
    assert "docruns models" in caplog.text
    with pytest.raises(DocrunsError, match="depend"):
        renew_views(target)
    assert rows_of_postgres(server, "guarded_answers.documents") == rows_of_duckdb(
        database, "extend_answers.documents"
    )


def test_a_transaction_that_does_not_end(
    server: str, reviewed: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A session that has read a view and does not end its transaction does not stop a load."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server)
    target = Target("held", destination="postgres")
    load_runs(connect(reviewed, "extend"), target)
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("COMMENT ON VIEW held_answers.leaves IS 'An older one\nMade by docruns, older/1'")
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM held_answers.leaves")
        assert load_runs(connect(reviewed, "extend"), target).complete
        assert "lock timeout" in caplog.text
    assert renew_views(target) > 18


def test_postgres_counts_the_rows_of_new_tables(
    server: str, reviewed: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the models join tables that a load has filled, PostgreSQL counts their rows: else it joins them row by row.
    A load with nothing new leaves that out."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server)
    counted = "SELECT analyze_count FROM pg_stat_user_tables WHERE schemaname = 'counted' AND relname = %s"
    for _ in range(2):
        load_runs(connect(reviewed, "extend"), Target("counted", destination="postgres"))
        for table in ("fields", "processor_runs"):
            assert postgres_rows(server, counted, table) == [(1,)]


def test_a_dataset_that_is_not_there(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command does not say that its views are up to date."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server)
    with pytest.raises(ConfigError, match="--dataset: postgres has no tables in nowhere"):
        renew_views(Target("nowhere", destination="postgres"))


def test_an_older_duckdb_reads_the_views(database: Path, tmp_path: Path) -> None:
    """DuckDB 1.2 opens the database and makes the rows of each view, also of a published copy."""
    published = tmp_path / "p.duckdb"
    publish_copy(database, published, "older")
    names = [f'extend_answers."{view.name}"' for view in views_of(database, "extend")[1]]
    statements = [f"SELECT count(*) FROM (SELECT * FROM {name})" for name in names]
    expected = [[[count]] for count in (len(rows_of_duckdb(database, name)[1]) for name in names)]
    _, *found = run_with(OLDEST, published, *statements)
    assert found == expected
