"""Read the answers about workflow runs in several processes.

ids of 64 runs ──► worker: its own index, answer, rows, Arrow ──► the tables of the 64, and what each answer says
                                                           ──► the same code as a load, in the order of the ids

A worker has the readers of a load, for platforms whose workflow runs are not nested in each other. An answer that it
cannot read goes to the first process, which decides what becomes of the run.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from itertools import islice
from typing import NamedTuple, Self

from ...core.batch import Batch
from ...core.errors import DocrunsError
from ...core.parsed import ParsedRun
from ...core.tables import BY_NAME
from ...net.messages import Outcome, Reply, Request
from ...net.stored import StoredClient
from ...providers.answers import as_listed
from ...providers.extend.processor_runs import Context
from ...providers.extend.workflow_runs import workflow_run
from ...store.archive.folder import Folder
from ...store.archive.reading import Index, open_index
from ...store.arrow import UNFIT_ERRORS, packed, to_tables, unpacked
from ...store.duckdb.heap import limit_arenas
from ...store.process.memory import hide_pandas
from ...sync.listed import ListedRun

FEED = "workflow_runs"
_ROWS = 64
"""Runs that a worker reads at once: as many as a row group of an archive has."""
_AHEAD = 3
"""Of each worker: what it reads, and what waits for it and for this process. 64 heavy runs take 10 MB of memory."""

_LOOK_S = 2
"""Seconds between two looks at whether a worker is alive."""


class Setup(NamedTuple):
    """What a worker needs to know of an archive and of the settings of rows."""

    url: str
    provider: str
    workspace: str | None
    include_parse_output: bool = False


class Made(NamedTuple):
    """What a worker has made of some runs: their rows by table, as Arrow's stream, with the number of clearing rows;
    and what each answer says, None where this process is to read it."""

    tables: list[tuple[str, bytes, int]]
    parsed: list[ParsedRun | None]


class _Listed(Mapping[str, ListedRun]):
    """Processor runs as their lists have shown them."""

    def __init__(self, index: Index) -> None:
        self._feeds = [feed for name, feed in index.feeds.items() if name != FEED and name.endswith("_runs")]

    def __getitem__(self, id_: str) -> ListedRun:
        for feed in self._feeds:
            if id_ in feed:
                return as_listed(feed[id_].entry._asdict())
        raise KeyError(id_)

    def __contains__(self, id_: object) -> bool:
        return any(id_ in feed for feed in self._feeds)

    def __iter__(self) -> Iterator[str]:
        return (id_ for feed in self._feeds for id_ in feed)

    def __len__(self) -> int:
        return sum(map(len, self._feeds))


class _Reader:
    """Reads runs by their ids, in a worker."""

    def __init__(self, setup: Setup) -> None:
        # runs are read in the order of the list: one row group after the other
        self._index = open_index(Folder(setup.url, setup.provider), setup.workspace, open_groups=1)
        listed = _Listed(self._index)
        self._contexts = {
            version: Context(version, setup.workspace, setup.include_parse_output, summaries=listed)
            for version in self._index.versions
        }

    def read(self, ids: Iterable[str]) -> Made:
        """The rows of some runs."""
        whole, parsed = Batch(), list[ParsedRun | None]()
        for id_ in ids:
            run = self._read_run(id_)
            if run is not None:
                whole.update(run.batch)
                run = run._replace(batch=Batch())
            parsed.append(run)
        try:
            tables = [(table, rows, whole.clearing(table)) for table, rows in to_tables(whole)]
        except UNFIT_ERRORS:
            # the first process finds out which of them
            return Made([], [None] * len(parsed))
        return Made([(table.name, packed(rows), clearing) for table, rows, clearing in tables], parsed)

    def _read_run(self, id_: str) -> ParsedRun | None:
        """The rows of a run; None where the first process is to read it, and to meet the error."""
        try:
            known, body = self._index.feeds[FEED].get(id_), self._index.body(FEED, id_)
            if known is None or body is None:
                return None
            return workflow_run(body, as_listed(known.entry._asdict()), self._contexts[known.api_version])
        except (DocrunsError, OSError, ValueError, RecursionError):
            return None


_readers: list[_Reader] = []
"""Of a worker: its reader."""

_whole_life = ExitStack()
"""Of a worker: what holds until its end."""


def _begin(setup: Setup) -> None:
    """Start a worker."""
    # Ctrl-C stops the first process, which ends this one
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _whole_life.enter_context(hide_pandas())
    limit_arenas()
    _readers.append(_Reader(setup))
    # the index stays, and what is read is freed without the collector
    gc.freeze()
    gc.set_threshold(60_000)


def _end_with_parent() -> None:
    """End this process with its parent: after kill -9 of that, a worker would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read(ids: list[str]) -> Made:
    return _readers[0].read(ids)


def _wait(future: Future[Made]) -> Made:
    """The result. The pool does not find out where all workers have ended before it has waited for them."""
    while True:
        try:
            return future.result(timeout=_LOOK_S)
        except TimeoutError:
            if not future.done() and not multiprocessing.active_children():
                raise BrokenProcessPool("all workers have ended") from None


class WorkersClient(StoredClient):
    """Answers requests as a StoredClient does. A workflow run that a worker has read is in `ready`, by id, when its
    answer is taken; the answer is then empty."""

    def __init__(
        self,
        find: Callable[[Request], bytes | None],
        setup: Setup,
        workers: int,
        ready: dict[str, ParsedRun],
    ) -> None:
        super().__init__(find)
        self._setup, self._workers, self._ready = setup, workers, ready
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        self._ready.clear()
        # a fork would copy DuckDB's threads and locks
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(self._workers, spawn, initializer=_begin, initargs=(self._setup,))
        return self

    def __exit__(self, *exc: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pool = None

    def get_many(
        self,
        requests: Iterable[Request],
        ahead: Callable[[], int | None] | None = None,  # noqa: ARG002 # as the other clients
    ) -> Iterator[tuple[Request, Outcome]]:
        """The stored answers, in the order of the requests; workers read those about workflow runs."""
        left, waiting = iter(requests), deque[tuple[list[Request], Future[Made] | None]]()
        while True:
            while len(waiting) < _AHEAD * self._workers and (some := list(islice(left, _ROWS))):
                waiting.append((some, self._begin_reading(some)))
            if not waiting:
                return
            some, future = waiting.popleft()
            if future is None:
                yield from super().get_many(some)
            else:
                yield from self._taken(some, future)

    def _begin_reading(self, some: list[Request]) -> Future[Made] | None:
        is_read = self._pool is not None and all(request.path.startswith(f"{FEED}/") for request in some)
        return self._pool.submit(_read, [r.subject for r in some]) if self._pool and is_read else None

    def _taken(self, some: list[Request], future: Future[Made]) -> Iterator[tuple[Request, Outcome]]:
        try:
            made = _wait(future)
        except BrokenProcessPool as error:
            raise DocrunsError(
                "--workers: a process that reads answers has ended. It may have had too little memory: use fewer "
                'workers. In a program, call docruns.replay below `if __name__ == "__main__":`.'
            ) from error
        batch = Batch()
        for name, stream, clearing in made.tables:
            batch.add_ready(BY_NAME[name], unpacked(stream), clearing)
        for request, parsed in zip(some, made.parsed, strict=True):
            if parsed is None:
                yield from super().get_many([request])
                continue
            # the first run brings the rows of all of them: they are committed together or not at all
            self._ready[request.subject], batch = parsed._replace(batch=batch), Batch()
            yield request, Reply(b"", {})
