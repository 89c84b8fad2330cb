"""Read a JSON object key by key: what no one takes is kept.

    payload = Payload(b'{"id": "exr_1", "status": "PROCESSED", "dataRetention": {"mode": "zero"}}')
    payload.text("id"), payload.text("status")      # ('exr_1', 'PROCESSED')
    payload.extra()                                 # '{"dataRetention":{"mode":"zero"}}'

A known key whose value has another type than expected is not taken: it shows up in `extra` too, so
a vendor's change is never a failed load and never a lost value. Numbers keep every digit, because
JSON columns get the very text that came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Raw

from .errors import ShapeError
from .twice import are_whole, check_members, check_value

JSON = Any
"""A decoded JSON value; its floats and exponents are `Number`, all else are plain Python types."""


class Number(str):
    """A JSON number with a fraction or an exponent, as the text that came: every digit is kept."""

    __slots__ = ()


decode: Any = msgspec.json.Decoder(float_hook=Number).decode
encode = msgspec.json.Encoder().encode

# numbers are text of a class of its own, whose digits are written as they came
_write = msgspec.json.Encoder(enc_hook=lambda number: Raw(str.encode(number))).encode

_as_members = msgspec.json.Decoder(dict[str, Raw]).decode
_as_list = msgspec.json.Decoder(list[Raw] | None).decode
_as_objects = msgspec.json.Decoder(list[dict[str, Raw] | None]).decode
_as_text = msgspec.json.Decoder(str | None).decode
_as_float = msgspec.json.Decoder(float | None).decode
_as_bool = msgspec.json.Decoder(bool | None).decode

# these would put a key to somebody's documents, or the documents themselves, into a table
_SECRET_KEYS = frozenset({"presignedUrl", "outputUrl", "fileUrl", "signedUrl"})

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SURROGATE = re.compile(rb"\\u[dD]")
_LONE_SURROGATE = re.compile(
    rb"(?<!\\)((?:\\\\)*+)(?:"
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"  # a proper pair: kept
    rb"|\\(u[dD][89a-fA-F][0-9a-fA-F]{2}))"
)


def clean(body: bytes) -> bytes:
    r"""The body with every lone surrogate escape turned into its six characters of text.

    JSON may carry `"\ud800"`, which no UTF-8 text, and so no table, can hold. It is loaded as the
    text `\ud800`; NUL characters need no such care and are kept. A byte order mark goes.
    """
    if body.startswith(_BYTE_ORDER_MARK):
        body = body[3:]
    # most bodies have no backslash, and a search for one byte costs next to nothing
    if b"\\" not in body or not _SURROGATE.search(body):
        return body
    return _LONE_SURROGATE.sub(lambda m: m[1] + (m[2] if m[2] is not None else rb"\\" + m[3]), body)


def is_object(raw: Raw) -> bool:
    """A look at the first character of a value that was found to be JSON."""
    return bytes(memoryview(raw)[:1]) == b"{"


def members(raw: bytes | memoryview | Raw) -> dict[str, Raw]:
    """The members of an object, undecoded. msgspec's errors where it is none; ShapeError where a key
    comes twice with two values."""
    found: dict[str, Raw] = _as_members(raw)
    check_members(raw, found)
    return found


def decode_whole(raw: bytes | Raw) -> JSON:
    """The decoded value; ShapeError where a key comes twice with two values, at any depth."""
    value = decode(raw)
    if type(value) is dict or type(value) is list:
        check_value(bytes(raw), value)
    return value


def decode_like(raw: Raw, known_raw: bytes | Raw, known: JSON) -> JSON:
    """The same; parts of it that are written as in a known value are that value's very objects."""
    value = _like(raw, known_raw, known)
    if type(value) is dict or type(value) is list:
        check_value(bytes(raw), value)
    return value


def _like(raw: Raw, known_raw: bytes | Raw, known: JSON, levels: int = 8) -> JSON:
    kind = type(known)
    first = bytes(memoryview(raw)[:1])
    if kind is dict and first == b"{" and levels:
        was, found = _as_members(known_raw), _as_members(raw)
        return {
            key: decode(part)
            if (old := was.get(key)) is None
            else known[key]
            if part == old
            else _like(part, old, known[key], levels - 1)
            for key, part in found.items()
        }
    if kind is list and first == b"[" and levels:
        olds, parts = _as_list(known_raw), _as_list(raw)
        return [
            decode(part)
            if i >= len(olds)
            else known[i]
            if part == olds[i]
            else _like(part, olds[i], known[i], levels - 1)
            for i, part in enumerate(parts)
        ]
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


