"""Rows of `quarantine`: runs that could not be loaded, and runs whose failure is resolved. No I/O."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from ..core.batch import Batch
from ..core.errors import ApiError
from ..core.privacy import Privacy
from ..core.tables import QUARANTINE
from ..net.redaction import strip_url_queries
from .listed import ListedRun
from .plan import Failure

DETAIL_CHARS = 2000
"""The most characters of an unreadable answer that are stored."""

# values of a list's summary that are not about a person or a document
_FACTS = frozenset({"workflowVersionId", "processorId", "processorName", "processorVersionId"})


def failed_row(resource: str, failure: Failure, body: bytes, now: datetime) -> Batch:
    """The row of a run that failed in this load, with the beginning of its answer."""
    return _row(resource, failure, last_seen_at=now, detail=excerpt(body) or None)


def resolved_row(resource: str, failure: Failure | None, now: datetime) -> Batch:
    """The row of a run that is no longer quarantined; no row where it was not."""
    if failure is None:
        return Batch()
    return _row(resource, failure, last_seen_at=failure.first_seen, resolved_at=now)


def row_without_id(resource: str, row: ListedRun, now: datetime) -> Batch:
    """The row of a list's entry without an id: it cannot be fetched, so its text is stored."""
    text = str((row.summary or {}).get("row", "")).encode()
    id_ = f"(no id) {hashlib.sha256(text).hexdigest()[:12]}"
    problem = "a listed run has no id that can be asked for"
    failure = Failure(row._replace(id=id_), now, 1, "ShapeError", problem)
    return failed_row(resource, failure, text, now)


def redacted_message(error: Exception, privacy: Privacy) -> str:
    """The message of an error without private values: it may quote the document, or a signed URL."""
    if privacy.keeps:
        text = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        return strip_url_queries(text)
    parts = [error.request, str(error.status or "")] if isinstance(error, ApiError) else []
    return " ".join(filter(None, [*parts, f"(no more is kept: field_values = {privacy.field_values})"]))


def redact_error(error: Exception, privacy: Privacy) -> Exception:
    """The error without private values. dlt writes each error that ends a load, with its causes."""
    if not privacy.keeps:
        error.args = (redacted_message(error, privacy),)
        error.__cause__ = error.__context__ = None
        if isinstance(error, ApiError):
            error.message = ""
    return error


def redact_failures(failed: dict[str, Failure], privacy: Privacy) -> dict[str, Failure]:
    """Failures as a state may store them, without private values of their summaries.

    The summary is complete again when the run is listed again. Until then a run that cannot be fetched by its
    id cannot be loaded.
    """
    if privacy.keeps:
        return failed
    return {
        id_: failure._replace(run=failure.run._replace(summary=_facts(failure.run)), message="")
        for id_, failure in failed.items()
    }


def _facts(run: ListedRun) -> dict[str, Any] | None:
    summary = {key: value for key, value in (run.summary or {}).items() if key in _FACTS}
    if "row" in (run.summary or {}):
        summary["row"] = ""
    return summary or None


def _row(resource: str, failure: Failure, **cells: Any) -> Batch:
    batch = Batch()
    row = QUARANTINE.row(
        resource=resource,
        id=failure.run.id,
        first_seen_at=failure.first_seen,
        attempts=failure.attempts,
        error=failure.error,
        message=failure.message or None,
        **cells,
    )
    batch.add(QUARANTINE, row)
    return batch


def excerpt(body: bytes) -> str:
    """The first characters of a body, for a table. URLs lose their queries, which may contain a key."""
    text = body[: 4 * DETAIL_CHARS].decode(errors="replace")
    return strip_url_queries(text)[:DETAIL_CHARS]
