"""Plextera's answers to detail requests as rows of the tables. No I/O.

    {"id": "7a10…", "status": "COMPLETED", "workflow": {"id": "…", "name": "…"}, "progress": {…},
     "steps": [{"id": "step_01", "type": "document_insights", "output": {…},
                "nestedRuns": {"count": 1, "data": [{…}]}}]}

A nested run becomes a row of its own, with its parent. A nested run without its steps is only a summary: its
rows go into `ParsedRun.partial`, and the load fetches it by its id.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from msgspec import Raw

from ...core.batch import Batch
from ...core.codec import clean, decode, encode, safe_text, timestamp
from ...core.errors import ConfigError, ShapeError
from ...core.flatten.flatten import flatten_outputs
from ...core.parsed import NestedLink, ParentStep, ParsedRun
from ...core.payload import Payload, is_usable
from ...core.tables import PROCESSOR_RUNS, RUN_FILES, WORKFLOW_RUNS, WORKFLOW_STEPS
from ...sync.listed import ListedRun
from ..answers import PROCESSOR_RUN_TABLES, Read, add_fields, as_listed, body_of, check_id, inspect_entry
from . import outputs
from .api import FINAL_EXTRACTION_STATUS, FINAL_RUN_STATUS

API_VERSION = "v1"
MAX_DEPTH = 20
"""Levels of nested runs that become rows. Runs that are nested deeper stay in their step's extra."""


class Context(NamedTuple):
    """What all rows of a load share.

    `extraction_ids`: ids of all listed extractions. A step's output is searched for them, because its keys
    are not documented. `link_of(id)`: where a workflow run is nested, as an earlier answer or the destination
    knows it; None where it is not nested.
    """

    workspace: str | None = None
    extraction_ids: Collection[str] = ()
    link_of: Callable[[str], NestedLink | None] = lambda _: None
    max_depth: int = MAX_DEPTH


def workflow_run(body: bytes, listed: ListedRun, context: Context) -> ParsedRun:
    """Rows of a run and of all runs nested in it. ShapeError where the answer is no such run."""
    run = Payload(clean(body))
    id_ = check_id(run, listed, "run", "id", "runId")
    updated_at = timestamp(run.peek("updatedAt") or "")
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
        updated_at=updated_at,
    )


def check_names(provider: str, api_version: str | None) -> None:
    """ConfigError where this is no platform, or no version of Plextera's API."""
    if provider != "plextera":
        raise ConfigError("provider", f"{provider!r} is no platform.", "Known: extend, plextera.")
    if api_version not in (None, API_VERSION):
        raise ConfigError("api_version", f"{api_version!r} is not a version of Plextera's API.", "Known: v1.")


def reader(context: Context) -> Read:
    """A function that reads the answer about any run, which says itself whether it is a workflow run."""

    def read(body: bytes | None, listed: ListedRun | Mapping[str, Any]) -> ParsedRun:
        run = as_listed(listed)
        text = clean(body_of(body, run))
        answer = inspect_entry(Raw(text))
        is_workflow_run = "workflow" in answer or "steps" in answer or "workflowId" in answer
        return (workflow_run if is_workflow_run else extraction)(text, run, context)

    return read


