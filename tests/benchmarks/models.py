"""How long each model takes over many leaves, beside the plainest query over the same rows in the same run; how long its
table takes to fill and to read; and how long it takes to make the views of 200 processors.

    .venv/bin/python tests/benchmarks/models.py [LEAVES …] [MODEL …]

By default 1,000,000 and 10,000,000 leaves, and all models. A document has 40 leaves, a processor 50 fields; half of the
documents are reviewed. Times are CPU seconds of all threads, so that they say something where other programs run, too:
medians of three rounds, of one round where there are more than a million leaves. The plainest query runs again before
each model.

    view    all rows of the view are made; of a model with a row for each leaf, the plainest query runs on the view
    fill    the rows of the table are replaced, from the models before it
    table   all rows of the table are read; of lineage, the plainest query runs on the table
    join    the view of lineage, beside the plainest query that joins the leaves with their citations
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).parents[1]))

from docruns.commands.answers.statements import Made, Making
from docruns.models import per_processor
from docruns.models.dialects import functions, translate
from docruns.models.model import ALWAYS_VIEWS, LARGE, ORDER, View, models
from docruns.models.reader import tables_of
from support.simulated import DATASET, make_views

PLAIN = "SELECT field, count(*), avg({score}) FROM {rows} GROUP BY field"
ROUNDS = 3
FEW = 1_000_000
"""Leaves up to which each query runs in several rounds."""

JOINED = (
    "SELECT f.field, count(*), avg(c.page) FROM {dataset}.fields f "
    "LEFT JOIN {dataset}.citations c ON c.processor_run_id = f.processor_run_id AND c.path = f.path GROUP BY f.field"
)
"""The plainest query that joins the leaves with their citations, as lineage must."""

ROWS_OF_LEAVES = {"leaves": "logprobs_confidence", "scores": "value", "lineage": "page"}
"""Models with a row for each leaf, and the column that the plainest query averages on them: the same question, asked of
the model."""

STORED = {*ORDER} - ALWAYS_VIEWS - LARGE | {"lineage"}
"""The models that are tables here: all that `--materialized table` makes so, and lineage, whose view is the slowest."""

PROCESSORS, FIELDS = 200, 50


def fill(connection: duckdb.DuckDBPyConnection, leaves: int) -> None:
    """The tables that most models read."""
    documents = leaves // 40
    connection.execute(f"CREATE SCHEMA {DATASET}; CREATE SCHEMA {DATASET}_answers; SELECT setseed(0.5)")
    connection.execute(f"""
        CREATE TABLE {DATASET}.processor_runs AS
        SELECT 'exr_' || lpad(i::TEXT, 20, '0') AS id, 'wfr_' || lpad(i::TEXT, 20, '0') AS workflow_run_id,
               'p' || i % 20 AS processor_id, 'Processor ' || i % 20 AS processor_name, 'v' || i * 3 // {documents} AS processor_version,
               'EXTRACT' AS type, TRUE AS is_final, 'PROCESSED' AS status, NULL::TIMESTAMPTZ AS deleted_at,
               i % 2 = 0 AS reviewed, TIMESTAMPTZ '2026-01-01 00:00:00Z' + INTERVAL 1 MINUTE * i AS created_at,
               1 AS workflow_step_position, 3 AS page_count, 5.0 AS credits
        FROM range({documents}) AS t (i)
    """)
    connection.execute(f"""
        CREATE TABLE {DATASET}.fields AS
        SELECT 'exr_' || lpad((i // 40)::TEXT, 20, '0') AS processor_run_id, 'field_' || (i % 50) || '[' || i % 40 || ']' AS path,
               i % 40 AS item_index, 'model ' || i % 1000 AS value, 'field_' || (i % 50) AS field, 'leaf' AS kind, 'string' AS type, '"model ' || i % 1000 || '"' AS initial_json,
               '"model ' || CASE WHEN wrong THEN i % 999 ELSE i % 1000 END || '"' AS value_json,
               CASE WHEN i // 40 % 2 = 0 THEN wrong END AS edited,
               CASE WHEN wrong AND i // 40 % 2 = 0 THEN 'changed' END AS edit_kind,
               round(score, 3) AS ocr_confidence, round(score, 3) AS logprobs_confidence, NULL::DOUBLE AS confidence, 1 + (score * 5)::BIGINT % 5 AS review_agent_score
        FROM (SELECT i, random() AS score, random() < 0.1 AS wrong FROM range({leaves}) AS t (i))
    """)
    fill_lineage(connection)
    make_views(connection)


def fill_lineage(connection: duckdb.DuckDBPyConnection) -> None:
    """The tables around the leaves: a workflow run, a step and a file a document, a citation for every third leaf."""
    runs = f"FROM {DATASET}.processor_runs"
    connection.execute(f"""
        CREATE TABLE {DATASET}.workflow_runs AS SELECT workflow_run_id AS id, 'Invoices' AS workflow_name {runs};
        CREATE TABLE {DATASET}.workflow_steps AS
        SELECT workflow_run_id, 1 AS position, 'Extract' AS name {runs};
        CREATE TABLE {DATASET}.run_files AS
        SELECT id AS run_id, 'processor' AS run_kind, 0 AS position, 'file_' || id AS file_id, 'scan.pdf' AS name {runs};
        CREATE TABLE {DATASET}.citations AS
        SELECT processor_run_id, 'final' AS output, path, 0 AS position, 1 AS page, 'file_' || processor_run_id AS file_id,
               value AS reference_text, 0.1 AS "left", 0.2 AS top, 0.3 AS "right", 0.4 AS bottom
        FROM {DATASET}.fields WHERE item_index % 3 = 0
    """)


def seconds(connection: duckdb.DuckDBPyConnection, query: str, rounds: int = ROUNDS) -> float:
    """The median time to make all rows of a query."""
    return _median(lambda: connection.execute(f"CREATE OR REPLACE TEMP TABLE made AS {query}"), rounds)


def _median(run: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return statistics.median(times)


def plain_seconds(connection: duckdb.DuckDBPyConnection) -> float:
    """The time of the plainest query over the leaves."""
    return seconds(connection, PLAIN.format(rows=f"{DATASET}.fields", score="logprobs_confidence"))


def making(connection: duckdb.DuckDBPyConnection) -> Making:
    """The models as tables."""
    existing = tables_of(connection, DATASET)
    views = [
        View(
            each.name,
            translate(each.sql, "duckdb", DATASET, existing),
            each.about,
            each.name in STORED,
        )
        for each in models()
    ]
    return Making(DATASET, functions("duckdb", DATASET, {}), views, "benchmark", "none")


def views_seconds(connection: duckdb.DuckDBPyConnection) -> tuple[int, float]:
    """How many views 200 processors have, and the time to make them in one transaction. A fifth of the fields are those
    of items."""
    rows = [
        (f"p{n}", f"Processor {n}", f"items[].field_{m}" if m % 5 == 0 else f"field_{m}", "string")
        for n in range(PROCESSORS)
        for m in range(FIELDS)
    ]
    started = time.process_time()
    views = list(per_processor.views(per_processor.leaves_of(rows), DATASET))
    connection.execute("BEGIN")
    for statement in Making(DATASET, "", views, "benchmark", "none").replace({}):
        connection.execute(statement)
    connection.execute("COMMIT")
    return len(views), time.process_time() - started


def _question(name: str) -> str:
    """The query that reads a model."""
    rows = f"{DATASET}_answers.{name}"
    if name in ROWS_OF_LEAVES:
        return PLAIN.format(rows=rows, score=ROWS_OF_LEAVES[name])
    return f"SELECT * FROM {rows}"


def measure_views(connection: duckdb.DuckDBPyConnection, names: list[str], rounds: int) -> None:
    """Print how long the views take."""
    for name in names:
        plain = plain_seconds(connection)
        took = seconds(connection, _question(name), rounds)
        print(f"  view   {name:<22} {took:8.3f} s {took / plain:7.1f} × {plain:.3f} s", flush=True)
        if name == "lineage":
            joined = seconds(connection, JOINED.format(dataset=DATASET), rounds)
            print(f"  join   {name:<22} {took:8.3f} s {took / joined:7.1f} × {joined:.3f} s", flush=True)


def measure_tables(connection: duckdb.DuckDBPyConnection, names: list[str], rounds: int) -> None:
    """Print how long the tables take: all of them to fill, and each one to fill and to read."""
    models_as_tables = making(connection)
    for statement in models_as_tables.replace({name: Made(is_table=False, comment="") for name in ORDER}):
        connection.execute(statement)
    plain, whole = plain_seconds(connection), 0.0
    statements = [*models_as_tables.fill({*ORDER})]
    connection.execute("BEGIN")
    for clear, insert in zip(statements[::2], statements[1::2], strict=True):
        started = time.process_time()
        connection.execute(clear)
        connection.execute(insert)
        took = time.process_time() - started
        name = clear.rpartition('"."')[2].strip('"')
        print(f"  fill   {name:<22} {took:8.3f} s {took / plain:7.1f} × {plain:.3f} s", flush=True)
        whole += took
    started = time.process_time()
    connection.execute("COMMIT")
    whole += time.process_time() - started
    print(f"  fill   {'all':<22} {whole:8.3f} s {whole / plain:7.1f} × {plain:.3f} s", flush=True)
    for name in names:
        if name in STORED:
            plain = plain_seconds(connection)
            took = seconds(connection, _question(name), rounds)
            print(f"  table  {name:<22} {took:8.3f} s {took / plain:7.2f} × {plain:.3f} s", flush=True)


def measure(leaves: int, names: list[str]) -> None:
    """Print the times of the models over so many leaves."""
    rounds = ROUNDS if leaves <= FEW else 1
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(f"{folder}/m.duckdb") as connection:
        fill(connection, leaves)
        connection.execute("CHECKPOINT")
        print(f"{leaves:,} leaves: CPU seconds, and how many times those of the plainest query")
        measure_views(connection, names, rounds)
        number, took = views_seconds(connection)
        print(f"  {number} views of {PROCESSORS} processors {took:.3f} s", flush=True)
        measure_tables(connection, names, rounds)


def main(words: list[str]) -> None:
    sizes = [int(word.replace(",", "")) for word in words if word[0].isdigit()]
    names = [word for word in words if not word[0].isdigit()]
    for leaves in sizes or [1_000_000, 10_000_000]:
        measure(leaves, names or [model.name for model in models()])


if __name__ == "__main__":
    main(sys.argv[1:])
