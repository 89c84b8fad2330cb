"""`docruns.read`, `docruns sql` and `docruns models` on a loaded database."""

from __future__ import annotations

import csv
import io
import json
import re
import stat
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from pandas.testing import assert_frame_equal
from typer.testing import CliRunner

import docruns
from docruns.commands.answers.dataset_views import views_of
from docruns.commands.cli.app import app
from docruns.commands.load import load_runs
from docruns.core.errors import ConfigError, DocrunsError
from docruns.core.tables import FIELDS
from docruns.models import per_processor
from docruns.providers.extend import connect_extend
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from support.loading import connect, query
from support.processes import short_files


def run(*words: str, code: int = 0) -> str:
    """What the command prints on stdout."""
    ended = CliRunner().invoke(app, list(words))
    if isinstance(ended.exception, ConfigError):
        assert code == ended.exception.exit_code
        return str(ended.exception)
    assert ended.exit_code == code, ended.output
    return ended.stdout


ONE_EACH = {
    "processor": "SELECT processor_name FROM extend.processor_runs WHERE type = 'EXTRACT' AND processor_name IS NOT NULL "
    "GROUP BY ALL ORDER BY count(*) DESC LIMIT 1",
    "version": "SELECT max(processor_version) FROM extend_answers.documents",
    "source": "SELECT source FROM extend_answers.documents GROUP BY ALL ORDER BY count(*) DESC LIMIT 1",
    "workflow": "SELECT workflow_name FROM extend.workflow_runs GROUP BY ALL ORDER BY count(*) DESC LIMIT 1",
    "since": "SELECT median(created_at)::TIMESTAMP::VARCHAR FROM extend.processor_runs",
    "until": "SELECT median(created_at)::TIMESTAMP::VARCHAR FROM extend.processor_runs",
}
"""A value for each way to choose runs, by its argument."""

COLUMNS = {
    "processor": "processor_name = ?", "version": "processor_version = ?", "source": "source = ?",
    "since": "created_at >= ?::TIMESTAMPTZ", "until": "created_at < ?::TIMESTAMPTZ",
    "workflow": "workflow_run_id IN (SELECT id FROM extend.workflow_runs WHERE workflow_name = ?)",
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_EACH)
def test_some_runs(name: str, database: Path) -> None:
    """The models count the chosen runs, and only these; every model and every processor's view can be read."""
    data = docruns.read(database, "extend")
    ((value,),) = query(database, ONE_EACH[name])
    chosen = data.where(**{name: value})
    expected = query(
        database, f"SELECT processor_run_id FROM extend_answers.documents WHERE {COLUMNS[name]}", value
    )
    assert {*chosen.model("documents").processor_run_id} == {id for (id,) in expected}
    assert 0 < len(expected) < len(data.model("documents"))
    assert {*chosen.model("leaves").processor_run_id} <= {id for (id,) in expected}
    assert f"where({name}=" in repr(chosen)
    for view in views_of(database, "extend")[1]:
        assert list(chosen.model(view.name)) == list(data.model(view.name))


def test_all_runs_that_are_chosen(database: Path) -> None:
    """A choice of everything changes no row of any model; of nothing, none has rows."""
    data = docruns.read(database, "extend")
    for model in data.models:
        if model == "backlog":
            # its ages go on
            continue
        query_text = f"SELECT * FROM {model} ORDER BY ALL"
        # the sum of floats depends on the order of rows in its last digit
        assert_frame_equal(data.where(since="2000-01-01").sql(query_text), data.sql(query_text), rtol=1e-12)
        assert data.where(until="2000-01-01").sql(query_text).empty or model == "ground_truth_accuracy"


@pytest.mark.parametrize("table", ["fields", "insights", "citations", "splits", "workflow_steps"])
def test_tables_of_some_runs(table: str, database: Path) -> None:
    """Tables with rows of runs have those of the chosen runs, however the query spells their names."""
    data = docruns.read(database, "extend")
    some = data.where(since=query(database, ONE_EACH["since"])[0][0])
    of, runs = (
        ("workflow_run_id", "workflow_runs")
        if table == "workflow_steps"
        else ("processor_run_id", "processor_runs")
    )
    chosen = some.sql(f"SELECT {of} FROM {table.upper()}")[of]
    assert {*chosen} == {*some.sql(f"SELECT id FROM {runs} JOIN {table} ON {of} = id").id}
    assert 0 < len(chosen) < len(data.sql(f"FROM {table}"))
    assert len(some.sql("SELECT * FROM Documents")) == len(some.model("documents"))


