"""How long each model takes over many leaves, beside the plainest query over the same rows in the same run.

    .venv/bin/python tests/benchmarks/models.py [LEAVES …]          1,000,000 and 10,000,000 by default

A document has 40 leaves, a processor 50 fields; half of the documents are reviewed. Each model's rows are all made.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).parents[1]))

from docruns.models.model import models
from support.simulated import DATASET, make_views

PLAIN = f"SELECT field, count(*), avg(logprobs_confidence) FROM {DATASET}.fields GROUP BY field"
ROUNDS = 3


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
               'field_' || (i % 50) AS field, 'leaf' AS kind, 'string' AS type, '"model ' || i % 1000 || '"' AS initial_json,
               '"model ' || CASE WHEN wrong THEN i % 999 ELSE i % 1000 END || '"' AS value_json,
               CASE WHEN i // 40 % 2 = 0 THEN wrong END AS edited,
               CASE WHEN wrong AND i // 40 % 2 = 0 THEN 'changed' END AS edit_kind,
               round(score, 3) AS ocr_confidence, round(score, 3) AS logprobs_confidence, 1 + (score * 5)::BIGINT % 5 AS review_agent_score
        FROM (SELECT i, random() AS score, random() < 0.1 AS wrong FROM range({leaves}) AS t (i))
    """)
    make_views(connection)


def seconds(connection: duckdb.DuckDBPyConnection, query: str) -> float:
    """The median time to make all rows of a query."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        connection.execute(f"CREATE OR REPLACE TEMP TABLE made AS {query}")
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main(sizes: list[int]) -> None:
    for leaves in sizes:
        with tempfile.TemporaryDirectory() as folder, duckdb.connect(f"{folder}/m.duckdb") as connection:
            fill(connection, leaves)
            connection.execute("CHECKPOINT")
            plain = seconds(connection, PLAIN)
            print(f"{leaves:,} leaves: the plainest query takes {plain:.3f} s")
            for model in models():
                took = seconds(connection, f"SELECT * FROM {DATASET}_answers.{model.name}")
                print(f"  {model.name:<22} {took:8.3f} s {took / plain:7.1f}", flush=True)


if __name__ == "__main__":
    main([int(text.replace(",", "")) for text in sys.argv[1:]] or [1_000_000, 10_000_000])
