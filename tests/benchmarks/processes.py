"""Processes and their resources, from start to end, as the operating system reports them.

This module does not import what it measures: the system never reports less memory for a process than its
parent had at its start.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
TESTS = HERE.parent
ROOT = TESTS.parent
TOO_LONG_S = 1800.0


class FailedError(Exception):
    """A process failed; the message has its last output."""


class Ran(NamedTuple):
    """A process that succeeded.

    CPU includes its child processes. So does memory where the system reports it: the resident memory of all
    processes together, sampled four times a second, with shared pages counted for each.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    told: dict[str, Any]
    """The JSON object in its last line of output."""


def environment(folder: Path, paths: Sequence[Path] = (), **more: str) -> dict[str, str]:
    """This process's environment without settings of docruns, Python or a virtual environment."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SOURCES__", "EXTEND_", "PYTHON", "VIRTUAL_ENV"))
    }
    return {
        **kept,
        "DLT_DATA_DIR": str(folder / "dlt"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        **more,
    }


def run(
    command: Sequence[str | Path],
    folder: Path,
    env: Mapping[str, str] | None = None,
    too_long_s: float = TOO_LONG_S,
) -> Ran:
    """Run a command in a folder to its end; FailedError when it fails or takes too long."""
    folder.mkdir(parents=True, exist_ok=True)
    out, err = folder / "out", folder / "err"
    with out.open("wb") as to_out, err.open("wb") as to_err:
        started = time.monotonic()
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=folder,
            env=dict(env or environment(folder)),
            stdin=subprocess.DEVNULL,
            stdout=to_out,
            stderr=to_err,
            start_new_session=True,
        )
        # wait4 has no timeout: the timer kills the process and all that it has started
        alarm = threading.Timer(too_long_s, os.killpg, (process.pid, signal.SIGKILL))
        alarm.start()
        try:
            with _watched(process.pid) as seen:
                _, status, usage = os.wait4(process.pid, 0)
        finally:
            alarm.cancel()
        wall_s = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode == -signal.SIGKILL and wall_s >= too_long_s:
        raise FailedError(f"not done after {too_long_s:,.0f} s")
    if process.returncode:
        said = _last_line(err) or _last_line(out)
        raise FailedError(f"exit code {process.returncode}: {said[:300]}")
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    peak_mb = max(usage.ru_maxrss / unit, *seen)
    return Ran(wall_s, usage.ru_utime + usage.ru_stime, peak_mb, _told(_last_line(out)))


@contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    """The maximum resident memory of a process and all its descendants, in MB."""
    seen, over = [0.0], threading.Event()

    def look() -> None:
        while not over.wait(0.25):
            seen[0] = max(seen[0], _resident_mb(pid))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _resident_mb(pid: int) -> float:
    proc = Path("/proc") / str(pid)
    try:
        pages = int((proc / "statm").read_text().split()[1])
        # each thread has its own list of child processes
        lists = [(task / "children").read_text() for task in (proc / "task").iterdir()]
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20 + sum(
        map(_resident_mb, map(int, " ".join(lists).split()))
    )


def _told(line: str) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _last_line(path: Path) -> str:
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def ours(module: str, *arguments: object) -> list[str]:
    """The command that runs a module of this folder in the project's own environment."""
    return [sys.executable, "-P", "-m", f"benchmarks.{module}", *map(str, arguments)]


class Platform:
    """A sandbox in another process."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.base_url = f"{url}/extend"

    def set(self, **settings: float) -> None:
        """Set the latency (seconds per request) and the rate limit (requests per second); 0 is none."""
        body = json.dumps(settings).encode()
        request = urllib.request.Request(f"{self._url}/_sandbox/settings", body, method="POST")
        urllib.request.urlopen(request, timeout=60).close()


@contextmanager
def platform(runs: int, size: str, latency: float) -> Iterator[Platform]:
    """A platform in a separate process."""
    command = ours("serve", runs, size, latency)
    env = environment(ROOT, [TESTS])
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Platform(process.stdout.readline().strip())
        finally:
            process.stdin.close()
