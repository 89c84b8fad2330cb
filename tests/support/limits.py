"""Simulated platforms with rate limits of several kinds, and simulated clients."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from docruns.net.shared_budget import Budget


class Limit(Protocol):
    """The rate limit of a platform."""

    def wait(self, now: float) -> float:
        """0 when a request at `now` is answered, else the seconds until the next one may be."""


class Bucket:
    """A token bucket that refills evenly; its size is `burst`, by default the tokens of one second."""

    def __init__(self, rate: float, burst: float | None = None) -> None:
        self._rate, self._size = rate, burst or max(rate, 1.0)
        self._tokens, self._last = self._size, 0.0

    def wait(self, now: float) -> float:
        self._tokens = min(self._size, self._tokens + (now - self._last) * self._rate)
        self._last = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0


class Window:
    """A fixed window: `rate` requests in each second of the clock, or in each `span` of seconds."""

    def __init__(self, rate: float, span: float = 1.0) -> None:
        self._most, self._span = max(1, round(rate * span)), span
        self._current, self._count = -1, 0

    def wait(self, now: float) -> float:
        current = int(now // self._span)
        if current != self._current:
            self._current, self._count = current, 0
        if self._count == self._most:
            return (current + 1) * self._span - now
        self._count += 1
        return 0.0


class Sliding:
    """A sliding window: at most `rate` requests within any second."""

    def __init__(self, rate: float) -> None:
        self._most = max(1, round(rate))
        self._answered: deque[float] = deque()

    def wait(self, now: float) -> float:
        while self._answered and self._answered[0] <= now - 1:
            self._answered.popleft()
        if len(self._answered) == self._most:
            return self._answered[0] + 1 - now
        self._answered.append(now)
        return 0.0


KINDS: dict[str, Callable[[float], Limit]] = {
    "bucket": Bucket,
    "window": Window,
    "sliding": Sliding,
}


class Answer(NamedTuple):
    """When a request reached the platform, and whether the platform refused it."""

    at: float
    refused: bool


def ask(
    budgets: Budget | list[Budget],
    limit: Limit,
    seconds: float,
    *,
    latency: float = 0.02,
    slots: int = 16,
    late: float = 0.001,
    retry_after: bool = True,
    change: tuple[float, Limit] | None = None,
    demand: float | None = None,
    seed: int = 1,
) -> list[Answer]:
    """Send requests for `seconds` as a client does: `slots` in flight, one at a time waiting for a turn.

    Several budgets are several clients. `latency` is that of a whole exchange; a client that sleeps wakes up
    to `late` seconds too late; at a `change` the platform switches to another limit; `demand` is the number
    of requests per second that the client has to send (None: always one more).
    """
    rng = random.Random(seed)
    budgets = budgets if isinstance(budgets, list) else [budgets]
    free = [slots] * len(budgets)
    answers: list[Answer] = []
    # (when, number, client, epoch, wait or None when on its way); epoch -1: this client asks for a
    # turn
    events: list[tuple[float, int, int, int, float | None]] = []
    number = 0

    def at(when: float, client: int, epoch: int = -1, wait: float | None = None) -> None:
        nonlocal number
        number += 1
        heapq.heappush(events, (when, number, client, epoch, wait))

    for client in range(len(budgets)):
        at(0.0, client)
    asleep = [False] * len(budgets)
    while events and events[0][0] < seconds:
        now, _, client, epoch, wait = heapq.heappop(events)
        if epoch >= 0 and wait is None:
            if change is not None and now >= change[0]:
                limit, change = change[1], None
            wait = limit.wait(now)
            answers.append(Answer(now, wait > 0))
            at(now + latency / 2, client, epoch, wait)
            continue
        if epoch >= 0:
            free[client] += 1
            if wait:
                told = math.ceil(wait) if retry_after else rng.uniform(0.5, 1)
                budgets[client].pause(now, told, epoch)
            if asleep[client]:
                asleep[client] = False
                at(now, client)
            continue
        if not free[client]:
            asleep[client] = True
            continue
        turn = budgets[client].take_turn(now)
        if turn.wait > 0:
            at(now + turn.wait + rng.uniform(0, late), client)
            continue
        free[client] -= 1
        at(now + latency / 2, client, turn.epoch)
        at(now + (rng.expovariate(demand) if demand else 0.0003), client)
    return answers


class Shares(NamedTuple):
    """`used`: share of the allowed requests that were answered; `refused`: share of 429s among all answers;
    `refusals`: their number."""

    used: float
    refused: float
    refusals: int


def shares(answers: list[Answer], rate: float, since: float, until: float) -> Shares:
    """The shares within a period."""
    within = [answer.refused for answer in answers if since <= answer.at < until]
    good = len(within) - sum(within)
    return Shares(good / rate / (until - since), sum(within) / len(within), sum(within))
