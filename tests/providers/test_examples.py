"""Every example payload against values computed from its JSON by a naive walk of its own.

Nothing here uses `docruns.core.flatten` or `docruns.providers.extend.shapes.outputs`: two readers that share no code
must agree.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from docruns.core.batch import Batch
from docruns.core.tables import (
    CITATIONS,
    FIELDS,
    INSIGHTS,
    PROCESSOR_RUNS,
    RUN_FILES,
    SPLITS,
    TABLES,
    WORKFLOW_RUNS,
    WORKFLOW_STEPS,
)
from support.extend_payloads import FOLDER, RUNS, load, read, run_of, version

NO_RUNS = re.compile(
    r"list_|error\.|file\.|workflow\.|extractor\.|batch_|evaluation_|delete_|update_workflow_run\.request"
    r"|workflow_runs_batch|webhook\.signed_url|webhook\.parse_run|webhook\.workflow_run\.step_run"
)
"""Payloads that hold no run in full: lists, errors, the catalogue, batches, parts of runs."""


def test_every_payload_is_either_read_or_known_to_hold_no_run() -> None:
    """Every example payload is tested or listed with the reason why not."""
    rest = {path.name.removesuffix(".json") for path in FOLDER.glob("*.json")} - set(RUNS)
    assert [name for name in sorted(rest) if not NO_RUNS.match(name)] == []
    assert len(RUNS) == 35


# the naive walk


def is_currency(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"amount", "iso_4217_currency_code"}


def is_signature(value: Any) -> bool:
    parts = {"printed_name", "signature_date", "is_signed", "title_or_role"}
    return isinstance(value, dict) and set(value) == parts


def nodes(value: Any, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """(path, kind, value) of everything below a value. Keys in the examples need no quotes."""
    if isinstance(value, dict):
        below = [(f"{path}.{key}" if path else key, inner, False) for key, inner in value.items()]
    else:
        below = [(f"{path}[{i}]", inner, True) for i, inner in enumerate(value)]
    for at, inner, in_list in below:
        if isinstance(inner, (dict, list)) and not is_currency(inner) and not is_signature(inner):
            kind = "array" if isinstance(inner, list) else "item" if in_list else "object"
            yield at, kind, type(inner)()
            yield from nodes(inner, at)
        else:
            yield at, "leaf", inner


def is_fields_array(output: dict[str, Any]) -> bool:
    return not set(output) <= {"value", "metadata"}


def value_of(output: dict[str, Any] | None) -> Any:
    if output is None:
        return None
    if is_fields_array(output):
        return {name: field["value"] for name, field in output.items()}
    return output["value"]


def entries(output: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The metadata of each path: scores, insights, and citations as lists of cells."""
    if not is_fields_array(output):
        return {
            path: {
                "scores": [
                    by_path.get("ocrConfidence"),
                    by_path.get("logprobsConfidence"),
                    by_path.get("reviewAgentScore"),
                    by_path.get("confidence"),
                ],
                "insights": [(i["type"], i["content"]) for i in by_path.get("insights", [])],
                "citations": [polygon_citation(c) for c in by_path.get("citations", [])],
            }
            for path, by_path in output["metadata"].items()
        }
    found: dict[str, dict[str, Any]] = {}
    for name, field in output.items():
        found[name] = {
            "scores": [None, None, None, field["confidence"]],
            "insights": [(i["type"], i["content"]) for i in field.get("insights", [])],
            "citations": [],
        }
        for reference in field["references"]:
            path = name
            if reference["id"].isdigit():
                path = f"{name}[{reference['id']}].{reference['fieldName']}"
            by_path = found.setdefault(path, {"scores": [None] * 4, "insights": [], "citations": []})
            for box in reference["boundingBoxes"] or [{}]:
                sides = [box.get(side) for side in ("left", "top", "right", "bottom")]
                by_path["citations"].append([reference["page"], *[None] * 5, *sides, None])
    return found


def polygon_citation(citation: dict[str, Any]) -> list[Any]:
    page = citation["page"]
    if isinstance(page, dict):
        place = [page["number"], page["width"], page["height"]]
    else:
        place = [page, citation.get("pageWidth"), citation.get("pageHeight")]
    points = citation["polygon"]
    xs, ys = [p["x"] for p in points], [p["y"] for p in points]
    box = [min(xs), min(ys), max(xs), max(ys)]
    return [*place, citation.get("fileId"), citation["referenceText"], None, *box, points]


