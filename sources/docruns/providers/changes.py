"""What a push would change: rows compared with what the platform has. No I/O.

    rows ──► read ──► wishes ──► diff(wish, known run) ──► Change | Unchanged | Problem
                └──► problems

    row      {"id": "workflow_run_1", "name": "HP-1", "metadata": '{"checked": true}',
              "metadata.ledger_id": 417}
    known    {"name": "scan.pdf", "metadata": {"checked": true}}
    change   {"name": "HP-1", "metadata": {"ledger_id": 417}}

A null cell changes nothing. A null inside JSON is a value, and is sent: a key can be set to null, but not
removed. The platform merges metadata key by key and the new value wins; Extend does not document whether an
object inside is merged or replaced. A value that the platform spells otherwise is sent once: `LastPush` holds
what the platform had after that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from hashlib import blake2b
from math import isfinite
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from ..core.codec import JSON, Number, decode_whole, number_text, rfc3339, utc
from ..core.errors import ApiError, MissingError, ShapeError
from ..core.flatten.values import is_equal
from ..core.payload import is_usable
from .spelling import is_spelling

METADATA_BYTES = 10_000
"""The limit for a run's metadata as compact JSON: the documented 10 KB, applied to the merged object."""

TAGS = "extend:usage_tags"
"""A reserved key. The platform silently strips characters other than letters, digits, - and _."""

_TAG = re.compile(r"[A-Za-z0-9_-]+")
_PREFIX = "metadata."
# dlt's suffix of a column for values of another type than the first ones
_VARIANT = re.compile(r"__v_[a-z]+$")


class DesiredRun(NamedTuple):
    """A row that can be pushed. `row` is its number, from 1.

    None as `name` and missing keys change nothing.
    """

    row: int
    id: str
    name: str | None
    metadata: dict[str, JSON]


class Problem(NamedTuple):
    """Why a row cannot be pushed. Row 0 stands for all of them."""

    row: int
    id: str
    reason: str

    def __str__(self) -> str:
        where = f"row {self.row}" if self.row else "all rows"
        return f"{where}{f' ({self.id})' if self.id else ''}: {self.reason}"


class RemoteRun(NamedTuple):
    """A run as the platform has it. None as `name`: this API version does not return it."""

    name: str | None
    metadata: dict[str, JSON]

    def text(self) -> str:
        """The run as JSON; equal runs have equal texts."""
        return canonical({"name": self.name, "metadata": self.metadata})


class LastPush(NamedTuple):
    """The last confirmed push of a run, as `pushes` stores it: plain, hashed, or empty.

    `name` is the last name sent, `wish` the last row's fingerprint, `after` the platform's run after that.
    """

    name: str | None = None
    wish: str | None = None
    after: str | None = None


class Change(NamedTuple):
    """An update to send: what differs. `before` has the earlier values of the same keys. `repeats`: the last
    confirmed push of the run asked for the same."""

    wish: DesiredRun
    name: str | None
    metadata: dict[str, JSON]
    before: RemoteRun
    repeats: bool = False

    def body(self) -> bytes:
        """The body of the request."""
        return number_text(self._of(self.name, self.metadata)).encode()

    def undo(self) -> str:
        """The values that the update overwrites, in the same form, without keys that the run did not have."""
        return canonical(self._of(self.before.name, self.before.metadata))

    def _of(self, name: str | None, metadata: dict[str, JSON]) -> dict[str, JSON]:
        found: dict[str, JSON] = {} if self.name is None else {"name": name}
        return {**found, "metadata": metadata} if self.metadata else found


class Unchanged(NamedTuple):
    """A wish that needs no update, and the reason."""

    wish: DesiredRun
    reason: str


Stored = Callable[[str, str], str | None]
"""How a text is stored in a column of `pushes`: plain, hashed, or not at all."""


def read(rows: Iterable[Mapping[str, Any]]) -> tuple[list[DesiredRun], list[Problem]]:
    """The rows that can be pushed, and all problems of the others."""
    wishes: list[DesiredRun] = []
    problems: dict[Problem, None] = {}
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        problems.update(dict.fromkeys(_odd_columns(row)))
        id_ = _text(row.get("id"))
        if not isinstance(id_, str) or not is_usable(id_):
            reason = "has no id" if id_ in (None, "") else f"the id {id_!r} cannot be one"
            problems[Problem(number, "", reason)] = None
            continue
        if id_ in seen:
            reason = f"row {seen[id_]} is about the same run: one row for a run"
            problems[Problem(number, id_, reason)] = None
            continue
        seen[id_] = number
        try:
            wishes.append(_wish(number, id_, row))
        except ValueError as error:
            problems[Problem(number, id_, str(error))] = None
        except RecursionError:
            problems[Problem(number, id_, "the metadata is nested too deeply")] = None
    return wishes, list(problems)


