"""PURE. Extend's answers, of any API version, as rows of the tables.

Versions differ in names and in what they leave out, not in meaning, so one reader serves all:

    2026-02-09   {"object": "workflow_run", "workflow": {…}, "workflowVersion": {…}, "stepRuns": [
                    {"step": {…}, "stepType": "EXTRACT", "result": {"extractRun": {…}}}]}
    2025-04-21   {"success": true, "workflowRun": {"workflow": {…}, "outputs": [{…}], "stepRuns": […]}}
    and older    the same with less
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Raw

from ..arrow import Batch
from ..errors import ShapeError
from ..feed import Listed
from ..flatten import Insight, flatten
from ..model import (
    CITATIONS,
    FIELDS,
    INSIGHTS,
    PROCESSOR_RUNS,
    RUN_FILES,
    SPLITS,
    WORKFLOW_RUNS,
    WORKFLOW_STEPS,
)
from ..payload import JSON, Payload, clean, decode, json_text, number_text, without_secrets
from . import outputs

FINAL_WORKFLOW_STATUS = frozenset({"PROCESSED", "FAILED", "CANCELLED", "REJECTED", "REVIEWED"})
FINAL_PROCESSOR_STATUS = frozenset({"PROCESSED", "FAILED", "CANCELLED"})

_PROCESSOR_TABLES = (FIELDS, INSIGHTS, CITATIONS, SPLITS, RUN_FILES)
_NESTED = ("extractRun", "classifyRun", "splitRun", "parseRun")
_TYPES = {
    "extract_run": "EXTRACT",
    "classify_run": "CLASSIFY",
    "split_run": "SPLIT",
    "parse_run": "PARSE",
    "parser_run": "PARSE",
    "edit_run": "EDIT",
    "verify_run": "VERIFY",
    "SPLITTER": "SPLIT",
}


class Parent(NamedTuple):
    """Where a processor run hangs: its workflow run, its step, and whether that run is final."""

    workflow_run_id: str
    position: int | None
    is_final: bool = True


class Context(NamedTuple):
    """What all rows of a load share. `summaries` are processor runs as their lists show them."""

    api_version: str
    workspace: str | None = None
    include_parse_output: bool = False
    summaries: Mapping[str, Listed] = {}


class Reading(NamedTuple):
    """One answer as rows: is the run final, and which processor runs came inside it."""

    batch: Batch
    is_final: bool
    inside: tuple[str, ...] = ()


def workflow_run(body: bytes, listed: Listed, context: Context) -> Reading:
    """Rows of a workflow run and of all that came in it. ShapeError where it cannot be one."""
    run = _unwrap(body, "workflowRun")
    id_ = _id(run, listed)
    batch = Batch()
    batch.clear_run((WORKFLOW_STEPS, RUN_FILES), id_)
    summary = listed.summary or {}
    status = run.text("status") or listed.status
    is_final = status in FINAL_WORKFLOW_STATUS
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
    _files(run, batch, id_, "workflow")
    inside = _outputs(run, batch, id_, is_final, context)
    inside += _steps(run, batch, id_, is_final, context)
    # a workflow's own dates and author stand in the catalogue
    workflow.ignore("object", "createdAt", "updatedAt", "createdBy")
    version.ignore("object", "createdAt", "name", "createdBy")
    run.ignore("object", "id")
    batch.add(WORKFLOW_RUNS, WORKFLOW_RUNS.row(**cells, extra=run.extra()))
    return Reading(batch, is_final, tuple(inside))


def processor_run(
    body: bytes, listed: Listed, context: Context, parent: Parent | None = None
) -> Reading:
    """Rows of a processor run that is read on its own; `parent` where an earlier load knows it."""
    run = _unwrap(body, "processorRun")
    _id(run, listed)
    batch = Batch()
    is_final = _processor_run(run, batch, context, parent, listed)
    return Reading(batch, is_final)


def _unwrap(body: bytes, envelope: str) -> Payload:
    payload = Payload(clean(body))
    inner = payload.object(envelope)
    return payload if inner is None else inner


def _id(run: Payload, listed: Listed) -> str:
    id_ = run.text("id")
    if id_ is None:
        raise ShapeError(f"run {listed.id}: the answer has no id")
    if id_ != listed.id:
        raise ShapeError(f"run {listed.id}: the answer is about another run, {id_}")
    run.keep("id", f'"{id_}"')
    return id_


def _outputs(
    run: Payload, batch: Batch, run_id: str, is_final: bool, context: Context
) -> list[str]:
    """`outputs[]` up to 2025-04-21: processor runs without a step; each becomes a step here."""
    inside: list[str] = []
    for position, child in enumerate(run.objects("outputs") or ()):
        parent = Parent(run_id, position, is_final)
        type_, id_ = _type(child), child.text("id")
        cells = {"workflow_run_id": run_id, "position": position, "type": type_}
        if id_ is None:
            batch.add(WORKFLOW_STEPS, WORKFLOW_STEPS.row(**cells, output=child.extra()))
            continue
        child.keep("id", number_text(id_))
        _processor_run(child, batch, context, parent, context.summaries.get(id_))
        status = batch.rows(PROCESSOR_RUNS)[-1][PROCESSOR_RUNS.names.index("status")]
        row = WORKFLOW_STEPS.row(**cells, status=status, processor_run_id=id_)
        batch.add(WORKFLOW_STEPS, row)
        inside.append(id_)
    return inside


def _steps(run: Payload, batch: Batch, run_id: str, is_final: bool, context: Context) -> list[str]:
    """`stepRuns[]`: a nested run leaves the step's output and becomes a processor run."""
    inside: list[str] = []
    first = len(batch.dicts(WORKFLOW_STEPS))
    for position, step_run in enumerate(run.objects("stepRuns") or (), start=first):
        step = step_run.object("step") or Payload(b"{}")
        status = step_run.text("status")
        nested_id, output = None, None
        result = step_run.object("result")
        files = step_run.objects("files")
        if result is not None:
            for key in _NESTED:
                child = result.object(key)
                child_id = child.text("id") if child else None
                if child is None or child_id is None:
                    continue
                child.keep("id", number_text(child_id))
                parent = Parent(run_id, position, is_final)
                _processor_run(child, batch, context, parent, context.summaries.get(child_id))
                child.clear()
                nested_id = child_id
                inside.append(child_id)
            output = result.extra()
            result.clear()
        elif (raw := step_run.raw("output")) is not None:
            output = _safe(raw)
        if nested_id is None and files:
            step_run.keep("files", number_text([file.text("id") for file in files]))
        step_type = step_run.text("stepType")
        declared = step.text("type")
        step.ignore("object")
        step_run.ignore("object", "workflowRunId")
        batch.add(
            WORKFLOW_STEPS,
            WORKFLOW_STEPS.row(
                workflow_run_id=run_id,
                position=position,
                step_run_id=step_run.text("id"),
                step_id=step.text("id"),
                name=step.text("name"),
                type=step_type or declared,
                status=status,
                output=output,
                processor_run_id=nested_id,
                extra=step_run.extra(),
            ),
        )
    return inside


