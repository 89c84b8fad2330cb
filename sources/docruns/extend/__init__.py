"""Extend: its API in every documented version, as a dlt source."""

from .source import extend

__all__ = ["extend"]
