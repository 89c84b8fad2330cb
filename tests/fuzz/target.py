"""Any bytes read as an answer of a platform: what may come of them, and what must then hold.

A body may be refused the way a load turns into a row of quarantine. What is read must be fit for its tables:
no key twice, JSON that is JSON, Arrow that takes it, and fields that give the value back.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from docruns.core.batch import Batch
from docruns.core.codec import clean, number_text
from docruns.core.errors import ApiError
from docruns.core.flatten.flatten import rebuild
from docruns.core.parsed import ParsedRun
from docruns.core.payload import Payload
from docruns.core.tables import FIELDS, TABLES
from docruns.providers.extend import api as extend_api
from docruns.providers.extend import workflow_runs as extend_rows
from docruns.providers.extend.shapes import outputs
from docruns.providers.plextera import api as plextera_api
from docruns.providers.plextera import runs as plextera_rows
from docruns.store.arrow import to_tables
from docruns.sync.plan import ListedRun

REFUSED = (ApiError, ValueError, RecursionError)
"""The errors that a load turns into rows of quarantine; any other error ends the load."""

JSON_COLUMNS = {
    table.name: [
        column.name for column in table.columns if column.type == "json" or column.name.endswith("_json")
    ]
    for table in TABLES
}


def extend_workflow_run(body: bytes) -> ParsedRun:
    """Extend's workflow run."""
    extend_api.check(body, "GET /workflow_runs/x")
    listed = ListedRun(_id(body, "workflowRun", "id"), None, None, None)
    return extend_rows.workflow_run(body, listed, extend_rows.Context("2026-02-09"))


def extend_processor_run(body: bytes) -> ParsedRun:
    """Extend's extract, classify, split or parse run."""
    extend_api.check(body, "GET /extract_runs/x")
    listed = ListedRun(_id(body, "processorRun", "id"), None, None, None)
    context = extend_rows.Context("2026-02-09", include_parse_output=True)
    return extend_rows.processor_run(body, listed, context)


def plextera_workflow_run(body: bytes) -> ParsedRun:
    """Plextera's run, nested ones among it."""
    plextera_api.check(body, "GET /workflow-runs/x")
    listed = ListedRun(_id(body, "", "id", "runId"), None, None, None)
    return plextera_rows.workflow_run(body, listed, plextera_rows.Context())


def plextera_extraction(body: bytes) -> ParsedRun:
    """Plextera's extraction."""
    plextera_api.check(body, "GET /document-insights/extractions/x")
    listed = ListedRun(_id(body, "", "id", "extractionId"), None, None, None)
    return plextera_rows.extraction(body, listed, plextera_rows.Context())


READERS: Mapping[str, Callable[[bytes], ParsedRun]] = {
    "extend_workflow_run": extend_workflow_run,
    "extend_processor_run": extend_processor_run,
    "plextera_workflow_run": plextera_workflow_run,
    "plextera_extraction": plextera_extraction,
}


PAYLOADS = Path(__file__).parents[1] / "support" / "payloads"
FOUND = Path(__file__).parent / "found"
"""Inputs that once broke a reader, in a folder with the reader's name."""


def seeds() -> list[tuple[str, bytes]]:
    """Reader and answer of every example that holds runs, without blanks."""
    found: list[tuple[str, bytes]] = []
    for path in sorted(PAYLOADS.glob("*/*.json")):
        whole = json.loads(path.read_bytes())
        inner = whole.get("payload") or whole.get("data") or []
        for document in (whole, *(inner if isinstance(inner, list) else [inner])):
            if kind := _kind(path.parent.name, document):
                found.append((kind, json.dumps(document, separators=(",", ":")).encode()))
    return found


def _kind(platform: str, document: dict[str, Any]) -> str | None:
    """The reader of a document; None where it is no run."""
    run = document.get("workflowRun") or document.get("processorRun") or document
    if not isinstance(run.get("id"), str):
        return None
    if platform == "plextera":
        if "steps" in run or "workflow" in run:
            return "plextera_workflow_run"
        return "plextera_extraction" if "document" in run else None
    if run.get("object") == "workflow_run":
        return "extend_workflow_run"
    return "extend_processor_run" if str(run.get("object")).endswith("_run") else None


def _id(body: bytes, envelope: str, *keys: str) -> str:
    """The id that a list would contain: the reader compares it with the body's id."""
    run = Payload(clean(body))
    run = (run.object(envelope) if envelope else None) or run
    return next((id_ for key in keys if (id_ := run.peek(key))), "listed")


def read(kind: str, body: bytes) -> ParsedRun | None:
    """The rows of a body; None where the reader refuses it. Any other error is raised."""
    try:
        reading = READERS[kind](body)
    except REFUSED:
        return None
    for batch in (reading.batch, *reading.partial.values()):
        check(batch)
    if kind == "extend_processor_run":
        _gives_back(body, reading.batch)
    return reading


def check(batch: Batch) -> None:
    """Check that a database takes the rows: AssertionError or pyarrow's errors where it would not."""
    to_tables(batch)
    for table in TABLES:
        names = table.names
        keys = [names.index(name) for name in table.key]
        found = Counter(tuple(row[i] for i in keys) for row in batch.rows(table))
        twice = [key for key, times in found.items() if times > 1]
        assert not twice, f"{table.name} has {twice[0]} twice"
        assert all(cell is not None for key in found for cell in key), table.name
        for name in JSON_COLUMNS[table.name]:
            at = names.index(name)
            for row in batch.rows(table):
                if row[at] is not None:
                    _must_be_json(row[at], f"{table.name}.{name}")


def _must_be_json(text: str, where: str) -> None:
    try:
        json.loads(text, parse_constant=_refuse, parse_int=str)
    except RecursionError:
        return
    except ValueError as error:
        raise AssertionError(f"{where} holds {text[:200]!r}: {error}") from error


def _refuse(word: str) -> None:
    raise ValueError(word)


def _gives_back(body: bytes, batch: Batch) -> None:
    """The rows of fields rebuild each output that the reader took for an extraction's."""
    rows = [FIELDS.as_dict(row) for row in batch.rows(FIELDS) if not row[-1]]
    if not rows:
        return
    run = Payload(clean(body))
    run = run.object("processorRun") or run
    raws = [run.raw(key) for key in ("output", "initialOutput", "reviewedOutput")]
    found = outputs.extraction(*raws, run.raw("config"))
    columns = ("value_json", "initial_json", "reviewed_json")
    for column, answer in zip(columns, (found.final, found.initial, found.reviewed), strict=True):
        back = rebuild((row["path"], row[column]) for row in rows)
        try:
            text = "null" if repr(answer.value) == "MISSING" else number_text(answer.value)
            expected = json.loads(text)
        except RecursionError:
            continue
        assert json.dumps(back, sort_keys=True) == json.dumps(expected, sort_keys=True), column
