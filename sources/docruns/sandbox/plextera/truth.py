"""The true content of a record, to compare a loaded database with."""

from __future__ import annotations

from typing import Any

from .fields import plain
from .records import Extraction, Run, step_id
from .render import moment, tags_of
from .state import State, ancestors


def run_truth(state: State, run: Run) -> dict[str, Any]:
    """The true content of a run.

    {"resource": "workflow_runs", "id", "status", "created_at", "updated_at",
     "completed_at" or None, "workflow" (its id), "steps" (how many are shown), "parent_id",
     "parent_step_id" (None for a top-level run), "root_id", "depth" (0 for a top-level run),
     "extractions": {step id: extraction id}}
    """
    above = list(ancestors(run))
    return {
        "resource": "workflow_runs",
        "id": state.id_of(run),
        "status": run.status,
        "created_at": moment(run.created),
        "updated_at": moment(run.updated),
        "completed_at": None if run.ended is None else moment(run.ended),
        "workflow": run.workflow.id,
        "steps": run.listed,
        "parent_id": state.id_of(above[0]) if above else None,
        "parent_step_id": step_id(run.place) if above else None,
        "root_id": state.id_of(above[-1] if above else run),
        "depth": len(above),
        "extractions": {
            step_id(place): state.extraction_id(number) for place, number in run.extractions.items()
        },
    }


def extraction_truth(state: State, one: Extraction) -> dict[str, Any]:
    """The true content of an extraction.

    {"resource": "extractions", "id", "status", "created_at", "updated_at",
     "completed_at" or None, "file_id", "tags", "values"}

    `values` is None without output, else the result of `fields.plain` for the current shape.
    """
    values = None
    if one.status == "COMPLETED":
        sample = state.pool.sample(one.kind, one.size, one.variant)
        values = plain(sample, one.round, state.switches.field_shape)
    return {
        "resource": "extractions",
        "id": state.id_of(one),
        "status": one.status,
        "created_at": moment(one.created),
        "updated_at": moment(one.updated),
        "completed_at": None if one.completed is None else moment(one.completed),
        "file_id": state.file_of(one),
        "tags": tags_of(one),
        "values": values,
    }
