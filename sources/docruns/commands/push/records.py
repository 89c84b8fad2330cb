"""Records of a push: rows of `pushes` as JSON, private columns as the database stores them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...core.codec import decode_whole, timestamp
from ...core.privacy import Privacy
from ...core.tables import PUSHES, Row
from ...net.redaction import strip_signed_urls
from ...providers.changes import Change, DesiredRun, RemoteRun, Stored
from .remote import CUT

Record = dict[str, Any]
"""A row of `pushes` as the journal holds it."""

_JSON = {column.name for column in PUSHES.columns if column.type == "json"}
_TIMES = {column.name for column in PUSHES.columns if column.type == "timestamp"}


def private_text(privacy: Privacy) -> Stored:
    """How a text is stored in `pushes` and in the journal: as it is, hashed, or not at all."""
    rewrites = privacy.rewrites(PUSHES)

    def rewritten(column: str, text: str) -> str | None:
        text = strip_signed_urls(text) if column in _JSON else text
        if column not in rewrites:
            return text
        rewrite = rewrites[column]
        return None if rewrite is None else rewrite(text)

    return rewritten


def recorded_change(record: Record, privacy: Privacy) -> Change | None:
    """The change that a record of an earlier process tells of; None where it does not keep the values."""
    metadata, before = record.get("metadata") or "{}", record.get("before") or "{}"
    if privacy.rewrites(PUSHES).keys() & {"name", "metadata", "before"} or CUT in metadata:
        return None
    old, sent = decode_whole(before.encode()), decode_whole(metadata.encode())
    run = DesiredRun(record["source_row"], record["id"], record.get("name"), sent)
    return Change(run, run.name, sent, RemoteRun(old.get("name"), old.get("metadata") or {}))


def to_rows(records: Sequence[Record]) -> list[Row]:
    """The rows of records."""
    return [PUSHES.row(**_cells(record)) for record in records]


def _cells(record: Record) -> dict[str, Any]:
    return {
        name: timestamp(cell) if name in _TIMES and cell is not None else cell
        for name, cell in record.items()
    }
