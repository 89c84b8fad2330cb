"""Extend: its API in every documented version, as a dlt source, and its runs as a dlt destination."""

from __future__ import annotations

from .destination import extend_workflow_runs
from .source import extend

__all__ = ["extend", "extend_workflow_runs"]
