"""Extend's processor runs, of any kind and API version, nested or not, as rows. No I/O.

2026-02-09   {"object": "extract_run", "id": "exr_…", "extractor": {…}, "config": {…},
              "output": {…}, "file": {…}}
and older    {"object": "document_processor_run", "id": "dpr_…", "type": "EXTRACT",
              "processorId": …, "files": […]}
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from msgspec import Raw

from ...core.batch import Batch
from ...core.codec import is_object, json_text, safe_text
from ...core.errors import ShapeError
from ...core.flatten.flatten import flatten_outputs
from ...core.flatten.output import Insight, Review
from ...core.parsed import ParentStep
from ...core.payload import Payload
from ...core.tables import INSIGHTS, PROCESSOR_RUNS, SPLITS
from ...sync.listed import ListedRun
from ...sync.plan import is_older
from ..answers import PROCESSOR_RUN_TABLES, add_fields, inspect_entry
from .shapes import outputs, schemas
from .shapes.field_metadata import insights
from .shapes.parts import TYPES, add_files, credit_cells, processor_type

FINAL_STATUS = frozenset({"PROCESSED", "FAILED", "CANCELLED"})

_REVIEWED = frozenset({"EXTRACT", "CLASSIFY", "SPLIT", None})
"""Types of runs whose results people review; None is unknown."""


class Context(NamedTuple):
    """What all rows of a load share.

    `listed_type`: the type of the runs of the list that is read, for answers that do not say it.
    `summaries`: processor runs by id, as their lists show them. They fill in what the details of a nested run
    lack in some API versions: its dates, its status and its processor.
    """

    api_version: str
    workspace: str | None = None
    include_parse_output: bool = False
    listed_type: str | None = None
    summaries: Mapping[str, ListedRun] = {}


class OwnState(NamedTuple):
    """A processor run's status, whether that is final, its last change where the answer states it, and whether that
    is older than the list shows."""

    status: str | None
    is_final: bool
    updated_at: datetime | None
    is_behind: bool


def add_processor_run(
    run: Payload, batch: Batch, context: Context, parent: ParentStep | None, listed: ListedRun | None
) -> OwnState:
    """Add the rows of one processor run. Gives what the answer says of its state."""
    id_ = run.text("id") or ""
    batch.clear_run(PROCESSOR_RUN_TABLES, id_)
    type_ = run_type(run) or context.listed_type
    status = run.text("status") or (listed.status if listed else None)
    is_final = status in FINAL_STATUS if status else bool(parent and parent.is_final)
    config, updated_at = run.raw("config"), run.time("updatedAt")
    summary = (listed.summary if listed else None) or {}
    own = _Own(id_, type_, _reviewed(run, type_, parent), parent, config)
    cells: dict[str, object] = {
        "id": id_,
        "workspace": context.workspace,
        "api_version": context.api_version,
        "type": type_,
        "status": status,
        "is_final": is_final,
        "batch_id": run.text("batchId"),
        "parse_run_id": run.text("parseRunId"),
        "reviewed": own.reviewed,
        "edited": run.boolean("edited"),
        "created_at": run.time("createdAt") or (listed.created_at if listed else None),
        "updated_at": updated_at or (listed.updated_at if listed else None),
        "failure_code": run.text("failureReason"),
        "failure_message": run.text("failureMessage"),
        "metadata": run.json("metadata"),
        "dashboard_url": run.text("dashboardUrl", "url"),
        "risk_level": run.text("riskLevel") or summary.get("riskLevel"),
        **_processor_cells(run, summary),
        **_config_cells(config),
        **_source_cells(run, parent, (listed.source if listed else None)),
        **_usage_cells(run, batch, id_),
        **_output_cells(run, batch, own, context),
    }
    run.ignore_empty("mergedProcessors", "edits")
    run.ignore("object", "outputUrl", "fileUrl")
    if processor_type(run.peek("type")) == type_:
        run.ignore("type")
    batch.add(PROCESSOR_RUNS, PROCESSOR_RUNS.row(**cells, extra=run.extra()))
    is_behind = listed is not None and is_older(updated_at, listed.updated_at)
    return OwnState(status, is_final, updated_at, is_behind)


def _processor_cells(run: Payload, summary: Mapping[str, Any]) -> dict[str, object]:
    """The processor and its version: from the details, else from the list's summary."""
    processor = _part(run, "extractor", "classifier", "splitter")
    version = _part(run, "extractorVersion", "classifierVersion", "splitterVersion")
    id_ = run.text("processorId") or processor.text("id")
    name = run.text("processorName") or processor.text("name")
    version_id = run.text("processorVersionId") or version.text("id")
    cells = {
        "processor_id": id_ or summary.get("processorId"),
        "processor_name": name or summary.get("processorName"),
        "processor_version_id": version_id or summary.get("processorVersionId"),
        "processor_version": version.label("version"),
    }
    for part in (processor, version):
        # rows of the catalogue have these
        part.ignore("object", "createdAt", "updatedAt", "description")
        part.ignore("createdBy", kind=b"{")
        part.ignore("extractorId", "classifierId", "splitterId")
    return cells


