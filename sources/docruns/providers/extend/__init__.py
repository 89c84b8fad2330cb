"""Extend: its API in every documented version, as a dlt source, and its runs as a dlt destination."""

from __future__ import annotations

from .destination import extend_workflow_runs
from .source import connect_extend, extend

__all__ = ["connect_extend", "extend", "extend_workflow_runs"]
