"""How long each model takes over many leaves, beside the plainest query over the same rows in the same run, and how
long it takes to make the views of 200 processors.

    .venv/bin/python tests/benchmarks/models.py [LEAVES …] [MODEL …]

By default 1,000,000 and 10,000,000 leaves, and all models. A document has 40 leaves, a processor 50 fields; half of the
documents are reviewed. Each model's rows are all made. Times are medians of three rounds, of one round where there are
more than a million leaves. Where other programs run, only the ratio to the plainest query says something: the plainest
query runs again before each model.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).parents[1]))

from docruns.models import per_processor
from docruns.models.dialects import literal
from docruns.models.model import models
from support.simulated import DATASET, make_views

PLAIN = f"SELECT field, count(*), avg(logprobs_confidence) FROM {DATASET}.fields GROUP BY field"
ROUNDS = 3
FEW = 1_000_000
"""Leaves up to which each query runs in several rounds."""

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
               3 AS page_count, 5.0 AS credits
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
    make_views(connection)


def seconds(connection: duckdb.DuckDBPyConnection, query: str, rounds: int = ROUNDS) -> float:
    """The median time to make all rows of a query."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        connection.execute(f"CREATE OR REPLACE TEMP TABLE made AS {query}")
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def views_seconds(connection: duckdb.DuckDBPyConnection) -> tuple[int, float]:
    """How many views 200 processors have, and the time to make them in one transaction. A fifth of the fields are those
    of items."""
    rows = [
        (f"p{n}", f"Processor {n}", f"items[].field_{m}" if m % 5 == 0 else f"field_{m}", "string")
        for n in range(PROCESSORS)
        for m in range(FIELDS)
    ]
    started = time.perf_counter()
    views = list(per_processor.views(per_processor.leaves_of(rows), DATASET))
    connection.execute("BEGIN")
    for view in views:
        name = f"{DATASET}_answers.{view.name}"
        connection.execute(f"CREATE VIEW {name} AS {view.query}")
        connection.execute(f"COMMENT ON VIEW {name} IS {literal(view.about)}")
    connection.execute("COMMIT")
    return len(views), time.perf_counter() - started


def measure(leaves: int, names: list[str]) -> None:
    """Print the times of the models over so many leaves."""
    rounds = ROUNDS if leaves <= FEW else 1
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(f"{folder}/m.duckdb") as connection:
        fill(connection, leaves)
        connection.execute("CHECKPOINT")
        print(f"{leaves:,} leaves: seconds, and how many times those of the plainest query")
        for name in names:
            plain = seconds(connection, PLAIN)
            took = seconds(connection, f"SELECT * FROM {DATASET}_answers.{name}", rounds)
            print(f"  {name:<22} {took:8.3f} s {took / plain:7.1f} × {plain:.3f} s", flush=True)
        number, took = views_seconds(connection)
        print(f"  {number} views of {PROCESSORS} processors {took:.3f} s", flush=True)


def main(words: list[str]) -> None:
    sizes = [int(word.replace(",", "")) for word in words if word[0].isdigit()]
    names = [word for word in words if not word[0].isdigit()]
    for leaves in sizes or [1_000_000, 10_000_000]:
        measure(leaves, names or [model.name for model in models()])


if __name__ == "__main__":
    main(sys.argv[1:])
