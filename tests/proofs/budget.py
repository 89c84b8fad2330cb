"""The request budget: a load finds the platform's rate limit without a setting, uses it and does not exceed
it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .stage import Command, Figure, Figures, at_most, must, platform_process

NAME = "budget"
SETTLE_S = 120
WINDOW_S = 60
USED = 0.95
REFUSED = 0.01


def prove(folder: Path, rates: Sequence[int]) -> Figures:
    """Parallel first loads from a platform of each rate, long enough for the budget to settle."""
    with ThreadPoolExecutor(len(rates)) as pool:
        found = pool.map(lambda rate: _load(folder / str(rate), rate), rates)
        return [figure for figures in found for figure in figures]


def _load(folder: Path, rate: int) -> Figures:
    # a run costs 1.19 requests
    with platform_process(rate * (SETTLE_S + WINDOW_S) * 9 // 10, latency=0.02) as platform:
        platform.tell("settings", rate_limit=rate)
        ran = must(Command(folder, platform.base_url).run())
        seconds = platform.seconds()
    what = f"{rate} a second allowed"
    seconds = seconds[: SETTLE_S + WINDOW_S]
    used, refused = shares(seconds[SETTLE_S:], rate)
    return [
        Figure(NAME, f"{what}, settled after", f"{settled(seconds, rate)} s"),
        at_least(f"{what}, used in {WINDOW_S} s", used, USED),
        at_most(NAME, f"{what}, answered 429 in {WINDOW_S} s", refused, REFUSED),
        Figure(NAME, f"{what}, 429 in all", f"{sum(no for _, no in seconds):,}"),
        Figure(NAME, f"{what}, CPU of the load", f"{ran.cpu_s:,.0f} s of {ran.seconds:,.0f} s"),
    ]


def at_least(what: str, found: float, bound: float) -> Figure:
    """A share with a lower bound."""
    return Figure(NAME, what, f"{found:.3f}", f"≥ {bound}", found >= bound)


def shares(seconds: Sequence[tuple[int, int]], rate: float) -> tuple[float, float]:
    """(good answers as a share of the allowed ones, 429s as a share of all answers)."""
    answered, refused = sum(n for n, _ in seconds), sum(no for _, no in seconds)
    used = (answered - refused) / (rate * len(seconds))
    return round(used, 4), round(refused / max(answered, 1), 4)


def settled(seconds: Sequence[tuple[int, int]], rate: float) -> int:
    """The number of seconds after which every window is within the bounds."""
    since = 0
    for start in range(len(seconds) - WINDOW_S + 1):
        used, refused = shares(seconds[start : start + WINDOW_S], rate)
        if used < USED or refused > REFUSED:
            since = start + 1
    return since
