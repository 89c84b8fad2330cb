"""A second process that reads answers, for loads that nothing else holds back.

    taken runs ──► groups ──► pipe ──► worker: rows, Arrow ──► pipe ──► the same runs, read, in order

Reading is the largest part of a load, in Python, where one thread at a time goes on. A delegate is never
needed: what it does not read, for whatever reason, is read here, and so is everything once it is gone.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import msgspec

from .arrow import Batch, filled, read_back
from .errors import ApiError
from .feed import Listed
from .http import Outcome, Reply
from .model import PROCESSOR_RUNS, TABLES
from .reading import Reading
from .worker import Order, Result, Task, Told, frame, next_frame

warned = logging.getLogger("docruns")

WORTH_IT = 1000
"""Due runs from which on a process pays: it takes half a second to begin, on the other core."""

FAST = 100.0
"""Requests a second below which one process does it all, and half of a core is idle."""

GROUP_BYTES = 2 * 2**20
GROUP_RUNS = 32
GROUPS = 4
"""A group has so many answers or bytes, and so many groups wait to be read or taken."""

_FILLED = ("created_at", "updated_at")
"""What a processor run takes from its list where its answer lacks it, and nothing else depends on."""

_TRIES = 3
"""Groups after which it may show that a version's answers cannot be read there."""

_PIPE_BYTES = 2**20

# the packages themselves would import everything, and pyarrow numpy, and pandas as soon as that is there: 60 MB
_BEGIN = """
import json, sys, types
paths, packages = map(json.loads, sys.argv[1:])
sys.path[:] = paths
sys.modules["numpy"] = None
for name, folder in packages.items():
    sys.modules[name] = package = types.ModuleType(name)
    package.__path__ = [folder]
from importlib import import_module
import_module(f"{next(iter(packages))}.worker").serve()
"""

Taken = tuple[Listed, Outcome | None]
Read = tuple[Listed, Outcome | None, Callable[[], Reading]]
ReadHere = Callable[[Listed, Outcome | None], Reading]


def helps(due: int, allowed_per_second: float | None) -> bool:
    """A second process is worth while: so many runs are due, as fast as they can be read, and there are cores."""
    fast = allowed_per_second is None or allowed_per_second > FAST
    return due >= WORTH_IT and fast and _cores() > 1 and bool(sys.executable)


