"""DuckDB alone: read_json and SQL on a file, into tables of fields, insights and citations.

This is a limit and not a rival: it sends no requests, merges nothing, keeps no state, and its SQL
contains the structure of the documents.

    trees    json_tree walks the values
    paths    each path in metadata is looked up in its value

Everything as untyped JSON, metadata included, took five times as long.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
from contract import arguments, measured

HERE = Path(__file__).parent
CITATION = """STRUCT(fileId VARCHAR, page STRUCT("number" BIGINT, width DOUBLE, height DOUBLE),
    referenceText VARCHAR, polygon STRUCT(x DOUBLE, y DOUBLE)[])"""
INSIGHT = 'STRUCT("type" VARCHAR, content VARCHAR)'
ENTRY = f"""STRUCT(ocrConfidence DOUBLE, logprobsConfidence DOUBLE, reviewAgentScore BIGINT,
    citations {CITATION}[], insights {INSIGHT}[])"""
OUTPUT = f'STRUCT("value" JSON, metadata MAP(VARCHAR, {ENTRY}))'
STEP = f"""STRUCT(result STRUCT(extractRun STRUCT(
    id VARCHAR, output {OUTPUT}, initialOutput {OUTPUT}, reviewedOutput {OUTPUT})))"""


def main() -> None:
    """Load one file into three tables."""
    asked = arguments()
    # DuckDB's readers read whole files
    file: Path = asked.corpus / "runs.jsonl"
    if asked.runs:
        file = asked.database.with_suffix(".jsonl")
        with (asked.corpus / "runs.jsonl").open("rb") as lines, file.open("wb") as fewer:
            fewer.writelines(line for line, _ in zip(lines, range(asked.runs), strict=False))
    with file.open("rb") as lines:
        runs = sum(1 for _ in lines)
    with measured() as told, duckdb.connect(str(asked.database)) as database:
        for name in ("read", asked.way or "trees", "tables"):
            sql = (HERE / f"{name}.sql").read_text()
            database.execute(sql.replace("$file", f"'{file}'").replace("$step", STEP))
        told.runs = runs


if __name__ == "__main__":
    main()
