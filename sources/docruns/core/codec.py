"""PURE. JSON as it came: decode it, encode it, and keep every digit and every character.

Numbers with a fraction or an exponent stay text (`Number`), and JSON columns get the text that came. Times,
presigned URLs and lone surrogates are handled here too, once for all readers.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from math import isfinite
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from .duplicate_keys import check_members, check_value
from .errors import ShapeError

JSON = Any
"""A decoded JSON value; its floats and exponents are `Number`, all else are plain Python types."""


_Time = TypeVar("_Time", datetime, datetime | None)


class Number(str):
    """A JSON number with a fraction or an exponent, as the text that came: every digit is kept."""

    __slots__ = ()


decode: Any = msgspec.json.Decoder(float_hook=Number).decode
encode = msgspec.json.Encoder().encode

# numbers are text of a class of its own, whose digits are written as they came
_write = msgspec.json.Encoder(enc_hook=lambda number: Raw(str.encode(number))).encode
_write_sorted = msgspec.json.Encoder(enc_hook=lambda number: _shortest(number), order="sorted").encode

decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
decode_list = msgspec.json.Decoder(list[Raw] | None).decode
decode_objects = msgspec.json.Decoder(list[dict[str, Raw] | None]).decode
decode_text = msgspec.json.Decoder(str | None).decode
decode_float = msgspec.json.Decoder(float | None).decode
decode_bool = msgspec.json.Decoder(bool | None).decode

# a presigned URL opens a document to whoever reads it: none may reach a table
SECRET_KEYS = frozenset({"presignedUrl", "outputUrl", "fileUrl", "signedUrl"})

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SURROGATE = re.compile(rb"\\u[dD]")
_LONE_SURROGATE = re.compile(
    rb"(?<!\\)((?:\\\\)*+)(?:"
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"  # a proper pair: kept
    rb"|\\(u[dD][89a-fA-F][0-9a-fA-F]{2}))"
)


def clean(body: bytes) -> bytes:
    r"""The body with every lone surrogate escape turned into its six characters of text.

    JSON may carry `"\ud800"`, which no UTF-8 text, and so no table, can hold. It is loaded as the text
    `\ud800`. NUL characters need no such care and are kept. A byte order mark is removed.
    """
    if body.startswith(_BYTE_ORDER_MARK):
        body = body[3:]
    # most bodies have no backslash, and a search for one byte costs next to nothing
    if b"\\" not in body or not _SURROGATE.search(body):
        return body
    return _LONE_SURROGATE.sub(lambda m: m[1] + (m[2] if m[2] is not None else rb"\\" + m[3]), body)


def is_object(raw: Raw) -> bool:
    """The first character of a JSON value is a brace; the rest is not read."""
    return bytes(memoryview(raw)[:1]) == b"{"


def members(raw: bytes | memoryview | Raw) -> dict[str, Raw]:
    """The members of an object, undecoded. msgspec's errors where the text is no object; ShapeError where a
    key comes twice with two values."""
    found: dict[str, Raw] = decode_members(raw)
    check_members(raw, found)
    return found


def decode_whole(raw: bytes | Raw) -> JSON:
    """The decoded value; ShapeError where a key comes twice with two values, at any depth."""
    value = decode(raw)
    if type(value) is dict or type(value) is list:
        check_value(bytes(raw), value)
    return value


def decode_like(raw: Raw, known_raw: bytes | Raw, known: JSON) -> JSON:
    """`decode_whole`, but a part with the same text as in `known` is the very object of `known`."""
    value = _like(raw, known_raw, known)
    if type(value) is dict or type(value) is list:
        check_value(bytes(raw), value)
    return value


def _like(raw: Raw, known_raw: bytes | Raw, known: JSON, levels: int = 8) -> JSON:
    if raw == known_raw:
        return known
    kind = type(known)
    first = bytes(memoryview(raw)[:1])
    if kind is dict and first == b"{" and levels:
        was, parts = decode_members(known_raw), decode_members(raw)
        return {
            key: _like(part, was[key], known[key], levels - 1) if key in was else decode(part)
            for key, part in parts.items()
        }
    if kind is list and first == b"[" and levels:
        olds, parts = decode_list(known_raw), decode_list(raw)
        # items after one that was inserted or deleted have other indexes than before
        moved = {
            bytes(old): value
            for at, (old, value) in enumerate(zip(olds, known, strict=True))
            if at >= len(parts) or parts[at] != old
        }
        same: list[JSON] = []
        for at, part in enumerate(parts):
            if at < len(olds) and part == olds[at]:
                same.append(known[at])
            elif (text := bytes(part)) in moved:
                same.append(moved[text])
            else:
                same.append(_like(part, olds[at], known[at], levels - 1) if at < len(olds) else decode(part))
        return same
    return decode(raw)


def number_text(value: JSON) -> str:
    """JSON text of any decoded value; a `Number` gives the digits that came."""
    kind = type(value)
    if kind is str:
        return encode(value).decode()
    if kind is Number:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if value is None:
        return "null"
    if kind is int:
        return str(value)
    try:
        # a third of the time that it takes below
        return _write(value).decode()
    except (OverflowError, RecursionError):
        # a number of more than 64 bits, or many levels
        pass
    if kind is dict:
        inner = ",".join(f"{encode(k).decode()}:{number_text(v)}" for k, v in value.items())
        return "{" + inner + "}"
    return "[" + ",".join(map(number_text, value)) + "]"


def sorted_text(value: JSON) -> str:
    """JSON text to compare values by: keys in order, and one spelling for 1.0, 1.00 and 1."""
    try:
        return _write_sorted(value).decode()
    except (OverflowError, RecursionError):
        return number_text(value)


def _shortest(number: Number) -> Raw:
    value = float(number)
    if not isfinite(value):
        return Raw(str.encode(number))
    return Raw((str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)).encode())


def timestamp(text: str) -> datetime | None:
    """RFC 3339 text as a UTC datetime, microseconds at most; None where it is not one.

    A timestamp without an offset counts as UTC, which is what both platforms promise.
    """
    if "\0" in text:
        # fromisoformat reads only up to the NUL
        return None
    try:
        return utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def utc(at: _Time) -> _Time:
    """The same moment in UTC; a time without an offset counts as UTC, null stays null."""
    if at is None:
        return at
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def rfc3339(at: datetime) -> str:
    """The time as RFC 3339 text, with `Z` for UTC: 2026-05-18T06:30:00Z."""
    return at.isoformat().replace("+00:00", "Z")


def without_secrets(value: JSON) -> JSON:
    """The value without presigned URLs and file contents, at any depth."""
    if type(value) is dict:
        hidden = SECRET_KEYS | {"contents"} if value.get("object") == "file" else SECRET_KEYS
        return {k: without_secrets(v) for k, v in value.items() if k not in hidden}
    if type(value) is list:
        return [without_secrets(v) for v in value]
    return value


def safe_text(raw: bytes | Raw) -> str:
    """JSON text as it came, without presigned URLs and file contents."""
    text = json_text(raw)
    # every secret key ends in Url: for most texts two searches are enough
    has_url = "Url" in text and any(key in text for key in SECRET_KEYS)
    if has_url or '"contents"' in text:
        return number_text(without_secrets(decode_whole(text.encode())))
    return text


def json_text(raw: bytes | Raw) -> str:
    """The JSON text as it came; ShapeError where it is not UTF-8."""
    try:
        return bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise ShapeError(f"text that is not UTF-8: {error}") from error
