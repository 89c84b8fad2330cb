"""Plextera: its public API v1, as a dlt source."""

from .source import plextera

__all__ = ["plextera"]