def timestamp(text: str) -> datetime | None:
    """RFC 3339 text as a UTC datetime, microseconds at most; None where it is not one.

    A timestamp without an offset is taken as UTC, which is what both platforms promise.
    """
    if "\0" in text:
        # python reads up to there
        return None
    try:
        parsed = datetime.fromisoformat(text)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def without_secrets(value: JSON) -> JSON:
    """The value without presigned URLs and file contents, at any depth."""
    if type(value) is dict:
        hidden = _SECRET_KEYS | {"contents"} if value.get("object") == "file" else _SECRET_KEYS
        return {k: without_secrets(v) for k, v in value.items() if k not in hidden}
    if type(value) is list:
        return [without_secrets(v) for v in value]
    return value


def safe_text(raw: bytes | Raw) -> str:
    """JSON text as it came, unless a presigned URL or a file's contents must leave it."""
    text = json_text(raw)
    # every secret key ends in Url: most texts are told by two searches
    told = "Url" in text and any(key in text for key in _SECRET_KEYS)
    if told or '"contents"' in text:
        return number_text(without_secrets(decode_whole(text.encode())))
    return text


class Payload:
    """One JSON object. Each method takes a key, or leaves it for `extra`.

    A missing key, null and a value of another type all give None; only the last one is kept. An object
    in which a key comes twice with two values is none, unless `glance`: it is only looked at, not kept.
    """

    __slots__ = ("_children", "_rest")

    def __init__(self, raw: bytes | memoryview | Raw, glance: bool = False) -> None:
        try:
            self._rest: dict[str, Raw] = _as_members(raw) if glance else members(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ShapeError(f"not a JSON object: {error}") from error
        self._children: dict[str, Payload] = {}

    @classmethod
    def _of(cls, rest: dict[str, Raw], children: dict[str, Payload]) -> Payload:
        payload = cls.__new__(cls)
        payload._rest, payload._children = rest, children
        return payload

    @classmethod
    def _around(cls, raw: Raw, keys: Iterable[str]) -> Payload:
        """The object; where it is `{"key":{…}}`, with one of `keys` and nothing else, it is not searched
        for the end of a member that may be all there is of a run: saves 0.08 ms of 130 KB."""
        text = memoryview(raw)
        for key in keys:
            start = b'{"%b":' % key.encode()
            if bytes(text[: len(start) + 1]) == start + b"{":
                # if all but the last brace is one object, then no other member follows it
                try:
                    return cls._of({}, {key: cls(text[len(start) : -1])})
                except ShapeError:
                    break
        return cls(raw)

    def _take(self, key: str, read: Any) -> Any:
        raw = self._rest.get(key)
        if raw is None:
            return None
        try:
            value = read(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
            return None
        del self._rest[key]
        return value

    def text(self, *keys: str) -> str | None:
        """The first of `keys` that holds a string."""
        for key in keys:
            value: str | None = self._take(key, _as_text)
            if value is not None:
                return value
        return None

    def label(self, key: str) -> str | None:
        """A string, or a number as text: for versions and ids that may change their type."""
        value = self.text(key)
        return value if value is not None else self._take(key, _number_label)

    def number(self, key: str) -> float | None:
        """A number as a double."""
        value: float | None = self._take(key, _as_float)
        return value

    def integer(self, key: str) -> int | None:
        """A whole number of 64 bits, also when written 3.0."""
        value: int | None = self._take(key, _whole)
        return value

    def boolean(self, key: str) -> bool | None:
        """true or false."""
        value: bool | None = self._take(key, _as_bool)
        return value

    def time(self, *keys: str) -> datetime | None:
        """The first of `keys` that holds a timestamp."""
        for key in keys:
            value: datetime | None = self._take(key, _as_time)
            if value is not None:
                return value
        return None

    def json(self, key: str) -> str | None:
        """Any value as its JSON text; null gives None."""
        raw = self.raw(key)
        return None if raw is None else json_text(raw)

    def raw(self, key: str) -> Raw | None:
        """Any value, undecoded; null gives None."""
        raw = self._rest.pop(key, None)
        return None if raw is None or _is_null(raw) else raw

    def object(self, key: str, around: Iterable[str] = ()) -> Payload | None:
        """An object. What is not taken from it shows up under `key` in this payload's extra. Often it is
        nothing but one of the objects `around` which it is."""
        if key in self._children:
            return self._children[key]
        raw = self._rest.get(key)
        if raw is None or not is_object(raw):
            self._drop_null(key, raw)
            return None
        try:
            child = Payload._around(raw, around) if around else Payload(raw)
        except ShapeError:
            return None
        del self._rest[key]
        self._children[key] = child
        return child

    def objects(self, key: str) -> list[Payload] | None:
        """A list of objects; null entries are skipped. Another kind of list is left alone."""
        raw = self._rest.get(key)
        if raw is None or _is_null(raw):
            self._drop_null(key, raw)
            return None
        try:
            found = _as_objects(raw)
            if are_whole(raw, found):
                children = [Payload._of(rest, {}) for rest in found if rest is not None]
            else:
                children = [Payload(entry) for entry in _as_list(raw) or () if not _is_null(entry)]
        except (msgspec.MsgspecError, UnicodeDecodeError, ShapeError):
            return None
        del self._rest[key]
        return children

    def raws(self, key: str) -> list[Raw] | None:
        """A list's entries, undecoded, nulls among them. Another kind of value is left alone."""
        entries: list[Raw] | None = self._take(key, _as_list)
        return entries

    def _drop_null(self, key: str, raw: Raw | None) -> None:
        if raw is not None and _is_null(raw):
            del self._rest[key]

    def peek(self, key: str) -> str | None:
        """A string, left in place."""
        raw = self._rest.get(key)
        try:
            return None if raw is None else _as_text(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def peek_json(self, key: str) -> str | None:
        """Any value as its JSON text, left in place."""
        raw = self._rest.get(key)
        return None if raw is None else json_text(raw)

    def ignore_empty(self, *keys: str) -> None:
        """Drop keys that hold an empty list or object, or null."""
        for key in keys:
            raw = self._rest.get(key)
            if raw is not None and bytes(memoryview(raw)[:5]) in (b"[]", b"{}", b"null"):
                del self._rest[key]

    def clear(self) -> None:
        """Drop everything: the object has become a row of its own."""
        self._rest.clear()
        self._children.clear()

    def ignore(self, *keys: str, kind: bytes = b'"') -> None:
        """Drop keys that say nothing new here, such as `object` or a catalogue's own dates: texts and
        nulls, or values that begin like `kind`. What is there of another type stays."""
        for key in keys:
            raw = self._rest.get(key)
            if raw is not None and bytes(memoryview(raw)[:1]) in (kind, b"n"):
                del self._rest[key]

    def drop(self, *keys: str) -> None:
        """Drop keys whatever they hold: what must not, or need not, be in `extra`."""
        for key in keys:
            self._rest.pop(key, None)

    def keep(self, key: str, text: str) -> None:
        """Put JSON text under `key` into extra."""
        self._rest[key] = Raw(text.encode())

    def __contains__(self, key: str) -> bool:
        """The key is there, and nobody took it so far."""
        return key in self._rest

    def extra(self) -> str | None:
        """JSON text of all that was not taken; None where everything was."""
        parts = {key: bytes(raw) for key, raw in self._rest.items() if key not in _SECRET_KEYS}
        for key, child in self._children.items():
            if (text := child.extra()) is not None:
                parts[key] = text.encode()
        if not parts:
            return None
        body = b"{" + b",".join([encode(k) + b":" + v for k, v in parts.items()]) + b"}"
        return safe_text(body)


def json_text(raw: bytes | Raw) -> str:
    """The JSON text as it came; ShapeError where it is not UTF-8."""
    try:
        return bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise ShapeError(f"text that is not UTF-8: {error}") from error


def _is_null(raw: Raw) -> bool:
    # a look at the length first: a run's output can be megabytes
    return len(raw) == 4 and bytes(raw) == b"null"


def _as_time(raw: Raw) -> datetime | None:
    text = _as_text(raw)
    value = None if text is None else timestamp(text)
    if value is None and text is not None:
        raise ValueError("not a timestamp")
    return value


def _number_label(raw: Raw) -> str | None:
    value = decode(raw)
    if value is None:
        return None
    if type(value) is bool or not isinstance(value, (int, Number)):
        raise ValueError("not a number")
    return str(value)


def _whole(raw: Raw) -> int | None:
    value = _as_float(raw)
    if value is None:
        return None
    if not value.is_integer():
        raise ValueError("not a whole number")
    whole = int(bytes(raw)) if bytes(raw).lstrip(b"-").isdigit() else int(value)
    if not -(2**63) <= whole < 2**63:
        raise ValueError("more than 64 bits")
    return whole
