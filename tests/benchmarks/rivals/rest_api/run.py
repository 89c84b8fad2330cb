"""dlt's own REST API source, as its documentation teaches it: a list, and a resource that depends
on it.

    nested     default settings: child tables, one request after another, the default file format
    parquet    the same tables, 16 requests at a time, parquet
    blobs      the same without child tables below the first level: outputs are JSON in one column

A map from paths to metadata would become one column per path, and the load would not end, so it is
converted to a list first. A configuration is stored as text, for the same reason.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import dlt
from contract import THREADS, TOKEN, VERSION, arguments, bodies, measured, processor_runs
from dlt.sources.rest_api import RESTAPIConfig, rest_api_source

OUTPUTS = ("output", "initialOutput", "reviewedOutput")


def loadable(run: dict[str, Any]) -> dict[str, Any]:
    """The run with its maps converted to lists."""
    for child in processor_runs(run):
        child["config"] = json.dumps(child.get("config"))
        if child["object"] == "parse_run":
            child.pop("output", None)
            continue
        for name in OUTPUTS:
            if output := child.get(name):
                said = output.get("metadata") or {}
                output["metadata"] = [{"path": path, **entry} for path, entry in said.items()]
        edits = child.get("edits") or {}
        child["edits"] = [
            {"path": path, **{key: json.dumps(value) for key, value in (edit or {}).items()}}
            for path, edit in edits.items()
        ]
    return run


def main() -> None:
    """Load a platform or a corpus in one of three ways."""
    asked = arguments()
    nesting = 1 if asked.way == "blobs" else None
    many_at_once = asked.way != "nested"
    if many_at_once:
        os.environ["EXTRACT__WORKERS"] = str(THREADS)
    with measured() as told:

        def counted(run: dict[str, Any]) -> dict[str, Any]:
            told.runs += 1
            return loadable(run)

        config: RESTAPIConfig = {
            "client": {
                "base_url": asked.base_url or "",
                "auth": {"type": "bearer", "token": TOKEN},
                "headers": {"x-extend-api-version": VERSION},
                "paginator": {
                    "type": "cursor",
                    "cursor_path": "nextPageToken",
                    "cursor_param": "nextPageToken",
                },
            },
            "resource_defaults": {"primary_key": "id", "write_disposition": "merge"},
            "resources": [
                {
                    "name": "runs",
                    "endpoint": {
                        "path": "workflow_runs",
                        "params": {"maxPageSize": 1000, "sortBy": "updatedAt"},
                        "data_selector": "data",
                    },
                },
                {
                    "name": "workflow_runs",
                    "parallelized": many_at_once,
                    "endpoint": {
                        "path": "workflow_runs/{resources.runs.id}",
                        "data_selector": "$",
                        "paginator": "single_page",
                    },
                    "processing_steps": [{"map": counted}],
                },
            ],
        }

        @dlt.resource(
            primary_key="id",
            write_disposition="merge",
            name="workflow_runs",
            max_table_nesting=nesting,
        )
        def runs() -> Iterator[Any]:
            for body in bodies(asked.corpus, asked.runs):
                yield counted(json.loads(body))

        pipeline = dlt.pipeline(
            "rest_api",
            pipelines_dir=str(asked.database.with_suffix(".dlt")),
            destination=dlt.destinations.duckdb(str(asked.database)),
            dataset_name="extend",
        )
        source: Any = (
            runs() if asked.corpus else rest_api_source(config, name="extend", max_table_nesting=nesting)
        )
        pipeline.run(source, loader_file_format="parquet" if many_at_once else None)


if __name__ == "__main__":
    main()
