"""Other processes that have locked what a load needs: the lock of a target, or a database file. And a limit on files."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# does the locking of a load in another process, without the seconds it takes to import dlt
HOLD = """
import json, os, pathlib, sys
from filelock import FileLock
path = pathlib.Path(sys.argv[1])
path.parent.mkdir(parents=True, exist_ok=True)
lock = FileLock(path)
lock.acquire()
since = "2026-11-22T07:00:00Z"
holder = {"pid": os.getpid(), "since": since, "command": "docruns load extend"}
pathlib.Path(f"{path}.json").write_text(json.dumps(holder))
print("held", flush=True)
sys.stdin.read()
"""


HOLD_FILE = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


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


@contextmanager
def short_files(size: int) -> Iterator[None]:
    """This process writes no file beyond `size` bytes, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
