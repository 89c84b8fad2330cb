"""Plextera's payloads as rows: no value is lost, in whatever shape it comes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from docruns.core.codec import decode
from docruns.core.errors import ShapeError
from docruns.core.flatten.flatten import flatten_outputs
from docruns.core.parsed import NestedLink, ParentStep, ParsedRun
from docruns.core.tables import (
    CITATIONS,
    FIELDS,
    PROCESSOR_RUNS,
    TABLES,
    WORKFLOW_RUNS,
    WORKFLOW_STEPS,
)
from docruns.providers.plextera import outputs, runs
from docruns.providers.plextera.runs import Context
from docruns.store.arrow import to_tables
from docruns.sync.plan import ListedRun

PAYLOADS = Path(__file__).parents[1] / "support" / "payloads" / "plextera"


def runs_and_extractions() -> dict[str, dict[str, Any]]:
    """Every run and extraction of the example payloads: single ones, in lists and in events."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(PAYLOADS.glob("*.json")):
        name, body = path.stem, json.loads(path.read_text())
        if name.startswith(("run_", "extraction_")):
            found[name] = body
        elif name.startswith(("runs_list", "extractions_list")):
            found |= {f"{name}[{i}]": row for i, row in enumerate(body["data"])}
        elif name.startswith(("event_extraction", "event_workflow")):
            found[name] = body["data"]
    return found


EXAMPLES = runs_and_extractions()


def read(payload: dict[str, Any], context: Context | None = None) -> ParsedRun:
    """A payload's rows."""
    id_ = payload.get("id") or payload.get("runId") or payload.get("extractionId")
    reader = runs.workflow_run if "steps" in payload or "workflow" in payload else runs.extraction
    listed = ListedRun(str(id_), None, None, None)
    return reader(json.dumps(payload).encode(), listed, context or Context("w"))