def _processor_run(
    run: Payload,
    batch: Batch,
    context: Context,
    parent: Parent | None,
    listed: Listed | None,
) -> bool:
    """Add the rows of one processor run, nested or not; True where it is final."""
    id_ = run.text("id") or ""
    batch.clear_run(_PROCESSOR_TABLES, id_)
    type_ = _type(run)
    status = run.text("status") or (listed.status if listed else None)
    is_final = status in FINAL_PROCESSOR_STATUS if status else bool(parent and parent.is_final)
    config = run.raw("config")
    model = Payload(config) if config and bytes(memoryview(config)[:1]) == b"{" else Payload(b"{}")
    kind = _part(run, "extractor", "classifier", "splitter")
    version = _part(run, "extractorVersion", "classifierVersion", "splitterVersion")
    usage = run.object("usage") or Payload(b"{}")
    metrics = run.object("metrics") or Payload(b"{}")
    summary = (listed.summary if listed else None) or {}
    cells = {
        "id": id_,
        "workspace": context.workspace,
        "api_version": context.api_version,
        "type": type_,
        "status": status,
        "is_final": is_final,
        "processor_id": run.text("processorId") or kind.text("id") or summary.get("processorId"),
        "processor_name": run.text("processorName")
        or kind.text("name")
        or summary.get("processorName"),
        "processor_version_id": run.text("processorVersionId")
        or version.text("id")
        or summary.get("processorVersionId"),
        "processor_version": version.label("version"),
        "base_processor": model.text("baseProcessor", "engine"),
        "base_version": model.label("baseVersion") or model.label("engineVersion"),
        "workflow_run_id": parent.workflow_run_id if parent else None,
        "workflow_step_position": parent.position if parent else None,
        "source": run.text("source") or ("WORKFLOW_RUN" if parent else None),
        "source_id": run.text("sourceId") or (parent.workflow_run_id if parent else None),
        "batch_id": run.text("batchId"),
        "parse_run_id": run.text("parseRunId"),
        "reviewed": run.boolean("reviewed"),
        "edited": run.boolean("edited"),
        "created_at": run.time("createdAt") or (listed.created_at if listed else None),
        "updated_at": run.time("updatedAt") or (listed.updated_at if listed else None),
        "failure_code": run.text("failureReason"),
        "failure_message": run.text("failureMessage"),
        "metadata": run.json("metadata"),
        "config": None if config is None else json_text(config),
        "dashboard_url": run.text("dashboardUrl", "url"),
        "credits": usage.number("credits"),
        "total_credits": usage.number("totalCredits"),
    }
    pages = _files(run, batch, id_, "processor")
    cells["page_count"] = metrics.integer("pageCount") or pages
    cells |= _output(run, batch, id_, parent, type_, config, context)
    for part in (kind, version):
        # what a catalogue row says as well
        part.ignore("object", "createdAt", "updatedAt", "createdBy", "description")
        part.ignore("extractorId", "classifierId", "splitterId")
    run.ignore_empty("mergedProcessors", "edits")
    run.ignore("object", "type", "outputUrl", "fileUrl")
    batch.add(PROCESSOR_RUNS, PROCESSOR_RUNS.row(**cells, extra=run.extra()))
    return is_final


