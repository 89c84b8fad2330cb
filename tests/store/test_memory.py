"""Memory: the arenas of the C library, as it reports them itself, and the settings of DuckDB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from docruns.sandbox import Sandbox
from docruns.store.pipeline import MEMORY, limit_memory, open_pipeline
from docruns.store.target import Target

START = """
import ctypes, sys, threading
from pathlib import Path
from docruns.providers.extend import connect_extend
from docruns.commands.cli.main import run
from docruns.commands.load import load_runs
from docruns.store.target import Target
library = ctypes.CDLL(None)
library.fdopen.restype = ctypes.c_void_p
def say_arenas():
    out = ctypes.c_void_p(library.fdopen(1, b"w"))
    library.malloc_info(0, out)
    library.fflush(out)
"""
COMMAND = """
sys.argv[1:] = ["load", "extend", "--base-url", "{}", "--database", "rows.duckdb"]
try:
    run()
except SystemExit as ended:
    assert not ended.code, ended.code
"""
LIBRARY = """
load_runs(connect_extend(base_url="{}"), Target("extend", Path("rows.duckdb")))
"""
# Each thread's first call of malloc takes an arena. All threads are alive when the arenas are counted.
THREADS = """
ready = threading.Barrier(17)
done = threading.Event()
def use_memory():
    library.free(ctypes.c_void_p(library.malloc(1000)))
    ready.wait()
    done.wait()
library.malloc.restype = ctypes.c_void_p
for _ in range(16):
    threading.Thread(target=use_memory).start()
ready.wait()
say_arenas()
done.set()
"""


@pytest.mark.parametrize(("script", "more"), [(COMMAND, False), (LIBRARY, True)], ids=["command", "library"])
def test_only_the_command_takes_no_more_arenas(
    script: str, more: bool, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The command limits the arenas; a library's process, which does more than load, keeps one for each
    thread."""
    ended = subprocess.run(
        [sys.executable, "-c", START + script.format(sandbox.extend_url) + THREADS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "rows.duckdb").exists()
    arenas = ended.stdout.count("<heap nr=")
    assert arenas >= 1
    # without a limit the C library starts eight for each core
    assert (arenas >= 8) is more, arenas


def test_duckdb_settings(tmp_path: Path) -> None:
    """A load limits DuckDB's memory, and merges with one thread, so that the file has no gaps."""
    with open_pipeline("extend", Target("d", tmp_path / "s.duckdb")) as running:
        limit_memory(running, MEMORY)
        names = ("memory_limit", "threads", "preserve_insertion_order")
        query = ", ".join(f"current_setting('{name}')" for name in names)
        with running.sql_client() as client:
            # 120 million bytes
            assert client.execute_sql(f"SELECT {query}") == [("114.4 MiB", 1, False)]
