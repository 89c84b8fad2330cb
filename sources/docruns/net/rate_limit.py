"""PURE. The rate that a platform allows, learned from its 429 answers."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

GROWTH = 0.02
"""By how much the rate grows in a second, as long as nothing was refused."""

SLACK_S = 0.02
"""How late a request may come and keep its place: at 97 % a window of a second can spare 30 ms."""

MARGIN = 0.015
"""Half the distance, relative, below which bounds do not come closer."""

LONGEST_PAUSE_S = 3600.0
SILENCE_S = 600.0
"""After so long without a request more may be allowed: growth begins anew, from `low`."""


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