def lists(run: dict[str, Any], what: str) -> list[tuple[Any, ...]]:
    """(output, path, position, cells) of insights or citations: the final ones, and others that differ."""
    final = entries(run["output"]) if run.get("output") else {}
    found = []
    for name, key in (
        ("final", "output"),
        ("initial", "initialOutput"),
        ("reviewed", "reviewedOutput"),
    ):
        if not run.get(key):
            continue
        for path, by_path in entries(run[key]).items():
            known = final.get(path, {}).get(what, [])
            if name == "final" or by_path[what] != known:
                found += [(name, path, i, cells) for i, cells in enumerate(by_path[what])]
    return found


def processor_runs(run: dict[str, Any]) -> Iterator[tuple[dict[str, Any], int | None]]:
    """The processor runs in a document, with the position of their step."""
    if run["object"] != "workflow_run":
        yield run, None
        return
    at = 0
    for child in run.get("outputs", []):
        yield child, at
        at += 1
    for step in run.get("stepRuns", []):
        for key, child in (step.get("result") or {}).items():
            if key in ("extractRun", "classifyRun", "splitRun", "parseRun"):
                yield child, at
        at += 1


def kind_of(run: dict[str, Any]) -> str:
    kind = run.get("type") or run["object"].removesuffix("_run").upper()
    return {"SPLITTER": "SPLIT"}.get(kind, kind)


def moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")


def where(batch: Batch, table: Any, **cells: Any) -> list[dict[str, Any]]:
    rows = batch.dicts(table)
    return [row for row in rows if all(row[name] == value for name, value in cells.items())]


CASES = [
    pytest.param(child, position, name, id=f"{name}:{child['id']}")
    for name in RUNS
    for child, position in processor_runs(run_of(load(name)))
]
EXTRACTIONS = [case for case in CASES if kind_of(case.values[0]) == "EXTRACT"]


def batch_of(name: str) -> Batch:
    return read(load(name), version(name)).batch


@pytest.mark.parametrize("name", RUNS)
def test_a_payload_gives_one_row_for_each_of_its_runs(name: str) -> None:
    """The rows hold exactly the runs of the payload."""
    run = run_of(load(name))
    batch = batch_of(name)
    found = [(row["id"], row["workflow_step_position"]) for row in batch.dicts(PROCESSOR_RUNS)]
    assert found == [(child["id"], position) for child, position in processor_runs(run)]
    outer = [run["id"]] if run["object"] == "workflow_run" else []
    assert [row["id"] for row in batch.dicts(WORKFLOW_RUNS)] == outer


@pytest.mark.parametrize("name", [n for n in RUNS if run_of(load(n))["object"] == "workflow_run"])
def test_a_workflow_run_has_its_status_times_and_failure(name: str) -> None:
    """The cells of workflow_runs equal the payload's values in every API version."""
    run = run_of(load(name))
    [row] = batch_of(name).dicts(WORKFLOW_RUNS)
    usage = run.get("usage") or {}
    workflow, version_ = run["workflow"], run.get("workflowVersion", {})
    expected = {
        "id": run["id"],
        "status": run["status"],
        "is_final": run["status"] in ("PROCESSED", "FAILED", "CANCELLED", "REJECTED", "REVIEWED"),
        "name": run.get("name"),
        "workflow_id": workflow["id"],
        "workflow_name": workflow["name"],
        "workflow_version_id": version_.get("id"),
        "workflow_version": version_.get("version", workflow.get("version")),
        "batch_id": run.get("batchId"),
        "initial_run_at": moment(run.get("initialRunAt")),
        "started_at": moment(run.get("startTime")),
        "ended_at": moment(run.get("endTime")),
        "reviewed": run.get("reviewed", "reviewedAt" in run),
        "reviewed_by": run.get("reviewedBy") or run.get("reviewedByUser"),
        "reviewed_at": moment(run.get("reviewedAt")),
        "rejection_note": run.get("rejectionNote"),
        "failure_code": run.get("failureReason"),
        "failure_message": run.get("failureMessage"),
        "dashboard_url": run.get("url") or run.get("dashboardUrl"),
        "credits": usage.get("credits"),
        "total_credits": usage.get("totalCredits"),
    }
    assert {column: row[column] for column in expected} == expected
    assert json.loads(row["metadata"]) == run["metadata"]


