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
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from .errors import ConfigError

fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None
"""None on Windows: a budget is one process's there."""

GROWTH = 0.02
"""By how much the rate grows in a second, as long as nothing was refused."""

SLACK_S = 0.02
"""How late a request may come and keep its place: at 97 % a window of a second can spare 30 ms."""

MARGIN = 0.015
"""Half the distance, relative, below which bounds do not come closer."""

LONGEST_PAUSE_S = 3600.0
SILENCE_S = 600.0
"""After so long without a request more may be allowed: growth begins anew, from `low`."""

KEPT_S = 7 * 24 * 3600.0
"""How long a rate is believed that nobody has used."""

KEPT_ON_LOOPBACK_S = 300.0

_FIELD = 1024
_T = TypeVar("_T")


class Turn(NamedTuple):
    """`wait`: seconds until one may ask again; 0: one may send, and tell `epoch` with a 429.

    `rate` is what is believed to be allowed, requests a second; None: no limit is known.
    """

    wait: float
    epoch: int
    rate: float | None


class Pace(msgspec.Struct):
    """What is known about a limit. Times are seconds of one clock, rates are per second."""

    next: float = 0.0
    """When the next turn comes."""
    epoch: int = 0
    """The number of 429s, those left out that came for requests sent before another one's cut."""
    base: float | None = None
    """Where growth began, when it began anew."""
    low: float | None = None
    high: float | None = None
    busy: float = 0.0
    """Seconds for which requests waited for their turns, since the last 429."""
    sent: float = 0.0
    span: float = 0.0
    """Requests since the last 429, and the seconds they took, idle ones left out."""
    credit: float = 1.0
    """Seconds of pause after the last 429; before the first, the burst that may be allowed."""
    cut: float | None = None
    """When the last 429 came, until its pause is over; `refused` is the rate that got it."""
    refused: float | None = None
    stamp: float = 0.0

    def rate(self, start: float | None, ceiling: float | None) -> float | None:
        """Requests a second that are allowed now, never more than `ceiling`; None is no limit."""
        found: float | None
        if self.low is None or self.high is None:
            base = self.base or ceiling or start
            # past e^20 it is no limit, and a number too large
            found = None if base is None else base * math.exp(min(20.0, GROWTH * self.busy))
        else:
            middle = (self.low + self.high) / 2
            half = max((self.high - self.low) / 2, MARGIN * middle)
            # at a few requests a second, as slow as their number is small
            found = self.low + self.busy * half * half / middle / 2 * min(1.0, middle / 3)
        return min(found, ceiling) if found and ceiling else found

    def turn(self, now: float, start: float | None, ceiling: float | None) -> float:
        """Take the turn if it has come and give 0, else the seconds until it comes."""
        if now < self.next:
            return self.next - now
        if self.cut is not None:
            self._learn()
            self.credit, self.cut = now - self.cut, None
        rate = self.rate(start, ceiling)
        if rate and self.high and rate > 1.05 * self.high:
            self.base, self.low, self.high, self.busy = rate, None, None, 0.0
        gap = 1.0 / rate if rate else 0.0
        late = now - self.next
        idle = min(max(0.0, late - SLACK_S), 1.0) if self.sent else 0.0
        if late <= SLACK_S:
            self.busy += gap
        if rate:
            self.span += gap + idle
        else:
            # what was sent in the last second tells what a limit may be
            self.sent *= math.exp(-idle)
        self.sent += 1
        self.next = max(self.next, now - SLACK_S) + gap
        return 0.0

    def refuse(self, now: float, pause: float, epoch: int, rate: float | None) -> float:
        """A request of `epoch` was refused: nobody sends for `pause` seconds. Gives the new ones."""
        end = now + min(pause, LONGEST_PAUSE_S)
        added = max(0.0, end - max(now, self.next))
        self.next = max(self.next, end)
        self.sent -= 1
        if epoch == self.epoch:
            self.epoch += 1
            self.cut, self.refused = now, rate
        return added

    @property
    def is_sane(self) -> bool:
        """Whether these numbers can have come from here."""
        low, high = self.low or 1.0, self.high or math.inf
        return (self.base or 1.0) > 0 and 0 < low <= high and self.busy >= 0 and self.span >= 0

    def resume(self, now: float) -> None:
        """Go on after a silence, or with a clock that began anew; no pause is endless."""
        if now < self.stamp - 1:
            back = self.stamp - now
            self.next -= back
            if self.cut is not None:
                self.cut -= back
            self.stamp = now
        if now > self.stamp + SILENCE_S and self.low is not None:
            self.base, self.low, self.high, self.busy = self.low, None, None, 0.0
        self.next = min(self.next, now + LONGEST_PAUSE_S)
        self.stamp = max(now, self.stamp)

    def _learn(self) -> None:
        given = max(self.sent, 1.0) / (self.span + self.credit)
        refused = self.refused or 2 * given
        low = given
        if self.busy >= 10:
            low = max(low, 0.8 * refused)
        if self.low is not None and self.high is not None:
            # what was given for long is not far from right
            low = max(low, 0.8 * self.low)
            if refused >= 0.98 * self.high:
                low = max(low, 0.97 * min(self.high, refused))
        self.low, self.high = max(0.2 * refused, min(low, 0.98 * refused)), refused
        self.busy = self.sent = self.span = 0.0


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
        self._own = _Own()

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
        found._own = _OWN.setdefault(file, found._own)
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


class _Own:
    """What a process knows by itself, of one key."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.lock = threading.Lock()


_OWN: dict[Path, _Own] = {}


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