def test_choices_of_a_dataset_without_workflow_runs(copied: Path) -> None:
    """A key may see stand-alone runs only: then there is no table of workflow runs."""
    with duckdb.connect(str(copied)) as connection:
        connection.execute("DROP TABLE extend.workflow_runs; DROP TABLE extend.workflow_steps")
    data = docruns.read(copied, "extend")
    assert len(data.where(since="2000-01-01").sql("SELECT * FROM processor_runs")) > 0
    with pytest.raises(DocrunsError, match="lacks a table or a column"):
        data.where(workflow="Mailroom").sql("SELECT * FROM processor_runs")


def test_choices_add_up(database: Path) -> None:
    """A second choice narrows the first; several names are a list; what is no time is an error."""
    data = docruns.read(database, "extend")
    names = [str(name) for name in data.model("documents").processor_name.unique()]
    assert "inline" in names and len(names) > 2
    some = data.where(processor=names[1:], since="2000-01-01")
    assert {*some.model("documents").processor_name} == {*names[1:]}
    for name in names:
        assert {*data.where(processor=name).model("documents").processor_name} == {name}
    assert {*some.where(processor=names[1]).model("documents").processor_name} == {names[1]}
    assert some.where(source=[]).model("documents").empty
    with pytest.raises(ConfigError, match="since: is no time: yesterday"):
        data.where(since="yesterday")


def test_frames(database: Path) -> None:
    """Each method gives the rows of its view, with types in which integers and booleans may be null."""
    data = docruns.read(database)
    assert data.dataset == "extend"
    assert len(data.model("field_accuracy")) == count(database, "extend_answers.field_accuracy")
    invoices = data.documents("Supplier invoice")
    (processor_id,) = query(
        database,
        "SELECT DISTINCT processor_id FROM extend.processor_runs WHERE processor_name = 'Supplier invoice'",
    )[0]
    assert {*data.documents(processor_id).processor_run_id} == {*invoices.processor_run_id}
    assert len(invoices) == count(database, "extend_answers.doc_supplier_invoice")
    assert {"invoice_number", "invoice_number__score", "invoice_number__edited", "reviewed"} <= {
        *invoices.columns
    }
    assert invoices.invoice_number__edited.dtype == invoices.reviewed.dtype == "boolean"
    assert str(invoices.created_at.dtype).endswith("UTC]")
    items = data.items("Supplier invoice", "line_items")
    assert items.item_index.dtype == "Int64"
    reviewed = data.fields(processor="Supplier invoice", reviewed=True)
    assert reviewed.is_reviewed.all()
    assert len(reviewed) + len(data.fields(processor="Supplier invoice", reviewed=False)) == len(
        data.fields(processor="Supplier invoice")
    )


def count(database: Path, table: str) -> int:
    return int(query(database, f"SELECT count(*) FROM {table}")[0][0])


def test_items_are_the_final_ones(database: Path) -> None:
    """The items of a view are those that the final arrays have, with their values."""
    data = docruns.read(database)
    items = data.items("Supplier invoice", "line_items")
    plain = query(
        database,
        "SELECT count(DISTINCT (f.processor_run_id, f.item_index)), round(sum(f.value_number) FILTER (f.name = 'amount'), 2) "
        "FROM extend.fields f JOIN extend_answers.documents d USING (processor_run_id) "
        "WHERE d.processor_name = 'Supplier invoice' AND f.kind = 'leaf' AND f.value_json IS NOT NULL "
        "AND starts_with(f.field, 'line_items[].')",
    )[0]
    assert (len(items), round(items.amount.sum(), 2)) == plain


