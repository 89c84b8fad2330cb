"""What the C library holds of this process's memory, and gives back.

Other C libraries than GNU's keep their memory in their own way: there, nothing is done.


No garbage collection for the length of a call that makes many objects and no cycles.

The rows of a batch are alive until they are Arrow, so the collector looks at them again and again and
finds nothing: 0.5 of the 3.1 ms that a run of 130 KB took, from bytes to Arrow.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.abc import MetaPathFinder
from threading import Event
from typing import Any, ParamSpec, TypeVar

import pyarrow as pa


@contextmanager
def system_memory_pool() -> Iterator[None]:
    """Arrow takes its memory from the C library, which gives it back: its own pool kept 60 MB of a heavy
    load, and took longer."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


class _PandasHider(MetaPathFinder):
    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


def hide_pandas_from_pyarrow() -> None:
    """Tell pyarrow that there is no pandas. It looks for it with the first array that it makes, for good, and
    pandas takes 40 MB and 0.3 s. For a process that makes no data frames."""
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _PandasHider)
        try:
            pa.array([], pa.null())
        finally:
            sys.meta_path.remove(_PandasHider)


_ARENAS_AT_MOST = -8  # M_ARENA_MAX in GNU's malloc.h


def limit_arenas() -> None:
    """Let threads begin no more arenas of memory, for good: they share those that are there. For a process that
    does nothing but load.

    Each thread would have one of its own, and what is free in one, between things in use, is of no use to the
    others: 50 to 60 MB of 20,000 heavy runs. Threads that wait for one another take 1 to 2 % more time.
    """
    _call("mallopt", _ARENAS_AT_MOST, 1)


def release_memory() -> None:
    """What is free goes back to the system. dlt leaves ten thousand objects in cycles with each package, which
    the collector would look for once in twenty packages; the C library keeps what lies between things that
    are in use, 180 MB after a package of heavy runs."""
    gc.collect()
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    function = getattr(_LIBRARY, name, None)
    if function is not None:
        function(*arguments)


_LIBRARY = ctypes.CDLL(None) if os.name == "posix" else None

P = ParamSpec("P")
T = TypeVar("T")


def without_gc(call: Callable[P, T]) -> Callable[P, T]:
    """The call with the collector off. Who turned it off turns it on: calls nest, and threads may
    overlap, in which case one of them has it on for its rest."""

    @wraps(call)
    def paused(*args: P.args, **kwargs: P.kwargs) -> T:
        if not gc.isenabled():
            return call(*args, **kwargs)
        gc.disable()
        try:
            return call(*args, **kwargs)
        finally:
            gc.enable()

    return paused


_NEW_OBJECTS = 60_000
"""After which the collector looks: more than the rows of a batch. Five times as many took 40 MB more."""


_HAS_FROZEN = Event()


@contextmanager
def gc_frozen() -> Iterator[None]:
    """What is there by now, modules above all, is no garbage: the collector looks at the rest only,
    and less often: not while a batch grows, which is alive as a whole.

    A sixth of what it takes to read a light run, and a fifth of a heavy one.
    """
    youngest, *older = gc.get_threshold()
    # what somebody else has frozen is his to unfreeze, and no part of it can be
    ours = not gc.get_freeze_count()
    if ours:
        # what the load before has left would be frozen too, found by nobody; before the first one there is
        # little, and looking for it takes 0.05 s
        if _HAS_FROZEN.is_set():
            gc.collect()
        _HAS_FROZEN.set()
        gc.freeze()
    gc.set_threshold(max(youngest, _NEW_OBJECTS), *older)
    try:
        yield
    finally:
        gc.set_threshold(youngest, *older)
        if ours:
            gc.unfreeze()
