"""Other processes that have locked what a load needs: the lock of a target, or a database file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# does the locking of a load in another process, without the seconds it takes to import dlt
HOLD = """
import fcntl, json, os, pathlib, sys
path = pathlib.Path(sys.argv[1])
path.parent.mkdir(parents=True, exist_ok=True)
file = os.open(path, os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
since = "2026-11-22T07:00:00Z"
path.write_text(json.dumps({"pid": os.getpid(), "since": since, "command": "docruns load extend"}))
print("held", flush=True)
sys.stdin.read()
"""


HOLD_FILE = (
    "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); "
    "sys.stdin.read()"
)


@contextmanager
def another(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has printed a line and waits for the end of its stdin."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()
