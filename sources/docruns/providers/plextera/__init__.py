"""Plextera: a dlt source for its public API v1."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .source import connect_plextera, plextera

__all__ = ["connect_plextera", "plextera"]


def __getattr__(name: str) -> Any:
    # when it is first used: the readers of answers need no dlt
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".source", __name__), name)
