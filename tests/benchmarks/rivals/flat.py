"""A workflow run as flat rows, dict by dict: the code of a user who needs only the fields.

    rows_of(run)  ->  {"workflow_runs": [{…}], "processor_runs": [{…}], "fields": [{…}], …}

The rows equal docruns's, with nearly the same columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from contract import processor_runs

TABLES = ("workflow_runs", "processor_runs", "fields", "insights", "citations")
KEYS = {
    "workflow_runs": ["id"],
    "processor_runs": ["id"],
    "fields": ["processor_run_id", "path"],
    "insights": ["processor_run_id", "output", "path", "position"],
    "citations": ["processor_run_id", "output", "path", "position"],
}
OUTPUTS = {"final": "output", "initial": "initialOutput", "reviewed": "reviewedOutput"}

Rows = dict[str, list[dict[str, Any]]]


def rows_of(run: dict[str, Any]) -> Rows:
    """All rows of one workflow run."""
    rows: Rows = {name: [] for name in TABLES}
    rows["workflow_runs"].append(
        {
            "id": run["id"],
            "status": run["status"],
            "workflow_id": run["workflow"]["id"],
            "workflow_name": run["workflow"]["name"],
            "workflow_version": (run.get("workflowVersion") or {}).get("version"),
            "batch_id": run.get("batchId"),
            "initial_run_at": run.get("initialRunAt"),
            "started_at": run.get("startTime"),
            "ended_at": run.get("endTime"),
            "reviewed": run.get("reviewed"),
            "reviewed_by": run.get("reviewedByUser"),
            "reviewed_at": run.get("reviewedAt"),
            "failure_reason": run.get("failureReason"),
            "metadata": json.dumps(run.get("metadata")),
            "dashboard_url": run.get("dashboardUrl"),
            "credits": (run.get("usage") or {}).get("credits"),
        }
    )
    for child in processor_runs(run):
        kind = child["object"].removesuffix("_run")
        processor = child.get("extractor") or child.get("classifier") or child.get("splitter") or {}
        rows["processor_runs"].append(
            {
                "id": child["id"],
                "workflow_run_id": run["id"],
                "type": kind,
                "status": child["status"],
                "processor_id": processor.get("id"),
                "processor_name": processor.get("name"),
                "reviewed": child.get("reviewed"),
                "edited": child.get("edited"),
                "parse_run_id": child.get("parseRunId"),
                "failure_reason": child.get("failureReason"),
                "metadata": json.dumps(child.get("metadata")),
                "config": json.dumps(child.get("config")),
                "dashboard_url": child.get("dashboardUrl"),
                "credits": (child.get("usage") or {}).get("credits"),
                "created_at": child.get("createdAt"),
                "updated_at": child.get("updatedAt"),
            }
        )
        if kind == "extract":
            _extraction(run["id"], child, rows)
    return rows


def _extraction(workflow_run_id: str, child: dict[str, Any], rows: Rows) -> None:
    outputs = {name: child.get(key) or {} for name, key in OUTPUTS.items()}
    said = {name: output.get("metadata") or {} for name, output in outputs.items()}
    found: dict[str, dict[str, tuple[str, Any]]] = {}
    for name, output in outputs.items():
        for path, kind, value in _nodes(output.get("value") or {}, ""):
            found.setdefault(path, {})[name] = (kind, value)
    for position, (path, by_output) in enumerate(found.items()):
        kind, value = by_output.get("final") or next(iter(by_output.values()))
        scores = said["initial"].get(path) or said["final"].get(path) or {}
        told = said["final"].get(path) or {}
        citations, insights = told.get("citations") or [], told.get("insights") or []
        texts = {name: _text(*node) for name, node in by_output.items()}
        last = path.rsplit(".", 1)[-1]
        whole = value.get("amount") if _is_currency(value) else value
        is_leaf = kind == "leaf"
        rows["fields"].append(
            {
                "processor_run_id": child["id"],
                "workflow_run_id": workflow_run_id,
                "path": path,
                "name": last.split("[")[0],
                "parent_path": path[: -len(last)].rstrip("."),
                "position": position,
                "kind": kind,
                "type": type(value).__name__,
                "value": None if not is_leaf or whole is None else str(whole),
                "value_number": float(whole) if is_leaf and _is_number(whole) else None,
                "value_boolean": whole if is_leaf and isinstance(whole, bool) else None,
                "currency_code": value.get("iso_4217_currency_code") if _is_currency(value) else None,
                "value_json": texts.get("final"),
                "initial_json": texts.get("initial"),
                "reviewed_json": texts.get("reviewed"),
                "edited": "initial" in texts and texts.get("final") != texts["initial"],
                "ocr_confidence": scores.get("ocrConfidence"),
                "logprobs_confidence": scores.get("logprobsConfidence"),
                "review_agent_score": scores.get("reviewAgentScore"),
                "page": citations[0]["page"]["number"] if citations else None,
                "citation_count": len(citations),
                "insight_count": len(insights),
            }
        )
    for name, entries in said.items():
        for path, entry in entries.items():
            final = {} if name == "final" else said["final"].get(path) or {}
            key = {"processor_run_id": child["id"], "output": name, "path": path}
            for what, row in (("insights", _insight), ("citations", _citation)):
                if entry.get(what) and entry[what] != final.get(what):
                    rows[what] += [{**key, "position": i, **row(each)} for i, each in enumerate(entry[what])]


def _nodes(value: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """Every node below a value: (path, kind, value)."""
    steps = value.items() if isinstance(value, dict) else enumerate(value)
    for step, below in steps:
        here = f"{path}[{step}]" if isinstance(step, int) else f"{path}.{step}" if path else step
        if isinstance(below, list) or (isinstance(below, dict) and not _is_leaf(below)):
            kind = "array" if isinstance(below, list) else "object"
            yield here, "item" if isinstance(step, int) and kind == "object" else kind, below
            yield from _nodes(below, here)
        else:
            yield here, "leaf", below


def _is_leaf(value: dict[str, Any]) -> bool:
    return _is_currency(value) or "is_signed" in value


def _is_currency(value: Any) -> bool:
    return isinstance(value, dict) and "iso_4217_currency_code" in value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(kind: str, value: Any) -> str:
    return json.dumps(value) if kind == "leaf" else "[]" if kind == "array" else "{}"


def _insight(insight: dict[str, Any]) -> dict[str, Any]:
    return {"type": insight["type"], "content": insight["content"]}


def _citation(citation: dict[str, Any]) -> dict[str, Any]:
    page, polygon = citation.get("page") or {}, citation.get("polygon") or []
    xs, ys = [point["x"] for point in polygon], [point["y"] for point in polygon]
    return {
        "page": page.get("number"),
        "page_width": page.get("width"),
        "page_height": page.get("height"),
        "file_id": citation.get("fileId"),
        "reference_text": citation.get("referenceText"),
        "left": min(xs, default=None),
        "top": min(ys, default=None),
        "right": max(xs, default=None),
        "bottom": max(ys, default=None),
        "polygon": json.dumps(polygon),
    }
