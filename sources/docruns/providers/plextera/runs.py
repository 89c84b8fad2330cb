"""PURE. Plextera's answers as rows of the tables.

    {"id": "7a10…", "status": "COMPLETED", "workflow": {"id": "…", "name": "…"}, "progress": {…}, "steps": [
       {"id": "step_01", "type": "document_insights", "output": {…}, "nestedRuns": {"count": 1, "data": [{…}]}}]}

A nested run is a row of its own, with its parent. One that comes without its steps is a summary: it goes into
`ParsedRun.partial`, to be read by its id.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from msgspec import Raw

from ...core.batch import Batch
from ...core.codec import clean, decode, safe_text
from ...core.errors import ShapeError
from ...core.flatten.flatten import flatten_outputs
from ...core.parsed import NestedLink, ParentStep, ParsedRun
from ...core.payload import Payload, is_usable
from ...core.tables import (
    CITATIONS,
    FIELDS,
    INSIGHTS,
    PROCESSOR_RUNS,
    RUN_FILES,
    SPLITS,
    WORKFLOW_RUNS,
    WORKFLOW_STEPS,
)
from ...sync.plan import ListedRun
from . import outputs
from .api import FINAL_EXTRACTION_STATUS, FINAL_RUN_STATUS

API_VERSION = "v1"
MAX_DEPTH = 20
"""Levels of nested runs that become rows; what is nested deeper stays in its step's extra."""


class Context(NamedTuple):
    """What all rows of a load share. `known` are ids of extractions; `link_of` tells where a run is nested."""

    workspace: str | None = None
    known: Collection[str] = ()
    link_of: Callable[[str], NestedLink | None] = lambda _: None
    max_depth: int = MAX_DEPTH


def workflow_run(body: bytes, listed: ListedRun, context: Context) -> ParsedRun:
    """Rows of a run and of all runs nested in it. ShapeError where it cannot be one."""
    run = Payload(clean(body))
    id_ = run.text("id", "runId")
    if id_ is None:
        raise ShapeError(f"run {listed.id}: the answer has no id")
    if id_ != listed.id:
        raise ShapeError(f"run {listed.id}: the answer is about another run, {id_}")
    reader = _Reader(context, id_)
    status = reader.run(run, id_, context.link_of(id_), listed)
    return ParsedRun(
        reader.batch,
        status,
        status in FINAL_RUN_STATUS,
        nested_ids=tuple(reader.nested_ids),
        partial=reader.partial,
        links=reader.links,
        parents=reader.parents,
    )


class _Reader:
    """Collects the rows of one answer."""

    def __init__(self, context: Context, id_: str) -> None:
        self.context = context
        self.seen = {id_}
        self.batch = Batch()
        self.nested_ids: list[str] = []
        self.partial: dict[str, Batch] = {}
        self.links: dict[str, NestedLink] = {}
        self.parents: dict[str, ParentStep] = {}

    def run(
        self,
        run: Payload,
        id_: str,
        link: NestedLink | None,
        listed: ListedRun | None,
    ) -> str | None:
        """Add one run's row and those below it; its status."""
        status = run.text("status") or (listed.status if listed else None)
        workflow = run.object("workflow") or Payload(b"{}")
        progress = run.object("progress") or Payload(b"{}")
        error = run.object("error") or Payload(b"{}")
        cells: dict[str, Any] = {
            "id": id_,
            "workspace": self.context.workspace,
            "api_version": API_VERSION,
            "status": status,
            "is_final": status in FINAL_RUN_STATUS,
            "workflow_id": workflow.text("id") or run.text("workflowId"),
            "workflow_name": workflow.text("name"),
            "created_at": run.time("createdAt") or (listed.created_at if listed else None),
            "updated_at": run.time("updatedAt") or (listed.updated_at if listed else None),
            "started_at": run.time("startedAt"),
            "ended_at": run.time("completedAt"),
            "failure_code": error.text("code"),
            "failure_message": error.text("message"),
            "duration_ms": run.integer("durationMs"),
            "computed_duration_ms": run.integer("computedDurationMs"),
            "steps_completed": progress.integer("stepsCompleted"),
            "steps_total": progress.integer("stepsTotal"),
            "parent_run_id": link.parent_run_id if link else None,
            "parent_step_id": link.parent_step_id if link else None,
            "root_run_id": link.root_run_id if link else id_,
            "depth": link.depth if link else 0,
        }
        steps = run.raws("steps")
        if steps is not None:
            self.batch.clear_run((WORKFLOW_STEPS,), id_)
            for position, raw in enumerate(steps):
                self.step(raw, position, id_, cells["root_run_id"], cells["depth"])
        self.batch.add(WORKFLOW_RUNS, WORKFLOW_RUNS.row(**cells, extra=run.extra()))
        return status

    def step(
        self,
        raw: Raw,
        position: int,
        run_id: str,
        root: str,
        depth: int,
    ) -> None:
        """Add a step's row and the runs nested in it. A null step leaves its place empty."""
        try:
            step = Payload(raw)
        except ShapeError:
            if bytes(raw) != b"null":
                row = {"workflow_run_id": run_id, "position": position}
                extra = '{"step":' + safe_text(raw) + "}"
                self.batch.add(WORKFLOW_STEPS, WORKFLOW_STEPS.row(**row, extra=extra))
            return
        step_id, type_ = step.text("id"), step.text("type")
        output = step.raw("output")
        nested = step.object("nestedRuns")
        count = nested.integer("count") if nested is not None else None
        kept: list[str] = []
        for entry in (nested.raws("data") or []) if nested is not None else []:
            kept += self.nested(entry, run_id, step_id, root, depth)
        if kept and nested is not None:
            nested.keep("data", "[" + ",".join(kept) + "]")
        extraction = None
        if type_ == "document_insights" and output is not None:
            found = outputs.extraction_ids(decode(output), self.context.known)
            extraction = found[0] if found else None
            for made in found:
                # a later step may pass on what an earlier one has made
                self.parents.setdefault(made, ParentStep(run_id, position))
        self.batch.add(
            WORKFLOW_STEPS,
            WORKFLOW_STEPS.row(
                workflow_run_id=run_id,
                position=position,
                step_run_id=None,
                step_id=step_id,
                name=step.text("name"),
                type=type_,
                status=step.text("status"),
                message=step.text("message"),
                output=None if output is None else safe_text(output),
                processor_run_id=extraction,
                nested_run_count=count,
                extra=step.extra(),
            ),
        )

    def nested(
        self,
        raw: Raw,
        run_id: str,
        step_id: str | None,
        root: str,
        depth: int,
    ) -> list[str]:
        """Add a nested run; the JSON text of what cannot be one, for the step's extra."""
        if bytes(raw) == b"null":
            return []
        try:
            run = Payload(raw)
        except ShapeError:
            return [safe_text(raw)]
        id_ = run.text("id", "runId")
        if not is_usable(id_) or id_ in self.seen or depth >= self.context.max_depth:
            return [safe_text(raw)]
        self.seen.add(id_)
        link = NestedLink(run_id, step_id, root, depth + 1)
        self.links[id_] = link
        if "steps" in run:
            self.nested_ids.append(id_)
            self.run(run, id_, link, None)
            return []
        whole, self.batch = self.batch, Batch()
        self.run(run, id_, link, None)
        self.partial[id_], self.batch = self.batch, whole
        return []


