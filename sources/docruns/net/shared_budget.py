"""How many requests a second may be sent: one budget per API key, for all processes of a machine.

    take_turn ──► not before 12.3 s ──► wait ──► send ──► 429 ──► pause: no process sends until the
        ▲                                                        Retry-After is over, then a little
        │                                                        slower than was answered
        └── a file of a few numbers, which several processes read and write under a lock

`rate_limit` holds the rules by which the allowed rate is found. A load without a setting begins at the rate
that the platform's lowest plan allows (`start`), and passes it only while it has more to ask. On loopback it
begins without a limit. A turn costs 14 µs with the file, 2 µs without.

The lock is flock on that file. filelock takes seven times as long (179 µs where flock takes 27, measured side
by side), and it would need a second file.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from ..core.errors import ConfigError
from .rate_limit import Pace, Turn

fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None
"""None on Windows, where a budget is shared within one process only."""

KEPT_S = 7 * 24 * 3600.0
"""Seconds without a request after which a learned rate is forgotten: a week."""

KEPT_ON_LOOPBACK_S = 300.0
"""The same for a platform on this machine, which may be another one at the next start."""

LOCK_TRIES, LOCK_WAIT_S = 20, 0.001
"""A step takes microseconds: a process that keeps the lock for 20 ms does not go on."""

_FIELD = 1024
"""Bytes of the file: the numbers are padded, so a shorter text leaves no rest of a longer one."""

_T = TypeVar("_T")


class Budget:
    """The turns of all threads that share it, and of all processes if it has a file.

    The rate never passes `ceiling`, whatever the platform allows. `start` is the rate to begin with if there
    is no ceiling; None begins without a limit, until the first 429.
    """

    def __init__(
        self, ceiling: float | None = None, *, start: float | None = None, file: Path | None = None
    ) -> None:
        if ceiling is not None and not 0 < ceiling < math.inf:
            raise ConfigError("requests_per_second", f"{ceiling} is not a rate.")
        self._ceiling, self._start, self._file = ceiling, start, file
        self._kept_s = KEPT_ON_LOOPBACK_S if start is None else KEPT_S
        self._own = _ProcessPace()

    @classmethod
    def shared(
        cls, folder: Path, base_url: str, key: str, ceiling: float | None, start: float | None
    ) -> Budget:
        """The budget of an API key at a host, shared by all processes that name the same folder.

        If no file can be written there, it is shared within this process only.
        """
        name = hashlib.sha256(f"docruns\n{urlsplit(base_url).netloc}\n{key}".encode()).hexdigest()
        file = folder / f"{name[:32]}.json"
        found = cls(ceiling, start=start, file=file)
        found._own = _PROCESS_PACES.setdefault(file, found._own)
        return found

    def take_turn(self, now: float) -> Turn:
        """Take the next turn if it has come. `now` is `time.monotonic()`."""

        def step(pace: Pace) -> Turn:
            wait = pace.take_turn(now, self._start, self._ceiling)
            return Turn(wait, pace.epoch, pace.rate(self._start, self._ceiling))

        # without a limit there is nothing to share
        return self._step(now, step, make=bool(self._start or self._ceiling))

    def pause(self, now: float, seconds: float, epoch: int) -> float:
        """A request whose turn had this epoch got a 429: no request is sent for these seconds.

        Returns the seconds by which that is longer than the pause that was known.
        """

        def step(pace: Pace) -> float:
            return pace.refuse(now, seconds, epoch, pace.rate(self._start, self._ceiling))

        return self._step(now, step, make=True)

    def _step(self, now: float, step: Callable[[Pace], _T], make: bool) -> _T:
        with self._own.lock:
            file = self._open(make)
            try:
                if file is not None:
                    self._own.pace = self._read(file)
                pace = self._own.pace
                pace.resume(now)
                result = step(pace)
                if file is not None:
                    os.pwrite(file, msgspec.json.encode(pace).ljust(_FIELD), 0)
            finally:
                if file is not None:
                    os.close(file)
            return result

    def _open(self, make: bool) -> int | None:
        """The file, locked. None if there is none, or another process keeps its lock too long."""
        if self._file is None or fcntl is None:
            return None
        try:
            return _open_locked(self._file, make)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                # the folder cannot be written, or its file system has no locks
                self._file = None
            return None

    def _read(self, file: int) -> Pace:
        try:
            status = os.fstat(file)
            if status.st_size == 0:
                # made a moment ago: this process may know more
                return self._own.pace
            if time.time() - status.st_mtime > self._kept_s:
                return Pace()
            found = msgspec.json.decode(os.pread(file, _FIELD, 0), type=Pace)
            return found if found.is_sane else Pace()
        except msgspec.MsgspecError:
            return Pace()


class _ProcessPace:
    """What this process knows of one key."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.lock = threading.Lock()


_PROCESS_PACES: dict[Path, _ProcessPace] = {}


def _open_locked(file: Path, make: bool) -> int | None:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    if make:
        flags |= os.O_CREAT
        if not file.parent.exists():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(file, flags, 0o600)
    try:
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                time.sleep(LOCK_WAIT_S)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
