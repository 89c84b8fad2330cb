"""PURE. What a provider's reader gets about a run, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from .batch import Batch


class ParentStep(NamedTuple):
    """The place of a processor run: its workflow run and step, and the workflow run's own state."""

    workflow_run_id: str
    position: int | None
    is_final: bool = True
    reviewed: bool | None = None


class NestedLink(NamedTuple):
    """The place of a nested workflow run below its parent and its outermost run."""

    parent_run_id: str
    parent_step_id: str | None
    root_run_id: str
    depth: int


class ParsedRun(NamedTuple):
    """One answer as rows.

    `updated_at`: the last change as the answer itself states it; None where it states none. `has_older`: a run
    inside is older than its own list shows. `nested_ids`: runs that came in full inside this one. `partial`:
    nested runs that came as summaries, with the rows to load if they cannot be read by their id. `links` and
    `parents`: what it tells of other runs.
    """

    batch: Batch
    status: str | None
    is_final: bool
    nested_ids: tuple[str, ...] = ()
    partial: Mapping[str, Batch] = {}
    links: Mapping[str, NestedLink] = {}
    parents: Mapping[str, ParentStep] = {}
    updated_at: datetime | None = None
    has_older: bool = False
