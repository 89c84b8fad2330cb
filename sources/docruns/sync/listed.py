"""Runs as lists show them, about a hundred bytes each. No I/O, no clock.

    Ids          distinct texts, each with a number ──► Dates       a time for each id
                                                    └─► ListedRuns  a row of a list for each id
    Selection    some of the runs, in an order of their own

A load holds the rows of its lists from the walk until the last run is taken, and an account may have a million. As
Python's objects (a tuple, a text and two times, the entries of two dicts) a row takes 400 bytes. Here ids are one text,
times are numbers, and the other values are those that many rows share. An object is made when a row is asked for.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import eq
from typing import Any, NamedTuple, overload

OLDEST = datetime.min.replace(tzinfo=UTC)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NO_TIME = -(2**63)

_FEWEST_SLOTS = 16
_SHARED = 10_000
"""Combinations of shared values that are looked for; where each row has its own, a search is of no use."""


def micros(at: datetime) -> int:
    """The time as microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def moment(number: int) -> datetime:
    """The time of a number of microseconds since 1970."""
    return _EPOCH + number * _MICROSECOND


_OLDEST = micros(OLDEST)


class ListedRun(NamedTuple):
    """A run as a list shows it. `summary`: values that lists have and details lack, as JSON values. `source`: what
    made the run, where the lists can be filtered by it."""

    id: str
    status: str | None
    created_at: datetime | None
    updated_at: datetime | None
    is_final: bool = True
    summary: dict[str, Any] | None = None
    source: str | None = None

    @property
    def changed(self) -> datetime:
        """The time that runs are ordered by. A run without a timestamp counts as the oldest."""
        return self.updated_at or self.created_at or OLDEST


class Ids:
    """Distinct texts, numbered from 0 in the order in which they came. 60 bytes each; a set takes 150.

    A hash table of numbers finds a text: each slot has a number and 1, or 0. The text belongs into the slot of its
    hash, or into the next free one.
    """

    __slots__ = ("_ends", "_slots", "_text")

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.clear()
        self.update(texts)

    def clear(self) -> None:
        """Forget all texts."""
        self._text, self._ends = bytearray(), array("Q", [0])
        self._slots = array("I", bytes(4 * _FEWEST_SLOTS))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> str:
        return self._text[self._ends[number] : self._ends[number + 1]].decode()

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))

    def __contains__(self, text: str) -> bool:
        return self._slots[self._slot(text.encode())] > 0

    def number(self, text: str) -> int | None:
        """The number of a text; None where it is not there."""
        known = self._slots[self._slot(text.encode())]
        return known - 1 if known else None

    def add(self, text: str) -> int:
        """Add a text where it is not there yet. Gives its number."""
        raw = text.encode()
        slot = self._slot(raw)
        if known := self._slots[slot]:
            return known - 1
        self._text += raw
        self._ends.append(len(self._text))
        self._slots[slot] = len(self)
        if 2 * len(self) > len(self._slots):
            self._grow()
        return len(self) - 1

    def update(self, texts: Iterable[str]) -> None:
        """Add all texts."""
        for text in texts:
            self.add(text)

    def _slot(self, raw: bytes) -> int:
        """The slot that has the text, or the free one where it belongs."""
        slots, ends, text = self._slots, self._ends, self._text
        last = len(slots) - 1
        slot = hash(raw) & last
        while (known := slots[slot]) and text[ends[known - 1] : ends[known]] != raw:
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        self._slots = array("I", bytes(2 * 4 * len(self._slots)))
        for number, (start, end) in enumerate(zip(self._ends, self._ends[1:], strict=False)):
            self._slots[self._slot(bytes(self._text[start:end]))] = number + 1


class Dates(MutableMapping[str, datetime | None]):
    """A time for each id, or None: a dict in a third of the memory."""

    __slots__ = ("_dates", "_ids", "_removed")

    def __init__(self, dates: Iterable[tuple[str, datetime | None]] = ()) -> None:
        self.clear()
        for id_, at in dates:
            self[id_] = at

    def clear(self) -> None:
        """Forget all ids."""
        self._ids, self._dates = Ids(), array("q")
        self._removed: set[int] = set()

    def __len__(self) -> int:
        return len(self._ids) - len(self._removed)

    def __iter__(self) -> Iterator[str]:
        return (id_ for _, id_ in self.numbered())

    def __contains__(self, id_: object) -> bool:
        return isinstance(id_, str) and self.number(id_) is not None

    def __getitem__(self, id_: str) -> datetime | None:
        if (number := self.number(id_)) is None:
            raise KeyError(id_)
        return self.at(number)

    def __setitem__(self, id_: str, at: datetime | None) -> None:
        number = self._ids.add(id_)
        if number == len(self._dates):
            self._dates.append(_number(at))
        else:
            self._dates[number] = _number(at)
            self._removed.discard(number)

    def __delitem__(self, id_: str) -> None:
        if (number := self.number(id_)) is None:
            raise KeyError(id_)
        self._removed.add(number)

    def number(self, id_: str) -> int | None:
        """The number of an id; None where it is not there."""
        number = self._ids.number(id_)
        return None if number in self._removed else number

    def at(self, number: int) -> datetime | None:
        """The time of the id with this number."""
        return _time(self._dates[number])

    def numbered(self) -> Iterator[tuple[int, str]]:
        """The ids with their numbers."""
        return (each for each in enumerate(self._ids) if each[0] not in self._removed)

    def keep_latest(self, id_: str, at: datetime | None) -> None:
        """Set the time of an id, unless it has a later one."""
        number, time = self._ids.add(id_), _number(at)
        if number == len(self._dates):
            self._dates.append(time)
        elif time > self._dates[number] or number in self._removed:
            self._dates[number] = time
            self._removed.discard(number)

    def marks(self) -> bytearray:
        """A zero for each number."""
        return bytearray(len(self._ids))


