"""PURE. The rate that a platform allows, learned from its 429 answers.

A platform does not say how many requests a second it allows. `Pace` starts at a rate, raises it, and corrects
it at each 429:

1. Before the first 429 the rate grows by 2 % for each second in which requests wait for their
   turns. A load that asks for less than the rate does not raise it.
2. A 429 gives two bounds. `high` is the rate that was refused. `low` is the rate that was answered
   since the 429 before, its pause included. A token bucket is empty at both of these moments, so
   `low` is the allowed rate, whatever the bucket's size. A platform that counts in windows of time
   answers at least that rate, and refuses at the allowed rate itself: a second 429 at the same rate
   moves `low` close below it.
3. The rate then climbs from `low` to `high` and past it, up to the next 429: the closer the bounds,
   the slower. Bounds stay at least 3 % apart. That distance takes four minutes, so a settled load
   gets one 429 in four minutes.

The platform allows more than before if the rate passes `high` by 5 % without a 429, and may do so after ten
minutes without requests: rule 1 then holds again, from the current rate or from `low`.

`start` is the rate to begin with, None for no limit until the first 429. `ceiling` is a limit from the user's
settings. The rate never passes it, and a platform that allows less is obeyed all the same.

`tests/support/limits.py` simulates the platforms that these rules and numbers were tried on.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

GROWTH = 0.02
"""Share by which the rate grows in a second before the first 429."""

MOST_GROWTH = 20.0
"""Largest exponent of that growth: past e^20 a rate is no limit, and a number too large."""

SLACK_S = 0.02
"""How late a request may be and keep its place: at 97 % a window of a second can spare 30 ms."""

LONGEST_IDLE_S = 1.0
"""Idle seconds that count between two requests: a limit looks back over about a second."""

LONGEST_PAUSE_S = 3600.0
"""Seconds that a pause lasts at most, whatever a Retry-After says."""

SILENCE_S = 600.0
"""After so long without a request the platform may allow more: growth begins anew, from `low`."""

CLOCK_BACK_S = 1.0
"""A clock that is more than this behind the last step was started anew, with the machine."""

MARGIN = 0.015
"""Half the distance of the bounds, as a share of the rate: they do not come closer. See rule 3."""

FEW_PER_SECOND = 3.0
"""Below this rate the climb is slowed in proportion: one request is a larger share there."""

PASSED = 1.05
"""A rate of so many times `high` without a 429 means that the platform allows more than before."""

STEADY_S = 10.0
"""A rate refused after so many busy seconds was allowed for most of them, so it is nearly right."""

NEARLY_RIGHT = 0.8
"""The allowed rate is at least this share of one that was nearly right, and of the last `low`."""

SAME_RATE = 0.98
"""A refused rate of at least this share of `high` is the same rate, refused a second time."""

CLOSE_BELOW = 0.97
"""Then `low` is at least this share of it."""

LOWEST, HIGHEST = 0.2, 0.98
"""`low` is kept between these shares of the refused rate: a count of few requests may mislead."""


class Turn(NamedTuple):
    """`wait` is 0 if one may send, else the seconds until one may ask again.

    `epoch` is to be given back with a 429. `rate` is the allowed rate as far as it is known, in requests a
    second; None is no limit.
    """

    wait: float
    epoch: int
    rate: float | None


_NAMES_IN_FILE = {
    "next_at": "next",
    "busy_s": "busy",
    "span_s": "span",
    "credit_s": "credit",
    "refused_at": "cut",
    "refused_rate": "refused",
    "clock": "stamp",
}


class Pace(msgspec.Struct, rename=_NAMES_IN_FILE):
    """What is known about a limit. Times are seconds of one clock, rates are per second."""

    next_at: float = 0.0
    """When the next turn comes."""
    epoch: int = 0
    """The number of 429s, without those of requests that were sent before an earlier 429 came."""
    base: float | None = None
    """Where growth began; None is the start or the ceiling."""
    low: float | None = None
    high: float | None = None
    """Bounds of the allowed rate; None before the first 429."""
    busy_s: float = 0.0
    """Seconds in which requests waited for their turns, since the last 429."""
    sent: float = 0.0
    """Requests since the last 429. Without a limit: those of the last second or so."""
    span_s: float = 0.0
    """The seconds that these requests took, without idle ones."""
    credit_s: float = 1.0
    """The pause after the last 429. Before the first, the burst that the platform may allow."""
    refused_at: float | None = None
    """When the last 429 came; None once its pause is over."""
    refused_rate: float | None = None
    """The rate at which it came; None was no limit."""
    clock: float = 0.0
    """When the last step was made."""

    def rate(self, start: float | None, ceiling: float | None) -> float | None:
        """Requests a second that are allowed now, never more than `ceiling`; None is no limit."""
        found: float | None
        if self.low is None or self.high is None:
            base = self.base or ceiling or start
            grown = math.exp(min(MOST_GROWTH, GROWTH * self.busy_s))
            found = None if base is None else base * grown
        else:
            middle = (self.low + self.high) / 2
            half = max((self.high - self.low) / 2, MARGIN * middle)
            climb = half * half / middle / 2 * min(1.0, middle / FEW_PER_SECOND)
            found = self.low + self.busy_s * climb
        return min(found, ceiling) if found and ceiling else found

    def take_turn(self, now: float, start: float | None, ceiling: float | None) -> float:
        """Take the turn if it has come and return 0, else return the seconds until it comes."""
        if now < self.next_at:
            return self.next_at - now
        if self.refused_at is not None:
            self._learn()
            self.credit_s, self.refused_at = now - self.refused_at, None
        rate = self.rate(start, ceiling)
        if rate and self.high and rate > PASSED * self.high:
            self._grow_from(rate)
        self._count(now, rate)
        return 0.0

    def refuse(self, now: float, pause: float, epoch: int, rate: float | None) -> float:
        """A request of `epoch` got a 429: no turn comes for `pause` seconds.

        Returns the seconds by which that is longer than the pause that was known.
        """
        end = now + min(pause, LONGEST_PAUSE_S)
        added = max(0.0, end - max(now, self.next_at))
        self.next_at = max(self.next_at, end)
        self.sent -= 1
        if epoch == self.epoch:
            self.epoch += 1
            self.refused_at, self.refused_rate = now, rate
        return added

    @property
    def is_sane(self) -> bool:
        """Whether these rules can have made these numbers."""
        low, high = self.low or 1.0, self.high or math.inf
        return (self.base or 1.0) > 0 and 0 < low <= high and self.busy_s >= 0 and self.span_s >= 0

    def resume(self, now: float) -> None:
        """Continue after a silence, or with a clock that was started anew. No pause is endless."""
        if now < self.clock - CLOCK_BACK_S:
            back = self.clock - now
            self.next_at -= back
            if self.refused_at is not None:
                self.refused_at -= back
            self.clock = now
        if now > self.clock + SILENCE_S and self.low is not None:
            self._grow_from(self.low)
        self.next_at = min(self.next_at, now + LONGEST_PAUSE_S)
        self.clock = max(now, self.clock)

    def _grow_from(self, rate: float) -> None:
        """Forget the bounds: rule 1 holds again."""
        self.base, self.low, self.high, self.busy_s = rate, None, None, 0.0

    def _count(self, now: float, rate: float | None) -> None:
        """Count the request that is sent now, and set the next turn."""
        gap = 1.0 / rate if rate else 0.0
        late = now - self.next_at
        idle = min(max(0.0, late - SLACK_S), LONGEST_IDLE_S) if self.sent else 0.0
        if late <= SLACK_S:
            self.busy_s += gap
        if rate:
            self.span_s += gap + idle
        else:
            # requests of about the last second: what a limit may turn out to be
            self.sent *= math.exp(-idle)
        self.sent += 1
        self.next_at = max(self.next_at, now - SLACK_S) + gap

    def _learn(self) -> None:
        """Set the bounds by the last 429, see rule 2, and count anew."""
        answered = max(self.sent, 1.0) / (self.span_s + self.credit_s)
        refused = self.refused_rate or 2 * answered
        low = answered
        if self.busy_s >= STEADY_S:
            low = max(low, NEARLY_RIGHT * refused)
        if self.low is not None and self.high is not None:
            low = max(low, NEARLY_RIGHT * self.low)
            if refused >= SAME_RATE * self.high:
                low = max(low, CLOSE_BELOW * min(self.high, refused))
        self.low, self.high = max(LOWEST * refused, min(low, HIGHEST * refused)), refused
        self.busy_s = self.sent = self.span_s = 0.0