def scalars(value: Any) -> list[str]:
    """Every string, number and boolean of a JSON value, as JSON text."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in scalars(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in scalars(inner)]
    return [] if value is None else [json.dumps(value)]


def cells(reading: ParsedRun) -> str:
    """All cells of all rows as one text, with timestamps as JSON has them."""
    batches = [reading.batch, *reading.partial.values()]
    texts = []
    for table in TABLES:
        for batch in batches:
            for row in batch.dicts(table):
                for cell in row.values():
                    if hasattr(cell, "isoformat"):
                        texts.append(json.dumps(cell.isoformat().replace("+00:00", "Z")))
                    elif isinstance(cell, str):
                        texts += [cell, json.dumps(cell)]
                    elif cell is not None:
                        texts.append(json.dumps(cell))
    return "\n".join(texts)


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_scalar_of_an_example_is_lost(name: str) -> None:
    """Every value of every documented run and extraction is in a cell, or in a JSON cell."""
    payload = EXAMPLES[name]
    reading = read(payload)
    to_tables(reading.batch)
    text = cells(reading)
    seconds = text.replace("00.125000Z", "00.125Z")
    lost = [s for s in scalars(payload) if s not in seconds and json.dumps(_utc(s)) not in seconds]
    assert lost == []


def _utc(text: str) -> str:
    from docruns.core.codec import timestamp

    at = timestamp(json.loads(text)) if text.startswith('"') else None
    return at.isoformat().replace("+00:00", "Z") if at else text


def test_a_run_and_its_steps() -> None:
    """All rows of a failed run: durations as they came, the error as data, steps in order."""
    reading = read(EXAMPLES["run_failed"])
    (run,) = reading.batch.dicts(WORKFLOW_RUNS)
    payload = EXAMPLES["run_failed"]
    assert (run["id"], run["status"], run["is_final"]) == (payload["id"], "FAILED", True)
    assert (run["failure_code"], run["failure_message"]) == tuple(payload["error"].values())
    assert run["steps_total"] == payload["progress"]["stepsTotal"]
    assert run["duration_ms"] == payload.get("durationMs")
    assert run["depth"] == 0
    assert run["root_run_id"] == run["id"]
    steps = reading.batch.dicts(WORKFLOW_STEPS)
    assert [step["position"] for step in steps] == list(range(len(payload["steps"])))
    assert [step["name"] for step in steps] == [step["name"] for step in payload["steps"]]


def test_nested_runs_are_rows_of_their_own() -> None:
    """Two levels: each nested run has its parent, step, root and depth."""
    reading = read(EXAMPLES["run_nested_two_levels"])
    found = {
        run["id"][-4:]: (run["parent_run_id"] or "")[-4:] + f"/{run['depth']}"
        for run in reading.batch.dicts(WORKFLOW_RUNS)
    }
    assert found == {"2c05": "/0", "2d11": "2c05/1", "2e21": "2d11/2", "2d12": "2c05/1"}
    assert {run["root_run_id"][-4:] for run in reading.batch.dicts(WORKFLOW_RUNS)} == {"2c05"}
    assert reading.links["7a10c4e2b95d3f6081aa2e21"].parent_step_id == "step_01"


def test_edges_are_tolerated() -> None:
    """Null steps, null objects, unknown statuses and keys, offsets, counts that differ from lists."""
    reading = read(EXAMPLES["run_edge_tolerance"])
    (run,) = reading.batch.dicts(WORKFLOW_RUNS)
    assert (run["status"], run["is_final"]) == ("SOMETHING_NEW", False)
    assert run["updated_at"].isoformat() == "2026-05-04T12:00:01+00:00"
    assert json.loads(run["extra"]) == {"futureField": {"a": 1}}
    steps = reading.batch.dicts(WORKFLOW_STEPS)
    assert [step["position"] for step in steps] == [1, 2]
    assert [step["nested_run_count"] for step in steps] == [3, None]
    assert steps[0]["output"] == '"plain text"'
    assert list(reading.partial) == ["7a10c4e2b95d3f6081aa2d13"]


def test_a_run_read_alone_keeps_its_known_parent() -> None:
    """A run that is fetched separately later keeps its parent."""
    link = NestedLink("parent", "step_09", "root", 4)
    reading = read(EXAMPLES["run_completed"], Context(link_of=lambda _: link))
    (run,) = reading.batch.dicts(WORKFLOW_RUNS)
    names = ("parent_run_id", "parent_step_id", "root_run_id", "depth")
    assert [run[name] for name in names] == list(link)


def test_missing_steps_leave_earlier_ones_alone() -> None:
    """A run without the key `steps` leaves its steps unchanged. An empty list removes them."""
    known = read({"id": "a", "workflow": {}, "steps": []})
    unknown = read({"id": "a", "workflow": {}})
    assert len(known.batch.rows(WORKFLOW_STEPS)) == 1
    assert unknown.batch.rows(WORKFLOW_STEPS) == []


@pytest.mark.parametrize(
    ("output", "known", "expected"),
    [
        ({"extractionId": "e1"}, (), ["e1"]),
        ({"result": {"extraction": {"extractionId": "e1"}}}, (), ["e1"]),
        ({"documents": [{"extraction_id": "e1"}, {"extractionId": "e2"}]}, (), ["e1", "e2"]),
        ({"id": "e1"}, (), ["e1"]),
        ({"id": "x", "made": ["y", "e1"]}, ("e1",), ["e1"]),
        (["e1"], ("e1",), ["e1"]),
        ("e1", ("e1",), ["e1"]),
        (None, ("e1",), []),
        (17, (), []),
        ({"id": 5}, (), []),
    ],
)
def test_extraction_in_a_step_s_output(output: Any, known: tuple[str, ...], expected: list[str]) -> None:
    """An extraction is found by its key at any depth, by a known id, or as the output's id."""
    assert outputs.extraction_ids(decode(json.dumps(output)), known) == expected


def test_a_linked_extraction_has_its_run() -> None:
    """A document_insights step fills its own processor_run_id and the extraction's workflow run."""
    run = {
        "id": "r",
        "workflow": {},
        "steps": [{"id": "s", "type": "document_insights", "output": {"extractionId": "e"}}],
    }
    reading = read(run)
    assert reading.batch.dicts(WORKFLOW_STEPS)[0]["processor_run_id"] == "e"
    assert reading.parents == {"e": ParentStep("r", 0)}
    body = json.dumps({"id": "e", "status": "COMPLETED"}).encode()
    extraction = runs.extraction(body, ListedRun("e", None, None, None), Context(), ParentStep("r", 0))
    (row,) = extraction.batch.dicts(PROCESSOR_RUNS)
    assert (row["workflow_run_id"], row["workflow_step_position"]) == ("r", 0)


