"""What a provider's reader is told of a run, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .batch import Batch


class ParentStep(NamedTuple):
    """Where a processor run hangs: its workflow run and step, and what holds for the whole of it."""

    workflow_run_id: str
    position: int | None
    is_final: bool = True
    reviewed: bool | None = None


class NestedLink(NamedTuple):
    """Where a nested workflow run hangs."""

    parent_run_id: str
    parent_step_id: str | None
    root_run_id: str
    depth: int


class ParsedRun(NamedTuple):
    """One answer as rows.

    `nested_ids`: runs that came in full inside this one. `partial`: nested runs that came as summaries, with the
    rows to load if they cannot be read by their id. `links` and `parents`: what it tells of other runs.
    """

    batch: Batch
    status: str | None
    is_final: bool
    nested_ids: tuple[str, ...] = ()
    partial: Mapping[str, Batch] = {}
    links: Mapping[str, NestedLink] = {}
    parents: Mapping[str, ParentStep] = {}
