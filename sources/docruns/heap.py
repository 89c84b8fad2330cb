"""What the C library holds of this process's memory, and gives back.

Other C libraries than GNU's keep their memory in their own way: there, nothing is done.
"""

from __future__ import annotations

import ctypes
import gc
import os

_ARENAS_AT_MOST = -8  # M_ARENA_MAX in GNU's malloc.h


def share_arenas() -> None:
    """Let threads begin no more arenas of memory, for good: they share those that are there. For a process that
    does nothing but load.

    Each thread would have one of its own, and what is free in one, between things in use, is of no use to the
    others: 50 to 60 MB of 20,000 heavy runs. Threads that wait for one another take 1 to 2 % more time.
    """
    _call("mallopt", _ARENAS_AT_MOST, 1)


def give_back() -> None:
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