def _part(run: Payload, *keys: str) -> Payload:
    for key in keys:
        if (part := run.object(key)) is not None:
            return part
    return Payload(b"{}")


def _type(run: Payload) -> str | None:
    """EXTRACT, CLASSIFY, SPLIT, PARSE, …: one vocabulary for the objects of all versions."""
    object_, type_ = run.peek("object"), run.peek("type")
    known = _TYPES.get(object_ or "")
    if known:
        return known
    if type_:
        return processor_type(type_)
    for key, name in (("extractor", "EXTRACT"), ("classifier", "CLASSIFY"), ("splitter", "SPLIT")):
        if key in run:
            return name
    return None


def processor_type(type_: str | None) -> str | None:
    """A processor's type in the one vocabulary: SPLITTER is SPLIT."""
    return _TYPES.get(type_, type_) if type_ else None


def _output(
    run: Payload,
    batch: Batch,
    id_: str,
    parent: Parent | None,
    type_: str | None,
    config: Raw | None,
    context: Context,
) -> dict[str, object]:
    """Rows of what a processor run found, and the cells of its own row that tell of it."""
    final, initial, reviewed = (
        run.raw(key) for key in ("output", "initialOutput", "reviewedOutput")
    )
    if type_ == "PARSE":
        # chunks and blocks are the document itself: kept only on request
        chunks = [f'"chunks":{json_text(raw)}' for raw in [run.raw("chunks")] if raw is not None]
        text = _safe(final) if final is not None else "{" + chunks[0] + "}" if chunks else None
        kept = text if context.include_parse_output else None
        return {"output_format": "parse" if text else None, "parse_output": kept}
    if type_ == "CLASSIFY" and final is not None and _is_object(final):
        return _classification(run, batch, id_, final, initial, reviewed)
    if type_ == "SPLIT" and final is not None and _is_object(final):
        return _splits(run, batch, id_, final, initial, reviewed)
    if type_ not in ("EXTRACT", None):
        _keep(run, output=final, initialOutput=initial, reviewedOutput=reviewed)
        return {}
    if final is None and initial is None and reviewed is None:
        return {}
    found = outputs.extraction(final, initial, reviewed, config)
    for key, text in found.extra.items():
        run.keep(key, text)
    flat = flatten(
        id_,
        parent.workflow_run_id if parent else None,
        found.final,
        found.initial,
        found.reviewed,
        outputs.schema_of(config),
        outputs.edits(run.raw("edits")),
    )
    batch.extend(FIELDS, flat.fields)
    batch.extend(INSIGHTS, flat.insights)
    batch.extend(CITATIONS, flat.citations)
    return {
        "output_format": found.format,
        "field_count": flat.leaves,
        "edited_count": flat.edited,
    }


