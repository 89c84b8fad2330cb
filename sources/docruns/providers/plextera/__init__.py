"""Plextera: its public API v1, as a dlt source."""

from __future__ import annotations

from .source import connect_plextera, plextera

__all__ = ["connect_plextera", "plextera"]
