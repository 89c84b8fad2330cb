"""Refused answers as errors: a status and the platform's message become an `ApiError`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from ..core.codec import utc
from ..core.errors import (
    ApiError,
    BlockedError,
    BusyError,
    InvalidError,
    MissingError,
    RefusedError,
    ServerError,
)

_KINDS: dict[int, type[ApiError]] = {
    400: InvalidError,
    401: RefusedError,
    402: BlockedError,
    403: RefusedError,
    404: MissingError,
    408: ServerError,
    410: MissingError,
    422: InvalidError,
    425: ServerError,
    429: BusyError,
}


def refusal(
    status: int,
    request: str,
    message: str,
    *,
    code: str | None = None,
    request_id: str | None = None,
    retryable: bool | None = None,
    headers: Mapping[str, str] | None = None,
) -> ApiError:
    """The error for a status. `retryable` is what the platform itself says; None is nothing.

    What it says counts only for a status that has no error of its own here.
    """
    known, headers = _KINDS.get(status), headers or {}
    kind = known or (ServerError if status >= 500 or retryable else ApiError)
    if 300 <= status < 400:
        message = f"redirected to {_host_of(headers.get('location', ''))}, and not followed"
    return kind(
        message or "no message",
        request=request,
        status=status,
        code=code,
        request_id=request_id,
        retryable=kind in (BusyError, ServerError),
        retry_after=retry_after(headers.get("retry-after"), datetime.now(UTC)),
    )


def _host_of(location: str) -> str:
    try:
        return urlsplit(location).netloc or "the same host"
    except ValueError:
        return "an invalid address"


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait by a Retry-After, in seconds or as an HTTP date; None if it is neither."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (utc(at) - now).total_seconds())
