"""How many requests a second may go out: one budget per API key, for all that runs on this machine.

    turn ──► not before 12.3 s ──► wait ──► send ──► 429 ──► nobody sends until Retry-After is over,
      ▲                                                      then a little slower than was given
      └── a file of a few numbers, locked for each step, that several processes read and write

The rate R that a platform allows is found out, in three rules:

1. Before the first 429 the rate grows by 2 % a second, while requests wait for their turns.
2. A 429 gives two bounds: `high`, the rate that was refused, and `low`, what was given since the
   429 before, its pause included. A token bucket is empty at both ends, so `low` is R, whatever
   its burst. A window gives at least that, and refuses at R itself: a second 429 at the same rate
   moves `low` close below it.
3. Then the rate climbs from `low` to `high`, the slower the closer they are, and on, to the next
   429. Bounds 3 % apart, where they end, are climbed in four minutes: one 429 each. A climb 5 %
   past `high` means that more is allowed than before: rule 1 holds again, as after ten silent minutes.

Told nothing, a load begins at what the platform's lowest plan allows (`start`), and passes it only
while it has more to ask; on loopback it begins without a limit. A rate that is told is a ceiling:
a platform that allows less is obeyed all the same. The platforms that these rules were tried on
are in `tests/limits.py`. A turn costs 14 µs with the file, 2 without.
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
"""None on Windows: a budget is one process's there."""

KEPT_S = 7 * 24 * 3600.0
"""How long a rate is believed that nobody has used."""

KEPT_ON_LOOPBACK_S = 300.0

_FIELD = 1024
_T = TypeVar("_T")


class Budget:
    """The turns of everything that shares it: of threads always, of processes where it has a file.

    `ceiling` is never passed, whatever the platform allows. `start` is the rate to begin with where
    there is no ceiling; None begins without a limit, until the first 429.
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
        """The budget of an API key at a host, shared by all that name the same folder.

        Where no file can be kept there, it is shared within this process only.
        """
        name = hashlib.sha256(f"docruns\n{urlsplit(base_url).netloc}\n{key}".encode()).hexdigest()
        file = folder / f"{name[:32]}.json"
        found = cls(ceiling, start=start, file=file)
        found._own = _PROCESS_PACES.setdefault(file, found._own)
        return found

    def turn(self, now: float) -> Turn:
        """Take the next turn if it has come. `now` is `time.monotonic()`."""

        def step(pace: Pace) -> Turn:
            wait = pace.turn(now, self._start, self._ceiling)
            return Turn(wait, pace.epoch, pace.rate(self._start, self._ceiling))

        # without a limit there is nothing to share
        return self._step(now, step, make=bool(self._start or self._ceiling))

    def refused(self, now: float, pause: float, epoch: int) -> float:
        """The request whose turn had this epoch got a 429: nobody sends for `pause` seconds.

        Gives the seconds by which that is longer than was known.
        """

        def step(pace: Pace) -> float:
            return pace.refuse(now, pause, epoch, pace.rate(self._start, self._ceiling))

        return self._step(now, step, make=True)

    def _step(self, now: float, step: Callable[[Pace], _T], make: bool) -> _T:
        with self._own.lock:
            held = self._open(make)
            try:
                if held is not None:
                    self._own.pace = self._read(held)
                pace = self._own.pace
                pace.resume(now)
                result = step(pace)
                if held is not None:
                    os.pwrite(held, msgspec.json.encode(pace).ljust(_FIELD), 0)
            finally:
                if held is not None:
                    os.close(held)
            return result

    def _open(self, make: bool) -> int | None:
        """The file, locked; None where there is none, or somebody holds it and does not go on."""
        if self._file is None or fcntl is None:
            return None
        try:
            return _locked(self._file, make)
        except FileNotFoundError:
            return None
        except OSError:
            # a folder that cannot be written, a file system that knows no locks
            self._file = None
            return None

    def _read(self, held: int) -> Pace:
        try:
            file = os.fstat(held)
            if file.st_size == 0:
                # made a moment ago, for what is known here
                return self._own.pace
            if time.time() - file.st_mtime > self._kept_s:
                return Pace()
            found = msgspec.json.decode(os.pread(held, _FIELD, 0), type=Pace)
            return found if found.is_sane else Pace()
        except msgspec.MsgspecError:
            return Pace()


class _ProcessPace:
    """What a process knows by itself, of one key."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.lock = threading.Lock()


_PROCESS_PACES: dict[Path, _ProcessPace] = {}


def _locked(file: Path, make: bool) -> int | None:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    if make:
        flags |= os.O_CREAT
        if not file.parent.exists():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    held = os.open(file, flags, 0o600)
    try:
        for _ in range(20):
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return held
            except BlockingIOError:
                time.sleep(0.001)
    except BaseException:
        os.close(held)
        raise
    os.close(held)
    return None
