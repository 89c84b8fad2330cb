"""Progress of a load on stderr: live bars on a terminal, elsewhere a line every 5 seconds, as JSON with `--log-format json`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBars

from ...sync.metrics import Progress
from .logs import is_json, say

_PLAIN_EVERY_S = 5.0

_RATED = ("fetching", "copying")
_STEPS = ("listing", "comparing", *_RATED)


@contextmanager
def show_progress(quiet: bool = False, stream: TextIO | None = None) -> Iterator[Progress | None]:
    """The progress callback for a load; None if `quiet`."""
    out = stream or sys.stderr
    if quiet:
        yield None
    elif stream is None and is_json():
        yield _PlainLines(say)
    elif out.isatty():
        bars = _LiveBars(out)
        with bars.progress:
            yield bars
    else:
        yield _PlainLines(lambda line, **_: print(line, file=out, flush=True))


class _LiveBars:
    def __init__(self, out: TextIO) -> None:
        self.progress = ProgressBars(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(file=out),
        )
        self._tasks: dict[str, TaskID] = {}
        self._rate = _Rate()

    def __call__(self, stage: str, name: str, done: int, total: int | None) -> None:
        if stage in _STEPS:
            if name not in self._tasks:
                self._tasks[name] = self.progress.add_task(name, total=total or done, rate="")
            rate = "listed" if stage == "listing" else self._rate(name, done)
            self.progress.update(self._tasks[name], completed=done, total=total or done, rate=rate)
        elif line := _line(stage, name, done, total):
            self.progress.console.print(line)


class _PlainLines:
    """Writes lines; as JSON objects they have the figures of the line as keys."""

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write
        self._last = time.monotonic()
        self._rate = _Rate()

    def __call__(self, stage: str, name: str, done: int, total: int | None) -> None:
        rate = self._rate(name, done) if stage in _RATED else ""
        now = time.monotonic()
        about = {"stage": stage, "list": name, "done": done, "total": total}
        if line := _line(stage, name, done, total):
            self._write(line, **about)
        elif stage in _STEPS and now - self._last >= _PLAIN_EVERY_S:
            self._last = now
            of = "" if total is None else f" of {total:,}"
            left = self._rate.left(done, total)
            self._write(f"{name}: {stage} {done:,}{of} {rate} {left}".rstrip(), **about)


def _line(stage: str, name: str, done: int, total: int | None) -> str:
    """The line about a list as a whole, or the part of a backfill; empty for steps that repeat."""
    if stage == "part":
        return f"{name}: part {done:,} of {total or done:,}"
    if stage == "unavailable":
        return f"{name}: the server has no such list; skipped"
    if stage == "refused":
        return f"{name}: the key may not read this list (403); skipped"
    if stage == "unordered":
        return f"{name}: the server does not keep the order that was asked for; the whole list was read"
    return f"{name}: {done:,} listed" if stage == "listed" and done else ""


class _Rate:
    """Runs per second of a list since its first report."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[float, int]] = {}
        self._per_second = 0.0

    def __call__(self, name: str, done: int) -> str:
        at, before = self._first.setdefault(name, (time.monotonic(), done))
        seconds = time.monotonic() - at
        self._per_second = (done - before) / seconds if seconds > 0.5 else 0.0
        return f"{self._per_second:,.1f}/s" if self._per_second else ""

    def left(self, done: int, total: int | None) -> str:
        """The time that the rest takes at this rate."""
        if total is None or not self._per_second:
            return ""
        seconds = int((total - done) / self._per_second)
        return f"about {seconds // 60}:{seconds % 60:02} left"
