"""PURE. All errors of docruns. Each one names its subject: the request, the run or the config key, and what to
check."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

UNAUTHORIZED = 401
"""The key itself is refused; 403 may be about what is asked for."""


LACKS_RUNS = 3
"""The exit code of a load, a push or a verification that ended, and some runs are missing."""


class DocrunsError(Exception):
    """Base of all errors of docruns; `exit_code` is what the command ends with.

    `retryable`: the same call may succeed later although nobody has changed anything.
    """

    exit_code = 1
    retryable = False


class TransientError(DocrunsError):
    """Something outside of docruns has failed that may work again by itself."""

    retryable = True


class ConfigError(DocrunsError):
    """A setting is missing or wrong. `key` is its name in `.dlt/config.toml`."""

    exit_code = 2

    def __init__(self, key: str, problem: str, hint: str = "") -> None:
        self.key, self.problem, self.hint = key, problem, hint
        super().__init__(f"{key}: {problem}" + (f" {hint}" if hint else ""))


@contextmanager
def option_names(options: Mapping[str, str]) -> Iterator[None]:
    """Let a ConfigError that is raised in here name another option: `options` has it by the name that the error has."""
    try:
        yield
    except ConfigError as error:
        if error.key not in options:
            raise
        raise ConfigError(options[error.key], error.problem, error.hint) from error


class RowsError(ConfigError):
    """Rows that cannot be pushed, with all of their problems. Nothing was sent."""

    def __init__(self, key: str, problems: list[str]) -> None:
        self.problems = problems
        many = "1 problem" if len(problems) == 1 else f"{len(problems):,} problems"
        super().__init__(key, "\n  ".join([f"{many}; nothing was sent:", *problems]))


class LockedError(DocrunsError):
    """Another process holds the database or the pipeline; nothing was changed."""

    retryable = True


class ApiError(DocrunsError):
    """An answer that cannot be used.

    `request` is method and path without query (a query may carry page tokens), `status` is None where no
    answer came, `code` and `request_id` are the platform's own. The client sets `host`; from then on the
    message also contains the advice.
    """

    advice = "Check base_url and api_version."
    """What the reader of the message can do."""

    def __init__(
        self,
        message: str,
        *,
        request: str = "",
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
    ) -> None:
        self.message = message
        self.request = request
        self.host = ""
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        if retryable is not None:
            self.retryable = retryable
        super().__init__(message)

    def __str__(self) -> str:
        known = [self.request, str(self.status) if self.status else "", self.code or ""]
        head = " ".join(part for part in known if part)
        text = ": ".join(part for part in (self.host, head, self.message) if part)
        text += f" (request id {self.request_id})" if self.request_id else ""
        return f"{text.rstrip('.')}. {self.advice}" if self.host else text


class RefusedError(ApiError):
    """401 or 403: the key is missing, wrong, revoked or lacks the right."""

    exit_code = 4
    advice = "Check that the key is whole, not revoked, and one for this host."


class InvalidError(ApiError):
    """400 or 422: the request itself is refused."""


class BlockedError(ApiError):
    """402: the account is out of credits."""

    advice = "Top up the account, then start again."


class MissingError(ApiError):
    """404 or 410: the id is unknown, or the path does not exist in this API version."""

    advice = "Check base_url and api_version; a run may have been deleted."


class BusyError(ApiError):
    """429: the plan's requests per second are used up. `retry_after` is in seconds."""

    retryable = True
    advice = "Start again later; what was loaded stays."


class ServerError(ApiError):
    """5xx, 408, 425 and the like: the same request may work later."""

    retryable = True
    advice = "Start again later; if it stays, tell the platform the request id."


class UnreachableError(ApiError):
    """No answer: name lookup, refused, reset, or a time-out."""

    retryable = True
    advice = "Check base_url, the network and the proxy, then start again."
    sent = True
    """False where the request certainly did not reach the platform."""


class ShapeError(ApiError):
    """An answer with status 200 that is not what the API promises: HTML, cut off, no list."""

    retryable = True
    advice = "Check that base_url is the API's; if it is, start again later."


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error, its cause, the cause of that, and so on to the first one. dlt keeps some causes in attributes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        wrapped = getattr(error, "client_exception", None) or getattr(error, "exception", None)
        error = error.__cause__ or wrapped or error.__context__


def is_file_limit(cause: BaseException) -> bool:
    """The process may open no more files; DuckDB says so in words, without a number."""
    if isinstance(cause, OSError):
        return cause.errno in (errno.EMFILE, errno.ENFILE)
    return "Too many open files" in str(cause)


def is_memory_limit(cause: BaseException) -> bool:
    """The process may have no more memory or threads; several libraries say so in their own words."""
    if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM):
        return True
    text = str(cause).lower()
    return any(words in text for words in _NO_MEMORY)


_NO_MEMORY = (
    "can't start new thread",
    "failed to map segment",
    "std::bad_alloc",
    "cannot allocate memory",
)


def stops_everything(error: ApiError) -> bool:
    """No other request would get a better answer: the key, the account, the request limit or this machine is at
    fault."""
    is_local = isinstance(error, UnreachableError) and not error.retryable
    return is_local or error.status == UNAUTHORIZED or isinstance(error, (BlockedError, BusyError))
