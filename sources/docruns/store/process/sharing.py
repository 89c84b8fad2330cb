"""Settings of a process that its loads share: several may run at once, in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from threading import Lock

Setting = Callable[[], Iterator[None]]
"""The generator of a context manager."""


def share(setting: Setting) -> Setting:
    """The setting, made by the first of several users at once and taken back by the last one.

    Without this, the second user would take the first one's value for the process's own, and restore that.
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
