"""Refused answers as errors: a status and a platform's message become an `ApiError`."""

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

_RETRIED_STATUS = frozenset({408, 425, 429})


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
    """The error that a status stands for. `retryable` is the platform's own word, if it gave one."""
    kinds: dict[int, type[ApiError]] = {
        400: InvalidError,
        401: RefusedError,
        402: BlockedError,
        403: RefusedError,
        404: MissingError,
        410: MissingError,
        422: InvalidError,
        429: BusyError,
    }
    kind = kinds.get(status)
    if kind is None:
        passing = status >= 500 or status in _RETRIED_STATUS
        kind = ServerError if passing or retryable else ApiError
        if 300 <= status < 400:
            message = (
                f"redirected to {_host_of((headers or {}).get('location', ''))}, and not followed"
            )
    if status in kinds and status != 429:
        retryable = False
    return kind(
        message or "no message",
        request=request,
        status=status,
        code=code,
        request_id=request_id,
        retryable=True if kind in (BusyError, ServerError) else retryable,
        retry_after=retry_after((headers or {}).get("retry-after"), datetime.now(UTC)),
    )


def _host_of(location: str) -> str:
    try:
        return urlsplit(location).netloc or "the same host"
    except ValueError:
        return "an address that is none"


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait, from a Retry-After in seconds or as an HTTP date; None if it is neither."""
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