def _config_cells(config: Raw | None) -> dict[str, object]:
    """The configuration as it came, and the model that it names."""
    # only inspected, because the configuration is kept as it came
    model = inspect_entry(config or Raw(b"{}"))
    return {
        "base_processor": model.text("baseProcessor", "engine"),
        "base_version": model.label("baseVersion") or model.label("engineVersion"),
        "config": None if config is None else json_text(config),
    }


def _source_cells(run: Payload, parent: ParentStep | None, listed: str | None) -> dict[str, object]:
    """What started the run; `listed` is what its list says."""
    source, source_id = run.text("source") or listed, run.text("sourceId")
    if parent is None:
        return {"source": source, "source_id": source_id}
    return {
        "workflow_run_id": parent.workflow_run_id,
        "workflow_step_position": parent.position,
        "source": source or "WORKFLOW_RUN",
        "source_id": source_id or parent.workflow_run_id,
    }


def _usage_cells(run: Payload, batch: Batch, id_: str) -> dict[str, object]:
    """Credits, pages and time. Adds the rows of the run's files, which have page counts too."""
    metrics = run.object("metrics") or Payload(b"{}")
    pages = add_files(run, batch, id_, "processor")
    return {
        **credit_cells(run, batch, id_, "processor"),
        "page_count": metrics.integer("pageCount") or pages,
        "processing_ms": metrics.integer("processingTimeMs"),
    }


def _reviewed(run: Payload, type_: str | None, parent: ParentStep | None) -> bool | None:
    """Whether people reviewed the run; None is unknown.

    Up to 2024-12-23 a nested run has no `reviewed`: a reviewed output or the workflow run shows it. People do
    not review parse runs, edit runs and verify runs.
    """
    reviewed = run.boolean("reviewed")
    if reviewed is not None:
        return reviewed
    if "reviewedOutput" in run and run.peek_json("reviewedOutput") != "null":
        return True
    return parent.reviewed if parent and type_ in _REVIEWED else None


def _part(run: Payload, *keys: str) -> Payload:
    for key in keys:
        if (part := run.object(key)) is not None:
            return part
    return Payload(b"{}")


def run_type(run: Payload) -> str | None:
    """EXTRACT, CLASSIFY, SPLIT, PARSE, …: one vocabulary for all API versions."""
    object_, type_ = run.peek("object"), run.peek("type")
    known = TYPES.get(object_ or "")
    if known:
        return known
    if type_:
        return processor_type(type_)
    processors = (("extractor", "EXTRACT"), ("classifier", "CLASSIFY"), ("splitter", "SPLIT"))
    return next((name for key, name in processors if key in run), None)


class _Own(NamedTuple):
    """What the rows of a run's outputs need of the run."""

    id: str
    type: str | None
    reviewed: bool | None
    parent: ParentStep | None
    config: Raw | None


