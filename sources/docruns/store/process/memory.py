"""The memory of a load: Arrow's, and the garbage collector."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from threading import Event
from typing import Any

from .sharing import share


@contextmanager
@share
def system_memory_pool() -> Iterator[None]:
    """Let Arrow allocate from the C library, which returns memory: Arrow's own pool kept 60 MB of a heavy
    load, and was slower."""
    import pyarrow as pa

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


@contextmanager
def hide_pandas(unless: bool = False) -> Iterator[None]:
    """Let the import of pandas fail, which pyarrow and DuckDB accept: it takes 40 MB and 0.3 s.

    pyarrow imports pandas with the first array that it makes, and never looks again; DuckDB 1.5 does so with each
    query that has parameters. For a process that makes no data frames. `unless`: the process may make some.
    """
    if unless or "pandas" in sys.modules:
        yield
        return
    sys.meta_path.insert(0, _PandasHider)
    try:
        # one that is imported later makes its first array in here, too
        if pa := sys.modules.get("pyarrow"):
            pa.array([], pa.null())
        yield
    finally:
        sys.meta_path.remove(_PandasHider)


_NEW_OBJECTS = 60_000
"""New objects after which the collector runs: more than the rows of a batch. With this threshold, switching
the collector off while runs are read saves nothing. Five times as many took 40 MB more."""

_HAS_FROZEN = Event()


@contextmanager
@share
def gc_frozen() -> Iterator[None]:
    """Exclude the objects that exist now, above all modules, from garbage collection, and collect less often.

    The rows of a batch are alive until they are Arrow, so the collector would visit them again and again and
    find nothing. This saves a sixth of the time to read a light run, and a fifth of a heavy one.
    """
    youngest, *older = gc.get_threshold()
    # objects that another caller has frozen cannot be frozen or unfrozen apart from his
    is_ours = not gc.get_freeze_count()
    if is_ours:
        # garbage of an earlier load would be frozen too, and never found; before the first load
        # there is little, and a collection takes 0.05 s
        if _HAS_FROZEN.is_set():
            gc.collect()
        _HAS_FROZEN.set()
        gc.freeze()
    gc.set_threshold(max(youngest, _NEW_OBJECTS), *older)
    try:
        yield
    finally:
        gc.set_threshold(youngest, *older)
        if is_ours:
            gc.unfreeze()