@pytest.mark.parametrize("name", [n for n in RUNS if run_of(load(n))["object"] == "workflow_run"])
def test_a_workflow_run_has_its_steps_in_order_with_their_output(name: str) -> None:
    """Each step run is one row with its output, without the runs nested in it."""
    run = run_of(load(name))
    expected: list[tuple[Any, ...]] = [
        (None, None, None, child["type"], child.get("status"), None, child["id"])
        for child in run.get("outputs", [])
    ]
    for step in run.get("stepRuns", []):
        result = dict(step.get("result") or step.get("output") or {})
        nested = [result.pop(key) for key in list(result) if key.endswith("Run")]
        expected.append(
            (
                step["id"],
                step["step"]["id"],
                step["step"]["name"],
                step["step"]["type"],
                step["status"],
                result or None,
                nested[0]["id"] if nested else None,
            )
        )
    columns = ("step_run_id", "step_id", "name", "type", "status", "output", "processor_run_id")
    rows = batch_of(name).dicts(WORKFLOW_STEPS)
    assert [row["position"] for row in rows] == list(range(len(expected)))
    found = [
        tuple(json.loads(row[c]) if c == "output" and row[c] else row[c] for c in columns) for row in rows
    ]
    assert found == expected


@pytest.mark.parametrize(("run", "position", "name"), CASES)
def test_a_processor_run_has_its_status_times_credits_and_failure(
    run: dict[str, Any], position: int | None, name: str
) -> None:
    """The cells of processor_runs equal the payload's values in every API version."""
    [row] = where(batch_of(name), PROCESSOR_RUNS, id=run["id"])
    usage, config = run.get("usage") or {}, run.get("config") or {}
    part = next((run[k] for k in ("extractor", "classifier", "splitter") if run.get(k)), {})
    part_version = next(
        (run[f"{k}Version"] for k in ("extractor", "classifier", "splitter") if part and run.get(k)),
        {},
    )
    outer = run_of(load(name))
    nested = position is not None
    expected = {
        "type": kind_of(run),
        "status": run.get("status"),
        "is_final": run.get("status", outer["status"]) in ("PROCESSED", "FAILED", "CANCELLED"),
        "workflow_run_id": outer["id"] if nested else None,
        "workflow_step_position": position,
        "source": "WORKFLOW_RUN" if nested else run.get("source"),
        "source_id": outer["id"] if nested else run.get("sourceId"),
        "processor_id": run.get("processorId") or part.get("id"),
        "processor_name": run.get("processorName") or part.get("name"),
        "processor_version_id": run.get("processorVersionId") or part_version.get("id"),
        "processor_version": part_version.get("version"),
        "base_processor": config.get("baseProcessor") or config.get("engine"),
        "base_version": config.get("baseVersion") or config.get("engineVersion"),
        "batch_id": run.get("batchId"),
        "parse_run_id": run.get("parseRunId"),
        "edited": run.get("edited"),
        "failure_code": run.get("failureReason"),
        "failure_message": run.get("failureMessage"),
        "dashboard_url": run.get("url") or run.get("dashboardUrl"),
        "credits": usage.get("credits"),
        "total_credits": usage.get("totalCredits"),
    }
    if nested or "createdAt" in run:
        expected["created_at"] = moment(run.get("createdAt"))
        expected["updated_at"] = moment(run.get("updatedAt"))
    if "reviewed" in run:
        expected["reviewed"] = run["reviewed"]
    else:
        # where a version does not say it of the nested run, its workflow run may
        assert row["reviewed"] in (None, nested and "reviewedAt" in outer)
    if row["status"] is None:
        # v1 sends no status inside a workflow run: the outer one decides
        expected["is_final"] = True
    assert {column: row[column] for column in expected} == expected
    assert (json.loads(row["metadata"]) if row["metadata"] else None) == run.get("metadata")
    assert (json.loads(row["config"]) if row["config"] else None) == run.get("config")


@pytest.mark.parametrize(("run", "position", "name"), EXTRACTIONS)
def test_every_node_of_every_output_is_a_row(run: dict[str, Any], position: int | None, name: str) -> None:
    """`fields` holds each leaf, item, array and object of the three outputs, and nothing else."""
    batch = batch_of(name)
    rows = where(batch, FIELDS, processor_run_id=run["id"])
    expected: dict[str, dict[str, Any]] = {}
    for column, key in (
        ("value_json", "output"),
        ("initial_json", "initialOutput"),
        ("reviewed_json", "reviewedOutput"),
    ):
        for path, kind, value in nodes(value_of(run.get(key)) or {}):
            expected.setdefault(path, {"kind": kind})[column] = value
    columns = ("value_json", "initial_json", "reviewed_json")
    found = {
        row["path"]: {
            "kind": row["kind"],
            **{column: json.loads(row[column]) for column in columns if row[column] is not None},
        }
        for row in rows
    }
    assert found == expected
    assert len(rows) == len(expected)
    [run_row] = where(batch, PROCESSOR_RUNS, id=run["id"])
    leaves = sum(node["kind"] == "leaf" for node in expected.values())
    assert run_row["field_count"] == (leaves or None)


