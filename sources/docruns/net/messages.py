"""What is sent to a platform and what comes back: requests, replies, and the settings of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote

from ..core.errors import ApiError


def segment(id_: str) -> str:
    """The id as one part of a path, whatever it holds: `../a?b` becomes `..%2Fa%3Fb`."""
    return quote(id_, safe="")


class Request(NamedTuple):
    """A GET by path relative to the base URL, or a POST of a JSON body, about a run or list.

    A request that is not `idempotent` is sent again only if the platform has not acted on it: it never left,
    or it got a 429.
    """

    path: str
    params: tuple[tuple[str, str | int], ...] = ()
    subject: str = ""
    body: bytes | None = None
    idempotent: bool = True

    def __str__(self) -> str:
        return f"{'GET' if self.body is None else 'POST'} {self.path}"


class Reply(NamedTuple):
    """A good answer: its decompressed body, and its headers, whose names ignore case."""

    body: bytes
    headers: Mapping[str, str]


Outcome = Reply | ApiError


@dataclass
class Usage:
    """What a client has used so far. Seconds are wall-clock seconds, bytes are decompressed."""

    requests: int = 0
    retries: int = 0
    refusals: int = 0
    """Answers 429."""
    throttled_s: float = 0.0
    """Seconds in which the platform allowed no requests, by its 429 answers."""
    bytes: int = 0
    per_second: float = 0.0
    """Requests a second, over the last ten seconds or so."""
    allowed_per_second: float | None = None
    """Requests a second that the budget allows now; None is no limit."""


@dataclass(frozen=True)
class Retry:
    """When to give up a request: after `attempts` tries, or `deadline` seconds from its first turn.

    While no connection can be made, after `connect_deadline` seconds. Waits grow from `first` to `cap` seconds
    with jitter; a Retry-After is obeyed in full.
    """

    attempts: int = 6
    first: float = 1.0
    cap: float = 60.0
    deadline: float = 300.0
    connect_deadline: float = 300.0


@dataclass(frozen=True)
class ConnectionSettings:
    """How to reach a platform. `connect_timeout` is in seconds, to look the host up, connect and agree on TLS, also
    through a proxy; `timeout` is in seconds, between two pieces of an answer.

    `total_timeout` is for a whole exchange, in seconds; `max_response_mb` is in MiB of decompressed body. The
    headers hold the key: they are not printed.
    """

    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    concurrency: int = 16
    timeout: float = 60.0
    connect_timeout: float = 15.0
    retry: Retry = field(default_factory=Retry)
    total_timeout: float = 300.0
    max_response_mb: float = 256.0

    @property
    def key(self) -> str:
        """The API key in the authorization header; empty if there is none."""
        return self.headers.get("authorization", "").rpartition(" ")[2]
