"""Other versions of DuckDB, each in an environment of its own.

uv keeps the environments in its cache: the first call downloads 20 MB, a later one takes a second.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())

# of the versions that have a wheel for this Python: 1.2.0 for most, and 1.4 for Python 3.14
OLDEST = ("--resolution", "lowest", "--with", "duckdb>=1.2")
NEWEST = ("--with", "duckdb>=2,<3")

_RUN = """
import duckdb, json, sys
with duckdb.connect(sys.argv[1]) as connection:
    rows = [connection.execute(sql).fetchall() for sql in sys.argv[2:]]
print(json.dumps([duckdb.__version__, *rows]))
"""


def run_with(which: tuple[str, ...], database: Path, *statements: str) -> list[Any]:
    """The version of another DuckDB, and the rows of each statement that it has run, as JSON values."""
    beside = ROOT / ".uv" / "bin" / "uv"
    uv = shutil.which("uv") or str(beside)
    how = ("--quiet", "--no-project", "--isolated", "--no-build", "--python", sys.executable)
    done = subprocess.run(
        [uv, "run", *how, *which, "python", "-c", _RUN, database, *statements],
        cwd=database.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: list[Any] = json.loads(done.stdout)
    return answer
