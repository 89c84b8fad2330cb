"""What a reading process does: answers come in, Arrow comes out. `delegate` starts it and talks to it.

    in    Order    and the bodies           a frame for each group of answers
    out   Result   and the record batches   a frame for each of them, in their order; an empty one says it is there

A frame is two lengths, of its head, in MessagePack, and of the rest, whose parts the head measures.
Nothing is imported here that reading does without: dlt alone takes longer than a thousand answers.
"""

from __future__ import annotations

import signal
import struct
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import IO, Any, NamedTuple

import msgspec

from .arrow import UNFIT, Batch, Tables, giving_back, to_tables, written
from .errors import ApiError
from .feed import Listed
from .pause import frozen, without_collection
from .reading import Reading

Reader = Callable[[bytes, Listed], Reading]

_LENGTHS = struct.Struct("<QQ")


class Task(NamedTuple):
    """Which reader a process uses: a function in a module of this package, called with `settings`, gives it."""

    module: str
    function: str
    settings: dict[str, Any]


class Order(NamedTuple):
    """A group of answers: each one's run, and its length."""

    number: int
    runs: list[Listed]
    sizes: list[int]


class Told(NamedTuple):
    """What a `Reading` says beside its rows."""

    status: str | None
    is_final: bool
    inside: tuple[str, ...]
    wanted: tuple[tuple[str, str], ...]


class Result(NamedTuple):
    """A group that is read: None for each run that was not, `counts` and `sizes` by table."""

    number: int
    told: list[Told | None]
    counts: dict[str, int]
    sizes: dict[str, int]


def frame(head: Any, parts: Iterable[Any]) -> bytes:
    """One frame as bytes, to be written at once."""
    first, rest = msgspec.msgpack.encode(head), b"".join(parts)
    return b"".join((_LENGTHS.pack(len(first), len(rest)), first, rest))


def next_frame(stream: IO[bytes]) -> tuple[bytes, bytes] | None:
    """The head and the rest of the next frame; None where there is no whole one."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    first, rest = _LENGTHS.unpack(lengths)
    head, parts = stream.read(first), stream.read(rest)
    return (head, parts) if len(head) == first and len(parts) == rest else None


def serve() -> None:
    """Read until nobody asks any more: the end of a load, whichever way it ends, is the end of its pipe."""
    # what ends a load may be sent to its whole group: the load decides what becomes of its answers
    for sent in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sent, signal.SIG_IGN)
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    begun = next_frame(asked)
    if begun is None:
        return
    task = msgspec.msgpack.decode(begun[0], type=Task)
    package = (__package__ or "").partition(".")[0]
    make = getattr(import_module(f".{task.module}", package), task.function)
    read = make(**task.settings)
    answers.write(frame(None, ()))
    answers.flush()
    with frozen(), giving_back():
        while (order := next_frame(asked)) is not None:
            answers.write(work(read, *order))
            answers.flush()


@without_collection
def work(read: Reader, head: bytes, bodies: bytes) -> bytes:
    """The result of one order. A run that cannot be read is left out: what is wrong with it is found by
    who asked, with the same reader."""
    order = msgspec.msgpack.decode(head, type=Order)
    told: list[Told | None] = []
    whole, at = Batch(), 0
    for run, size in zip(order.runs, order.sizes, strict=True):
        reading = _try(read, bodies[at : at + size], run)
        at += size
        if reading is None:
            told.append(None)
            continue
        whole.update(reading.batch)
        told.append(Told(reading.status, reading.is_final, reading.inside, reading.wanted))
    try:
        tables = to_tables(whole)
    except UNFIT:
        told, whole, tables = [None] * len(told), Batch(), Tables([])
    parts = {table.name: written(rows) for table, rows in tables}
    sizes = {name: len(part) for name, part in parts.items()}
    return frame(Result(order.number, told, whole.counts(), sizes), parts.values())


def _try(read: Reader, body: bytes, run: Listed) -> Reading | None:
    try:
        reading = read(body, run)
    except (ApiError, ValueError, RecursionError, MemoryError):
        return None
    # rows and links of other runs do not travel
    return None if reading.thin or reading.links or reading.parents else reading