def test_sql(database: Path) -> None:
    """Names need no schema, parameters are bound, and exact numbers stay exact on request."""
    data = docruns.read(database, "plextera")
    assert data.sql("SELECT count(*) AS n FROM workflow_runs WHERE status = ?", ["none"]).n[0] == 0
    amounts = data.sql("SELECT 1.10::DECIMAL(9, 2) AS amount, 2 AS n", decimals=True)
    assert amounts.amount[0] == Decimal("1.10")
    assert amounts.n.dtype == "Int64"
    with pytest.raises(DocrunsError, match="nothing"):
        data.sql("SELECT nothing FROM fields")


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda file: docruns.read(file.with_name("none.duckdb")), "does not exist"),
        (lambda file: docruns.read(file, "other"), "It has extend, plextera"),
        (lambda file: docruns.read(file).model("nothing"), "It has backlog"),
        (lambda file: docruns.read(file).documents("Nothing"), "Supplier invoice"),
        (lambda file: docruns.read(file).items("Supplier invoice", "nothing"), "It has line_items"),
    ],
    ids=["file", "dataset", "model", "processor", "array"],
)
def test_a_wrong_name(database: Path, ask: Any, words: str) -> None:
    """The error says which names there are."""
    with pytest.raises(ConfigError, match=words):
        ask(database)


def test_outputs(database: Path, tmp_path: Path) -> None:
    """CSV, JSON and Parquet hold the same rows; a file may hold the query."""
    file = tmp_path / "q.sql"
    file.write_text(
        "-- the newest\nSELECT id, status, created_at FROM workflow_runs ORDER BY created_at, id LIMIT 5;\n"
    )
    where = ("--database", str(database))
    lines = [json.loads(line) for line in run("sql", str(file), "--json", *where).splitlines()]
    table = list(csv.DictReader(io.StringIO(run("sql", str(file), *where))))
    assert [row["id"] for row in lines] == [row["id"] for row in table]
    assert len(lines) == 5
    run("sql", str(file), "--output", str(tmp_path / "q.parquet"), *where)
    found = duckdb.sql(f"SELECT id FROM '{tmp_path}/q.parquet'").fetchall()
    assert [id_ for (id_,) in found] == [row["id"] for row in lines]
    message = run("sql", str(file), "--output", str(tmp_path / "q.CSV"), *where, code=2)
    assert message.startswith("--output: writes Parquet") and "--csv" in message
    assert not (tmp_path / "q.CSV").exists()


def test_columns_of_equal_names(database: Path, tmp_path: Path) -> None:
    """Each output holds all columns, under the same names."""
    words = ("sql", "SELECT 1 AS edited, 2 AS edited, 3 AS Edited", "--database", str(database))
    names = ["edited", "edited_1", "Edited_2"]
    assert json.loads(run(*words, "--json")) == dict(zip(names, (1, 2, 3), strict=True))
    assert run(*words, "--csv").splitlines() == [",".join(names), "1,2,3"]
    run(*words, "--output", str(tmp_path / "q.parquet"))
    assert duckdb.sql(f"FROM '{tmp_path}/q.parquet'").columns == names


def test_numbers_that_json_does_not_have(database: Path) -> None:
    """NaN is null and an infinite number a text, also inside of lists and structs."""

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    values = "'nan'::DOUBLE AS n, ['-inf'::FLOAT, 0.5] AS f, {'a': {'b': 'inf'::DOUBLE}} AS s, MAP {'nan'::DOUBLE: 'nan'::DOUBLE} AS m"
    line = run("sql", f"SELECT {values}, 'é' AS t", "--json", "--database", str(database))
    found = json.loads(line, parse_constant=refuse)
    assert found == {
        "n": None,
        "f": ["-Infinity", 0.5],
        "s": {"a": {"b": "Infinity"}},
        "m": {"nan": None},
        "t": "é",
    }


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE extend.fields",
        "SELECT 1; SELECT 2",
        "COPY extend.fields TO '{}'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{}'",
        "SELECT nothing FROM fields",
        "x.sql",
    ],
)
def test_what_is_no_query(database: Path, tmp_path: Path, statement: str) -> None:
    """It is refused, nothing runs, and the error names the argument."""
    written = tmp_path / "written.csv"
    assert run("sql", statement.format(written), "--database", str(database), code=2).startswith("QUERY: ")
    assert not written.exists()


