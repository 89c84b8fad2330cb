"""What a person sees of a load while it runs."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from docruns.commands.cli import progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """As asked by whoever wants to draw."""
        return True


def told(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    """A load of 3,000 runs at 100 a second, halfway, from a server without one of the lists."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.show_progress(stream=stream) as tell:
        assert tell is not None
        tell("unavailable", "processor_runs", 0, None)
        tell("listing", "workflow_runs", 1000, None)
        tell("listed", "workflow_runs", 3000, 3000)
        for done in range(0, 1600, 100):
            now[0] += 1.0
            tell("fetching", "workflow_runs", done, 3000)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["plain", "terminal"])
def test_rate_and_end(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lists, the list that is missing, the rate and how far it is; plain lines also say how long."""
    text = told(stream, monkeypatch)
    assert "processor_runs: the server has no such list; skipped" in text
    assert "workflow_runs: 3,000 listed" in text
    assert "100.0/s" in text
    if isinstance(stream, Terminal):
        assert "1,500/3,000" in text
    else:
        assert "workflow_runs: fetching 1,400 of 3,000 100.0/s about 0:16 left" in text


def test_quiet() -> None:
    """Nothing is said where nothing shall be."""
    with progress.show_progress(quiet=True) as tell:
        assert tell is None