_EXTRACTION_TABLES = (FIELDS, INSIGHTS, CITATIONS, SPLITS, RUN_FILES)


def extraction(
    body: bytes, listed: ListedRun, context: Context, parent: ParentStep | None = None
) -> ParsedRun:
    """Rows of an extraction, as a processor run of type EXTRACT."""
    # {"id": "6b20…", "status": "COMPLETED", "tags": {…}, "document": {…}, "output": {"fieldCount": 7, "fields": […]}}
    run = Payload(clean(body))
    id_ = run.text("id", "extractionId")
    if id_ is None:
        raise ShapeError(f"extraction {listed.id}: the answer has no id")
    if id_ != listed.id:
        raise ShapeError(f"extraction {listed.id}: the answer is about another one, {id_}")
    batch = Batch()
    batch.clear_run(_EXTRACTION_TABLES, id_)
    status = run.text("status") or listed.status
    error = run.object("error") or Payload(b"{}")
    document = run.object("document")
    pages = _file(document, batch, id_) if document is not None else None
    cells: dict[str, Any] = {
        "id": id_,
        "workspace": context.workspace,
        "api_version": API_VERSION,
        "type": "EXTRACT",
        "status": status,
        "is_final": status in FINAL_EXTRACTION_STATUS,
        "workflow_run_id": parent.workflow_run_id if parent else None,
        "workflow_step_position": parent.position if parent else None,
        "source": "WORKFLOW_RUN" if parent else None,
        "source_id": parent.workflow_run_id if parent else None,
        "created_at": run.time("createdAt") or listed.created_at,
        "updated_at": run.time("updatedAt") or listed.updated_at,
        "completed_at": run.time("completedAt"),
        "failure_code": error.text("code"),
        "failure_message": error.text("message"),
        "tags": run.json("tags"),
        "page_count": pages,
    }
    output = run.object("output")
    fields = output.raws("fields") if output is not None else None
    if fields is not None:
        flat = flatten_outputs(
            id_,
            cells["workflow_run_id"],
            outputs.answer(fields),
        )
        batch.extend(FIELDS, flat.fields)
        batch.extend(INSIGHTS, flat.insights)
        batch.extend(CITATIONS, flat.citations)
        cells |= {
            "output_format": "plextera_fields",
            "field_count": flat.leaves,
            "edited_count": flat.edited,
        }
    batch.add(PROCESSOR_RUNS, PROCESSOR_RUNS.row(**cells, extra=run.extra()))
    return ParsedRun(batch, status, status in FINAL_EXTRACTION_STATUS)


def _file(document: Payload, batch: Batch, run_id: str) -> int | None:
    # {"fileId": "file_…", "fileName": "x.pdf", "mimeType": "application/pdf", "sizeBytes": 48213}
    pages = document.integer("pageCount")
    cells = {
        "run_id": run_id,
        "run_kind": "processor",
        "position": 0,
        "file_id": document.text("fileId"),
        "name": document.text("fileName"),
        "type": document.text("mimeType"),
        "page_count": pages,
    }
    batch.add(RUN_FILES, RUN_FILES.row(**cells, extra=document.extra()))
    document.clear()
    return pages