def _is_object(raw: Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b"{"


def _keep(run: Payload, **raws: Raw | None) -> None:
    for key, raw in raws.items():
        if raw is not None:
            run.keep(key, _safe(raw))


def _safe(raw: Raw) -> str:
    """JSON text as it came, unless a presigned URL or a file's contents must leave it."""
    text = json_text(raw)
    if "resignedUrl" not in text and "utputUrl" not in text and "contents" not in text:
        return text
    value: JSON = without_secrets(decode(text))
    return number_text(value)


def _classification(
    run: Payload, batch: Batch, id_: str, final: Raw, initial: Raw | None, reviewed: Raw | None
) -> dict[str, object]:
    # {"id": "supplier_invoice", "type": "supplier_invoice", "confidence": 0.96, "insights": […]}
    chosen = Payload(final)
    cells: dict[str, object] = {
        "output_format": "classification",
        "classification_id": chosen.text("id"),
        "classification": chosen.text("type"),
        "classification_confidence": chosen.number("confidence"),
    }
    told = outputs.insights(chosen)
    _insights(batch, id_, "final", told)
    if (rest := chosen.extra()) is not None:
        run.keep("output", rest)
    for key, name, raw in (
        ("initialOutput", "initial", initial),
        ("reviewedOutput", "reviewed", reviewed),
    ):
        if raw is None or not _is_object(raw):
            continue
        other = Payload(raw)
        if name == "initial":
            cells["initial_classification"] = other.text("type")
            other.keep("type", number_text(cells["initial_classification"]))
        theirs = outputs.insights(other)
        if theirs != told:
            _insights(batch, id_, name, theirs)
        if bytes(raw) != bytes(final):
            run.keep(key, other.extra() or "{}")
    return cells


def _insights(batch: Batch, id_: str, output: str, insights: tuple[Insight, ...]) -> None:
    rows = [(id_, output, "", i, *insight, None) for i, insight in enumerate(insights)]
    batch.extend(INSIGHTS, rows)


def _splits(
    run: Payload, batch: Batch, id_: str, final: Raw, initial: Raw | None, reviewed: Raw | None
) -> dict[str, object]:
    # {"splits": [{"type": "invoice", "startPage": 1, "endPage": 2, "fileId": "file_2", …}], "isExternal": false}
    output = Payload(final)
    for position, split in enumerate(output.objects("splits") or ()):
        batch.add(
            SPLITS,
            SPLITS.row(
                processor_run_id=id_,
                position=position,
                split_id=split.text("id"),
                classification_id=split.text("classificationId"),
                type=split.text("type"),
                name=split.text("name"),
                identifier=split.text("identifier"),
                start_page=split.integer("startPage"),
                end_page=split.integer("endPage"),
                file_id=split.text("fileId"),
                observation=split.text("observation"),
                extra=split.extra(),
            ),
        )
    if (rest := output.extra()) is not None:
        run.keep("output", rest)
    for key, raw in (("initialOutput", initial), ("reviewedOutput", reviewed)):
        if raw is not None and bytes(raw) != bytes(final):
            run.keep(key, _safe(raw))
    return {"output_format": "splits"}


def _files(run: Payload, batch: Batch, run_id: str, kind: str) -> int | None:
    """Rows of `files[]` or `file`; the pages of them all, where any says so."""
    # {"id": "file_1", "name": "scan.pdf", "type": "PDF", "metadata": {"pageCount": 3, "parentSplit": {…}}}
    one, many = run.object("file"), run.objects("files")
    pages: int | None = None
    files = many if many is not None else [one] if one is not None else []
    for position, file in enumerate(files):
        known = file.object("metadata") or Payload(b"{}")
        count = known.integer("pageCount")
        pages = pages if count is None else (pages or 0) + count
        row = RUN_FILES.row(
            run_id=run_id,
            run_kind=kind,
            position=position,
            file_id=file.text("id"),
            name=file.text("name"),
            type=file.text("type"),
            page_count=count,
            parent_file_id=file.text("parentFileId"),
            parent_split=known.json("parentSplit"),
            created_at=file.time("createdAt"),
            updated_at=file.time("updatedAt"),
        )
        file.ignore("object")
        names = RUN_FILES.names
        batch.add(RUN_FILES, (*row[: names.index("extra")], file.extra(), None))
    if one is not None:
        one.clear()
    return pages


__all__ = ["Context", "Parent", "Reading", "processor_run", "workflow_run"]
