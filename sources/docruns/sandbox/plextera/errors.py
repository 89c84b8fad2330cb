"""Error replies in the API's one envelope.

{"error": {"code": "NOT_FOUND", "message": "...", "requestId": "req_...", "retryable": false}}

A 422 adds `details`.
"""

from __future__ import annotations

from typing import Any, Final

from ..wire import Reply, encode

# the codes of 415, 429 and of every status from 500 on are not documented
CODES: Final = {
    400: ("INVALID_REQUEST", "The request is not valid."),
    401: ("UNAUTHORIZED", "API key is missing or not valid."),
    403: ("FORBIDDEN", "This key may not do that."),
    404: ("NOT_FOUND", "No such resource."),
    405: ("METHOD_NOT_ALLOWED", "This resource does not take that method."),
    406: ("NOT_ACCEPTABLE", "Only application/json can be sent."),
    409: ("CONFLICT", "Resource is changing."),
    413: ("PAYLOAD_TOO_LARGE", "The payload is too large."),
    415: ("UNSUPPORTED_MEDIA_TYPE", "This media type is not supported."),
    422: ("VALIDATION_FAILED", "Some fields are not valid."),
    429: ("RATE_LIMITED", "Slow down."),
    500: ("INTERNAL_ERROR", "Unexpected failure."),
    502: ("BAD_GATEWAY", "The gateway got no answer."),
    503: ("SERVICE_UNAVAILABLE", "The service is not available."),
    504: ("GATEWAY_TIMEOUT", "The gateway waited too long."),
}
RETRYABLE: Final = frozenset({409, 429, 500, 502, 503, 504})


class RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def error_body(status: int, message: str, request_id: str) -> dict[str, Any]:
    code, usual = CODES.get(status, ("INTERNAL_ERROR", "Unexpected failure."))
    shown: dict[str, Any] = {
        "code": code,
        "message": message or usual,
        "requestId": request_id,
        "retryable": status in RETRYABLE,
    }
    if code == "VALIDATION_FAILED":
        shown["details"] = [{"field": "status", "issue": "must be one of the known values"}]
    return {"error": shown}


def error_reply(status: int, message: str, request_id: str, headers: tuple[tuple[str, str], ...]) -> Reply:
    return Reply(status, encode(error_body(status, message, request_id)), headers)
