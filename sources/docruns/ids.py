"""PURE. Ids from outside, as a part of a request's path: opaque, and not to be trusted."""

from __future__ import annotations

from typing import Final, TypeGuard
from urllib.parse import quote

MAX_CHARS: Final = 2000
"""Of an id. Every row of a run repeats it, and so does the address that it is asked under."""


def is_usable(id_: str | None) -> TypeGuard[str]:
    """A run can have it and be asked for by it. `.` and `..` mean a folder, however they are quoted."""
    return bool(id_) and len(id_ or "") <= MAX_CHARS and id_ not in (".", "..")


def segment(id_: str) -> str:
    """The id as one part of a path, whatever it holds: `../a?b` becomes `..%2Fa%3Fb`."""
    return quote(id_, safe="")
