"""A Singer pipe: the tap in this folder, and target-duckdb; outputs are stored as JSON, not
flattened.

DuckDB is 1.1: newer versions read a file with one row as a header, and target-duckdb loses that
row.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
from contract import TOKEN, arguments, measured


def main() -> None:
    """Run the tap and the target."""
    asked = arguments()
    with measured() as told, tempfile.TemporaryDirectory() as folder:
        tap, target = Path(folder) / "tap.json", Path(folder) / "target.json"
        tap.write_text(json.dumps({"base_url": asked.base_url, "token": TOKEN}))
        settings = {"path": str(asked.database), "default_target_schema": "extend"}
        target.write_text(json.dumps(settings))
        script = str(Path(__file__).with_name("tap.py"))
        reading = subprocess.Popen([sys.executable, script, "--config", str(tap)], stdout=subprocess.PIPE)
        command = str(Path(sys.executable).with_name("target-duckdb"))
        subprocess.run([command, "--config", str(target)], stdin=reading.stdout, check=True)
        if reading.wait():
            raise SystemExit("the tap failed")
        with duckdb.connect(str(asked.database)) as database:
            found = database.execute("SELECT count(*) FROM extend.workflow_runs").fetchone()
        told.runs = found[0] if found else 0


if __name__ == "__main__":
    main()
