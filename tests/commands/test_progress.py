"""The progress of a load on stderr."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from docruns.commands.cli import progress


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """True, so that bars are drawn."""
        return True


def show_load(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    """The text of a load of 3,000 runs at 100 a second, halfway, from a server that lacks a list."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.show_progress(stream=stream) as report:
        assert report is not None
        report("unavailable", "processor_runs", 0, None)
        report("listing", "workflow_runs", 1000, None)
        report("listed", "workflow_runs", 3000, 3000)
        for done in range(0, 1600, 100):
            now[0] += 1.0
            report("fetching", "workflow_runs", done, 3000)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["plain", "terminal"])
def test_rate_and_end(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress shows the lists, the missing list, the rate and the count. Plain lines also show the time
    left."""
    text = show_load(stream, monkeypatch)
    assert "processor_runs: the server has no such list; skipped" in text
    assert "workflow_runs: 3,000 listed" in text
    assert "100.0/s" in text
    if isinstance(stream, Terminal):
        assert "1,500/3,000" in text
    else:
        assert "workflow_runs: fetching 1,400 of 3,000 100.0/s about 0:16 left" in text


def test_quiet() -> None:
    """With `quiet` there is no progress callback."""
    with progress.show_progress(quiet=True) as report:
        assert report is None