def _odd_columns(row: Mapping[str, Any]) -> Iterable[Problem]:
    for name in row:
        if name in ("id", "name", "metadata"):
            continue
        if not name.startswith(_PREFIX) or name == _PREFIX:
            yield Problem(0, "", f"{name!r} is none of id, name, metadata and metadata.<key>")
        elif found := _VARIANT.search(name):
            first = name[: found.start()]
            reason = f"{name!r} holds values of another type than {first!r}: give both one type"
            yield Problem(0, "", reason)


def _wish(number: int, id_: str, row: Mapping[str, Any]) -> DesiredRun:
    """The row as a wish. ValueError: the problem of the row."""
    name = _text(row.get("name"))
    if name is not None and not isinstance(name, str):
        raise ValueError(f"the name is no text: {name!r}")
    if name is not None and not name.strip():
        raise ValueError("the name is empty")
    metadata = _object(row.get("metadata"))
    for column, cell in row.items():
        key = column.removeprefix(_PREFIX)
        if key == column or cell is None:
            continue
        value = as_json(cell)
        if key in metadata and not same(metadata[key], value):
            raise ValueError(f"{column} and metadata differ about {key!r}")
        metadata[key] = value
    if name is None and not metadata:
        raise ValueError("is empty: no name and no metadata")
    _check_tags(metadata.get(TAGS))
    wish = DesiredRun(number, id_, name, metadata)
    try:
        fingerprint(wish)
    except UnicodeEncodeError:
        raise ValueError("holds half a character (a lone surrogate)") from None
    return wish


def _text(cell: Any) -> Any:
    """A text as a plain `str`. A JSON `Number` is a subclass of `str` and stays a number."""
    is_text = isinstance(cell, str) and not isinstance(cell, Number)
    return str(cell) if is_text else cell


