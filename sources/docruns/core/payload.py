"""PURE. Read a JSON object key by key: a key that no method reads is kept.

    payload = Payload(b'{"id": "exr_1", "status": "PROCESSED", "dataRetention": {"mode": "zero"}}')
    payload.text("id"), payload.text("status")      # ('exr_1', 'PROCESSED')
    payload.extra()                                 # '{"dataRetention":{"mode":"zero"}}'

A known key whose value has an unexpected type goes into `extra` too. A vendor's change therefore never fails
a load and never loses a value. Numbers keep every digit, because JSON columns get the text that came.
`is_usable` checks an id from outside before it becomes part of a request's path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, TypeGuard

import msgspec
from msgspec import Raw

from .codec import (
    SECRET_KEYS,
    Number,
    decode,
    decode_bool,
    decode_float,
    decode_list,
    decode_members,
    decode_objects,
    decode_text,
    encode,
    is_object,
    json_text,
    members,
    safe_text,
    timestamp,
)
from .duplicate_keys import has_all_members
from .errors import ShapeError


class Payload:
    """One JSON object. Each method reads and removes a key, or leaves it for `extra`.

    A missing key, null and a value of another type all give None; only the last one stays for `extra`.
    ShapeError where a key comes twice with two values. `glance` skips this check: use it for an object that
    is inspected and not loaded.
    """

    __slots__ = ("_children", "_rest")

    def __init__(self, raw: bytes | memoryview | Raw, glance: bool = False) -> None:
        try:
            self._rest: dict[str, Raw] = decode_members(raw) if glance else members(raw)
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
        """The object. Where it is `{"key":{…}}`, with one of `keys` and nothing else, the inner object is
        decoded directly, without a search for its end: this saves 0.08 ms for a run of 130 KB."""
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

    def _take(self, read: Callable[[Raw], Any], *keys: str) -> Any | None:
        """The first of `keys` that holds what `read` accepts; keys before it that hold null are read too."""
        for key in keys:
            raw = self._rest.get(key)
            if raw is None:
                continue
            try:
                value = read(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
                continue
            del self._rest[key]
            if value is not None:
                return value
        return None

    def text(self, *keys: str) -> str | None:
        """The first of `keys` that holds a string."""
        return self._take(decode_text, *keys)

    def label(self, key: str) -> str | None:
        """A string, or a number as text: for versions and ids that may change their type."""
        value = self.text(key)
        return value if value is not None else self._take(_number_label, key)

    def number(self, key: str) -> float | None:
        """A number as a double."""
        return self._take(decode_float, key)

    def integer(self, key: str) -> int | None:
        """A whole number of 64 bits, also when written 3.0."""
        return self._take(_whole, key)

    def boolean(self, key: str) -> bool | None:
        """true or false."""
        return self._take(decode_bool, key)

    def time(self, *keys: str) -> datetime | None:
        """The first of `keys` that holds a timestamp."""
        return self._take(_as_time, *keys)

    def json(self, key: str) -> str | None:
        """Any value as its JSON text; null gives None."""
        raw = self.raw(key)
        return None if raw is None else json_text(raw)

    def raw(self, key: str) -> Raw | None:
        """Any value, undecoded; null gives None."""
        raw = self._rest.pop(key, None)
        return None if raw is None or _is_null(raw) else raw

    def object(self, key: str, around: Iterable[str] = ()) -> Payload | None:
        """An object. Its unread keys go under `key` into this payload's extra. `around`: keys of objects that
        are often its only member."""
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
        """A list of objects without its null entries. A list of another kind stays for `extra`."""
        raw = self._rest.get(key)
        if raw is None or _is_null(raw):
            self._drop_null(key, raw)
            return None
        try:
            found = decode_objects(raw)
            if has_all_members(raw, found):
                children = [Payload._of(rest, {}) for rest in found if rest is not None]
            else:
                children = [Payload(entry) for entry in decode_list(raw) or () if not _is_null(entry)]
        except (msgspec.MsgspecError, UnicodeDecodeError, ShapeError):
            return None
        del self._rest[key]
        return children

    def raws(self, key: str) -> list[Raw] | None:
        """A list's entries, undecoded, null included. A value of another kind stays for `extra`."""
        return self._take(decode_list, key)

    def _drop_null(self, key: str, raw: Raw | None) -> None:
        if raw is not None and _is_null(raw):
            del self._rest[key]

    def peek(self, key: str) -> str | None:
        """A string, left in place."""
        raw = self._rest.get(key)
        try:
            return None if raw is None else decode_text(raw)
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
        """Drop keys that add nothing here, such as `object` or a catalogue's own dates, where the value is a
        text or null, or begins like `kind`. A value of another type stays for `extra`."""
        for key in keys:
            raw = self._rest.get(key)
            if raw is not None and bytes(memoryview(raw)[:1]) in (kind, b"n"):
                del self._rest[key]

    def drop(self, *keys: str) -> None:
        """Drop keys that must not, or need not, be in `extra`, whatever their value."""
        for key in keys:
            self._rest.pop(key, None)

    def keep(self, key: str, text: str) -> None:
        """Put JSON text under `key` into extra."""
        self._rest[key] = Raw(text.encode())

    def __contains__(self, key: str) -> bool:
        """The key is there and was not read yet."""
        return key in self._rest

    def extra(self) -> str | None:
        """JSON text of all unread keys; None where every key was read."""
        parts = {key: bytes(raw) for key, raw in self._rest.items() if key not in SECRET_KEYS}
        for key, child in self._children.items():
            if (text := child.extra()) is not None:
                parts[key] = text.encode()
        if not parts:
            return None
        body = b"{" + b",".join([encode(k) + b":" + v for k, v in parts.items()]) + b"}"
        return safe_text(body)


def _is_null(raw: Raw) -> bool:
    # a look at the length first: a run's output can be megabytes
    return len(raw) == 4 and bytes(raw) == b"null"


def _as_time(raw: Raw) -> datetime | None:
    text = decode_text(raw)
    if text is None:
        return None
    if (value := timestamp(text)) is None:
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
    value = decode_float(raw)
    if value is None:
        return None
    if not value.is_integer():
        raise ValueError("not a whole number")
    whole = int(bytes(raw)) if bytes(raw).lstrip(b"-").isdigit() else int(value)
    if not -(2**63) <= whole < 2**63:
        raise ValueError("more than 64 bits")
    return whole


MAX_CHARS: Final = 2000
"""The longest id, in characters. Every row of a run and the run's URL repeat it."""


def is_usable(id_: str | None) -> TypeGuard[str]:
    """A run can have this id and be requested by it. `.` and `..` mean a folder in a URL, quoted or not."""
    return bool(id_) and len(id_ or "") <= MAX_CHARS and id_ not in (".", "..")
