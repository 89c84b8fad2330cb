"""Plextera: its public API v1, as a dlt source."""

from __future__ import annotations

from .source import plextera

__all__ = ["plextera"]
