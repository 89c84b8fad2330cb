"""The platform's own client, 16 threads, rows in Python, pandas, DuckDB: a user's first
solution."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import duckdb
import pandas as pd
from contract import THREADS, TOKEN, arguments, measured
from extend_ai import Extend
from flat import KEYS, rows_of


def main() -> None:
    """Load a platform."""
    asked = arguments()
    with measured() as told, ThreadPoolExecutor(THREADS) as pool:
        client = Extend(token=TOKEN, base_url=asked.base_url)
        ids: list[str] = []
        token = None
        while True:
            page = client.workflow_runs.list(sort_by="updatedAt", max_page_size=1000, next_page_token=token)
            ids += [run.id for run in page.data]
            token = page.next_page_token
            if not token:
                break
        tables: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for run in pool.map(client.workflow_runs.retrieve, ids):
            told.runs += 1
            # the client's .dict() takes fifty times as long, because of warnings
            plain = run.model_dump(by_alias=True, warnings=False)
            for name, rows in rows_of(plain).items():
                tables[name] += rows
        with duckdb.connect(str(asked.database)) as database:
            database.execute("CREATE SCHEMA IF NOT EXISTS extend")
            for name, rows in tables.items():
                frame = pd.DataFrame(rows)
                key = ", ".join(KEYS[name])
                database.register("frame", frame)
                database.execute(f"CREATE TABLE IF NOT EXISTS extend.{name} AS FROM frame LIMIT 0")
                database.execute(f"DELETE FROM extend.{name} WHERE ({key}) IN (SELECT ({key}) FROM frame)")
                database.execute(f"INSERT INTO extend.{name} BY NAME FROM frame")


if __name__ == "__main__":
    main()
