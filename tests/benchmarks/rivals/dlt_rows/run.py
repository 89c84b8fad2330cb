"""Flat rows as dicts through dlt: parquet instead of dlt's default format, all other settings
default.

The rows and the merge equal docruns's: all rows of a run are replaced together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import dlt
from contract import arguments, bodies, measured
from flat import KEYS, TABLES, rows_of

SET_OF = dict.fromkeys(TABLES[2:], "processor_run_id")


def main() -> None:
    """Load a corpus."""
    asked = arguments()
    with measured() as told:

        @dlt.resource(name="workflow_runs")
        def runs() -> Iterator[Any]:
            for body in bodies(asked.corpus, asked.runs):
                told.runs += 1
                for name, rows in rows_of(json.loads(body)).items():
                    hints = dlt.mark.make_hints(
                        table_name=name,
                        write_disposition="merge",
                        primary_key=KEYS[name],
                        merge_key=SET_OF.get(name),
                    )
                    yield dlt.mark.with_hints(rows, hints, create_table_variant=True)

        pipeline = dlt.pipeline(
            "dlt_rows",
            pipelines_dir=str(asked.database.with_suffix(".dlt")),
            destination=dlt.destinations.duckdb(str(asked.database)),
            dataset_name="extend",
        )
        pipeline.run(runs(), loader_file_format="parquet")


if __name__ == "__main__":
    main()