def _object(cell: Any) -> dict[str, JSON]:
    """The metadata of a cell: an object, or its JSON text."""
    if cell is None:
        return {}
    cell = _text(cell)
    try:
        value = decode_whole(cell.encode()) if type(cell) is str else as_json(cell)
    except (msgspec.MsgspecError, UnicodeError, ShapeError) as error:
        raise ValueError(f"the metadata is no JSON object: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("the metadata is no JSON object")
    return value


def as_json(cell: Any) -> JSON:
    """A cell of a query or a file as a JSON value: numbers keep their digits, times become RFC 3339 text.

    ValueError where JSON has nothing like it.
    """
    if cell is None or isinstance(cell, (bool, Number)):
        return cell
    if isinstance(cell, str):
        return str(cell)
    if isinstance(cell, int):
        return int(cell)
    if isinstance(cell, float):
        if not isfinite(cell):
            raise ValueError(f"{cell} is no JSON number")
        return Number(repr(cell))
    if isinstance(cell, Decimal):
        if not cell.is_finite():
            raise ValueError(f"{cell} is no JSON number")
        return Number(cell)
    if isinstance(cell, datetime) and cell.tzinfo is not None:
        return rfc3339(utc(cell))
    if isinstance(cell, (date, time)):
        return cell.isoformat()
    if isinstance(cell, UUID):
        return str(cell)
    if isinstance(cell, Mapping):
        if odd := [key for key in cell if not isinstance(key, str)]:
            raise ValueError(f"{odd[0]!r} is no key of a JSON object")
        return {key: as_json(value) for key, value in cell.items()}
    if isinstance(cell, (list, tuple)):
        return [as_json(value) for value in cell]
    raise ValueError(f"a {type(cell).__name__} is no JSON value")


def _check_tags(tags: JSON) -> None:
    if tags is None:
        return
    if not isinstance(tags, list) or not all(type(tag) is str for tag in tags):
        raise ValueError(f"{TAGS} must be a list of texts")
    for tag in tags:
        if not _TAG.fullmatch(tag):
            raise ValueError(f"{TAGS}: in {tag!r} the platform would strip all but letters, digits, - and _")


def diff(wish: DesiredRun, known: RemoteRun, sent: LastPush, stored: Stored) -> Change | Unchanged | Problem:
    """What to do about a wish."""
    metadata = {
        key: value
        for key, value in wish.metadata.items()
        if key not in known.metadata or not same(value, known.metadata[key])
    }
    name = None if _is_called(wish.name, known, sent, stored) else wish.name
    if name is None and not metadata:
        return Unchanged(wish, "is so already")
    before = {key: known.metadata[key] for key in metadata if key in known.metadata}
    repeats = sent.wish is not None and sent.wish == stored("wish", fingerprint(wish))
    change = Change(wish, name, metadata, RemoteRun(None if name is None else known.name, before), repeats)
    if repeats and not read_back(change, known).missing:
        now = stored("after", known.text())
        if now is not None and sent.after is not None and _equal(now, sent.after):
            return Unchanged(wish, "was sent before, and the platform keeps it in its own way")
    size = len(number_text({**known.metadata, **wish.metadata}).encode())
    if metadata and size > METADATA_BYTES:
        reason = f"the run's metadata would have {size:,} bytes, and may have {METADATA_BYTES:,}"
        return Problem(wish.row, wish.id, reason)
    return change


@dataclass
class Comparison:
    """What the desired runs need, in the order of the rows."""

    changes: list[Change] = field(default_factory=list)
    unchanged: list[Unchanged] = field(default_factory=list)
    unreadable: list[tuple[DesiredRun, ApiError]] = field(default_factory=list)
    """Runs that cannot be fetched now."""
    problems: list[Problem] = field(default_factory=list)


def compare(
    outcomes: Iterable[tuple[str, RemoteRun | ApiError]],
    desired: Iterable[DesiredRun],
    problems: Iterable[Problem],
    last_pushes: Mapping[str, LastPush],
    stored: Stored,
) -> Comparison:
    """Compare the desired runs with the platform's. The comparison has the given problems too, sorted."""
    by_id, comparison = {run.id: run for run in desired}, Comparison(problems=[*problems])
    for id_, outcome in outcomes:
        run = by_id[id_]
        if isinstance(outcome, MissingError):
            comparison.problems.append(Problem(run.row, id_, "the platform has no such run"))
            continue
        if isinstance(outcome, ApiError):
            comparison.unreadable.append((run, outcome))
            continue
        difference = diff(run, outcome, last_pushes.get(id_, LastPush()), stored)
        if isinstance(difference, Problem):
            comparison.problems.append(difference)
        elif isinstance(difference, Unchanged):
            comparison.unchanged.append(difference)
        else:
            comparison.changes.append(difference)
    comparison.changes.sort(key=lambda change: change.wish.row)
    comparison.problems.sort()
    return comparison


class ReadBack(NamedTuple):
    """What became of a change, in the run that was read again: the cells that it lacks, and those that it spells
    otherwise. `is_certain`: the API returns all that was sent."""

    missing: list[str]
    otherwise: list[str]
    is_certain: bool


def read_back(change: Change, known: RemoteRun) -> ReadBack:
    """Compare a run with what was sent. A cell is missing where it is absent, as before the change, or another value.

    A cell that was as it is now before a repeated change counts as spelt otherwise: the first one has made it so.
    """
    found = ReadBack([], [], change.name is None or known.name is not None)
    old = change.before
    for key, sent in change.metadata.items():
        kept, was = known.metadata.get(key), old.metadata.get(key)
        if key not in known.metadata or not same(sent, kept):
            is_unchanged = (key in old.metadata) == (key in known.metadata) and same(was, kept)
            is_kept = is_spelling(sent, kept) and (change.repeats or sent is None or not is_unchanged)
            (found.otherwise if is_kept else found.missing).append(f"metadata.{key}")
    if change.name is not None and known.name not in (None, change.name):
        is_kept = is_spelling(change.name, known.name) and (change.repeats or known.name != old.name)
        (found.otherwise if is_kept else found.missing).append("name")
    return found


def _is_called(name: str | None, known: RemoteRun, sent: LastPush, stored: Stored) -> bool:
    """Whether the run has the name. Where the API does not return it, it is the last one sent."""
    if name is None or known.name is not None:
        return name is None or name == known.name
    return sent.name is not None and sent.name == stored("name", name)


def _equal(one: str, other: str) -> bool:
    # a database may give JSON back in another order
    return same(decode_whole(one.encode()), decode_whole(other.encode()))


def same(one: JSON, other: JSON) -> bool:
    """Equal as JSON, numbers to the last digit: 12.50 is 12.5, and true is not 1."""
    return is_equal(one, other, _is_equal_decimal)


def _is_equal_decimal(one: JSON, other: JSON) -> bool:
    try:
        return Decimal(one) == Decimal(other)
    except ArithmeticError:
        # an exponent past all bounds
        return bool(one == other)


def canonical(value: JSON) -> str:
    """JSON text with its keys in order."""
    return number_text(_ordered(value))


def _ordered(value: JSON) -> JSON:
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value)}
    return [_ordered(one) for one in value] if isinstance(value, list) else value


def fingerprint(wish: DesiredRun) -> str:
    """Equal for equal wishes, in whatever row they are."""
    text = canonical([wish.id, wish.name, wish.metadata])
    return blake2b(text.encode(), digest_size=16).hexdigest()


def fingerprint_all(wishes: Iterable[DesiredRun]) -> str:
    """Equal for pushes with equal wishes, in any order."""
    text = "\n".join(sorted(map(fingerprint, wishes)))
    return blake2b(text.encode(), digest_size=16).hexdigest()
