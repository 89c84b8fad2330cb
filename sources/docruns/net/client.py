"""When a request is sent, and when again: turns, retries, the platform's errors as ours.

    Request ──► budget (wait for a turn) ──► transport: send, read ──► check ──► Reply
                      ▲                                                 │
                      └──────── wait, try again ◄───────────────────────┘ 408, 425, 429, 5xx,
                                                                          reset, timed out, cut off

A `Client` runs an event loop in a thread of its own, so that the callers, dlt's generators, stay
plain and the network goes on while they flatten. It decides when a request is sent and repeated,
and nothing else: what an answer means, and which requests are needed, is decided above.
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
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import httpx
import tenacity

from ..core.errors import (
    ApiError,
    BusyError,
    ShapeError,
    UnreachableError,
)
from ..core.settings import is_loopback
from .messages import ConnectionSettings, Outcome, Reply, Request, Usage
from .shared_budget import Budget
from .transport import TooLargeError, Transport, UntrustedError, proxy_for

# httpx logs whole URLs at INFO, page tokens included
logging.getLogger("httpx").setLevel(logging.WARNING)
_AHEAD_BYTES = 64 * 2**20
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)


class Client:
    """Sends requests. Use it as a context manager; entered twice, it closes with the last exit.

    `explain` turns a refused answer into an error: (status, headers, body, "GET /path").
    `check` raises ShapeError on a body that is no answer although its status is 200.
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
        self._host = urlsplit(settings.base_url).netloc
        self._entered = 0
        self._measured = (0.0, 0)
        self._begun: dict[Request, Future[Outcome]] = {}
        self.usage = Usage()

    @property
    def base_url(self) -> str:
        """Where requests go."""
        return self._settings.base_url

    def __enter__(self) -> Self:
        if self._entered == 0:
            self._transport = self._make_transport()
            self._loop = asyncio.new_event_loop()
            self._places = asyncio.Semaphore(self._settings.concurrency)
            self._gate = asyncio.Lock()
            self._thread = threading.Thread(
                target=self._loop.run_forever, name="docruns-http", daemon=True
            )
            self._thread.start()
        self._entered += 1
        return self

    def __exit__(self, *exc: object) -> None:
        self._entered -= 1
        if self._entered == 0:
            self._begun.clear()
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(timeout=30)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=30)
            self._loop.close()

    def _make_transport(self) -> Transport:
        url = self._settings.base_url
        return Transport(
            url,
            self._settings.headers,
            connections=self._settings.concurrency,
            idle_s=self._settings.timeout,
            total_s=self._settings.total_timeout,
            max_bytes=int(self._settings.max_response_mb * 2**20),
            proxy=None if is_loopback(url) else proxy_for(url),
        )

    async def _stop(self) -> None:
        current = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._transport.aclose()

    def begin(self, requests: Iterable[Request]) -> None:
        """Send these together: who asks for one of them the next time gets its answer."""
        for request in requests:
            if request not in self._begun:
                self._begun[request] = self._submit(request)

    def get(self, request: Request) -> Reply:
        """The answer to one request, GET or POST. ApiError when it is refused or never comes."""
        outcome = self._submit(request).result()
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome

    def get_many(
        self, requests: Iterable[Request], ahead: Callable[[], int | None] = lambda: None
    ) -> Iterator[tuple[Request, Outcome]]:
        """Answers in the order of the requests, errors among them, `concurrency` in flight.

        More requests wait for their turns, and answers to be taken, so that the platform's time is
        used while one answer is slow or the caller is busy: what `ahead` says, or sixteen times
        `concurrency`, yet no more than four times where these would be more than 64 MiB.
        """
        waiting: deque[tuple[Request, Future[Outcome]]] = deque()
        source = iter(requests)
        try:
            while True:
                while len(waiting) < self._ahead(ahead()):
                    request = next(source, None)
                    if request is None:
                        break
                    waiting.append((request, self._submit(request)))
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

    def _submit(self, request: Request) -> Future[Outcome]:
        return self._begun.pop(request, None) or self._dispatch(request)

    def _dispatch(self, request: Request) -> Future[Outcome]:
        return asyncio.run_coroutine_threadsafe(self._fetch(request), self._loop)

    async def _fetch(self, request: Request) -> Outcome:
        errand = _Call(request)
        # kept while it waits to try again, or all that waits for a place would overtake it
        async with self._places:
            try:
                return await self._send(errand)
            except ApiError as error:
                errand.failed = error
            try:
                return await self._retry(errand)
            except ApiError as error:
                error.host = self._host
                return error

    async def _retry(self, errand: _Call) -> Reply:
        """As often as it may help, after a try that has failed: most requests need none of this."""
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(errand.may_go_again),
            wait=lambda state: self._wait(state, errand),
            stop=lambda state: self._is_over(state, errand),
            before_sleep=self._count_retry,
            reraise=True,
        )
        reply: Reply = await attempts(self._send_again, errand)
        return reply

    async def _send_again(self, errand: _Call) -> Reply:
        failed, errand.failed = errand.failed, None
        if failed is not None:
            raise failed
        return await self._send(errand)

    def _count_retry(self, _: tenacity.RetryCallState) -> None:
        self.usage.retries += 1

    def _wait(self, state: tenacity.RetryCallState, errand: _Call) -> float:
        retry = self._settings.retry
        grown: float = min(retry.cap, retry.first * 2.0 ** (state.attempt_number - 1))
        wait = grown * random.uniform(0.5, 1.0)
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, ApiError) and error.retry_after is not None:
            wait = max(wait if error.retry_after else 0.0, error.retry_after)
        if isinstance(error, BusyError):
            # everybody waits, this request for its turn as well
            paused = self._budget.refused(time.monotonic(), wait, errand.epoch)
            self.usage.throttled_s += paused
            return 0.0
        return wait

    def _is_over(self, state: tenacity.RetryCallState, errand: _Call) -> bool:
        retry = self._settings.retry
        then = time.monotonic() + state.upcoming_sleep
        return state.attempt_number >= retry.attempts or then > errand.began + retry.deadline

    async def _send(self, errand: _Call) -> Reply:
        await self._turn(errand)
        return await self._exchange(errand.request)

    async def _turn(self, errand: _Call) -> None:
        """Wait until this request may go. BusyError when that is past its deadline."""
        # one at a time asks: the others need not wake up to see that they must wait
        async with self._gate:
            while True:
                now = time.monotonic()
                errand.began = errand.began or now
                wait, errand.epoch, allowed = self._budget.turn(now)
                if wait <= 0:
                    self._measure(now, allowed)
                    return
                if now + wait > errand.began + self._settings.retry.deadline:
                    raise BusyError(
                        f"asked to wait, {wait:,.0f} s from now, longer than the "
                        f"{self._settings.retry.deadline:g} s that a request may take",
                        request=str(errand.request),
                        status=429,
                        retry_after=wait,
                        retryable=False,
                    )
                await asyncio.sleep(wait)

    def _measure(self, now: float, allowed: float | None) -> None:
        self.usage.requests += 1
        self.usage.allowed_per_second = allowed
        since, before = self._measured
        if now - since >= 10:
            if since:
                self.usage.per_second = (self.usage.requests - before) / (now - since)
            self._measured = now, self.usage.requests

    async def _exchange(self, request: Request) -> Reply:
        name = str(request)
        try:
            answer = await self._transport.exchange(request.path, request.params, request.body)
        except TooLargeError as error:
            limit = f"max_response_mb is {self._settings.max_response_mb:g}"
            raise ShapeError(f"{error}; {limit}", request=name, retryable=False) from error
        except httpx.DecodingError as error:
            raise ShapeError(str(error), request=name) from error
        except httpx.TransportError as error:
            sent = not isinstance(error, _NOT_SENT)
            failed = UnreachableError(
                str(error) if sent else f"cannot reach {self._host}: {error}",
                request=name,
                retryable=not isinstance(error, UntrustedError),
            )
            failed.sent = sent
            raise failed from error
        self.usage.bytes += len(answer.body)
        if 200 <= answer.status < 300:
            self._check(answer.body, name)
            return Reply(answer.body, answer.headers)
        raise self._explain(answer.status, answer.headers, answer.body, name)


@dataclass
class _Call:
    """One request through its tries. `began`: when its first turn was near; `epoch`: its last's;
    `failed`: why the first one did, until that counts."""

    request: Request
    began: float = 0.0
    epoch: int = 0
    failed: ApiError | None = None

    def may_go_again(self, error: BaseException) -> bool:
        """Whether another try may help, and does nothing twice."""
        if not isinstance(error, ApiError) or not error.retryable:
            return False
        undone = isinstance(error, BusyError) or (
            isinstance(error, UnreachableError) and not error.sent
        )
        return self.request.idempotent or undone