class _Reader:
    """Collects the rows of one answer. The attributes are those of `ParsedRun`."""

    def __init__(self, context: Context, id_: str) -> None:
        self.context = context
        self.ids = {id_}
        self.batch = Batch()
        self.nested_ids: list[str] = []
        self.partial: dict[str, Batch] = {}
        self.links: dict[str, NestedLink] = {}
        self.parents: dict[str, ParentStep] = {}

    def run(self, run: Payload, id_: str, link: NestedLink | None, listed: ListedRun | None) -> str | None:
        """Add the rows of one run, its steps and the runs nested in it. Gives its status."""
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

    def step(self, raw: Raw, position: int, run_id: str, root_id: str, depth: int) -> None:
        """Add a step's row and the runs nested in it. No row has the position of a null step."""
        try:
            step = Payload(raw)
        except ShapeError:
            if bytes(raw) != b"null":
                cells = {"workflow_run_id": run_id, "position": position}
                extra = '{"step":' + safe_text(raw) + "}"
                self.batch.add(WORKFLOW_STEPS, WORKFLOW_STEPS.row(**cells, extra=extra))
            return
        step_id, type_ = step.text("id"), step.text("type")
        output = step.raw("output")
        made = self.extractions_of(type_, output, ParentStep(run_id, position))
        count, nested = self.nested_runs(step, NestedLink(run_id, step_id, root_id, depth + 1))
        row = WORKFLOW_STEPS.row(
            workflow_run_id=run_id,
            position=position,
            step_run_id=None,
            step_id=step_id,
            name=step.text("name"),
            type=type_,
            status=step.text("status"),
            message=step.text("message"),
            output=None if output is None else safe_text(output),
            nested_run_count=count,
            nested_run_ids=encode(nested).decode() if nested or count else None,
            processor_run_id=made[0] if made else None,
            processor_run_ids=encode(made).decode() if len(made) > 1 else None,
            extra=step.extra(),
        )
        self.batch.add(WORKFLOW_STEPS, row)

    def extractions_of(self, type_: str | None, output: Raw | None, parent: ParentStep) -> list[str]:
        """The extractions that a step's output names. They get the step as their parent."""
        if type_ != "document_insights" or output is None:
            return []
        ids = outputs.extraction_ids(decode(output), self.context.extraction_ids)
        for id_ in ids:
            # a later step may pass on an extraction of an earlier one
            self.parents.setdefault(id_, parent)
        return list(dict.fromkeys(ids))

    def nested_runs(self, step: Payload, link: NestedLink) -> tuple[int | None, list[str]]:
        """Add the runs nested in a step. Gives the count that the platform states, and their ids."""
        nested = step.object("nestedRuns")
        if nested is None:
            return None, []
        count, ids = nested.integer("count"), list[str]()
        others = [raw for raw in nested.raws("data") or [] if not self.nested_run(raw, link, ids)]
        if others:
            nested.keep("data", "[" + ",".join(map(safe_text, others)) + "]")
        return count, ids

    def nested_run(self, raw: Raw, link: NestedLink, ids: list[str]) -> bool:
        """Add a nested run, and its id to `ids`. False where it cannot be one: it stays in the step's extra."""
        if bytes(raw) == b"null":
            return True
        try:
            run = Payload(raw)
        except ShapeError:
            return False
        id_ = run.text("id", "runId")
        if not is_usable(id_) or id_ in self.ids or link.depth > self.context.max_depth:
            return False
        self.ids.add(id_)
        ids.append(id_)
        self.links[id_] = link
        if "steps" in run:
            self.nested_ids.append(id_)
            self.run(run, id_, link, None)
            return True
        outer_batch, self.batch = self.batch, Batch()
        self.run(run, id_, link, None)
        self.partial[id_], self.batch = self.batch, outer_batch
        return True


def extraction(
    body: bytes, listed: ListedRun, context: Context, parent: ParentStep | None = None
) -> ParsedRun:
    """Rows of an extraction, as a processor run of type EXTRACT."""
    # {"id": "6b20…", "status": "COMPLETED", "tags": {…}, "document": {…},
    #  "output": {"fieldCount": 7, "fields": […]}}
    run = Payload(clean(body))
    id_ = check_id(run, listed, "extraction", "id", "extractionId")
    batch = Batch()
    batch.clear_run(PROCESSOR_RUN_TABLES, id_)
    status = run.text("status") or listed.status
    updated_at = run.time("updatedAt")
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
        "updated_at": updated_at or listed.updated_at,
        "completed_at": run.time("completedAt"),
        "failure_code": error.text("code"),
        "failure_message": error.text("message"),
        "tags": run.json("tags"),
        "page_count": pages,
    }
    output = run.object("output")
    if output is not None and (fields := output.raws("fields")) is not None:
        flat = flatten_outputs(id_, cells["workflow_run_id"], outputs.make_output(fields))
        cells |= add_fields(batch, flat, "plextera_fields")
    batch.add(PROCESSOR_RUNS, PROCESSOR_RUNS.row(**cells, extra=run.extra()))
    return ParsedRun(batch, status, status in FINAL_EXTRACTION_STATUS, updated_at=updated_at)


def _file(document: Payload, batch: Batch, run_id: str) -> int | None:
    """Add the row of the document. Gives its page count."""
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
