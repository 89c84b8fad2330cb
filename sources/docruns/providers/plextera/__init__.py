"""Plextera: a dlt source for its public API v1."""

from __future__ import annotations

from .source import connect_plextera, plextera

__all__ = ["connect_plextera", "plextera"]
