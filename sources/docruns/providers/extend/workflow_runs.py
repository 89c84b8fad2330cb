"""PURE. Extend's answers, of any API version, as rows of the tables.

Versions differ in names and in what they leave out, not in meaning, so one reader serves all:

    2026-02-09   {"object": "workflow_run", "workflow": {…}, "workflowVersion": {…}, "stepRuns": [
                    {"step": {…}, "stepType": "EXTRACT", "result": {"extractRun": {…}}}]}
    2025-04-21   {"success": true, "workflowRun": {"workflow": {…}, "outputs": [{…}], "stepRuns": […]}}
    and older    the same with less
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeGuard

from ...core.batch import Batch
from ...core.codec import clean, number_text, safe_text
from ...core.errors import ShapeError
from ...core.parsed import ParentStep, ParsedRun
from ...core.payload import Payload, is_usable
from ...core.tables import RUN_FILES, WORKFLOW_RUNS, WORKFLOW_STEPS
from ...sync.plan import ListedRun
from .processor_runs import Context, add_files, add_processor_run, run_type

FINAL_STATUS = frozenset({"PROCESSED", "FAILED", "CANCELLED", "REJECTED", "REVIEWED"})

_NESTED = ("extractRun", "classifyRun", "splitRun", "parseRun")


def workflow_run(body: bytes, listed: ListedRun, context: Context) -> ParsedRun:
    """Rows of a workflow run and of all that came in it. ShapeError where it cannot be one."""
    run = _unwrap(body, "workflowRun")
    id_ = _id(run, listed)
    batch = Batch()
    batch.clear_run((WORKFLOW_STEPS, RUN_FILES), id_)
    summary = listed.summary or {}
    status = run.text("status") or listed.status
    is_final = status in FINAL_STATUS
    workflow = run.object("workflow") or Payload(b"{}")
    version = run.object("workflowVersion") or Payload(b"{}")
    usage = run.object("usage") or Payload(b"{}")
    reviewed_by = run.text("reviewedByUser", "reviewedBy") or summary.get("reviewedByUser")
    reviewed_at = run.time("reviewedAt")
    reviewed = run.boolean("reviewed")
    cells = {
        "id": id_,
        "workspace": context.workspace,
        "api_version": context.api_version,
        "status": status,
        "is_final": is_final,
        "name": run.text("name"),
        "workflow_id": workflow.text("id"),
        "workflow_name": workflow.text("name"),
        "workflow_version_id": version.text("id") or summary.get("workflowVersionId"),
        "workflow_version": version.label("version") or workflow.label("version"),
        "batch_id": run.text("batchId"),
        "created_at": run.time("createdAt") or listed.created_at,
        "updated_at": run.time("updatedAt") or listed.updated_at,
        "initial_run_at": run.time("initialRunAt"),
        "started_at": run.time("startTime"),
        "ended_at": run.time("endTime"),
        "reviewed": reviewed_at is not None if reviewed is None else reviewed,
        "reviewed_by": reviewed_by,
        "reviewed_at": reviewed_at,
        "rejection_note": run.text("rejectionNote") or summary.get("rejectionNote"),
        "failure_code": run.text("failureReason"),
        "failure_message": run.text("failureMessage"),
        "metadata": run.json("metadata"),
        "dashboard_url": run.text("dashboardUrl", "url"),
        "credits": usage.number("credits"),
        "total_credits": usage.number("totalCredits"),
        "root_run_id": id_,
        "depth": 0,
    }
    add_files(run, batch, id_, "workflow")
    whole = ParentStep(id_, None, is_final, cells["reviewed"] is True)
    inside: dict[str, None] = {}
    _outputs(run, batch, whole, context, inside)
    _steps(run, batch, whole, context, inside)
    # a workflow's own dates and author stand in the catalogue
    workflow.ignore("object", "createdAt", "updatedAt")
    version.ignore("object", "createdAt", "name")
    for part in (workflow, version):
        part.ignore("createdBy", kind=b"{")
    run.ignore("object", "id")
    batch.add(WORKFLOW_RUNS, WORKFLOW_RUNS.row(**cells, extra=run.extra()))
    return ParsedRun(batch, status, is_final, tuple(inside))


def processor_run(
    body: bytes, listed: ListedRun, context: Context, parent: ParentStep | None = None
) -> ParsedRun:
    """Rows of a processor run that is read on its own; `parent` where an earlier load knows it."""
    run = _unwrap(body, "processorRun")
    _id(run, listed)
    batch = Batch()
    status, is_final = add_processor_run(run, batch, context, parent, listed)
    return ParsedRun(batch, status, is_final)


def _unwrap(body: bytes, envelope: str) -> Payload:
    whole = Payload(clean(body))
    raw = whole.raw(envelope)
    if raw is None:
        return whole
    run = Payload(raw)
    whole.ignore("object")
    whole.ignore("success", kind=b"t")
    if (beside := whole.extra()) is not None and "envelope" not in run:
        run.keep("envelope", beside)
    return run


def _id(run: Payload, listed: ListedRun) -> str:
    id_ = run.text("id")
    if id_ is None:
        raise ShapeError(f"run {listed.id}: the answer has no id")
    if id_ != listed.id:
        raise ShapeError(f"run {listed.id}: the answer is about another run, {id_}")
    run.keep("id", number_text(id_))
    return id_


def _may_nest(id_: str | None, whole: ParentStep, inside: Collection[str]) -> TypeGuard[str]:
    """A nested run that can be one of its own: one with an id, and with no other one's."""
    return is_usable(id_) and id_ != whole.workflow_run_id and id_ not in inside