_Others = tuple[str | None, bool, dict[str, Any] | None, str | None]


class ListedRuns(Mapping[str, ListedRun]):
    """Rows of lists by id, numbered from 0 in the order in which their ids came."""

    __slots__ = ("_created", "_ids", "_others", "_shared", "_updated")

    def __init__(self, runs: Iterable[ListedRun] = ()) -> None:
        self._ids = Ids()
        self._created, self._updated = array("q"), array("q")
        self._others: list[_Others] = []
        self._shared: dict[tuple[str | None, bool, int, str | None], _Others] = {}
        for run in runs:
            self.add(run)

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __contains__(self, id_: object) -> bool:
        return isinstance(id_, str) and id_ in self._ids

    def __getitem__(self, id_: str) -> ListedRun:
        if (number := self._ids.number(id_)) is None:
            raise KeyError(id_)
        return self.at(number)

    def at(self, number: int) -> ListedRun:
        """The run with this number."""
        times = _time(self._created[number]), _time(self._updated[number])
        status, is_final, summary, source = self._others[number]
        return ListedRun(self._ids[number], status, *times, is_final, summary, source)

    def add(self, run: ListedRun) -> int:
        """Add a run if its id is new; otherwise the row that is there stays. Gives the number of the id."""
        number = self._ids.add(run.id)
        if number == len(self._others):
            self._created.append(_number(run.created_at))
            self._updated.append(_number(run.updated_at))
            self._others.append(self._share(run))
        return number

    def replace(self, number: int, run: ListedRun) -> None:
        """Put another row of the same id in the place of the one that is there."""
        self._created[number], self._updated[number] = _number(run.created_at), _number(run.updated_at)
        self._others[number] = self._share(run)

    def oldest_first(self, numbers: Iterable[int]) -> Selection:
        """These runs from the oldest change up; those of one time by their ids."""
        ordered = array("I")
        for _, same in groupby(sorted(numbers, key=self._changed), self._changed):
            some = list(same)
            # all ids at once would be a hundred megabytes for a million runs
            ordered.extend(sorted(some, key=self._ids.__getitem__) if len(some) > 1 else some)
        return Selection(self, ordered)

    def _changed(self, number: int) -> int:
        """`ListedRun.changed` as a number."""
        at = self._updated[number]
        if at == _NO_TIME:
            at = self._created[number]
        return _OLDEST if at == _NO_TIME else at

    def _share(self, run: ListedRun) -> _Others:
        """The values beside id and times; where another row has the same ones, that row's. The dict holds the
        summary, so its address is not another object's."""
        values = run.status, run.is_final, id(run.summary), run.source
        if (found := self._shared.get(values)) is None:
            if len(self._shared) == _SHARED:
                self._shared.clear()
            found = self._shared[values] = run.status, run.is_final, run.summary, run.source
        return found


class Selection(Sequence[ListedRun]):
    """Some of `runs` in an order, four bytes each. A run that is taken out of it stays in `runs`."""

    __slots__ = ("_numbers", "runs")

    def __init__(self, runs: ListedRuns | None = None, numbers: Iterable[int] = ()) -> None:
        self.runs = ListedRuns() if runs is None else runs
        self._numbers = array("I", numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> ListedRun: ...

    @overload
    def __getitem__(self, place: slice) -> Selection: ...

    def __getitem__(self, place: int | slice) -> ListedRun | Selection:
        if isinstance(place, slice):
            return Selection(self.runs, self._numbers[place])
        return self.runs.at(self._numbers[place])

    def __iter__(self) -> Iterator[ListedRun]:
        return map(self.runs.at, self._numbers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    def __add__(self, other: Selection) -> Selection:
        """These runs, then those of another selection of the same rows."""
        return Selection(self.runs, self._numbers + other._numbers)

    def __delitem__(self, place: int | slice) -> None:
        del self._numbers[place]


def _number(at: datetime | None) -> int:
    return _NO_TIME if at is None else micros(at)


def _time(number: int) -> datetime | None:
    return None if number == _NO_TIME else moment(number)
