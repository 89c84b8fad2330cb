"""Seeded random draws without state: every draw is a pure function of (seed, numbers).

Creating a hundred thousand runs with `random.Random(seed)` objects takes seconds; one multiplication and
shift per draw takes far less.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from random import Random
from typing import Final

_MASK: Final = (1 << 64) - 1
_LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGIT: Final = {letter: value for value, letter in enumerate(_LETTERS)}

_CODE_WIDTH: Final = 11
_CODE_SPACE: Final = 62**_CODE_WIDTH
# odd and not a multiple of 31, hence invertible modulo 62**11
_SCATTER: Final = 0x1F3D5B79A2C4E681
_GATHER: Final = pow(_SCATTER, -1, _CODE_SPACE)
_SLOTS: Final = 256
_PAIRS: Final = tuple(low_high[1] + low_high[0] for low_high in product(_LETTERS, repeat=2))
"""The two lowest digits of a number, the lowest one first."""


# one reply draws the same numbers and builds the same ids several times
@lru_cache(maxsize=1 << 13)
def mix(seed: int, *numbers: int) -> int:
    """A 64-bit number that looks random and depends only on the arguments (one splitmix64 per number)."""
    state = seed & _MASK
    for number in numbers:
        state = (state + 0x9E3779B97F4A7C15 + number * 0xD1342543DE82EF95) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def share(seed: int, *numbers: int) -> float:
    """A fraction in [0, 1)."""
    return mix(seed, *numbers) / 2.0**64


def even(seed: int, index: int, step: float) -> float:
    """A fraction in [0, 1) that is spread evenly over neighbouring indexes.

    Even a small number of runs therefore contains every rare case. `step` is an irrational number (golden
    ratio, square roots): its multiples modulo 1 never cluster.
    """
    return (index * step + share(seed, 1)) % 1.0


def dice(seed: int, *numbers: int) -> Random:
    """A random generator for content that needs many draws; equal arguments give equal content."""
    return Random(mix(seed, *numbers))


@lru_cache(maxsize=1 << 13)
def tag(seed: int, index: int, slot: int) -> str:
    """The random-looking part of an id, 20 characters.

    `untag` computes (index, slot) from it, so a hundred thousand runs need no dictionary of ids.
    """
    code = ((index * _SLOTS + slot) * _SCATTER + seed) % _CODE_SPACE
    check = mix(seed, index, slot, 77)
    return _digits(code, _CODE_WIDTH) + _digits(check, 9)


def _digits(number: int, width: int) -> str:
    """The lowest `width` digits of a number in base 62, lowest first; `width` is odd."""
    pairs = []
    for _ in range(width // 2):
        number, pair = divmod(number, 62 * 62)
        pairs.append(_PAIRS[pair])
    return "".join(pairs) + _LETTERS[number % 62]


def untag(seed: int, text: str) -> tuple[int, int] | None:
    """(index, slot) of a tag made with this seed, or None for any other text."""
    if len(text) != _CODE_WIDTH + 9:
        return None
    code = 0
    for letter in reversed(text[:_CODE_WIDTH]):
        digit = _DIGIT.get(letter)
        if digit is None:
            return None
        code = code * 62 + digit
    index, slot = divmod((code - seed) * _GATHER % _CODE_SPACE, _SLOTS)
    return (index, slot) if index < 1 << 48 and tag(seed, index, slot) == text else None
