"""Query parameters and page tokens of the lists.

GET /workflow_runs?status=PROCESSED&sortBy=updatedAt&sortDir=desc&maxPageSize=100
    &nextPageToken=%2B%2FB1...%3D%3D%3AAAAB...%3D
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from ..wire import Request
from .errors import RefusedError
from .shelf import Position

WORKFLOW_STATUSES: Final = (
    "PENDING",
    "PROCESSING",
    "NEEDS_REVIEW",
    "REVIEWED",
    "REJECTED",
    "PROCESSED",
    "FAILED",
    "CANCELLED",
    "CANCELLING",
)
RUN_STATUSES: Final = ("PENDING", "PROCESSING", "PROCESSED", "FAILED", "CANCELLED")
SOURCES: Final = (
    "ADMIN",
    "BATCH_PROCESSOR_RUN",
    "PLAYGROUND",
    "WORKFLOW_CONFIGURATION",
    "WORKFLOW_RUN",
    "STUDIO",
    "API",
)
PARSE_SOURCES: Final = (
    "API",
    "STUDIO",
    "WORKFLOW_RUN",
    "ADMIN",
    "BATCH_PARSER_RUN",
    "EDIT_RUN",
    "DOCUMENT_PROCESSOR_RUN",
)
SORTED: Final = {"sortBy": ("updatedAt", "createdAt"), "sortDir": ("desc", "asc")}

# base64 encodes these two bytes as "+/", so a client that does not URL-encode tokens fails at once
_MARK: Final = b"\xfb\xf0"


class Query(NamedTuple):
    """A validated list request; `after` is None for a first page or a token that leads to it."""

    filters: dict[str, str]
    sort: str
    descending: bool
    limit: int
    after: Position | None
    fingerprint: bytes


def parse_query(
    request: Request,
    allowed: dict[str, tuple[str, ...]],
    *,
    size: str = "maxPageSize",
    sortable: bool = True,
) -> Query:
    """Check the parameters of a list.

    `allowed` maps each filter to its values; () allows any text. Other parameters are ignored.
    """
    known = {**allowed, **(SORTED if sortable else {})}
    filters: dict[str, str] = {}
    for name, value in request.query:
        choices = known.get(name)
        if choices is None:
            continue
        if choices and value not in choices:
            raise RefusedError(400, f"Invalid enum value.; Path: {name}", docs=True)
        filters[name] = value
    text = request.param(size) or "10"
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        raise RefusedError(400, f"Expected a number from 1 to 1000.; Path: {size}", docs=True)
    print_of = repr((request.path, sorted(filters.items()), text)).encode()
    fingerprint = blake2b(print_of, digest_size=8).digest()
    token = request.param("nextPageToken")
    after = _read_token(token, fingerprint) if token else None
    sort, direction = filters.pop("sortBy", "updatedAt"), filters.pop("sortDir", "desc")
    return Query(filters, sort, direction == "desc", int(text), after, fingerprint)


def make_token(fingerprint: bytes, after: Position | None) -> str:
    """A page token: `+/Bz5Z0hWQ8NLg==:AAABnx8kPMgAAAAAAAAABwA=`; without a position it leads to the first
    page."""
    time, key = after or (0, 0)
    place = time.to_bytes(8, "big", signed=True) + key.to_bytes(8, "big") + (b"\1" if after else b"\0")
    return f"{b64encode(_MARK + fingerprint).decode()}:{b64encode(place).decode()}"


def _read_token(token: str, fingerprint: bytes) -> Position | None:
    wrong = RefusedError(400, "The page token does not belong to this query.; Path: nextPageToken", docs=True)
    query, _, place = token.partition(":")
    try:
        if b64decode(query, validate=True) != _MARK + fingerprint:
            raise wrong
        raw = b64decode(place, validate=True)
    except Base64Error:
        raise wrong from None
    if len(raw) != 17:
        raise wrong
    return (
        (int.from_bytes(raw[:8], "big", signed=True), int.from_bytes(raw[8:16], "big")) if raw[16] else None
    )


def envelope(edition: int, name: str, rows: list[Any], token: str | None, last_page: str) -> dict[str, Any]:
    """{"object": "list", "data": [...]} since 2026-02-09, {"success": true, "workflowRuns": [...]}
    before."""
    shown: dict[str, Any] = (
        {"object": "list", "data": rows} if edition >= 2026 else {"success": True, name: rows}
    )
    if token is not None:
        shown["nextPageToken"] = token
    elif last_page != "missing":
        shown["nextPageToken"] = None if last_page == "null" else ""
    return shown
