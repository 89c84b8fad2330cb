"""The only module that opens a socket: one request budget, retries, the platform's errors as ours.

    Request ──► budget (wait for a turn) ──► send, read, check ──► Reply
                      ▲                            │
                      └──── wait, try again ◄──────┘ 408, 425, 429, 5xx, reset, timed out, cut off

A `Client` runs an event loop in a thread of its own, so that the callers, dlt's generators, stay
plain and the network goes on while they flatten. It decides when a request is sent and repeated,
and nothing else: what an answer means, and which requests are needed, is decided above.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp
import httpx
import tenacity
from httpx_aiohttp import AiohttpTransport

from .errors import (
    ApiError,
    BlockedError,
    BusyError,
    ConfigError,
    InvalidError,
    MissingError,
    RefusedError,
    ServerError,
    ShapeError,
    UnreachableError,
)

# httpx logs whole URLs at INFO, page tokens included
logging.getLogger("httpx").setLevel(logging.WARNING)

_RETRIED_STATUS = frozenset({408, 425, 429})
_PRINTABLE = re.compile(r"[!-~]+")


class Request(NamedTuple):
    """A GET by path relative to the base URL. `subject` is the run or list that it is about."""

    path: str
    params: tuple[tuple[str, str | int], ...] = ()
    subject: str = ""


class Reply(NamedTuple):
    """A good answer: its decompressed body, and its headers with lower-case names."""

    body: bytes
    headers: Mapping[str, str]


Outcome = Reply | ApiError


@dataclass
class Usage:
    """What a client has used so far. Seconds are wall-clock seconds."""

    requests: int = 0
    retries: int = 0
    throttled_s: float = 0.0
    bytes: int = 0


@dataclass(frozen=True)
class Retry:
    """When to give up: `attempts` tries or `deadline` seconds for one request, waits included.

    Waits grow from `first` to `cap` seconds with jitter; a Retry-After is obeyed in full.
    """

    attempts: int = 6
    first: float = 1.0
    cap: float = 60.0
    deadline: float = 300.0


class Budget:
    """At most `per_second` requests a second, evenly spaced, over everything that shares it.

    None is no limit. After a 429 everybody waits, not only the request that was refused.
    """

    def __init__(self, per_second: float | None) -> None:
        self.per_second = per_second
        self._next = 0.0
        self._lock = threading.Lock()

    def turn(self, now: float) -> float:
        """Take the next turn: seconds from `now` until it comes."""
        with self._lock:
            at = max(now, self._next)
            self._next = at + (1.0 / self.per_second if self.per_second else 0.0)
            return at - now

    def pause(self, now: float, seconds: float) -> None:
        """Let nobody send for `seconds`."""
        with self._lock:
            self._next = max(self._next, now + seconds)


@dataclass(frozen=True)
class Settings:
    """How to reach a platform. `timeout` is in seconds, for connecting and between bytes."""

    base_url: str
    headers: Mapping[str, str]
    concurrency: int = 16
    timeout: float = 60.0
    retry: Retry = field(default_factory=Retry)


def check_key(key: str, name: str) -> str:
    """The key without surrounding white space; ConfigError where no header can carry it."""
    key = key.strip()
    if not _PRINTABLE.fullmatch(key):
        raise ConfigError(name, "is empty or holds white space or other unprintable characters.")
    return key


def is_loopback(url: str) -> bool:
    """True for this machine's own addresses, where plain http is fine and no key is at risk."""
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def check_base_url(url: str, name: str) -> str:
    """The URL without a final slash; ConfigError where a key must not be sent to it."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(name, f"is not an http(s) URL: {url!r}.")
    if parts.scheme == "http" and not is_loopback(url):
        raise ConfigError(name, f"would send the key unencrypted to {parts.hostname}; use https.")
    if parts.query or parts.fragment or parts.username:
        raise ConfigError(name, "must be a plain URL, without user, query or fragment.")
    return url.rstrip("/")


class Client:
    """Sends GETs. Use it as a context manager; entered twice, it closes with the last exit.

    `explain` turns a refused answer into an error: (status, headers, body, "GET /path") -> ApiError.
    `check` raises ShapeError on a body that is no answer although its status is 200.
    """

    def __init__(
        self,
        settings: Settings,
        budget: Budget,
        explain: Callable[[int, Mapping[str, str], bytes, str], ApiError],
        check: Callable[[bytes, str], None],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._explain = explain
        self._check = check
        self._transport = transport
        self._host = urlsplit(settings.base_url).netloc
        self._entered = 0
        self.usage = Usage()

    @property
    def base_url(self) -> str:
        """Where requests go."""
        return self._settings.base_url

    def __enter__(self) -> Self:
        self._entered += 1
        if self._entered == 1:
            self._loop = asyncio.new_event_loop()
            self._gate = asyncio.Semaphore(self._settings.concurrency)
            self._thread = threading.Thread(
                target=self._loop.run_forever, name="docruns-http", daemon=True
            )
            self._thread.start()
            self._http = httpx.AsyncClient(
                base_url=self._settings.base_url,
                headers=dict(self._settings.headers),
                timeout=self._settings.timeout,
                follow_redirects=False,
                transport=self._transport or AiohttpTransport(limits=self._limits()),
            )
        return self

    def __exit__(self, *exc: object) -> None:
        self._entered -= 1
        if self._entered == 0:
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(timeout=30)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=30)
            self._loop.close()

    def _limits(self) -> httpx.Limits:
        many = self._settings.concurrency
        return httpx.Limits(max_connections=many, max_keepalive_connections=many)

    async def _stop(self) -> None:
        current = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.aclose()

    def get(self, request: Request) -> Reply:
        """The answer to one request. ApiError when it is refused or never comes."""
        outcome = self._submit(request).result()
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome

    def get_many(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Outcome]]:
        """Answers in the order of the requests, errors among them, `concurrency` in flight.

        A few more answers than are in flight may wait to be taken, so that one slow answer does not
        stop the others; never more than four times `concurrency` bodies are held.
        """
        waiting: deque[tuple[Request, Future[Outcome]]] = deque()
        source = iter(requests)
        try:
            while True:
                while len(waiting) < 4 * self._settings.concurrency:
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

    def _submit(self, request: Request) -> Future[Outcome]:
        return asyncio.run_coroutine_threadsafe(self._fetch(request), self._loop)

    async def _fetch(self, request: Request) -> Outcome:
        retry = self._settings.retry
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, ApiError) and e.retryable),
            wait=self._wait,
            stop=tenacity.stop_after_attempt(retry.attempts)
            | tenacity.stop_before_delay(retry.deadline),
            before_sleep=self._count_retry,
            reraise=True,
        )
        try:
            reply: Reply = await attempts(self._send, request)
            return reply
        except ApiError as error:
            return error

    def _count_retry(self, _: tenacity.RetryCallState) -> None:
        self.usage.retries += 1

    def _wait(self, state: tenacity.RetryCallState) -> float:
        retry = self._settings.retry
        grown: float = min(retry.cap, retry.first * 2.0 ** (state.attempt_number - 1))
        wait = grown * random.uniform(0.5, 1.0)
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, ApiError) and error.retry_after is not None:
            wait = max(wait if error.retry_after else 0.0, error.retry_after)
        if isinstance(error, BusyError):
            self._budget.pause(time.monotonic(), wait)
            self.usage.throttled_s += wait
        return wait

    async def _send(self, request: Request) -> Reply:
        async with self._gate:
            wait = self._budget.turn(time.monotonic())
            if wait > 0:
                await asyncio.sleep(wait)
            return await self._exchange(request)

    async def _exchange(self, request: Request) -> Reply:
        name = f"GET {request.path}"
        self.usage.requests += 1
        try:
            async with asyncio.timeout(self._settings.timeout * 5):
                params: Any = list(request.params)
                response = await self._http.get(request.path, params=params)
        except (httpx.TimeoutException, TimeoutError) as error:
            cause = error.__cause__
            if isinstance(cause, aiohttp.ClientError) and not isinstance(cause, TimeoutError):
                # the transport calls a reset or closed connection a time-out as well
                raise UnreachableError(
                    f"cannot reach {self._host}: {error}", request=name
                ) from error
            raise UnreachableError(
                f"no answer within {self._settings.timeout:g} s", request=name
            ) from error
        except httpx.DecodingError as error:
            raise ShapeError(f"cannot be decompressed: {error}", request=name) from error
        except (httpx.TransportError, httpx.StreamError) as error:
            detail = str(error) or type(error).__name__
            raise UnreachableError(f"cannot reach {self._host}: {detail}", request=name) from error
        headers = {key.lower(): value for key, value in response.headers.items()}
        body = response.content
        self.usage.bytes += len(body)
        if response.is_success:
            self._check(body, name)
            return Reply(body, headers)
        raise self._explain(response.status_code, headers, body, name)


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
        message = f"redirected, and not followed: {message}" if 300 <= status < 400 else message
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
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
