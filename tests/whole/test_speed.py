"""Tests notice when making rows becomes slower."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import guard

SCRIPT = Path(guard.__file__)


def test_making_rows_is_no_slower_than_it_was() -> None:
    """The time from bytes to Arrow, as a ratio to plain Python, is at most 1.2 times the recorded figure."""
    # coverage slows down only the code that it measures
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-P", str(SCRIPT)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("found", "code"), [(1.9, 0), (2.3, 0), (2.5, 1)])
def test_the_guard_tells_what_is_slower(
    found: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a ratio of more than 1.2 times its figure fails."""
    figures = tmp_path / "guard.json"
    figures.write_text(json.dumps({"ratio": {guard.python(): 2.0}}))
    monkeypatch.setattr(guard, "FIGURES", figures)
    monkeypatch.setattr(guard, "bodies", list)
    monkeypatch.setattr(guard, "ratio", lambda runs: found)
    monkeypatch.setattr(sys, "argv", ["guard.py", "--once"])
    assert guard.main() == code


def test_a_python_without_a_figure_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a recorded figure for the same Python version, the check passes."""
    figures = tmp_path / "guard.json"
    figures.write_text(json.dumps({"ratio": {}}))
    monkeypatch.setattr(guard, "FIGURES", figures)
    assert guard.figure() is None
