"""The sandbox as an HTTP server on loopback, in a background thread; it leaves no files behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from .extend.mount import ExtendMount
from .extend.platform import Extend
from .faults import Fault
from .gate import Gate
from .moments import EPOCH_NOW, milliseconds
from .plextera.mount import PlexteraMount
from .plextera.platform import Plextera
from .pool import USUAL, Corpus
from .stats import Stats
from .wire import Connection


class Sandbox:
    """A seeded simulation of the platforms; use it as a context manager or with `start()` and `stop()`.

    `runs` is the number of Extend's workflow runs at the start, `standalone` that of its processor runs
    outside workflows (default: a tenth of `runs`), `plextera_runs` that of Plextera's top-level runs
    (default: `runs`). `latency` is in seconds per request, `rate_limit` in requests per second and platform
    (None: unlimited). With `api_keys` only those keys are accepted, else any key. The runs are spread over
    the sixty days before `now`. Equal arguments and an equal order of calls give equal bytes, timestamps
    included. `corpus` says what Extend's documents are like and who reviews them.
    """

    def __init__(
        self,
        runs: int = 200,
        seed: int = 7,
        port: int = 0,
        host: str = "127.0.0.1",
        *,
        latency: float = 0.0,
        rate_limit: float | None = None,
        api_keys: set[str] | None = None,
        document_size: str = "mixed",
        standalone: int | None = None,
        now: datetime | str | int = EPOCH_NOW,
        plextera_runs: int | None = None,
        corpus: Corpus = USUAL,
    ) -> None:
        self.host = host
        self.port = port
        moment = milliseconds(now)
        others = runs if plextera_runs is None else plextera_runs
        self.extend = Extend(runs, seed, moment, document_size, standalone, corpus)
        self._gate = Gate(
            ExtendMount(self.extend, api_keys),
            PlexteraMount(lambda: Plextera(others, seed, moment, document_size), seed, api_keys),
            seed=seed,
            latency=latency,
            rate_limit=rate_limit,
        )
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._failed: OSError | None = None

    @property
    def url(self) -> str:
        """The server's URL without a trailing slash; the port is known after the start."""
        return f"http://{self.host}:{self.port}"

    @property
    def stats(self) -> Stats:
        """The counts of the requests so far; `stats.reset()` sets them to zero."""
        return self._gate.counted()

    def fault(self, kind: str, path: str = "*", **details: Any) -> None:
        """Add a fault; the arguments are those of `Fault`."""
        with self._gate.lock:
            self._gate.faults.add(Fault(kind, path, **details))

    def clear_faults(self) -> None:
        """Remove every fault."""
        with self._gate.lock:
            self._gate.faults.clear()

    def set(self, *, latency: float | None = None, rate_limit: float | None = None) -> None:
        """Change the latency (seconds) and the rate limit (requests per second; 0 lifts it)."""
        with self._gate.lock:
            if latency is not None:
                self._gate.latency = latency
            if rate_limit is not None:
                self._gate.limit(rate_limit)

    @property
    def extend_url(self) -> str:
        """The base URL of the Extend API."""
        return f"{self.url}/extend"

    @property
    def plextera(self) -> Plextera:
        """The Plextera workspace; it is created on first use."""
        return self._gate.plextera.platform

    @property
    def plextera_url(self) -> str:
        """The base URL of the Plextera API."""
        return f"{self.url}{self._gate.plextera.prefix}"

    def start(self) -> Self:
        """Start the server; returns when it answers requests."""
        self._ready.clear()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run()), name="docruns-sandbox", daemon=True
        )
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            self._thread.join()
            raise self._failed
        return self

    def stop(self) -> None:
        """Close every connection and end the thread; does nothing when the server is not running."""
        if self._thread is None:
            return
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._thread = self._loop = self._stopping = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        connections: set[Connection] = set()
        try:
            server = await loop.create_server(
                lambda: Connection(self._gate.handle, connections),
                self.host,
                self.port,
                backlog=512,
            )
        except OSError as error:
            self._failed = error
            self._ready.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        self._loop, self._stopping = loop, asyncio.Event()
        self._ready.set()
        try:
            await self._stopping.wait()
        finally:
            server.close()
            for connection in list(connections):
                connection.close()
            await server.wait_closed()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def serve_forever(sandbox: Sandbox, started: Callable[[Sandbox], None] | None = None) -> None:
    """Serve until Ctrl-C, then return; `started` is called when the address is known."""
    with sandbox:
        if started is not None:
            started(sandbox)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return
