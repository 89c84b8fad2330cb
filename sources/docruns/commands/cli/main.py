"""SIGTERM and SIGINT: what a scheduler or a person sends to a command that is to end."""

from __future__ import annotations

import logging
import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

from ...core.errors import DocrunsError

if TYPE_CHECKING:
    pass
import signal
import threading

from .app import app
from .console import say


def run() -> None:
    """Entry point: turns errors into exit codes."""
    # documents hold personal data: what this process creates is its owner's alone
    os.umask(0o077)
    logging.getLogger("dlt").addFilter(_Brief())
    for stream in (sys.stdout, sys.stderr):
        # a terminal that knows no … gets a question mark
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    stopped = StopSignals()
    try:
        app()
    except BaseException as end:
        if stopped.by is not None and getattr(end, "code", 1) != 0:
            # whatever broke after it broke because of it
            name = stopped.by.name
            say(f"docruns: {name}; what was committed stays, and the next load goes on from there")
            sys.exit(128 + stopped.by)
        from ...store.failures import from_dlt_config

        known = from_dlt_config(end) or end
        if isinstance(known, DocrunsError):
            say(f"docruns: {known}")
            sys.exit(known.exit_code)
        raise


class _Brief(logging.Filter):
    """Of dlt's complaints a line each, and none twice: a full disk made 200 KB of them, in front of what to do."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[tuple[str, int]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        place = (record.pathname, record.lineno)
        if record.levelno < logging.WARNING or place in self._seen:
            return record.levelno < logging.WARNING
        self._seen.add(place)
        record.msg, record.args = record.getMessage().partition("\n")[0], ()
        record.exc_info = record.exc_text = None
        return True


class StopSignals:
    """SIGTERM ends a command as Ctrl-C does: in order, and at once. `by` is the signal that came.

    It is remembered, since what it breaks may tell of something else: DuckDB of a query, typer of an exit.
    """

    def __init__(self) -> None:
        self.by: signal.Signals | None = None
        self._unraisable, sys.unraisablehook = sys.unraisablehook, self._swallowed
        signal.signal(signal.SIGTERM, self._raise)
        # a shell may have a command in the background ignore it
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._raise)

    def _raise(self, number: int, _: object) -> None:
        self.by = signal.Signals(number)
        raise KeyboardInterrupt

    def _swallowed(self, what: sys.UnraisableHookArgs) -> None:
        if self.by is not None and what.exc_type is KeyboardInterrupt:
            # it came while something was being destroyed, which lets nothing out: once more
            threading.Timer(0.01, os.kill, (os.getpid(), self.by)).start()
        else:
            self._unraisable(what)