def test_every_extraction_that_a_step_names_has_its_run() -> None:
    """A step may make several extractions: its row has the first, and each one has its workflow run."""
    made = {"documents": [{"extractionId": "e1"}, {"extractionId": "e2"}]}
    steps = [None, {"id": "s", "type": "document_insights", "output": made}]
    reading = read({"id": "r", "workflow": {}, "steps": steps})
    assert reading.batch.dicts(WORKFLOW_STEPS)[0]["processor_run_id"] == "e1"
    assert reading.parents == {"e1": ParentStep("r", 1), "e2": ParentStep("r", 1)}


def test_fields_of_shape_a() -> None:
    """Scalars, a group and a table have the same paths, kinds and scores as on other platforms."""
    reading = read(EXAMPLES["extraction_completed__fields_inferred"])
    found = {row["path"]: row for row in reading.batch.dicts(FIELDS)}
    assert found["grossAmount"]["value_number"] == 1284.5
    assert found["prepaid"]["value_boolean"] is False
    assert found["invoiceDate"]["value_date"].isoformat() == "2026-05-02"
    assert found["shipTo.city"]["value"] == "Utrecht"
    assert found["lines[1].sku"]["confidence"] == 0.94
    assert (found["lines"]["kind"], found["lines[0]"]["kind"]) == ("array", "item")
    assert found["lines"]["citation_count"] == 2
    box = next(c for c in reading.batch.dicts(CITATIONS) if c["path"] == "invoiceNumber")
    assert [box[side] for side in ("left", "top", "right", "bottom")] == [
        0.62, 0.08, pytest.approx(0.82), pytest.approx(0.1),
    ]  # fmt: skip


def test_fields_of_shape_b() -> None:
    """Other key names, repeated fields, a bare string and a null: each has its own path."""
    reading = read(EXAMPLES["extraction_completed__fields_inferred_alt"])
    found = {row["path"]: row for row in reading.batch.dicts(FIELDS)}
    assert (found["Total[0]"]["value"], found["Total[0]"]["currency_code"]) == ("88.10", "EUR")
    assert found["Total[0]"]["value_number"] == 88.10
    assert found["Total[1]"]["confidence"] == 41.0
    assert found["notes[1]"]["value"] == "ring twice"
    assert found["3"]["value"] == "bare string field"
    assert found["4"]["value_json"] == "null"
    (box,) = reading.batch.dicts(CITATIONS)
    assert (box["page"], box["left"], box["bottom"]) == (1, 10.0, 32.0)


def test_a_value_that_is_wrapped_twice_keeps_both() -> None:
    """The value has the inner score. Extra keeps the field as it came."""
    inner = {"value": "A1", "confidence": 0.97, "note": "x"}
    field = {"name": "sku", "value": inner, "confidence": 0.5, "placements": [{"page": 2}]}
    reading = read({"id": "e", "document": {}, "output": {"fields": [field]}})
    [row] = reading.batch.dicts(FIELDS)
    assert (row["path"], row["value"], row["confidence"]) == ("sku", "A1", 0.97)
    assert (row["page"], json.loads(row["extra"])) == (2, {"element": field})


@pytest.mark.parametrize("literal", ["1e999", "-1e999", "9" * 400])
def test_a_score_that_no_double_holds_is_none(literal: str) -> None:
    """Extra keeps the score in the field as it came."""
    field = f'{{"name":"a","value":1,"confidence":{literal}}}'
    body = f'{{"id":"e","output":{{"fields":[{field}]}}}}'.encode()
    reading = runs.extraction(body, ListedRun("e", None, None, None), Context())
    [row] = reading.batch.dicts(FIELDS)
    assert (row["confidence"], row["extra"]) == (None, f'{{"element":{field}}}')


