"""Everything that can go wrong, by name.

    DocrunsError
    ├── ConfigError          wrong use or configuration; knows the config key           exit 2
    ├── LockedError          another process holds the database or the pipeline         exit 1
    └── ApiError             the platform's answer, or the lack of one                  exit 1
        ├── RefusedError     401, 403: the key is not accepted                          exit 4
        ├── InvalidError     400, 422: the request is wrong
        ├── BlockedError     402: out of credits
        ├── MissingError     404, 410: no such run, or no such list in this version
        ├── BusyError        429: more requests than the plan allows
        ├── ServerError      5xx and other answers that may pass
        ├── UnreachableError no answer: refused, reset, timed out
        └── ShapeError       an answer that is not what the API promises

Each error knows its subject: the request, the run, the config key, and what to check.
"""

from __future__ import annotations


class DocrunsError(Exception):
    """Base of all errors of docruns; `exit_code` is what the command ends with."""

    exit_code = 1


class ConfigError(DocrunsError):
    """A setting is missing or wrong. `key` names it as it stands in `.dlt/config.toml`."""

    exit_code = 2

    def __init__(self, key: str, problem: str, hint: str = "") -> None:
        self.key, self.problem, self.hint = key, problem, hint
        super().__init__(f"{key}: {problem}" + (f" {hint}" if hint else ""))


class LockedError(DocrunsError):
    """Somebody else holds what this load needs; nothing was touched."""


class ApiError(DocrunsError):
    """An answer that cannot be used.

    `request` is method and path without query (a query may carry page tokens), `status` is
    None where no answer came, `code` and `request_id` are the platform's own.
    """

    retryable = False

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
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        if retryable is not None:
            self.retryable = retryable
        known = [request, str(status) if status else "", code or ""]
        head = " ".join(part for part in known if part)
        tail = f" (request id {request_id})" if request_id else ""
        super().__init__(f"{head}: {message}{tail}" if head else f"{message}{tail}")


class RefusedError(ApiError):
    """401 or 403: the key is missing, wrong, revoked or lacks the right."""

    exit_code = 4


class InvalidError(ApiError):
    """400 or 422: the request itself is refused."""


class BlockedError(ApiError):
    """402: the account is out of credits."""


class MissingError(ApiError):
    """404 or 410: the id is unknown, or the path does not exist in this API version."""


class BusyError(ApiError):
    """429: the plan's requests per second are used up. `retry_after` is in seconds."""

    retryable = True


class ServerError(ApiError):
    """5xx, 408, 425 and the like: the same request may work later."""

    retryable = True


class UnreachableError(ApiError):
    """No answer: name lookup, refused, reset, or a time-out."""

    retryable = True


class ShapeError(ApiError):
    """An answer with status 200 that is not what the API promises: HTML, cut off, no list."""

    retryable = True
