"""SIGTERM and SIGINT: what a scheduler or a person sends to a command that is to end."""

from __future__ import annotations

import os
import signal
import sys
import threading


class Stopped:
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