@pytest.mark.parametrize(("run", "position", "name"), EXTRACTIONS)
def test_every_leaf_has_its_typed_cells(run: dict[str, Any], position: int | None, name: str) -> None:
    """The typed cells of a field equal its JSON value."""
    expected = {}
    for path, kind, value in nodes(value_of(run.get("output")) or {}):
        text: str | None
        number = boolean = day = code = None
        if kind != "leaf" or value is None:
            text = None
        elif is_currency(value):
            text, number, code = (
                str(value["amount"]),
                value["amount"],
                value["iso_4217_currency_code"],
            )
        elif is_signature(value):
            text, boolean = json.dumps(value, separators=(",", ":")), value["is_signed"]
            day = date.fromisoformat(value["signature_date"]) if value["signature_date"] else None
        elif isinstance(value, str):
            text, day = value, date.fromisoformat(value) if path.endswith("_date") else None
        else:
            text, number = str(value), value
        expected[path] = (text, number, boolean, day, code)
    found = {
        row["path"]: tuple(
            row[c] for c in ("value", "value_number", "value_boolean", "value_date", "currency_code")
        )
        for row in where(batch_of(name), FIELDS, processor_run_id=run["id"])
    }
    assert found == expected


@pytest.mark.parametrize(("run", "position", "name"), EXTRACTIONS)
def test_every_score_stands_in_the_row_of_its_path(
    run: dict[str, Any], position: int | None, name: str
) -> None:
    """The scores are the model's own; a path without metadata has none."""
    output = run.get("initialOutput") or run.get("output")
    by_path = {path: entry["scores"] for path, entry in entries(output).items()} if output else {}
    rows = where(batch_of(name), FIELDS, processor_run_id=run["id"])
    columns = ("ocr_confidence", "logprobs_confidence", "review_agent_score", "confidence")
    assert by_path.keys() <= {row["path"] for row in rows}
    assert {row["path"]: [row[c] for c in columns] for row in rows} == {
        row["path"]: by_path.get(row["path"], [None] * 4) for row in rows
    }


@pytest.mark.parametrize(("run", "position", "name"), EXTRACTIONS)
def test_every_insight_and_citation_is_a_row(run: dict[str, Any], position: int | None, name: str) -> None:
    """Insights and citations equal the payload's, and the counts on the field agree."""
    batch = batch_of(name)
    insights = where(batch, INSIGHTS, processor_run_id=run["id"])
    assert sorted(
        (row["output"], row["path"], row["position"], (row["type"], row["content"])) for row in insights
    ) == sorted(lists(run, "insights"))
    citations = where(batch, CITATIONS, processor_run_id=run["id"])
    columns = CITATIONS.names[CITATIONS.names.index("page") : CITATIONS.names.index("extra")]
    found = []
    for row in citations:
        cells = [json.loads(row[c]) if c == "polygon" and row[c] else row[c] for c in columns]
        found.append((row["output"], row["path"], row["position"], cells))
    assert sorted(found, key=str) == sorted(lists(run, "citations"), key=str)
    counted = Counter(row["path"] for row in insights if row["output"] == "final")
    cited = Counter(row["path"] for row in citations if row["output"] == "final")
    first = {r["path"]: r["page"] for r in citations if (r["output"], r["position"]) == ("final", 0)}
    for row in where(batch, FIELDS, processor_run_id=run["id"]):
        expected = (counted[row["path"]], cited[row["path"]], first.get(row["path"]))
        assert (row["insight_count"], row["citation_count"], row["page"]) == expected


@pytest.mark.parametrize(("run", "position", "name"), EXTRACTIONS)
def test_every_edit_is_on_its_field(run: dict[str, Any], position: int | None, name: str) -> None:
    """A field is edited where it differs from the model's output or the platform marks an edit."""
    rows = {row["path"]: row for row in where(batch_of(name), FIELDS, processor_run_id=run["id"])}
    edits = {path: edit for path, edit in (run.get("edits") or {}).items() if edit is not None}
    changed = set(edits)
    if run.get("initialOutput"):
        before = {p: v for p, _, v in nodes(value_of(run["initialOutput"]))}
        after = {p: v for p, _, v in nodes(value_of(run["output"]))}
        assert before.keys() == after.keys()
        changed |= {path for path in after if after[path] != before[path]}
    assert {path for path, row in rows.items() if row["edited"]} == changed
    assert {path for path, row in rows.items() if row["edit_kind"] == "changed"} == changed
    for path, edit in edits.items():
        assert rows[path]["edit_note"] == edit["notes"]
        assert json.loads(rows[path]["extra"])["edit"] == edit


