"""Progress of a load on stderr: a live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ...sync.metrics import Progress as Told

_PLAIN_EVERY_S = 5.0


@contextmanager
def show_progress(quiet: bool = False, stream: TextIO | None = None) -> Iterator[Told | None]:
    """The progress callback for a load; None where nothing is to be shown."""
    out = stream or sys.stderr
    if quiet:
        yield None
    elif out.isatty():
        with _Live(out) as live:
            yield live
    else:
        yield _Plain(out)


class _Live:
    def __init__(self, out: TextIO) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(file=out),
        )
        self._tasks: dict[str, TaskID] = {}
        self._rate = _Rate()

    def __enter__(self) -> _Live:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def __call__(self, stage: str, name: str, done: int, total: int | None) -> None:
        if stage in ("listing", "fetching"):
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(name, total=total or done, rate="")
            rate = self._rate(name, done) if stage == "fetching" else "listed"
            self._progress.update(self._tasks[name], completed=done, total=total or done, rate=rate)
        elif line := _line(stage, name, done):
            self._progress.console.print(line)


class _Plain:
    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._last = time.monotonic()
        self._rate = _Rate()

    def __call__(self, stage: str, name: str, done: int, total: int | None) -> None:
        rate = self._rate(name, done) if stage == "fetching" else ""
        now = time.monotonic()
        if line := _line(stage, name, done):
            print(line, file=self._out, flush=True)
        elif stage in ("listing", "fetching") and now - self._last >= _PLAIN_EVERY_S:
            self._last = now
            of = "" if total is None else f" of {total:,}"
            left = self._rate.left(done, total)
            print(
                f"{name}: {stage} {done:,}{of} {rate} {left}".rstrip(), file=self._out, flush=True
            )


def _line(stage: str, name: str, done: int) -> str:
    """What is said once, of a list as a whole; empty for what goes on."""
    if stage == "unavailable":
        return f"{name}: the server has no such list; left out"
    if stage == "refused":
        return f"{name}: the key may not read this list (403); left out"
    return f"{name}: {done:,} listed" if stage == "listed" and done else ""


class _Rate:
    """Runs per second since the first one that was told of, by list."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[float, int]] = {}
        self._per_second = 0.0

    def __call__(self, name: str, done: int) -> str:
        at, before = self._first.setdefault(name, (time.monotonic(), done))
        seconds = time.monotonic() - at
        self._per_second = (done - before) / seconds if seconds > 0.5 else 0.0
        return f"{self._per_second:,.1f}/s" if self._per_second else ""

    def left(self, done: int, total: int | None) -> str:
        """How long the rest will take at this rate."""
        if total is None or not self._per_second:
            return ""
        seconds = int((total - done) / self._per_second)
        return f"about {seconds // 60}:{seconds % 60:02} left"
