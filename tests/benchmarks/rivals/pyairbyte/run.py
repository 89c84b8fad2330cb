"""PyAirbyte with a declarative source and its DuckDB cache; outputs are stored as JSON, not
flattened."""

from __future__ import annotations

import os
from pathlib import Path

# send no telemetry and fetch no list of connectors
os.environ |= {
    "DO_NOT_TRACK": "1",
    "AIRBYTE_OFFLINE_MODE": "1",
    "AIRBYTE_LOGGING_ROOT": str(Path.cwd() / "logs"),
}

import airbyte as ab
import yaml
from airbyte.caches import DuckDBCache
from contract import TOKEN, arguments, measured


def main() -> None:
    """Load a platform."""
    asked = arguments()
    with measured() as told:
        source = ab.get_source(
            "source-extend",
            source_manifest=yaml.safe_load(Path(__file__).with_name("manifest.yaml").read_text()),
            config={"base_url": asked.base_url, "token": TOKEN},
        )
        source.select_all_streams()
        cache = DuckDBCache(db_path=asked.database, schema_name="extend")
        told.runs = len(source.read(cache=cache)["workflow_runs"])


if __name__ == "__main__":
    main()
