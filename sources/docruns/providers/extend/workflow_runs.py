"""Extend's answers to detail requests, of any API version, as rows of the tables. No I/O.

Versions differ in names and in which keys they leave out, not in meaning, so one reader serves all:

    2026-02-09   {"object": "workflow_run", "workflow": {…}, "workflowVersion": {…}, "stepRuns": [
                    {"step": {…}, "stepType": "EXTRACT", "result": {"extractRun": {…}}}]}
    2025-04-21   {"success": true, "workflowRun": {"workflow": {…}, "outputs": [{…}],
                    "stepRuns": […]}}
    and older    the same with less
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeGuard

from msgspec import Raw

from ...core.batch import Batch
from ...core.codec import clean, number_text, safe_text
from ...core.parsed import ParentStep, ParsedRun
from ...core.payload import Payload, is_usable
from ...core.tables import CHARGES, RUN_FILES, WORKFLOW_RUNS, WORKFLOW_STEPS
from ...sync.listed import ListedRun
from ..answers import Read, as_listed, body_of, check_id, inspect_entry
from .processor_runs import Context, add_processor_run, run_type
from .shapes.parts import TYPES, add_files, credit_cells

FINAL_STATUS = frozenset({"PROCESSED", "FAILED", "CANCELLED", "REJECTED", "REVIEWED"})

_NESTED = ("extractRun", "classifyRun", "splitRun", "parseRun")


def workflow_run(body: bytes, listed: ListedRun, context: Context) -> ParsedRun:
    """Rows of a workflow run and of everything nested in it. ShapeError where the answer is no such run."""
    run = _unwrap(body, "workflowRun")
    id_ = _id(run, listed)
    batch = Batch()
    batch.clear_run((WORKFLOW_STEPS, RUN_FILES, CHARGES), id_)
    summary = listed.summary or {}
    status = run.text("status") or listed.status
    is_final = status in FINAL_STATUS
    updated_at = run.time("updatedAt")
    cells: dict[str, Any] = {
        "id": id_,
        "workspace": context.workspace,
        "api_version": context.api_version,
        "status": status,
        "is_final": is_final,
        "name": run.text("name"),
        "batch_id": run.text("batchId"),
        "created_at": run.time("createdAt") or listed.created_at,
        "updated_at": updated_at or listed.updated_at,
        "initial_run_at": run.time("initialRunAt"),
        "started_at": run.time("startTime"),
        "ended_at": run.time("endTime"),
        "rejection_note": run.text("rejectionNote") or summary.get("rejectionNote"),
        "failure_code": run.text("failureReason"),
        "failure_message": run.text("failureMessage"),
        "metadata": run.json("metadata"),
        "dashboard_url": run.text("dashboardUrl", "url"),
        "root_run_id": id_,
        "depth": 0,
        **_workflow_cells(run, summary),
        **credit_cells(run, batch, id_, "workflow"),
        **_review_cells(run, summary),
    }
    add_files(run, batch, id_, "workflow")
    parent = ParentStep(id_, None, is_final, cells["reviewed"] is True)
    nested_ids = _add_steps(run, batch, parent, context)
    run.ignore("object", "id")
    batch.add(WORKFLOW_RUNS, WORKFLOW_RUNS.row(**cells, extra=run.extra()))
    has_older = any(nested_ids.values())
    return ParsedRun(batch, status, is_final, tuple(nested_ids), updated_at=updated_at, has_older=has_older)


def _workflow_cells(run: Payload, summary: Mapping[str, Any]) -> dict[str, object]:
    """The workflow and its version: from the details, else from the list's summary."""
    workflow = run.object("workflow") or Payload(b"{}")
    version = run.object("workflowVersion") or Payload(b"{}")
    cells = {
        "workflow_id": workflow.text("id"),
        "workflow_name": workflow.text("name"),
        "workflow_version_id": version.text("id") or summary.get("workflowVersionId"),
        "workflow_version": version.label("version") or workflow.label("version"),
    }
    # rows of the catalogue have the dates and the author
    workflow.ignore("object", "createdAt", "updatedAt")
    version.ignore("object", "createdAt", "name")
    for part in (workflow, version):
        part.ignore("createdBy", kind=b"{")
    return cells


def _review_cells(run: Payload, summary: Mapping[str, Any]) -> dict[str, object]:
    """Who reviewed the run and when. A version without `reviewed` has `reviewedAt`."""
    reviewed, reviewed_at = run.boolean("reviewed"), run.time("reviewedAt")
    return {
        "reviewed": reviewed_at is not None if reviewed is None else reviewed,
        "reviewed_by": run.text("reviewedByUser", "reviewedBy") or summary.get("reviewedByUser"),
        "reviewed_at": reviewed_at,
    }


def processor_run(
    body: bytes, listed: ListedRun, context: Context, parent: ParentStep | None = None
) -> ParsedRun:
    """Rows of a processor run that is fetched separately.

    `parent`: its step, where an earlier load knows it.
    """
    run = _unwrap(body, "processorRun")
    _id(run, listed)
    batch = Batch()
    own = add_processor_run(run, batch, context, parent, listed)
    return ParsedRun(batch, own.status, own.is_final, updated_at=own.updated_at)


