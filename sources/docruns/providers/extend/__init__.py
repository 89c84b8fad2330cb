"""Extend: a dlt source for every documented API version, and a dlt destination for its workflow runs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .destination import extend_workflow_runs
    from .source import connect_extend, extend

__all__ = ["connect_extend", "extend", "extend_workflow_runs"]

_MODULES = {"connect_extend": ".source", "extend": ".source", "extend_workflow_runs": ".destination"}
"""The module of each name. It is imported when the name is first used: the readers of answers need no dlt."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)
