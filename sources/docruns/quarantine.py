"""PURE. Rows of `quarantine`: a run that could not be loaded, and one that was loaded after all."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Any

from .arrow import Batch
from .feed import Failure, Listed
from .model import QUARANTINE

DETAIL_CHARS = 2000
"""How much of an answer that cannot be read is kept."""

_QUERY = re.compile(r"(https?://[^\s\"'?]+)\?[^\s\"']*")


def failed(resource: str, failure: Failure, body: bytes, now: datetime) -> Batch:
    """The row of a run that failed in this load, with the beginning of its answer."""
    return _row(resource, failure, last_seen_at=now, detail=excerpt(body) or None)


def resolved(resource: str, failure: Failure | None, now: datetime) -> Batch:
    """The row that says that a run is quarantined no more; none where it was not."""
    if failure is None:
        return Batch()
    return _row(resource, failure, last_seen_at=failure.first_seen, resolved_at=now)


def nameless(resource: str, row: Listed, now: datetime) -> Batch:
    """The row of a list's entry without an id: nothing can be asked for, its text is what there is."""
    text = str((row.summary or {}).get("row", "")).encode()
    id_ = f"(no id) {hashlib.sha256(text).hexdigest()[:12]}"
    failure = Failure(row._replace(id=id_), now, 1, "ShapeError", "a listed run has no id")
    return failed(resource, failure, text, now)


def _row(resource: str, failure: Failure, **cells: Any) -> Batch:
    batch = Batch()
    row = QUARANTINE.row(
        resource=resource,
        id=failure.run.id,
        first_seen_at=failure.first_seen,
        attempts=failure.attempts,
        error=failure.error,
        message=failure.message,
        **cells,
    )
    batch.add(QUARANTINE, row)
    return batch


def excerpt(body: bytes) -> str:
    """The first characters of a body for a table: no URL keeps its query, which may be a key."""
    text = body[: 4 * DETAIL_CHARS].decode(errors="replace")
    return _QUERY.sub(r"\1?…", text)[:DETAIL_CHARS]
