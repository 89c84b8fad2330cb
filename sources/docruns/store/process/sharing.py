"""Settings of a process that its loads share: several may run at once, in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from threading import Lock

Setting = Callable[[], Iterator[None]]
"""The generator of a context manager."""


def shared(setting: Setting) -> Setting:
    """A setting that its first user makes and its last one takes back.

    Otherwise of two users at once the second would take the first one's value for the process's own, and leave it.
    """
    lock, made, users = Lock(), ExitStack(), 0
    make = contextmanager(setting)

    @wraps(setting)
    def used() -> Iterator[None]:
        nonlocal users
        with lock:
            if users == 0:
                made.enter_context(make())
            users += 1
        try:
            yield
        finally:
            with lock:
                users -= 1
                if users == 0:
                    made.close()

    return used
