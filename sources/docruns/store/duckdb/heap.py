"""The C library's memory, which DuckDB, Arrow and Python share.

C libraries other than GNU's manage memory in their own way: the functions do nothing there.
"""

from __future__ import annotations

import ctypes
import gc
import os

_M_ARENA_MAX = -8  # in GNU's malloc.h


def limit_arenas() -> None:
    """Keep the C library from starting more arenas, for the rest of the process: threads share the existing
    ones. For a process that only loads.

    By default each thread has an arena of its own, and the free memory between objects in one arena is of no
    use to other threads: 50 to 60 MB of 20,000 heavy runs. Threads that wait for one another take 1 to 2 %
    more time.
    """
    _call("mallopt", _M_ARENA_MAX, 1)


def release_memory() -> None:
    """Return free memory to the system. dlt leaves ten thousand objects in cycles with each package, which
    the collector finds once in twenty packages; the C library keeps the free memory between objects that are
    in use, 180 MB after a package of heavy runs."""
    gc.collect()
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    library = ctypes.CDLL(None) if os.name == "posix" else None
    getattr(library, name, lambda *_: None)(*arguments)
