"""When a request is sent, and when again: turns, retries, redaction.

    Request ──► budget (wait for a turn) ──► transport: send, read ──► redact ──► check ──► Reply
                      ▲                                                             │
                      └──── wait, try again ◄───────────────────────────────────────┘
                            after 408, 425, 429, 5xx, a reset, a time-out, a body that is cut off

A `Client` runs an event loop in a thread of its own. Its callers, dlt's generators, stay plain, and requests
go on while they flatten. They decide which requests are needed and what an answer means.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlsplit

from ..core.errors import ApiError, BusyError, UnreachableError
from .messages import ConnectionSettings, Outcome, Reply, Request, Usage
from .places import Places
from .redaction import make_redactor
from .shared_budget import Budget
from .transport import Transport

logger = logging.getLogger("docruns")

_AHEAD_BYTES = 64 * 2**20
"""How many bytes of answers may wait for the caller, beyond four answers for each connection."""

_STOP_S = 30.0
"""Seconds in which the event loop must end."""

_RATE_SPAN_S = 10.0
"""Seconds over which `Usage.per_second` is counted."""


class Client:
    """Sends requests. Use it as a context manager, in any number of threads: the last exit closes.

    `explain` turns a refused answer into an error: (status, headers, body, "GET /path"). `check` raises
    ShapeError on a body that is no answer although its status is 200. No answer and no error holds the key
    that the client sends.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        budget: Budget,
        explain: Callable[[int, Mapping[str, str], bytes, str], ApiError],
        check: Callable[[bytes, str], None],
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._explain = explain
        self._check = check
        self._redact = make_redactor(settings.key)
        self._host = urlsplit(settings.base_url).netloc
        self._entering = threading.Lock()
        self._entered = 0
        self._measured = (0.0, 0)
        self._prefetched: dict[Request, Future[Outcome]] = {}
        self._has_warned = False
        self.usage = Usage()

    @property
    def base_url(self) -> str:
        """Where requests go."""
        return self._settings.base_url

    def hurry(self, seconds: float) -> None:
        """Give up after this many seconds where no connection can be made, and after five times as many where no answer
        comes. Call it before the client is entered."""
        answer_s = 5 * seconds
        retry = replace(self._settings.retry, first=seconds / 4, connect_deadline=seconds, deadline=answer_s)
        self._settings = replace(self._settings, connect_timeout=seconds, timeout=answer_s, retry=retry)
        self._has_warned = True

    def __enter__(self) -> Self:
        with self._entering:
            if self._entered == 0:
                self._start()
            self._entered += 1
        return self

    def __exit__(self, *exc: object) -> None:
        with self._entering:
            self._entered -= 1
            if self._entered == 0:
                self._stop()

    def _start(self) -> None:
        self._transport = Transport(self._settings)
        self._loop = asyncio.new_event_loop()
        self._places, self._gate = Places(self._settings.concurrency), Places(1)
        self._thread = threading.Thread(target=self._loop.run_forever, name="docruns-http", daemon=True)
        self._thread.start()

    def _stop(self) -> None:
        self._prefetched.clear()
        asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop).result(timeout=_STOP_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=_STOP_S)
        self._loop.close()

    async def _cancel_all(self) -> None:
        current = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._transport.aclose()

    def begin(self, requests: Iterable[Request]) -> None:
        """Send these together. The next `get` or `get_many` of one of them takes its answer."""
        for request in requests:
            if request not in self._prefetched:
                self._prefetched[request] = self._submit(request)

    def get(self, request: Request) -> Reply:
        """The answer to one request, GET or POST. ApiError when it is refused or never comes."""
        outcome = self._submit(request).result()
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome

    def get_many(
        self, requests: Iterable[Request], ahead: Callable[[], int | None] | None = None
    ) -> Iterator[tuple[Request, Outcome]]:
        """Answers in the order of the requests, errors among them, `concurrency` in flight.

        More requests wait for their turns, and answers wait for the caller, so that the platform's time is
        used while one answer is slow or the caller is busy. `ahead` gives how many requests may be under way
        or answered at once, by default sixteen times `concurrency`; where it is given, the requests of other calls
        go first. Where so many answers of the size seen so far would take more than 64 MiB it is fewer, but at least
        four times `concurrency`.
        """
        waiting: deque[tuple[Request, Future[Outcome]]] = deque()
        source = iter(requests)
        try:
            while True:
                while len(waiting) < self._ahead(ahead() if ahead else None):
                    request = next(source, None)
                    if request is None:
                        break
                    waiting.append((request, self._submit(request, ahead is not None)))
                if not waiting:
                    return
                request, future = waiting.popleft()
                yield request, future.result()
        finally:
            for _, future in waiting:
                future.cancel()

    def _ahead(self, wanted: int | None) -> int:
        size = max(1, self.usage.bytes // max(1, self.usage.requests))
        fitting = max(4 * self._settings.concurrency, _AHEAD_BYTES // size)
        return min(fitting, wanted or 16 * self._settings.concurrency)

    def _submit(self, request: Request, is_ahead: bool = False) -> Future[Outcome]:
        return self._prefetched.pop(request, None) or self._dispatch(request, is_ahead)

    def _dispatch(self, request: Request, is_ahead: bool) -> Future[Outcome]:
        return asyncio.run_coroutine_threadsafe(self._fetch(request, is_ahead), self._loop)

    async def _fetch(self, request: Request, is_ahead: bool) -> Outcome:
        """One request, tried as often as it may help: the answer, or the error of the last try."""
        call, attempt = _Call(request, is_ahead), 0
        # the place is kept between tries, or all that waits for one would overtake this request
        async with self._places.take(is_ahead):
            while True:
                attempt += 1
                if (too_late := await self._take_turn(call)) is not None:
                    too_late.host = self._host
                    return too_late
                try:
                    return await self._exchange(request)
                except ApiError as error:
                    error.host = self._host
                    if not call.may_retry(error):
                        return error
                    wait, retry = self._pause(error, attempt, call), self._settings.retry
                    is_unsent = isinstance(error, UnreachableError) and not error.sent
                    deadline = retry.connect_deadline if is_unsent else retry.deadline
                    if attempt >= retry.attempts or time.monotonic() + wait > call.since + deadline:
                        return error
                    self._warn(error)
                self.usage.retries += 1
                await asyncio.sleep(wait)

    def _warn(self, error: ApiError) -> None:
        """Say once that the platform is silent: the tries may take minutes."""
        if isinstance(error, UnreachableError) and not self._has_warned:
            self._has_warned = True
            logger.warning("%s: %s: docruns tries again", error.request, error.message)

    def _pause(self, error: ApiError, attempt: int, call: _Call) -> float:
        """Seconds until the next try. It is 0 after a 429: the budget then stops all requests."""
        retry = self._settings.retry
        wait = min(retry.cap, retry.first * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)
        if error.retry_after is not None:
            wait = max(wait if error.retry_after else 0.0, error.retry_after)
        if isinstance(error, BusyError):
            self.usage.refusals += 1
            self.usage.throttled_s += self._budget.pause(time.monotonic(), wait, call.epoch)
            return 0.0
        return wait

    async def _take_turn(self, call: _Call) -> BusyError | None:
        """Wait until this request may be sent. The error if that is past its deadline."""
        # one at a time asks: the others need not wake up to see that they must wait
        async with self._gate.take(call.is_ahead):
            while True:
                now = time.monotonic()
                call.since = call.since or now
                wait, call.epoch, allowed = self._budget.take_turn(now)
                if wait <= 0:
                    self._count(now, allowed)
                    return None
                if now + wait > call.since + self._settings.retry.deadline:
                    return BusyError(
                        f"asked to wait, {wait:,.0f} s from now, longer than the "
                        f"{self._settings.retry.deadline:g} s that a request may take",
                        request=str(call.request),
                        status=429,
                        retry_after=wait,
                    )
                await asyncio.sleep(wait)

    def _count(self, now: float, allowed: float | None) -> None:
        self.usage.requests += 1
        self.usage.allowed_per_second = allowed
        since, before = self._measured
        if now - since >= _RATE_SPAN_S:
            if since:
                self.usage.per_second = (self.usage.requests - before) / (now - since)
            self._measured = now, self.usage.requests

    async def _exchange(self, request: Request) -> Reply:
        answer = await self._transport.exchange(request)
        self.usage.bytes += len(answer.body)
        body = self._redact(answer.body)
        if 200 <= answer.status < 300:
            self._check(body, str(request))
            return Reply(body, answer.headers)
        headers = {
            name: self._redact(text.encode("utf-8", "replace")).decode("utf-8", "replace")
            for name, text in answer.headers.items()
        }
        raise self._explain(answer.status, headers, body, str(request))


@dataclass
class _Call:
    """The tries of one request: when it first asked for a turn, and the epoch of its last turn."""

    request: Request
    is_ahead: bool
    since: float = 0.0
    epoch: int = 0

    def may_retry(self, error: ApiError) -> bool:
        """Whether another try may help and does nothing twice."""
        if not error.retryable:
            return False
        not_done = isinstance(error, BusyError) or (isinstance(error, UnreachableError) and not error.sent)
        return self.request.idempotent or not_done