def _output_cells(run: Payload, batch: Batch, own: _Own, context: Context) -> dict[str, object]:
    """Add the rows of a run's outputs. Gives the cells of its own row that describe them."""
    id_, type_ = own.id, own.type
    final, initial, reviewed = (run.raw(key) for key in ("output", "initialOutput", "reviewedOutput"))
    if type_ == "PARSE":
        return _parse_cells(run, final, initial, reviewed, context.include_parse_output)
    if type_ == "CLASSIFY" and final is not None and is_object(final):
        return _classification_cells(run, batch, id_, final, initial, reviewed)
    if type_ == "SPLIT" and final is not None and is_object(final):
        return _split_cells(run, batch, id_, final, initial, reviewed)
    if type_ not in ("EXTRACT", None):
        _keep(run, output=final, initialOutput=initial, reviewedOutput=reviewed)
        return {}
    if final is None and initial is None and reviewed is None:
        return {}
    try:
        extraction = outputs.extraction(final, initial, reviewed, own.config)
    except ShapeError as error:
        raise ShapeError(f"run {id_}: {error.message}") from error
    edits = run.raw("edits")
    if edits is not None and not is_object(edits):
        _keep(run, edits=edits)
        edits = None
    for key, text in extraction.extra.items():
        run.keep(key, text)
    flat = flatten_outputs(
        id_,
        own.parent.workflow_run_id if own.parent else None,
        extraction.final,
        extraction.initial,
        extraction.reviewed,
        schemas.schema_of(own.config),
        Review(None if edits is None else schemas.edits(edits), own.reviewed),
    )
    return add_fields(batch, flat, extraction.format)


def _parse_cells(
    run: Payload, final: Raw | None, initial: Raw | None, reviewed: Raw | None, is_kept: bool
) -> dict[str, object]:
    """The output of a parse run: chunks and blocks are the document itself, kept only on request."""
    chunks = run.raw("chunks")
    text = None if chunks is None else '{"chunks":' + json_text(chunks) + "}"
    if final is not None:
        text = safe_text(final)
    if is_kept:
        _keep(run, initialOutput=initial, reviewedOutput=reviewed)
    return {"output_format": "parse" if text else None, "parse_output": text if is_kept else None}


def _keep(run: Payload, **raws: Raw | None) -> None:
    for key, raw in raws.items():
        if raw is not None:
            run.keep(key, safe_text(raw))


def _classification_cells(
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
    final_insights = insights(chosen)
    _add_insights(batch, id_, "final", final_insights)
    if (rest := chosen.extra()) is not None:
        run.keep("output", rest)
    for key, name, raw in (("initialOutput", "initial", initial), ("reviewedOutput", "reviewed", reviewed)):
        if raw is None:
            continue
        if not is_object(raw):
            run.keep(key, safe_text(raw))
            continue
        other = Payload(raw)
        if name == "initial":
            cells["initial_classification"] = other.peek("type")
            cells["initial_confidence"] = Payload(raw).number("confidence")
        other_insights = insights(other)
        if other_insights != final_insights:
            _add_insights(batch, id_, name, other_insights)
        if bytes(raw) != bytes(final):
            run.keep(key, other.extra() or "{}")
    return cells


def _add_insights(batch: Batch, id_: str, output: str, found: tuple[Insight, ...]) -> None:
    rows = [(id_, output, "", i, *insight, None) for i, insight in enumerate(found)]
    batch.extend(INSIGHTS, rows)


def _split_cells(
    run: Payload, batch: Batch, id_: str, final: Raw, initial: Raw | None, reviewed: Raw | None
) -> dict[str, object]:
    # {"splits": [{"type": "invoice", "startPage": 1, "endPage": 2, "fileId": "file_2", …}],
    #  "isExternal": false}
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
            run.keep(key, safe_text(raw))
    return {"output_format": "splits"}
