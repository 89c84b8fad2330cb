"""PURE. Field paths: `lines[0].amount`, and `["a.b"]` for a key that would be read as something else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from .errors import ShapeError
from .payload import encode

ODD_KEY = re.compile(r'[.\[\]"]')
_STEP = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|\.?([^.\[\]"]+)', re.DOTALL)


def join(steps: Iterable[str | int]) -> str:
    """A path from its keys and indexes: `["lines", 0, "a.b"]` gives `lines[0]["a.b"]`."""
    path = ""
    for step in steps:
        if type(step) is int:
            path += f"[{step}]"
        elif step and not ODD_KEY.search(str(step)):
            path += f".{step}" if path else str(step)
        else:
            path += "[" + encode(step).decode() + "]"
    return path


def split(path: str) -> list[str | int]:
    """The keys and indexes of a path. ShapeError where it is not one that `join` writes."""
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            raise ShapeError(f"not a field path: {path!r}")
        quoted, index, key = found.groups()
        steps.append(
            json.loads(f'"{quoted}"') if quoted is not None else int(index) if index else key
        )
        at = found.end()
    return steps


def is_path(path: str) -> bool:
    """A path that `join` writes."""
    try:
        return path == join(split(path))
    except ShapeError:
        return False


def without_indexes(path: str) -> str:
    """`lines[0].amount` as `lines[].amount`."""
    return _STEP.sub(lambda step: "[]" if step[2] else step[0], path)
