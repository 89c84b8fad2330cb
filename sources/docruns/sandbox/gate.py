"""The way in: control, mounts, rate limit, faults, keys, version and statistics; then the platform answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from math import ceil
from typing import Final

from .chance import mix
from .control import Control
from .extend.call import VERSION, edition_of
from .extend.errors import RefusedError, error_body, error_reply
from .extend.platform import Extend
from .extend.routes import Api
from .faults import PAGE_KINDS, Fault, Faults, retry_headers, spoil
from .stats import Stats
from .wire import Reply, Request, encode

MOUNT: Final = "/extend"
CONTROL: Final = "/_sandbox"


class Bucket:
    """A token bucket of one second: `rate` requests per second, None for as many as come."""

    def __init__(self, rate: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.set(rate)

    def set(self, rate: float | None) -> None:
        self.rate = rate
        self._tokens = max(rate or 0.0, 1.0)
        self._last = self._clock()

    def wait(self) -> float:
        """0 when a request may pass (and takes its token), else the seconds until the next may."""
        if self.rate is None:
            return 0.0
        now = self._clock()
        self._tokens = min(max(self.rate, 1.0), self._tokens + (now - self._last) * self.rate)
        self._last = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self.rate


class Gate:
    """Everything between the socket and the platform. `latency` is in seconds, `rate_limit` in requests per second."""

    def __init__(
        self, extend: Extend, *, latency: float, rate_limit: float | None, api_keys: set[str] | None
    ) -> None:
        self.extend = extend
        self.api = Api(extend)
        self.latency = latency
        self.api_keys = api_keys
        self.bucket = Bucket(rate_limit)
        self.faults = Faults(extend.seed)
        self.stats = Stats()
        self.lock = threading.Lock()
        self._served = 0
        self._control = Control(self)

    def handle(self, request: Request) -> Reply:
        """Answer one request; `finished` must be called when the reply is out."""
        if request.path == CONTROL or request.path.startswith(f"{CONTROL}/"):
            return self._control.handle(request, request.path.removeprefix(CONTROL))
        if not request.path.startswith(f"{MOUNT}/"):
            return Reply(404, encode({"error": f"nothing here; the Extend API is at {MOUNT}"}))
        path = request.path.removeprefix(MOUNT).removeprefix("/v1")
        found = self.api.route(request.method, path)
        with self.lock:
            self._served += 1
            number = self._served
            self.stats.began(request.method, found[0].template if found else "(unknown)")
            wait = self.bucket.wait()
            fault = None if wait else self.faults.take(request.method, path)
        request_id = f"req_{mix(self.extend.seed, number, 21):020d}"
        reply = self._answer(request, path, request_id, wait, fault)
        if fault is not None:
            reply = spoil(fault, reply)
        if self.latency:
            reply = reply._replace(
                delivery=reply.delivery._replace(delay=reply.delivery.delay + self.latency)
            )
        with self.lock:
            self.stats.answered(reply.status)
        return reply._replace(done=self._finished)

    def counted(self) -> Stats:
        """The statistics, with the faults that hit so far."""
        with self.lock:
            self.stats.faults = self.faults.hits
            return self.stats

    def _finished(self) -> None:
        with self.lock:
            self.stats.in_flight -= 1

    def _answer(
        self, request: Request, path: str, request_id: str, wait: float, fault: Fault | None
    ) -> Reply:
        version = request.headers.get("x-extend-api-version", "")
        edition = edition_of(version) if version else 2026
        headers: tuple[tuple[str, str], ...] = (
            ("x-extend-request-id", request_id),
            ("x-extend-api-version", version or "2026-02-09"),
        )
        if wait:
            return error_reply(
                429, "", edition, request_id, (*headers, ("retry-after", str(ceil(wait))))
            )
        if fault is not None and fault.kind == "status":
            return error_reply(
                fault.status, "", edition, request_id, (*headers, *retry_headers(fault))
            )
        if fault is not None and fault.kind == "error_200":
            return Reply(200, encode(error_body(fault.status, "", edition, request_id)), headers)
        try:
            self._admit(request, version)
            with self.extend.lock:
                found = self.api.route(request.method, path)
                if found is None:
                    raise RefusedError(404)
                twist = fault.kind if fault is not None and fault.kind in PAGE_KINDS else ""
                return Reply(200, self.api.answer(request, *found, edition, twist), headers)
        except RefusedError as refused:
            return error_reply(
                refused.status, refused.message, edition, request_id, headers, docs=refused.docs
            )

    def _admit(self, request: Request, version: str) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if (
            scheme.lower() != "bearer"
            or not key
            or (self.api_keys is not None and key not in self.api_keys)
        ):
            raise RefusedError(401)
        if key.startswith("org_") and not request.headers.get("x-extend-workspace-id"):
            raise RefusedError(400, "A workspace header is needed for organization-level keys.")
        if not VERSION.fullmatch(version):
            raise RefusedError(
                400,
                "The x-extend-api-version header is required.; Path: x-extend-api-version",
                docs=True,
            )
