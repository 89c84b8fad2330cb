"""Error replies, in the words and the shape of each version.

2026-02-09:  {"code": "NOT_FOUND", "message": "...", "retryable": false, "requestId": "req_..."}
before:      {"success": false, "error": "..."}; a 422 or 429 already has the newer shape
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..wire import Reply

CODES: Final = {
    400: ("INVALID_REQUEST", "The request is invalid."),
    401: ("UNAUTHORIZED", "Invalid API key."),
    402: ("USAGE_BLOCKED", "Not enough credits."),
    403: ("FORBIDDEN", "The workspace lacks permission."),
    404: ("NOT_FOUND", "Not found."),
    408: ("REQUEST_TIMEOUT", "The request took too long."),
    409: ("CONFLICT", "The resource is busy."),
    410: ("ENDPOINT_REMOVED", "This endpoint was removed."),
    422: ("INVALID_REQUEST", "The request cannot be processed."),
    429: ("RATE_LIMIT_EXCEEDED", "Too many requests. Back off and retry."),
    500: ("INTERNAL_ERROR", "Unexpected server error."),
    502: ("BAD_GATEWAY", "The gateway got no answer."),
    503: ("SERVICE_UNAVAILABLE", "The service is not available."),
    504: ("GATEWAY_TIMEOUT", "The gateway waited too long."),
}
RETRYABLE: Final = frozenset({408, 409, 429, 500, 502, 503, 504})
DOCS: Final = "https://docs.extend.ai/api-reference/error-handling"


class RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str = "", *, docs: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.docs = docs


def error_body(
    status: int, message: str, edition: int, request_id: str, *, docs: bool = False
) -> dict[str, Any]:
    code, usual = CODES.get(status, ("INTERNAL_ERROR", "Unexpected server error."))
    if edition < 2026 and status not in (422, 429):
        return {"success": False, "error": message or usual}
    shown: dict[str, Any] = {
        "code": code,
        "message": message or usual,
        "retryable": status in RETRYABLE,
    }
    if status != 429:
        shown["requestId"] = request_id
    if docs:
        shown["docUrl"] = DOCS
    return shown


def error_reply(
    status: int,
    message: str,
    edition: int,
    request_id: str,
    headers: tuple[tuple[str, str], ...] = (),
    *,
    docs: bool = False,
) -> Reply:
    return Reply(
        status,
        msgspec.json.encode(error_body(status, message, edition, request_id, docs=docs)),
        headers,
    )
