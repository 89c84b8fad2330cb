"""The example payloads of Extend, parsed as a load parses them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from docruns.core.parsed import ParsedRun
from docruns.providers.extend import workflow_runs
from docruns.providers.extend.processor_runs import Context
from docruns.sync.plan import ListedRun

FOLDER = Path(__file__).parent / "payloads" / "extend"

RUNS = sorted(
    path.name.removesuffix(".json")
    for pattern in (
        "workflow_run.*",
        "update_workflow_run.response.*",
        "extract_run.*",
        "classify_run.*",
        "split_run.*",
        "parse_run.*",
        "edit_run.*",
        "verify_run.*",
        "processor_run.*",
        "legacy_processor_run.*",
        "webhook.extract_run.*",
        "webhook.processor_run.*",
        "webhook.workflow_run.completed.*",
    )
    for path in FOLDER.glob(f"{pattern}.json")
)
"""The names of all payloads that contain one complete run."""

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
UPDATED = datetime(2026, 1, 2, tzinfo=UTC)


def load(name: str) -> Any:
    """The payload as JSON values."""
    return json.loads((FOLDER / f"{name}.json").read_bytes())


def version(name: str) -> str:
    """The API version in a payload's name."""
    return next(v for v in ("2026-02-09", "2025-04-21", "2024-12-23", "v1") if v in name)


def run_of(document: Any) -> dict[str, Any]:
    """The run inside a reply or a webhook's body."""
    for envelope in ("payload", "workflowRun", "processorRun"):
        document = document.get(envelope, document)
    assert isinstance(document, dict)
    return document


def read(document: Any, api_version: str, **context: Any) -> ParsedRun:
    """The rows of one run; its list row has two dates and nothing else."""
    run = run_of(document)
    listed = ListedRun(run["id"], None, CREATED, UPDATED)
    known = Context(api_version, "ws_1", **context)
    body = json.dumps(document.get("payload", document)).encode()
    if run["object"] == "workflow_run":
        return workflow_runs.workflow_run(body, listed, known)
    return workflow_runs.processor_run(body, listed, known)
