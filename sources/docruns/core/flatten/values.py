"""PURE. One leaf: its type where no schema gives it, its typed cells, and equality of JSON values."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from math import isfinite
from typing import Any, Final

from ..codec import JSON, Number, number_text


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final[Any] = _Missing()
"""Stands for a value that is not there, where None is a JSON null."""

_CURRENCY = frozenset({"amount", "iso_4217_currency_code"})
_SIGNATURE = frozenset({"printed_name", "signature_date", "is_signed", "title_or_role"})
_DECIMAL = re.compile(r"-?\d+(\.\d+)?")
# an even number of backslashes before it: the escape, not the text of one
_NUL_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def is_container(value: JSON, kind_of: str | None) -> bool:
    """A node with rows below it. A currency or a signature is one leaf; an object with a currency's keys is one
    whatever the schema says."""
    kind = type(value)
    if kind is list:
        return True
    if kind is not dict:
        return False
    if kind_of == "currency" or kind_of == "signature" or value.keys() == _CURRENCY:
        return False
    return kind_of is not None or value.keys() != _SIGNATURE


def type_of(value: JSON) -> str:
    """The type of a leaf that no schema describes."""
    kind = type(value)
    if kind is str:
        return "date" if _DATE.fullmatch(value) and day(value) else "string"
    if kind is Number or kind is int:
        return "number"
    if kind is bool:
        return "boolean"
    if kind is dict:
        keys = value.keys()
        return "currency" if keys == _CURRENCY else "signature" if keys == _SIGNATURE else "object"
    return "array" if kind is list else "null"


def json_or_marker(value: JSON, container: bool) -> str | None:
    """JSON text of a leaf, `[]` or `{}` for a container, None for what is not there."""
    if value is MISSING:
        return None
    if container:
        return "[]" if type(value) is list else "{}"
    return number_text(value)


def typed_cells(
    value: JSON, type_: str
) -> tuple[str | None, float | None, bool | None, date | None, str | None]:
    """value, value_number, value_boolean, value_date and currency_code of a leaf that is not null."""
    kind = type(value)
    if kind is str:
        return value, None, None, day(value) if type_ == "date" else None, None
    if kind is Number or kind is int:
        return str(value), double(value), None, None, None
    if kind is bool:
        return ("true" if value else "false"), None, value, None, None
    if kind is dict and type_ == "currency":
        amount = value.get("amount")
        code = value.get("iso_4217_currency_code", value.get("currency"))
        text = None if amount is None else amount if type(amount) is str else number_text(amount)
        written = type(amount) is str and _DECIMAL.fullmatch(amount)
        counted = type(amount) is Number or type(amount) is int or written
        number = double(amount) if counted else None
        return text and str(text), number, None, None, code if type(code) is str else None
    if kind is dict and type_ == "signature":
        signed, signed_on = value.get("is_signed"), value.get("signature_date")
        return (
            number_text(value),
            None,
            signed if type(signed) is bool else None,
            day(signed_on) if type(signed_on) is str else None,
            None,
        )
    return number_text(value), None, None, None, None


def double(value: Any) -> float | None:
    """A number as a double; None where no double can hold it."""
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if isfinite(number) else None


def day(text: str) -> date | None:
    """A date written yyyy-mm-dd; None where it is not one."""
    try:
        return date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        return None


def is_equal_double(one: JSON, other: JSON) -> bool:
    """Two numbers are written alike, or the same double stands for both."""
    return str(one) == str(other) or (double(one) is not None and double(one) == double(other))


def is_equal(one: JSON, other: JSON, is_equal_number: Callable[[JSON, JSON], bool] = is_equal_double) -> bool:
    """Equal as JSON values: 1.0 is 1.00, but true is not 1 and "1" is not 1."""
    if one is other:
        return True
    if _is_number(one) and _is_number(other):
        return is_equal_number(one, other)
    if type(one) is not type(other):
        return False
    if type(one) is dict:
        return one.keys() == other.keys() and all(
            is_equal(one[key], other[key], is_equal_number) for key in one
        )
    if type(one) is list:
        return len(one) == len(other) and all(
            is_equal(a, b, is_equal_number) for a, b in zip(one, other, strict=True)
        )
    return bool(one == other)


def _is_number(value: JSON) -> bool:
    return type(value) is Number or type(value) is int


NUL_SPELLED: dict[str, Callable[[str], str]] = {
    "text": lambda text: text.replace("\0", r"\u0000"),
    "json": lambda text: _NUL_ESCAPE.sub(r"\1\\\\u0000", text),
}
r"""By column type, a text whose NUL characters have become the six characters `\u0000`."""