def test_names_that_no_table_should_hold_are_refused() -> None:
    """The path of each row repeats the names above it, so long names multiply."""
    items = [{"items": []}] * 20_000
    field = {"name": "k" * 20_000, "type": "TABLE", "rows": items}
    with pytest.raises(ShapeError, match="too many fields"):
        read({"id": "e", "document": {}, "output": {"fields": [field]}})


@pytest.mark.parametrize("key", ["presignedUrl", "outputUrl", "fileUrl", "signedUrl"])
def test_a_step_s_output_holds_no_key_to_a_document(key: str) -> None:
    """Under any of the known keys, also where a text has one presigned URL only."""
    output = {"a": [{key: "https://files.invalid/?sig=SECRET", "kept": 1}]}
    steps = [{"id": "s", "type": "http", "output": output}]
    reading = read({"id": "r", "workflow": {}, "steps": steps})
    assert reading.batch.dicts(WORKFLOW_STEPS)[0]["output"] == '{"a":[{"kept":1}]}'


def test_a_step_that_is_no_object_holds_no_key_to_a_document() -> None:
    """Values that are kept as they came lose presigned URLs, also in a list."""
    steps = [
        [{"presignedUrl": "SECRET", "a": 1}],
        {"nestedRuns": {"data": [[{"presignedUrl": "SECRET"}]]}},
    ]
    reading = read({"id": "r", "workflow": {}, "steps": steps})
    assert "SECRET" not in str(reading.batch._rows)
    assert [row["extra"] for row in reading.batch.dicts(WORKFLOW_STEPS)] == [
        '{"step":[{"a":1}]}',
        '{"nestedRuns":{"data":[[{}]]}}',
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[]", "not a JSON object"),
        (b"{}", "no id"),
        (b'{"id": "other"}', "about another"),
        (b'{"id": 5}', "no id"),
    ],
)
def test_answers_that_are_no_run(body: bytes, reason: str) -> None:
    """An answer that is not the requested run is refused with its reason."""
    for reader in (runs.workflow_run, runs.extraction):
        with pytest.raises(ShapeError, match=reason):
            reader(body, ListedRun("x", None, None, None), Context())


KEYS = st.sampled_from(
    [
        "id",
        "name",
        "label",
        "key",
        "fieldId",
        "type",
        "fieldType",
        "value",
        "normalizedValue",
        "text",
        "confidence",
        "score",
        "placements",
        "placement",
        "fields",
        "children",
        "rows",
        "items",
        "page",
        "pageIndex",
        "x",
        "y",
        "width",
        "height",
        "polygon",
        "a.b",
        "",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["table", "GROUP", "money", "string", "x"])
)
JSONS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(JSONS, max_size=6))
def test_whatever_a_field_looks_like_it_is_kept(elements: list[Any]) -> None:
    """Any elements give rows with unique paths that fit the tables, and extra keeps each element."""
    fields = [Raw(json.dumps(element).encode()) for element in elements]
    flat = flatten_outputs("r", None, outputs.make_output(fields))
    found = [dict(zip(FIELDS.names, row, strict=True)) for row in flat.fields]
    assert len({row["path"] for row in found}) == len(found)
    kept = [json.loads(row["extra"])["element"] for row in found if row["extra"]]
    for element in elements:
        assert element in kept
    assert len(kept) == len(elements)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, JSONS, max_size=6), JSONS, JSONS)
def test_whatever_a_run_looks_like_it_loads(more: dict[str, Any], steps: Any, output: Any) -> None:
    """Any JSON anywhere gives rows that fit the tables, and cells hold its scalars."""
    for payload in (
        {**more, "id": "r", "steps": steps, "workflow": output},
        {**more, "id": "r", "steps": [{"type": "document_insights", "output": output}, steps]},
    ):
        reading = runs.workflow_run(json.dumps(payload).encode(), ListedRun("r", None, None, None), Context())
        to_tables(reading.batch)
    body = json.dumps({**more, "id": "r", "output": output, "document": steps}).encode()
    to_tables(runs.extraction(body, ListedRun("r", None, None, None), Context()).batch)
