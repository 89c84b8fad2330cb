"""Clients beside the one that sends: one that keeps each answer, and one that has answers and sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, Self

from ..core.errors import MissingError
from .messages import Outcome, Reply, Request, Usage


class Answers(Protocol):
    """What the readers of lists need of a client."""

    def begin(self, requests: Iterable[Request]) -> None:
        """Send these together."""

    def get(self, request: Request) -> Reply:
        """The answer to one request."""

    def get_many(
        self, requests: Iterable[Request], ahead: Callable[[], int | None] | None = None
    ) -> Iterator[tuple[Request, Outcome]]:
        """Answers in the order of the requests, errors among them."""


class RecordingClient:
    """Sends requests with `client`, and gives `keep` each good answer."""

    def __init__(self, client: Answers, keep: Callable[[Request, bytes], None]) -> None:
        self._client, self._keep = client, keep

    def begin(self, requests: Iterable[Request]) -> None:
        """Send these together."""
        self._client.begin(requests)

    def get(self, request: Request) -> Reply:
        """The answer to one request."""
        reply = self._client.get(request)
        self._keep(request, reply.body)
        return reply

    def get_many(
        self, requests: Iterable[Request], ahead: Callable[[], int | None] | None = None
    ) -> Iterator[tuple[Request, Outcome]]:
        """Answers in the order of the requests, errors among them."""
        for request, outcome in self._client.get_many(requests, ahead):
            if isinstance(outcome, Reply):
                self._keep(request, outcome.body)
            yield request, outcome


class StoredClient:
    """Answers requests with what `find` gives, and sends none. MissingError where it gives None."""

    base_url = ""

    def __init__(self, find: Callable[[Request], bytes | None]) -> None:
        self._find = find
        self.usage = Usage()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def begin(self, requests: Iterable[Request]) -> None:
        """Nothing is sent."""

    def get(self, request: Request) -> Reply:
        """The stored answer."""
        body = self._find(request)
        if body is None:
            raise MissingError("no answer is stored", request=str(request))
        return Reply(body, {})

    def get_many(
        self,
        requests: Iterable[Request],
        ahead: Callable[[], int | None] | None = None,  # noqa: ARG002 # as the other clients
    ) -> Iterator[tuple[Request, Outcome]]:
        """The stored answers, in the order of the requests."""
        for request in requests:
            try:
                yield request, self.get(request)
            except MissingError as error:
                yield request, error
