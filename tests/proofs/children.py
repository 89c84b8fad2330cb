"""Commands in separate processes: quick to start, to be signalled at any time, with their results."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self


class Ended(NamedTuple):
    """A process that has ended; `code` is -9 for one that was killed."""

    code: int
    seconds: float
    cpu_s: float
    peak_mb: float
    out: str
    err: str


class Child:
    """A running process; its output goes to the files `out` and `err` in its folder."""

    def __init__(self, launcher: subprocess.Popen[str], folder: Path) -> None:
        assert launcher.stdout is not None
        self._back, self._folder = launcher.stdout, folder
        self.started = time.monotonic()
        self.pid = int(self._back.readline())

    def send(self, sent: signal.Signals) -> None:
        """Send a signal to the process."""
        os.kill(self.pid, sent)

    def wait(self) -> Ended:
        """Wait for the end of the process; returns its result."""
        code, cpu_s, peak_mb = self._back.readline().split()
        out, err = ((self._folder / name).read_text() for name in ("out", "err"))
        seconds = time.monotonic() - self.started
        return Ended(int(code), seconds, float(cpu_s), float(peak_mb), out, err)


class Children:
    """Starts `docruns …` many times, one at a time; use it as a context manager.

    `options` are options of Python, such as -X dev.
    """

    def __init__(self, *options: str) -> None:
        self._options = options

    def __enter__(self) -> Self:
        script = Path(__file__).with_name("launcher.py")
        # -P: modules are not imported from the script's folder
        self._launcher = subprocess.Popen(
            [sys.executable, *self._options, "-P", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._launcher.stdin is not None
        assert self._launcher.stdout is not None
        self._launcher.stdin.close()
        self._launcher.wait()
        self._launcher.stdout.close()

    def start(
        self,
        folder: Path,
        *arguments: str,
        environment: dict[str, str] | None = None,
        **how: Any,
    ) -> Child:
        """Start a command with `folder` as working directory; for `how` see the launcher."""
        folder.mkdir(parents=True, exist_ok=True)
        asked = {
            "folder": str(folder),
            "arguments": arguments,
            "environment": {**plain_environment(folder), **(environment or {})},
            "point": None,
            **how,
        }
        assert self._launcher.stdin is not None
        print(json.dumps(asked), file=self._launcher.stdin, flush=True)
        return Child(self._launcher, folder)

    def run(self, folder: Path, *arguments: str, **how: Any) -> Ended:
        """Run a command to its end."""
        return self.start(folder, *arguments, **how).wait()


def plain_environment(folder: Path) -> dict[str, str]:
    """This process's environment without keys and settings, and with a dlt folder in `folder`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SOURCES__", "EXTEND_"))}
    return {**kept, "DLT_DATA_DIR": str(folder / "dlt"), "RUNTIME__DLTHUB_TELEMETRY": "false"}