def begun(task: Task, listed: Mapping[str, Listed]) -> Delegate | None:
    """A process for the task; None where the system has none to give."""
    try:
        return Delegate(task, listed)
    except OSError as error:
        warned.info("docruns: no second process reads, %s", error)
        return None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Delegate:
    """A process that reads, until it is closed. `listed` are runs as their lists show them, by id."""

    def __init__(self, task: Task, listed: Mapping[str, Listed]) -> None:
        self._listed = listed
        self._number = self._in_vain = 0
        self._orders: SimpleQueue[tuple[int, list[tuple[Listed, bytes]]] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[bytes, bytes] | None] = SimpleQueue()
        self._process = _started(task)
        self.is_ready, self._is_closed = False, False
        for name, run in (("orders", partial(self._send, task)), ("results", self._receive)):
            threading.Thread(target=run, name=f"docruns-{name}", daemon=True).start()

    def close(self) -> None:
        """End the process; what it still reads is not waited for."""
        self.is_ready, self._is_closed = False, True
        self._orders.put(None)
        self._process.kill()
        self._process.wait()

    @property
    def has_read(self) -> int:
        """Results that nobody has taken yet."""
        return self._results.qsize()

    def ask(self, answers: list[tuple[Listed, bytes]]) -> int:
        """Have some answers read; the number of the result, 0 for none."""
        if not self.is_ready:
            return 0
        self._number += 1
        self._orders.put((self._number, answers))
        return self._number

    def result(self, number: int) -> tuple[Result, Batch] | None:
        """The result of that number, older ones are dropped; None where it is none, and never will be."""
        while not self._is_closed:
            got = self._results.get()
            if got is None:
                self.close()
                return None
            result = msgspec.msgpack.decode(got[0], type=Result)
            if result.number != number:
                # of a package that was given up
                continue
            told = self._told(result)
            if told is None:
                self._in_vain += 1
                if self._in_vain > _TRIES and 2 * self._in_vain > number:
                    # this version of the API leaves to its lists what others say
                    self.close()
                return None
            return result, _batch(result, got[1], told)
        return None

    def _told(self, result: Result) -> dict[str, dict[str, Any]] | None:
        """What lists tell of runs that came without it, by name and id; None where a reader must know it."""
        told: dict[str, dict[str, Any]] = {name: {} for name in _FILLED}
        for run_id, name in (each for said in result.told if said for each in said.wanted):
            run = self._listed.get(run_id)
            if run is None:
                continue
            if name in told:
                told[name][run_id] = getattr(run, name)
            elif name == "status" or (run.summary or {}).get(name):
                return None
        return told

    def _send(self, task: Task) -> None:
        assert self._process.stdin is not None
        try:
            self._write(frame(task, ()))
            while (asked := self._orders.get()) is not None:
                number, answers = asked
                runs, bodies = [run for run, _ in answers], [body for _, body in answers]
                order = Order(number, runs, [len(body) for body in bodies])
                self._write(frame(order, bodies))
        except OSError:
            pass  # it has ended: `_receive` sees that too, and says so
        finally:
            with suppress(OSError):
                self._process.stdin.close()

    def _write(self, frame_: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(frame_)
        self._process.stdin.flush()

    def _receive(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as results:
            # whatever else this may be that was started, it does not say so
            self.is_ready = next_frame(results) is not None and not self._is_closed
            while (result := next_frame(results)) is not None:
                self._results.put(result)
        by_itself = not self._is_closed
        self._results.put(None)
        if by_itself:
            code = self._process.wait()
            warned.warning(
                "docruns: the reading process has ended with exit code %s; answers are read here",
                code,
            )


@dataclass
class _Group:
    """Answers that are read together: by the process, as its result `number`, or `here`; 0 is nobody so far."""

    taken: list[Taken]
    number: int = 0
    here: list[Reading | None] | None = None

    @property
    def answers(self) -> list[tuple[Listed, bytes]]:
        return [(run, said.body) for run, said in self.taken if isinstance(said, Reply)]


class Readings:
    """The runs of one list on their way: taken in groups, read there or here, given out in their order."""

    def __init__(self, delegate: Delegate, read: ReadHere) -> None:
        self._delegate, self._read = delegate, read
        self._waiting: deque[_Group] = deque()
        self._held = 0

    @property
    def held(self) -> int:
        """Answers that were taken and are not given out yet."""
        return self._held

    @property
    def is_empty(self) -> bool:
        """Nothing is on its way."""
        return not self._waiting

    @property
    def may_go_ahead(self) -> bool:
        """There is a process that can read meanwhile."""
        return self._delegate.is_ready

    def ahead(self, taken: Iterable[Taken]) -> None:
        """Have these read while nobody waits for them."""
        for some in _grouped(self._counted(taken)):
            group = _Group(some)
            group.number = self._delegate.ask(group.answers)
            self._waiting.append(group)

    def pull(self, taken: Iterable[Taken]) -> Iterator[Read]:
        """What was taken ahead and what is taken now: each run, its answer, and what gives its reading."""
        waiting = self._waiting
        for some in _grouped(self._counted(taken)):
            waiting.append(_Group(some))
            self._ask()
            # two for one, until what was read ahead is through: others must arrive meanwhile
            for _ in range(2):
                if len(waiting) > GROUPS:
                    yield from self._next()
        while waiting:
            yield from self._next()

    def _counted(self, taken: Iterable[Taken]) -> Iterator[Taken]:
        """At once, not by the group: what is held is no more to be asked for ahead."""
        for run, outcome in taken:
            self._held += isinstance(outcome, Reply)
            yield run, outcome

    def _ask(self) -> None:
        """Let the process have three groups: one that it reads, and two to go on with."""
        asked = sum(1 for group in self._waiting if group.number) - self._delegate.has_read
        for group in self._waiting:
            if asked < 3 and not group.number and not group.here:
                group.number = self._delegate.ask(group.answers)
                asked += 1

    def _next(self) -> Iterator[Read]:
        """The first group as it was read. Until it is there, the last ones are read here."""
        waiting, delegate = self._waiting, self._delegate
        first = waiting[0]
        while first.number and delegate.is_ready and not delegate.has_read:
            left = next(
                (each for each in reversed(waiting) if not (each.number or each.here)), None
            )
            if left is None:
                break
            left.here = [self._tried(*each) for each in left.taken]
            self._ask()
        waiting.popleft()
        result = delegate.result(first.number) if first.number else None
        self._ask()
        told: Iterable[Told | None] = result[0].told if result else ()
        batch = result[1] if result else Batch()
        said_there, here = iter(told), iter(first.here or ())
        for run, outcome in first.taken:
            reading, said = next(here, None), None
            if isinstance(outcome, Reply):
                said = next(said_there, None)
                self._held -= 1
            if said is not None:
                # the first one brings the rows of all: rows may come before a state that knows of them, not after it
                reading = Reading(batch, said.status, said.is_final, said.inside)
                batch = Batch()
            yield run, outcome, partial(self._reading, reading, run, outcome)

    def _reading(self, reading: Reading | None, run: Listed, outcome: Outcome | None) -> Reading:
        return self._read(run, outcome) if reading is None else reading

    def _tried(self, run: Listed, outcome: Outcome | None) -> Reading | None:
        """The reading; None where there is nothing to read, or an error, which comes again when it is asked for."""
        try:
            return self._read(run, outcome) if isinstance(outcome, Reply) else None
        except (ApiError, ValueError, RecursionError):
            return None


def _batch(result: Result, parts: bytes, told: Mapping[str, Mapping[str, Any]]) -> Batch:
    batch, at = Batch(), 0
    for table in TABLES:
        if size := result.sizes.get(table.name, 0):
            # a copy of its own: dlt holds small tables back, and would all that came with them
            rows = read_back(table, parts[at : at + size])
            at += size
            if table is PROCESSOR_RUNS:
                for name, cells in told.items():
                    rows = filled(rows, name, cells) if cells else rows
            batch.add_arrow(table, rows, result.counts[table.name])
    return batch


def _grouped(taken: Iterable[Taken]) -> Iterator[list[Taken]]:
    group: list[Taken] = []
    size = 0
    for run, outcome in taken:
        group.append((run, outcome))
        size += len(outcome.body) if isinstance(outcome, Reply) else 0
        if size >= GROUP_BYTES or len(group) >= GROUP_RUNS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _started(task: Task) -> subprocess.Popen[bytes]:
    here = Path(__file__).parent
    package = (__package__ or "").partition(".")[0]
    folders = {package: str(here)}
    for part in task.module.split(".")[:-1]:
        folders[f"{package}.{part}"] = str(here / part)
    # Python passes over what is no text there, and so does this
    paths = [path for path in sys.path if isinstance(path, str)]
    return subprocess.Popen(  # noqa: S603 # this interpreter
        [sys.executable, "-P", "-c", _BEGIN, json.dumps(paths), json.dumps(folders)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pipesize=_PIPE_BYTES,
    )
