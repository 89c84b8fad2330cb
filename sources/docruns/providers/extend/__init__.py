"""Extend: a dlt source for every documented API version, and a dlt destination for its workflow runs."""

from __future__ import annotations

from .destination import extend_workflow_runs
from .source import connect_extend, extend

__all__ = ["connect_extend", "extend", "extend_workflow_runs"]