def reader(context: Context) -> Read:
    """A function that reads the answer about any run, which says itself whether it is a workflow run."""

    def read(body: bytes | None, listed: ListedRun | Mapping[str, Any]) -> ParsedRun:
        run = as_listed(listed)
        text = clean(body_of(body, run))
        answer = inspect_entry(Raw(text))
        if "workflowRun" in answer or answer.peek("object") == "workflow_run":
            return workflow_run(text, run, context)
        feed = "" if isinstance(listed, ListedRun) else str(listed.get("feed") or "")
        type_ = feed.removesuffix("_runs").upper()
        listed_type = type_ if type_ in TYPES.values() else None
        return processor_run(text, run, context._replace(listed_type=listed_type))

    return read


def _unwrap(body: bytes, envelope: str) -> Payload:
    """The run in an answer. Unknown keys beside the run go into the run's extra."""
    answer = Payload(clean(body))
    raw = answer.raw(envelope)
    if raw is None:
        return answer
    run = Payload(raw)
    answer.ignore("object")
    answer.ignore("success", kind=b"t")
    if (unknown := answer.extra()) is not None and "envelope" not in run:
        run.keep("envelope", unknown)
    return run


def _id(run: Payload, listed: ListedRun) -> str:
    id_ = check_id(run, listed, "run", "id")
    run.keep("id", number_text(id_))
    return id_


def _is_separate_run(id_: str | None, parent: ParentStep, nested_ids: Collection[str]) -> TypeGuard[str]:
    """A nested run becomes a processor run if it has an id, and one that no other run has."""
    return is_usable(id_) and id_ != parent.workflow_run_id and id_ not in nested_ids


def _add_steps(run: Payload, batch: Batch, parent: ParentStep, context: Context) -> dict[str, bool]:
    """Add all steps. Gives the ids of the processor runs inside, each with whether it is older than its list shows."""
    nested_ids: dict[str, bool] = {}
    _add_outputs(run, batch, parent, context, nested_ids)
    # after the steps that `outputs[]` gave
    first = batch.counts()[WORKFLOW_STEPS.name]
    for position, step_run in enumerate(run.objects("stepRuns") or (), start=first):
        _add_step(step_run, batch, parent._replace(position=position), context, nested_ids)
    return nested_ids


def _add_outputs(
    run: Payload, batch: Batch, parent: ParentStep, context: Context, nested_ids: dict[str, bool]
) -> None:
    """`outputs[]` up to 2025-04-21: processor runs without a step. Each becomes a step here.

    One that cannot become a processor run stays in the step's output as it came.
    """
    for position, child in enumerate(run.objects("outputs") or ()):
        type_, id_ = run_type(child), child.peek("id")
        cells = {"workflow_run_id": parent.workflow_run_id, "position": position, "type": type_}
        if not _is_separate_run(id_, parent, nested_ids):
            batch.add(WORKFLOW_STEPS, WORKFLOW_STEPS.row(**cells, output=child.extra()))
            continue
        step = parent._replace(position=position)
        own = add_processor_run(child, batch, context, step, context.summaries.get(id_))
        row = WORKFLOW_STEPS.row(**cells, status=own.status, processor_run_id=id_)
        batch.add(WORKFLOW_STEPS, row)
        nested_ids[id_] = own.is_behind


def _add_step(
    step_run: Payload, batch: Batch, place: ParentStep, context: Context, nested_ids: dict[str, bool]
) -> None:
    """A step's row, and the rows of the processor runs that came in its result."""
    step = step_run.object("step") or Payload(b"{}")
    nested_id, output = None, None
    result = step_run.object("result", around=_NESTED)
    files = step_run.objects("files")
    if result is not None:
        nested_id = _add_nested_runs(result, batch, place, context, nested_ids)
        output = result.extra()
        result.clear()
    elif (raw := step_run.raw("output")) is not None:
        output = safe_text(raw)
    if nested_id is None and files:
        step_run.keep("files", number_text([file.text("id") for file in files]))
    step_type = step_run.text("stepType")
    if step_type is None or step_type == step.peek("type"):
        step_type = step.text("type") or step_type
    step.ignore("object")
    step_run.ignore("object", "workflowRunId")
    row = WORKFLOW_STEPS.row(
        workflow_run_id=place.workflow_run_id,
        position=place.position,
        step_run_id=step_run.text("id"),
        step_id=step.text("id"),
        name=step.text("name"),
        type=step_type,
        status=step_run.text("status"),
        output=output,
        processor_run_id=nested_id,
        extra=step_run.extra(),
    )
    batch.add(WORKFLOW_STEPS, row)


def _add_nested_runs(
    result: Payload, batch: Batch, place: ParentStep, context: Context, nested_ids: dict[str, bool]
) -> str | None:
    """Move a result's processor runs out of it, into rows of their own. Gives the id of the last one."""
    nested_id = None
    for key in _NESTED:
        child = result.object(key)
        id_ = child.peek("id") if child else None
        if child is None or not _is_separate_run(id_, place, nested_ids):
            continue
        own = add_processor_run(child, batch, context, place, context.summaries.get(id_))
        child.clear()
        nested_id = id_
        nested_ids[id_] = own.is_behind
    return nested_id
