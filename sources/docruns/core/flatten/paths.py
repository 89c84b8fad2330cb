"""PURE. Field paths: `lines[0].amount`, and `["a.b"]` for a key that would be read as something else.

`lines[~0]` is the first item of the initial array, which the final one does not have. As a step it is `~0`, the
integer -1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final

from ..codec import encode
from ..errors import ShapeError

ODD_KEY = re.compile(r'[.\[\]"]')
# an index of 18 digits fits a bigint; a longer one is a key like any other
_STEP = re.compile(r'\["([^"\\]*+(?:\\.[^"\\]*+)*+)"\]|\[(~?[0-9]{1,18})\]|\.?([^.\[\]"]+)', re.DOTALL)

MAX_CHARS: Final = 200_000_000
"""The limit for all paths of one run, with a fixed cost a row: a million fields with usual paths."""

LONGEST: Final = 10_000
"""The longest text, in characters, that counts as a path where no value has it; a longer one is a name."""


class PathBudget:
    """The characters that the paths of a run take. A long key repeats in each path below it, so a body of one
    megabyte could make a table of ten gigabytes."""

    def __init__(self) -> None:
        self.chars = 0

    def spend(self, chars: int) -> None:
        """Count characters; ShapeError above MAX_CHARS."""
        self.chars += chars
        if self.chars > MAX_CHARS:
            raise ShapeError("too many fields, or too long ones: their paths take over 200 MB")


def child_path(path: str, step: str | int) -> str:
    """The path of a key or an index within the node at `path`."""
    if type(step) is int:
        return f"{path}[{step}]" if step >= 0 else f"{path}[~{~step}]"
    if step and not ODD_KEY.search(str(step)):
        return f"{path}.{step}" if path else str(step)
    return path + "[" + encode(step).decode() + "]"


def join(steps: Iterable[str | int]) -> str:
    """A path from its keys and indexes: `["lines", 0, "a.b"]` gives `lines[0]["a.b"]`."""
    parts = [child_path("", step) for step in steps]
    # an index or a quoted key needs no dot before it
    dotted = (part if part.startswith("[") else f".{part}" for part in parts[1:])
    return "".join([*parts[:1], *dotted])


def split(path: str) -> list[str | int]:
    """The keys and indexes of a path. ShapeError where it is not one that `join` writes."""
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            raise ShapeError(f"not a field path: {path!r}")
        quoted, index, key = found.groups()
        if index:
            steps.append(~int(index[1:]) if index[0] == "~" else int(index))
        else:
            steps.append(key if quoted is None else json.loads(f'"{quoted}"'))
        at = found.end()
    return steps


def unquoted(path: str) -> str:
    """The path as a platform may write it: without quotes around an odd key."""
    return ".".join(f"[{step}]" if type(step) is int else str(step) for step in split(path)).replace(
        ".[", "["
    )


def steps_of(path: str) -> list[str | int] | None:
    """The keys and indexes of a path that `join` writes, of a length that values have; None for another text."""
    if len(path) > LONGEST:
        return None
    try:
        steps = split(path)
    except ShapeError:
        return None
    return steps if path == join(steps) else None


def is_path(path: str) -> bool:
    """A path that `join` writes, of a length that values have."""
    return steps_of(path) is not None


def without_indexes(path: str) -> str:
    """`lines[0].amount` as `lines[].amount`."""
    return _STEP.sub(lambda step: "[]" if step[2] else step[0], path)