def _outputs(
    run: Payload, batch: Batch, whole: ParentStep, context: Context, inside: dict[str, None]
) -> None:
    """`outputs[]` up to 2025-04-21: processor runs without a step; each becomes a step here.

    One that cannot be a run of its own stays in the step's output as it came."""
    for position, child in enumerate(run.objects("outputs") or ()):
        parent = whole._replace(position=position)
        type_, id_ = run_type(child), child.peek("id")
        cells = {
            "workflow_run_id": whole.workflow_run_id,
            "position": position,
            "type": type_,
        }
        if not _may_nest(id_, whole, inside):
            batch.add(WORKFLOW_STEPS, WORKFLOW_STEPS.row(**cells, output=child.extra()))
            continue
        listed = context.summaries.get(id_)
        status, _ = add_processor_run(child, batch, context, parent, listed)
        row = WORKFLOW_STEPS.row(**cells, status=status, processor_run_id=id_)
        batch.add(WORKFLOW_STEPS, row)
        inside[id_] = None


def _steps(
    run: Payload, batch: Batch, whole: ParentStep, context: Context, inside: dict[str, None]
) -> None:
    """`stepRuns[]`: a nested run leaves the step's output and becomes a processor run."""
    first = len(batch.dicts(WORKFLOW_STEPS))
    for position, step_run in enumerate(run.objects("stepRuns") or (), start=first):
        step = step_run.object("step") or Payload(b"{}")
        status = step_run.text("status")
        nested_id, output = None, None
        result = step_run.object("result", around=_NESTED)
        files = step_run.objects("files")
        if result is not None:
            for key in _NESTED:
                child = result.object(key)
                child_id = child.peek("id") if child else None
                if child is None or not _may_nest(child_id, whole, inside):
                    continue
                parent = whole._replace(position=position)
                add_processor_run(child, batch, context, parent, context.summaries.get(child_id))
                child.clear()
                nested_id = child_id
                inside[child_id] = None
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
        batch.add(
            WORKFLOW_STEPS,
            WORKFLOW_STEPS.row(
                workflow_run_id=whole.workflow_run_id,
                position=position,
                step_run_id=step_run.text("id"),
                step_id=step.text("id"),
                name=step.text("name"),
                type=step_type,
                status=status,
                output=output,
                processor_run_id=nested_id,
                extra=step_run.extra(),
            ),
        )
