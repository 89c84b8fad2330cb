"""What a command writes on stderr: lines of text, or, with `--log-format json`, one JSON object a line.

    {"time": "2026-11-27T16:30:00.123Z", "level": "info", "logger": "docruns", "message": "…", "load_id": "…", …}

The library only logs, to the logger `docruns`; this module is the command's handler. Text has warnings alone, as before
each package there is progress; JSON has the records of packages too.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("docruns")

_PREFIX = "docruns: "
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _PREFIX + record.getMessage()


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        return json.dumps(line, default=str)


class _ToStderr(logging.Handler):
    """Writes to the stream that is stderr now: `prepare_streams` replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


class _Forward(logging.Filter):
    """Hands dlt's warnings to the command's handler instead of dlt's own, which writes text."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not is_json():
            return True
        if record.levelno >= logging.WARNING:
            _HANDLER.handle(record)
        return False


_HANDLER = _ToStderr()
_FORWARD = _Forward()


def set_format(log_format: str) -> str:
    """Write text or JSON from now on. Returns its argument, as typer's callbacks do."""
    _HANDLER.setFormatter(_Json() if log_format == "json" else _Text())
    _HANDLER.setLevel(logging.INFO if is_json() else logging.WARNING)
    LOGGER.setLevel(_HANDLER.level)
    LOGGER.addHandler(_HANDLER)
    logging.captureWarnings(is_json())
    for name in ("dlt", "py.warnings"):
        logging.getLogger(name).addFilter(_FORWARD)
    return log_format


def is_json() -> bool:
    """Whether stderr gets JSON objects."""
    return isinstance(_HANDLER.formatter, _Json)


def say(text: str, level: int = logging.INFO, **about: Any) -> None:
    """Print a line on stderr. `about` are further keys of a JSON object."""
    if is_json():
        LOGGER.log(level, "%s", text.removeprefix(_PREFIX), extra=about)
    else:
        print(text, file=sys.stderr, flush=True)
