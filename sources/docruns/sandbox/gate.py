"""The entry of every request: controls, mounts, rate limit, faults and statistics, then the platform."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from .control import Control
from .extend.mount import ExtendMount
from .faults import Fault, Faults, spoil
from .plextera.mount import PlexteraMount
from .stats import Stats
from .wire import Reply, Request, encode

CONTROL: Final = "/_sandbox"
_UPDATE: Final = ("POST", "/workflow_runs/{id}")


class Bucket:
    """A token bucket of one second: `rate` requests per second, None for no limit."""

    def __init__(self, rate: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.set(rate)

    def set(self, rate: float | None) -> None:
        self.rate = rate or None
        self._tokens = max(rate or 0.0, 1.0)
        self._last = self._clock()

    def wait(self) -> float:
        """0 when a request may pass (it takes a token), else the seconds until the next one may."""
        if self.rate is None:
            return 0.0
        now = self._clock()
        self._tokens = min(max(self.rate, 1.0), self._tokens + (now - self._last) * self.rate)
        self._last = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self.rate


class Mount(Protocol):
    """What the gate needs of a platform: its prefix, the route of a path, and its reply."""

    @property
    def name(self) -> str: ...

    @property
    def prefix(self) -> str: ...

    def below(self, path: str) -> str: ...

    def template(self, method: str, path: str) -> str | None: ...

    def answer(self, request: Request, path: str, number: int, wait: float, fault: Fault | None) -> Reply: ...


class Gate:
    """Everything between the socket and the platforms.

    `latency` is in seconds, `rate_limit` in requests per second and platform.
    """

    def __init__(
        self,
        extend: ExtendMount,
        plextera: PlexteraMount,
        *,
        seed: int,
        latency: float,
        rate_limit: float | None,
    ) -> None:
        self.extend = extend
        self.plextera = plextera
        self._mounts: tuple[Mount, ...] = (extend, plextera)
        self.latency = latency
        self.buckets = {mount.name: Bucket(rate_limit) for mount in self._mounts}
        self.faults = Faults(seed)
        self.stats = Stats()
        self.lock = threading.Lock()
        self._served = 0
        self._control = Control(self)

    def handle(self, request: Request) -> Reply:
        """Answer one request; the server calls `done` of the reply when the reply has been sent."""
        if request.path == CONTROL or request.path.startswith(f"{CONTROL}/"):
            return self._control.handle(request, request.path.removeprefix(CONTROL))
        for mount in self._mounts:
            if request.path.startswith(f"{mount.prefix}/"):
                return self._pass(request, mount)
        places = " and ".join(f"{mount.name} at {mount.prefix}" for mount in self._mounts)
        return Reply(404, encode({"error": f"nothing here; the APIs are {places}"}))

    def _pass(self, request: Request, mount: Mount) -> Reply:
        path = mount.below(request.path)
        template = mount.template(request.method, path)
        with self.lock:
            self._served += 1
            number = self._served
            self.stats.began(request.method, template or "(unknown)")
            wait = self.buckets[mount.name].wait()
            fault = None if wait else self.faults.take(mount.name, request.method, path)
        reply = mount.answer(request, path, number, wait, fault)
        if fault is not None and fault.kind == "stale" and reply.status == 200:
            with self.lock:
                reply = self.faults.first_reply(mount.name, request.path, reply)
        elif fault is not None:
            reply = spoil(fault, reply)
        if self.latency:
            reply = reply._replace(
                delivery=reply.delivery._replace(delay=reply.delivery.delay + self.latency)
            )
        with self.lock:
            self.stats.answered(reply.status)
            if (request.method, template) == _UPDATE and reply.status == 200 and fault is None:
                self.stats.updated(path)
        return reply._replace(done=self._finished)

    @property
    def rate_limit(self) -> float | None:
        return self.buckets["extend"].rate

    def limit(self, rate: float | None) -> None:
        """Change the rate limit of both platforms; each platform has its own token bucket."""
        for bucket in self.buckets.values():
            bucket.set(rate)

    def counted(self) -> Stats:
        """The statistics, including the count of the faults that have applied so far."""
        with self.lock:
            self.stats.faults = self.faults.hits
            return self.stats

    def _finished(self) -> None:
        with self.lock:
            self.stats.in_flight -= 1