@pytest.mark.parametrize(("run", "position", "name"), [c for c in CASES if kind_of(c.values[0]) == "SPLIT"])
def test_every_split_is_a_row(run: dict[str, Any], position: int | None, name: str) -> None:
    """Each part of a split is one row with all of its cells, in the order of the list."""
    keys = [
        "id",
        "classificationId",
        "type",
        "name",
        "identifier",
        "startPage",
        "endPage",
        "fileId",
        "observation",
    ]
    columns = [
        "split_id",
        "classification_id",
        "type",
        "name",
        "identifier",
        "start_page",
        "end_page",
        "file_id",
        "observation",
    ]
    rows = where(batch_of(name), SPLITS, processor_run_id=run["id"])
    assert [[row["position"], *(row[c] for c in columns)] for row in rows] == [
        [i, *(split.get(key) for key in keys)] for i, split in enumerate(run["output"]["splits"])
    ]


@pytest.mark.parametrize(
    ("run", "position", "name"), [c for c in CASES if kind_of(c.values[0]) == "CLASSIFY"]
)
def test_every_classification_is_in_its_run(run: dict[str, Any], position: int | None, name: str) -> None:
    """A classification gives class, id and score; its insights belong to the whole output."""
    batch = batch_of(name)
    [row] = where(batch, PROCESSOR_RUNS, id=run["id"])
    output = run["output"]
    found = (row["classification_id"], row["classification"], row["classification_confidence"])
    assert found == (output["id"], output["type"], output["confidence"])
    assert [
        (r["output"], r["path"], r["position"], r["type"], r["content"])
        for r in where(batch, INSIGHTS, processor_run_id=run["id"])
    ] == [("final", "", i, e["type"], e["content"]) for i, e in enumerate(output["insights"])]


@pytest.mark.parametrize("name", RUNS)
def test_every_file_of_a_run_is_a_row(name: str) -> None:
    """Each file of a workflow or processor run is one row; page_count is the sum of the pages."""
    run = run_of(load(name))
    owners = [(run, "workflow")] if run["object"] == "workflow_run" else []
    owners += [(child, "processor") for child, _ in processor_runs(run)]
    expected = []
    for owner, kind in owners:
        files = owner.get("files") or [f for f in [owner.get("file")] if f]
        for i, file in enumerate(files):
            known = file.get("metadata", {})
            expected.append(
                (
                    owner["id"],
                    kind,
                    i,
                    file.get("id"),
                    file["name"],
                    file.get("type"),
                    known.get("pageCount"),
                    file.get("parentFileId"),
                    known.get("parentSplit"),
                    moment(file.get("createdAt")),
                    moment(file.get("updatedAt")),
                )
            )
    batch = batch_of(name)
    found = []
    for row in batch.dicts(RUN_FILES):
        split = json.loads(row["parent_split"]) if row["parent_split"] else None
        cells = list(row.values())[:-1]
        cells[RUN_FILES.names.index("parent_split")] = split
        found.append(tuple(cells))
    assert found == expected
    pages = Counter[str]()
    for cells in expected:
        pages[cells[0]] += cells[6] or 0
    for row in batch.dicts(PROCESSOR_RUNS):
        assert row["page_count"] == (pages[row["id"]] or None)


# nothing is lost

NOT_LOADED = re.compile(
    r"""(.*\.)?object                # says which class to read, nothing about the run

    # the catalogue's own facts about a workflow or processor: they are in its tables
    | workflow\.(createdAt|updatedAt|createdBy\.\w+)
    | workflowVersion\.(createdAt|name|createdBy\.\w+)
    | (.*\.)?(extractor|classifier|splitter)\.(createdAt|updatedAt)
    | (.*\.)?(extractor|classifier|splitter)Version\.(createdAt|description|\w+Id|createdBy\.\w+)

    | stepRuns\[\]\.workflowRunId    # the run itself, again
    | stepRuns\[\]\.files\[\]\..*     # those of the nested run; a step without one keeps their ids
    | (.*\.)?parseRun\.output\..*    # chunks and blocks are the document itself
    """,
    re.VERBOSE,
)
PARSED = re.compile(r"output\..*$")
# whatever the key holds: a list of them is as secret as one
PRESIGNED = re.compile(r"(.*\.)?(presignedUrl|outputUrl|fileUrl|signedUrl)(\.|\[\]|$)")


