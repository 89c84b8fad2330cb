"""The supported Python versions: the project's metadata and CI agree."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMISED = ("3.11", "3.12", "3.13", "3.14")


@pytest.mark.fault(38)
def test_each_promised_python_is_tested() -> None:
    """The project lists the supported versions once, these tests run on one of them, and CI, where
    it exists, on each."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    head = "Programming Language :: Python :: "
    named = [text.removeprefix(head) for text in project["classifiers"] if text.startswith(head)]
    assert named == list(PROMISED)
    assert project["requires-python"] == ">=3.11,<3.15"
    assert ".".join(map(str, sys.version_info[:2])) in PROMISED
    for path in (ROOT / ".github" / "workflows").glob("*.y*ml"):
        text = path.read_text()
        if "make test" in text or "pytest" in text:
            assert set(re.findall(r"\b3\.1\d\b", text)) == set(PROMISED), path
