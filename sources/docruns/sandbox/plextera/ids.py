"""Ids that look like the API's and contain the record number, so no dictionary of ids is needed.

Runs and extractions: 24 hex digits. Files: `file_` and 26 letters and digits.
"""

from __future__ import annotations

from typing import Final

from ..chance import mix

RUNS, EXTRACTIONS, FILES = 1, 2, 3

_SPACE: Final = 1 << 48
_SCATTER: Final = 0x5B79A2C4E681
_GATHER: Final = pow(_SCATTER, -1, _SPACE)
_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGIT: Final = {letter: value for value, letter in enumerate(_LETTERS)}
_WIDTH: Final = 23
_FILE: Final = "file_01K"


def hex_id(seed: int, domain: int, number: int) -> str:
    """The id of record `number` in a domain, such as `7a10c4e2b95d3f6081aa2c01`."""
    code = (number * _SCATTER + mix(seed, domain)) % _SPACE
    return f"{code:012x}{mix(seed, domain, number) >> 16:012x}"


def number_of(seed: int, domain: int, text: str) -> int | None:
    """The record number of an id made with this seed, or None for any other text."""
    try:
        code = int(text[:12], 16)
    except ValueError:
        return None
    number = (code - mix(seed, domain)) * _GATHER % _SPACE
    return number if hex_id(seed, domain, number) == text else None


def file_id(seed: int, number: int) -> str:
    """The id of the document of extraction `number`, such as `file_01KQ3T8W5N7B2XDV4HJ6M9RCEA`."""
    code = int(hex_id(seed, FILES, number), 16)
    letters = []
    for _ in range(_WIDTH):
        code, digit = divmod(code, 32)
        letters.append(_LETTERS[digit])
    return _FILE + "".join(letters)


def file_number(seed: int, text: str) -> int | None:
    """The extraction number of a file id, or None."""
    code = 0
    for letter in reversed(text.removeprefix(_FILE)):
        code = code * 32 + _DIGIT.get(letter, 0)
    number = number_of(seed, FILES, f"{code:024x}")
    return number if number is not None and file_id(seed, number) == text else None