@pytest.mark.parametrize("statement", ["", "SELECT 1; SELECT 2", "COPY (SELECT 1) TO '{}'", "DROP VIEW cost"])
def test_what_is_no_query_in_python(database: Path, tmp_path: Path, statement: str) -> None:
    """It is refused, and nothing runs."""
    written = tmp_path / "written.csv"
    with pytest.raises(ConfigError, match=r"^query: must be one query"):
        docruns.read(database, "extend").sql(statement.format(written))
    assert not written.exists()


def test_views_of_others(copied: Path) -> None:
    """`docruns models NAME --sql` shows the SQL of a view or table that somebody else has made among the models."""
    with duckdb.connect(str(copied)) as connection:
        connection.execute(
            "CREATE VIEW extend_answers.mine AS SELECT 7 AS n; CREATE TABLE extend_answers.own (n INT)"
        )
    for name, words in (("mine", "SELECT 7"), ("own", "CREATE TABLE")):
        assert words in run("models", name, "--sql", "--database", str(copied), "--dataset", "extend")


def test_a_file_that_is_no_text(database: Path, tmp_path: Path) -> None:
    """The error names the file."""
    (tmp_path / "bad.sql").write_bytes(b"SELECT \xff")
    assert "bad.sql: not UTF-8" in run("sql", str(tmp_path / "bad.sql"), "--database", str(database), code=2)


@pytest.mark.parametrize(
    "words",
    [
        ("models", "--csv"),
        ("models", "--sql"),
        ("models", "cost", "--sql", "--json"),
        ("models", "cost", "--dbt", "folder"),
        ("models", "cost", "--materialized", "table", "--json"),
        ("models", "--materialized", "view", "--dbt", "folder"),
        ("sql", "SELECT 1", "--csv", "--json"),
    ],
)
def test_options_that_do_not_go_together(database: Path, words: tuple[str, ...]) -> None:
    """None of them is dropped without a word."""
    run(*words, "--database", str(database), code=2)


def test_a_query_that_ends_with_a_comment(database: Path, tmp_path: Path) -> None:
    """It can be written into a file, which only its owner can read."""
    output = tmp_path / "q.parquet"
    run("sql", "SELECT 7 AS n; -- the end", "--output", str(output), "--database", str(database))
    assert duckdb.sql(f"SELECT n FROM '{output}'").fetchall() == [(7,)]
    assert stat.S_IMODE(output.stat().st_mode) == 0o600


@pytest.mark.parametrize("old", [b"old", None])
def test_a_parquet_file_that_cannot_be_written(database: Path, tmp_path: Path, old: bytes | None) -> None:
    """The error names the option; the old file stays, and nothing beside it."""
    output = tmp_path / "out" / "q.parquet"
    output.parent.mkdir()
    if old:
        output.write_bytes(old)
    words = ("sql", "SELECT uuid() FROM range(100_000)", "--output", str(output), "--database", str(database))
    with short_files(1_000):
        text = run(*words, code=2)
    assert re.match(r"--output: \S+q\.parquet cannot be written \(File too large\)", text)
    assert [path.read_bytes() for path in output.parent.iterdir()] == ([old] if old else [])


def test_the_database_is_no_place_for_rows(copied: Path) -> None:
    """Neither by its name nor by a link is the file that is read replaced."""
    before, link = copied.read_bytes(), copied.with_name("link.parquet")
    link.symlink_to(copied)
    for output in (copied, link):
        text = run("sql", "SELECT 1 AS n", "--output", str(output), "--database", str(copied), code=2)
        assert text.startswith(f"--output: {output} is the database.")
    assert copied.read_bytes() == before


def test_rows_that_cannot_be_written(database: Path) -> None:
    """The exit code tells that rows are lost."""
    words = ("sql", "SELECT * FROM fields", "--database", str(database))
    program = [sys.executable, "-m", "docruns", *words]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert "stdout: cannot be written" in ended.stderr


def test_a_value_in_an_error(database: Path) -> None:
    """A value that cannot be converted is not in the message."""
    text = run("sql", "SELECT 'PLANTED'::INTEGER FROM fields", "--database", str(database), code=2)
    assert "ConversionException" in text
    assert "PLANTED" not in text


