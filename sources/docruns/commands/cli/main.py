"""The entry point of `docruns`: signals of schedulers and people that end a command, errors as exit codes."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

from ...core.errors import DocrunsError
from .app import app
from .logs import say, set_format
from .streams import lost_output, prepare_streams
from .surroundings import limit_error, prepare_environment

_STAYS = {
    "load": " Committed runs stay; the next load continues there.",
    "copy": " Committed runs stay; the next copy continues there.",
    "replay": " Committed runs stay; the next replay begins anew.",
}
"""What a command that writes runs package by package leaves where it is stopped."""


def run() -> None:
    """Run the command that `sys.argv` names; errors become exit codes."""
    # documents hold personal data: only the owner may read what this process creates
    os.umask(0o077)
    # registered first, so it is called last
    atexit.register(_silence_teardown)
    logging.getLogger("dlt").addFilter(_OneLinePerProblem())
    prepare_streams()
    set_format("text")
    prepare_environment()
    if "_DOCRUNS_COMPLETE" in os.environ:
        # without rich, which takes 0.6 s of CPU to render the help texts; None: not installed
        modules: dict[str, Any] = sys.modules
        modules["rich"] = None
    signals = StopSignals()
    try:
        app()
    except BaseException as error:
        if signals.received is not None and getattr(error, "code", 1) != 0:
            # any error after a signal comes from the signal
            name = signals.received.name
            code = 128 + signals.received
            say(f"docruns: stopped by {name}.{_what_stays()}", logging.ERROR, exit_code=code, retryable=True)
            sys.exit(code)
        known = _as_docruns_error(error)
        if known is None:
            if isinstance(error, SystemExit):
                _report_lost_output()
            raise
        say(f"docruns: {known}", logging.ERROR, exit_code=known.exit_code, retryable=known.retryable)
        sys.exit(known.exit_code)


def _what_stays() -> str:
    # no option of docruns itself has a value
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return _STAYS.get(command, "")


def _report_lost_output() -> None:
    if error := lost_output():
        say(
            f"docruns: stdout: cannot be written ({error.strerror}): what was printed there is incomplete. "
            "The exit code is that of the command's work."
        )


def _silence_teardown() -> None:
    """Drop what DuckDB's bindings print while Python unloads them: "nanobind: leaked 27 instances", with some orders
    of imports. All output of the command is written by now."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError):
            stream.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _as_docruns_error(error: BaseException) -> DocrunsError | None:
    if isinstance(error, DocrunsError):
        return error
    if not isinstance(error, Exception):
        return None
    if known := limit_error(error):
        return known
    # imports dlt, which `--help` and wrong use must not wait for
    from ...store.failures import from_dlt_config

    return from_dlt_config(error)


class _OneLinePerProblem(logging.Filter):
    """Shortens dlt's warnings and errors to their first line, and shows each place in dlt's code once.

    A full disk made dlt print 200 KB of them, in front of the message that says what to do.
    """

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
    """Makes SIGTERM and SIGHUP end a command as Ctrl-C does: at once, with all clean-up.

    `received` is the signal that came. It is kept because the interrupted code may raise another error: DuckDB an error of its query,
    typer an exit.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._unraisable, sys.unraisablehook = sys.unraisablehook, self._on_unraisable
        signal.signal(signal.SIGTERM, self._raise)
        # a shell makes a command in the background ignore SIGINT, and `nohup` one that outlives its terminal SIGHUP
        for each in {signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)}:
            if signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, self._raise)

    def _raise(self, number: int, _: object) -> None:
        self.received = signal.Signals(number)
        raise KeyboardInterrupt

    def _on_unraisable(self, what: sys.UnraisableHookArgs) -> None:
        if self.received is not None and what.exc_type is KeyboardInterrupt:
            # the signal came inside a destructor, which cannot raise: send it once more
            threading.Timer(0.01, os.kill, (os.getpid(), self.received)).start()
        else:
            self._unraisable(what)