def scalars(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path without indexes, value) of every scalar except null."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from scalars(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for inner in value:
            yield from scalars(inner, f"{path}[]")
    elif value is not None:
        yield path, value


def token(value: Any) -> Any:
    """A scalar in the form that is compared between payload and cells."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, (int, float)):
        return ("number", float(value))
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", value):
        return ("time", moment(value))
    if isinstance(value, datetime):
        return ("time", value)
    return ("text", str(value))


def cells_of(batch: Batch) -> set[Any]:
    """Every scalar in every cell, and in the JSON of cells."""
    found: set[Any] = set()
    for table in TABLES:
        kinds = {column.name: column.type for column in table.columns}
        for row in batch.dicts(table):
            for name, value in row.items():
                if value is None:
                    continue
                found.add(token(value))
                if kinds[name] == "json" or name.endswith("_json"):
                    found |= {token(inner) for _, inner in scalars(json.loads(value))}
    return found


def lost(document: Any, name: str) -> list[str]:
    run = run_of(document)
    known = cells_of(read(document, version(name)).batch)
    return [
        f"{path} = {value!r}"
        for path, value in scalars(run)
        if token(value) not in known
        and not NOT_LOADED.fullmatch(path)
        and not PRESIGNED.match(path)
        and not (run["object"] == "parse_run" and PARSED.match(path))
        # a row's index stands in the citation's path
        and not (path.endswith("references[].id") and value.isdigit())
    ]


@pytest.mark.parametrize("name", RUNS)
def test_every_scalar_of_a_payload_is_in_some_cell(name: str) -> None:
    """Every value of the payload arrives in a table, except for the listed ones."""
    assert lost(load(name), name) == []


KEPT = ("object", "type", "stepType", "extend:type", "unit", "product")
"""Keys whose values decide how a payload is read: they stay as they are."""


def marked(value: Any, marks: Iterator[int], key: str = "") -> Any:
    """The document with all scalars different, so that equal ones cannot hide a loss."""
    if isinstance(value, dict):
        return {k: marked(v, marks, k) for k, v in value.items()}
    if isinstance(value, list):
        return [marked(v, marks, key) for v in value]
    if value is None or isinstance(value, bool) or key in KEPT:
        return value
    mark = next(marks)
    if isinstance(value, float):
        return mark + 0.5
    if isinstance(value, int):
        return mark
    if re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", value):
        at = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=mark)
        return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return f"{value} {mark}"


@pytest.mark.parametrize("name", RUNS)
def test_no_scalar_is_saved_only_by_an_equal_one(name: str) -> None:
    """Every value arrives where all values of all three outputs differ."""
    document = marked(load(name), itertools.count(1000))
    assert lost(document, name) == []


def with_presigned_urls(value: Any) -> Any:
    """A presigned URL in every object that belongs to the platform.

    Customers' values stay as they are.
    """
    if isinstance(value, list):
        return [with_presigned_urls(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    own = {k: v if k in ("value", "config", "data") else with_presigned_urls(v) for k, v in value.items()}
    own["metadata"] = value.get("metadata") if "reviewed" in value else own.get("metadata")
    secret = "https://files.invalid/x.pdf?sig=SECRET"
    if "object" in value or "rules" in value or "splits" in value:
        own |= dict.fromkeys(("presignedUrl", "outputUrl", "fileUrl", "signedUrl"), secret)
    if value.get("object") == "file":
        own["contents"] = {"rawText": "SECRET"}
    return own


@pytest.mark.parametrize("name", RUNS)
def test_no_presigned_url_reaches_a_cell(name: str) -> None:
    """No table holds a presigned URL, wherever the platform puts it."""
    plain = load(name)
    urls = [value for path, value in scalars(plain) if PRESIGNED.match(path)]
    text = str(read(plain, version(name), include_parse_output=True).batch._rows)
    assert [url for url in urls if url in text] == []
    spiked = with_presigned_urls(copy.deepcopy(plain))
    assert "SECRET" in json.dumps(spiked)
    assert "SECRET" not in str(read(spiked, version(name), include_parse_output=True).batch._rows)