def test_models(database: Path) -> None:
    """The command lists views, and prints rows or SQL of one; the SQL runs by itself."""
    where = ("--database", str(database))
    listed = run("models", *where)
    assert listed.splitlines()[0].startswith("leaves ")
    assert "One extraction of Supplier invoice" in listed
    sql = run("models", "cost", "--sql", *where)
    assert sql.startswith("-- The bill of one month")
    assert len(query(database, sql)) == len(run("models", "cost", *where).splitlines()) - 1
    assert "It has backlog" in run("models", "nothing", *where, code=2)


def test_cost_adds_up_to_the_bill(database: Path) -> None:
    """The model has each credit once: those of outermost workflow runs, and of runs outside of workflow runs."""
    bill = query(
        database,
        "SELECT (SELECT sum(credits) FROM extend.workflow_runs WHERE coalesce(depth, 0) = 0) "
        "+ (SELECT sum(coalesce(total_credits, credits)) FROM extend.processor_runs WHERE workflow_run_id IS NULL)",
    )[0][0]
    assert query(database, "SELECT sum(credits) FROM extend_answers.cost")[0][0] == pytest.approx(
        bill, abs=1e-6
    )


def test_a_setting_for_what_matters(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With critical fields, a wrong field that is none of them does not make a document wrong. Another shape of the
    setting is an error that shows the right one."""
    straight = (
        "SELECT sum(\"right\") FROM extend_answers.straight_through WHERE processor_name = 'Supplier invoice'"
    )
    before = query(copied, straight)[0][0]
    monkeypatch.setenv("ANSWERS__CRITICAL", json.dumps({"Supplier invoice": ["invoice_number"]}))
    run("models", "--database", str(copied))
    assert query(copied, straight)[0][0] > before
    monkeypatch.setenv("ANSWERS__CRITICAL", json.dumps({"Supplier invoice": "invoice_number"}))
    assert "answers.critical" in run("models", "--database", str(copied), code=2)


def test_critical_fields_that_no_document_has(
    copied: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A processor or a field that the dataset lacks is named: without a word, all of its fields would count, or none."""
    critical = {"Suplier invoice": ["total"], "Supplier invoice": ["invoice_number", "invoice_nr"]}
    monkeypatch.setenv("ANSWERS__CRITICAL", json.dumps(critical))
    run("models", "--database", str(copied), "--dataset", "extend")
    assert [record.getMessage() for record in caplog.records] == [
        'answers.critical."Suplier invoice": extend has no extractions of that processor',
        'answers.critical."Supplier invoice": no extraction has the field invoice_nr',
    ]


def test_no_views(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `answers.views` false a load makes none, and a model's name gets an error that says what to do."""
    monkeypatch.setenv("ANSWERS__VIEWS", "false")
    path = tmp_path / "n.duckdb"
    with Sandbox(runs=3, standalone=0, seed=18, document_size="light", plextera_runs=0) as sandbox:
        load_runs(connect(sandbox, "extend"), Target("extend", path))
    assert "Run `docruns models`" in run("models", "cost", "--database", str(path), code=2)
    run("models", "--database", str(path))
    assert count(path, "extend_answers.documents") > 0


def test_a_wrong_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load names it before it sends a request."""
    monkeypatch.setenv("ANSWERS__VIEWS", "maybe")
    platform = connect_extend(base_url="http://127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"answers\.views"):
        load_runs(platform, Target("extend", tmp_path / "w.duckdb"))


def test_a_view_that_was_dropped(copied: Path) -> None:
    """The command makes it again, and says that it did."""
    with duckdb.connect(str(copied)) as connection:
        connection.execute("DROP VIEW extend_answers.doc_supplier_invoice")
    run("models", "--database", str(copied))
    assert count(copied, "extend_answers.doc_supplier_invoice") > 0


def test_a_load_that_was_killed_before_the_views(copied: Path, reviewed: Sandbox) -> None:
    """The next load reads the fields of what it brought, though it brings nothing itself."""
    with duckdb.connect(str(copied)) as connection:
        # as a killed load leaves it: rows and their package, and no view of them
        connection.execute(
            "UPDATE extend.processor_runs SET processor_id = 'ex_new', processor_name = 'Quite new' "
            "WHERE processor_name = 'Supplier invoice'"
        )
        connection.execute(
            "INSERT INTO extend.syncs BY NAME SELECT 'zzz' AS load_id, 'extend' AS provider, 1 AS fetched, "
            "'zzz' AS _dlt_load_id"
        )
    assert load_runs(connect(reviewed, "extend"), Target("extend", copied)).fetched == 0
    assert count(copied, "extend_answers.doc_quite_new") > 0


def test_names_of_views() -> None:
    """No two views have the same name, and a processor that was renamed has one whatever the order of rows."""
    rows = [
        ("ex_1", "a", "b[].c", "string"),
        ("ex_2", "a__b", "total", "number"),
        ("ex_3", "A  b", "total", "number"),
        ("ex_4", "old", "x", "string"),
        ("ex_4", "new", "y", "string"),
        ("ex_5", "x" * 80, "source", "string"),
        ("ex_5", "x" * 80, "total", "number"),
        ("ex_5", "x" * 80, "total__score", "number"),
    ]
    views = [*per_processor.views(per_processor.leaves_of(rows), "d")]
    names = [view.name for view in views]
    assert len({*names}) == len(names) == 6
    assert max(map(len, names)) <= per_processor.MAX_NAME
    assert views == [*per_processor.views(per_processor.leaves_of(rows[::-1]), "d")]
    columns = re.findall(r'AS "(\w+)"', next(view.query for view in views if "xxx" in view.name))
    assert len({*columns}) == len(columns)
    assert "source" not in columns


def test_someone_else_s_view_stays(copied: Path) -> None:
    """A view that docruns has not made stays, also where all others are made anew."""
    with duckdb.connect(str(copied)) as connection:
        connection.execute("CREATE VIEW extend_answers.mine AS SELECT 1 AS one FROM extend_answers.documents")
        connection.execute("COMMENT ON VIEW extend_answers.leaves IS 'An older one\nMade by docruns, older'")
    run("models", "--database", str(copied))
    assert count(copied, "extend_answers.mine") == count(copied, "extend_answers.documents")


def test_a_dataset_of_an_earlier_version(copied: Path) -> None:
    """Tables and columns that a dataset lacks count as empty: each model still has its columns."""
    with duckdb.connect(str(copied)) as connection:
        connection.execute("DROP TABLE extend.charges; DROP TABLE extend.evaluation_sets")
        connection.execute("ALTER TABLE extend.processor_runs DROP COLUMN source")
        connection.execute("ALTER TABLE extend.processor_runs DROP COLUMN total_credits")
    run("models", "--database", str(copied))
    assert count(copied, "extend_answers.ground_truth_accuracy") == 0
    assert count(copied, "extend_answers.documents") > 0
    assert query(copied, "SELECT count(*) FROM extend_answers.cost WHERE product IS NOT NULL") == [(0,)]


def test_a_dbt_project(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project has each view as a model with a test of its grain, and each table with its columns; a folder that holds
    something else is refused. `make test-dbt` builds it."""
    where = ("--database", str(database))
    folder = tmp_path / "project"
    run("models", "--dbt", str(folder), *where)
    run("models", "--dbt", str(folder), *where)
    written = {path.stem for path in folder.glob("models/*/*.sql")}
    assert written == {
        view
        for (view,) in query(
            database, "SELECT view_name FROM duckdb_views() WHERE schema_name = 'extend_answers'"
        )
    }
    sources = yaml.safe_load((folder / "models/sources.yml").read_text())["sources"][0]["tables"]
    fields = next(table for table in sources if table["name"] == "fields")
    assert {column["name"] for column in fields["columns"]} == {*FIELDS.names} - {"_cleared"}
    assert "{{ ref('leaves') }}" in (folder / "models/answers/edits.sql").read_text()
    monkeypatch.setenv("ANSWERS__CRITICAL", json.dumps({"Supplier invoice": ["total"]}))
    run("models", "--dbt", str(folder), *where)
    assert "field IN ('total')" in (folder / "macros/docruns_functions.sql").read_text()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    assert "holds something else" in run("models", "--dbt", str(tmp_path / "other"), *where, code=2)
