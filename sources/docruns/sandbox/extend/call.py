"""The arguments of an endpoint, its route, and the page of a list: shared by the route modules."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ..wire import Request, encode
from .errors import RefusedError
from .listing import Query, envelope, make_token
from .shelf import Shelf
from .state import State

VERSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class Call(NamedTuple):
    """One request to an endpoint: `edition` is 2026, 2025, 2024 or 2023, `twist` the fault of a list's
    page."""

    request: Request
    edition: int
    args: tuple[str, ...]
    twist: str


class Route(NamedTuple):
    method: str
    template: str
    first: int
    last: int
    answer: Callable[[Call], bytes]


def edition_of(version: str) -> int:
    """The edition of a version header: the newest edition that is not later than the header's date.

    2026-02-09 -> 2026, 2025-04-21 -> 2025, 2024-12-23 -> 2024, anything older -> 2023.
    """
    for date, edition in (("2026-02-09", 2026), ("2025-04-21", 2025), ("2024-12-23", 2024)):
        if version >= date:
            return edition
    return 2023


def shelf_page(
    state: State, call: Call, query: Query, shelf: Shelf, keep: Callable[[int], bool] | None, row: Callable[[int], Any], name: str
) -> bytes:  # fmt: skip
    """One page of a list, changed as the fault says."""
    page = shelf.page(
        descending=query.descending and not state.switches.oldest_first,
        after=query.after,
        limit=query.limit,
        keep=keep,
    )
    token = None if page.after is None else make_token(query.fingerprint, page.after)
    rows = [row(key) for key in page.keys]
    given = call.request.param("nextPageToken")
    match call.twist:
        case "repeat_token":
            token = given or make_token(query.fingerprint, None)
        case "token_cycle":
            token = make_token(query.fingerprint, None) if given else token
        case "empty_page":
            rows, token = [], make_token(query.fingerprint, query.after)
        case "shuffle":
            rows = [*rows[1::2], *rows[::2]]
        case "duplicate":
            rows = [*rows, *rows[:1]]
        case "expired_token" if given:
            raise RefusedError(400, "The page token has expired.; Path: nextPageToken", docs=True)
    return encode(envelope(call.edition, name, rows, token, state.switches.last_page))


def row_matches(row: dict[str, Any], filters: dict[str, str]) -> bool:
    """Whether a verbatim row passes the filters; a key that the row lacks counts as None."""
    for name, value in filters.items():
        if name in ("status", "batchId", "source") and row.get(name) != value:
            return False
        if name == "workflowId" and value not in (
            row.get("workflowId"),
            (row.get("workflow") or {}).get("id"),
        ):
            return False
    return True


__all__ = ["VERSION", "Call", "Route", "edition_of", "encode", "row_matches", "shelf_page"]
