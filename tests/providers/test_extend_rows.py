from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from docruns.core.errors import ShapeError
from docruns.core.parsed import ParentStep, ParsedRun
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
    Table,
)
from docruns.providers.extend.processor_runs import Context
from docruns.providers.extend.workflow_runs import processor_run, workflow_run
from docruns.store.arrow import to_tables
from docruns.sync.plan import ListedRun
from support.extend_payloads import FOLDER, RUNS, load, read, version

GOLDEN = Path(__file__).parent / "golden"


def golden(reading: ParsedRun) -> dict[str, Any]:
    """A parsed run as JSON: without null cells, with JSON cells decoded, and with the names of cleared runs."""
    found: dict[str, Any] = {"is_final": reading.is_final, "inside": list(reading.nested_ids)}
    cleared: dict[str, list[str]] = {}
    for table in TABLES:
        rows = reading.batch.dicts(table)
        if table.set_of:
            at = table.names.index(table.set_of)
            marked = [row[at] for row in reading.batch.rows(table) if row[-1] is True]
            if marked:
                cleared[table.name] = marked
        if rows:
            found[table.name] = [_cells(table, row) for row in rows]
    return {**found, "cleared": cleared}


def alone(run: dict[str, Any]) -> ParsedRun:
    """A processor run that is fetched separately."""
    listed = ListedRun(run["id"], None, None, None)
    return processor_run(json.dumps(run).encode(), listed, Context("2026-02-09"))


def _cells(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    cells = {}
    for column in table.columns:
        value = row.get(column.name)
        if value is None:
            continue
        if column.type == "json":
            value = json.loads(value)
        elif isinstance(value, (datetime, date)):
            value = value.isoformat()
        cells[column.name] = value
    return cells


def _write(path: Path, content: dict[str, Any]) -> None:
    # one row a line: that is what a reader compares
    lines = []
    for key, value in content.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in value)
            text = f"[\n{rows}\n ]"
        lines.append(f" {json.dumps(key)}: {text}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


@pytest.mark.parametrize("name", RUNS)
def test_a_run_gives_exactly_these_rows(name: str) -> None:
    """One run gives the reviewed rows, every cell of every table (DOCRUNS_GOLDEN=write renews them)."""
    found = golden(read(load(name), version(name)))
    path = GOLDEN / f"{name}.json"
    if os.environ.get("DOCRUNS_GOLDEN") == "write":
        _write(path, found)
    expected = json.loads(path.read_text())
    for key in expected.keys() | found.keys():
        assert found.get(key) == expected.get(key), key


def test_every_golden_file_has_its_payload() -> None:
    """A golden file without its payload would never be compared."""
    assert sorted(path.stem for path in GOLDEN.glob("*.json")) == RUNS


# cases that no example has


LISTED = ListedRun("r_1", "PROCESSED", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
CONTEXT = Context("2026-02-09", "ws_1")


def processor(run: dict[str, Any], listed: ListedRun = LISTED, **context: Any) -> ParsedRun:
    body = json.dumps({"id": "r_1", **run}).encode()
    return processor_run(body, listed, CONTEXT._replace(**context))


def workflow(run: dict[str, Any], listed: ListedRun = LISTED, **context: Any) -> ParsedRun:
    body = json.dumps({"object": "workflow_run", "id": "r_1", **run}).encode()
    return workflow_run(body, listed, CONTEXT._replace(**context))


def only(reading: ParsedRun, table: Table) -> dict[str, Any]:
    [row] = reading.batch.dicts(table)
    return row


def extra(reading: ParsedRun, table: Table = PROCESSOR_RUNS) -> Any:
    return json.loads(only(reading, table)["extra"] or "null")


def test_a_workflow_run_takes_from_its_list_row_what_its_details_lack() -> None:
    """In some versions only the list has the dates, version id, reviewer and rejection note."""
    summary = {
        "workflowVersionId": "wv_1",
        "reviewedByUser": "a@b.example",
        "rejectionNote": "twice",
    }
    row = only(workflow({}, LISTED._replace(summary=summary)), WORKFLOW_RUNS)
    assert {k: v for k, v in row.items() if v is not None} == {
        "id": "r_1",
        "workspace": "ws_1",
        "api_version": "2026-02-09",
        "status": "PROCESSED",
        "is_final": True,
        "workflow_version_id": "wv_1",
        "created_at": LISTED.created_at,
        "updated_at": LISTED.updated_at,
        "reviewed": False,
        "reviewed_by": "a@b.example",
        "rejection_note": "twice",
        "root_run_id": "r_1",
        "depth": 0,
    }


def test_what_details_say_outweighs_the_list_row() -> None:
    """The list was read before the details, so the details are newer."""
    summary = {"reviewedByUser": "old@b.example", "rejectionNote": "old"}
    run = {"reviewedByUser": "new@b.example", "rejectionNote": "new", "status": "REJECTED"}
    row = only(workflow(run, LISTED._replace(status="PENDING", summary=summary)), WORKFLOW_RUNS)
    found = (row["reviewed_by"], row["rejection_note"], row["status"], row["is_final"])
    assert found == ("new@b.example", "new", "REJECTED", True)


def test_a_nested_run_takes_its_dates_from_its_own_list_row() -> None:
    """In 2025-04-21 only their list has the dates of processor runs."""
    nested = ListedRun(
        "dpr_1", "PROCESSED", datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC)
    )
    run = {"outputs": [{"object": "document_processor_run", "id": "dpr_1", "type": "EXTRACT"}]}
    row = only(workflow(run, summaries={"dpr_1": nested}), PROCESSOR_RUNS)
    assert (row["created_at"], row["updated_at"]) == (nested.created_at, nested.updated_at)


def test_a_run_read_alone_hangs_where_an_earlier_load_saw_it() -> None:
    """A nested run that is fetched separately keeps the link to its workflow run."""
    body = b'{"object": "extract_run", "id": "r_1", "output": {"value": {"a": 1}, "metadata": {}}}'
    reading = processor_run(body, LISTED, CONTEXT, ParentStep("wr_1", 4))
    row = only(reading, PROCESSOR_RUNS)
    assert (row["workflow_run_id"], row["workflow_step_position"]) == ("wr_1", 4)
    assert only(reading, FIELDS)["workflow_run_id"] == "wr_1"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"id": "r_1"',
        b'{"id": "r_1", "x": "\xff"}',
        b'{"object": "workflow_run"}',
        b'{"id": null}',
        b'{"id": 1}',
        b'{"id": "another"}',
    ],
)
def test_an_answer_that_is_not_the_run_is_refused(body: bytes) -> None:
    """Cut off, not JSON, without id or about another run: an error, never a row with a wrong id."""
    with pytest.raises(ShapeError):
        to_tables(workflow_run(body, LISTED, CONTEXT).batch)
    with pytest.raises(ShapeError):
        to_tables(processor_run(body, LISTED, CONTEXT).batch)


@pytest.mark.parametrize("id_", ['exr_"1', "exr_\\1", "exr_é\n"])
def test_an_odd_id_is_kept_whole(id_: str) -> None:
    """Ids are opaque: every table has them as they came."""
    run = {"object": "extract_run", "id": id_, "output": {"value": {"a": 1}, "metadata": {}}}
    reading = processor(run, LISTED._replace(id=id_))
    assert only(reading, PROCESSOR_RUNS)["id"] == id_
    assert only(reading, FIELDS)["processor_run_id"] == id_


@pytest.mark.parametrize("status", ["PENDING", "PROCESSING", "NEEDS_REVIEW", "CANCELLING", "NEW_ONE"])
def test_an_unfinished_or_unknown_status_is_not_final(status: str) -> None:
    """The next load checks such runs again."""
    assert workflow({"status": status}).is_final is False
    assert only(workflow({"status": status}), WORKFLOW_RUNS)["is_final"] is False
    assert processor({"object": "extract_run", "status": status}).is_final is False


@pytest.mark.parametrize("status", ["PROCESSED", "FAILED", "CANCELLED", "REJECTED", "REVIEWED"])
def test_a_finished_workflow_run_is_final(status: str) -> None:
    """The final statuses of all versions together."""
    assert workflow({"status": status}).is_final is True


def test_a_run_without_results_clears_all_that_it_had() -> None:
    """A run without results has no rows in the tables: every child table gets a clearing row."""
    reading = processor({"object": "extract_run", "status": "FAILED", "output": None})
    tables = (FIELDS, INSIGHTS, CITATIONS, SPLITS, RUN_FILES)
    assert {t.name: reading.batch.rows(t) for t in tables} == {
        t.name: [t.clearing_row("r_1")] for t in tables
    }
    outer = workflow({"status": "FAILED"})
    assert {t.name: outer.batch.rows(t) for t in (WORKFLOW_STEPS, RUN_FILES)} == {
        t.name: [t.clearing_row("r_1")] for t in (WORKFLOW_STEPS, RUN_FILES)
    }


FILE = {"object": "file", "id": "file_1", "name": "a.pdf", "metadata": {"pageCount": 2}}


@pytest.mark.parametrize("files", [[], None])
def test_a_single_file_counts_where_the_list_is_empty(files: Any) -> None:
    """`files` is for runs with several files. If it is empty or null, `file` counts."""
    reading = processor({"object": "extract_run", "file": FILE, "files": files})
    row = only(reading, RUN_FILES)
    assert (row["file_id"], row["page_count"]) == ("file_1", 2)
    assert only(reading, PROCESSOR_RUNS)["page_count"] == 2


def test_a_file_beside_a_list_of_files_is_kept() -> None:
    """If a run has both, the list gives the rows and `file` is kept in extra."""
    run = {"object": "extract_run", "file": {**FILE, "id": "file_2"}, "files": [FILE]}
    reading = processor(run)
    assert [row["file_id"] for row in reading.batch.dicts(RUN_FILES)] == ["file_1"]
    assert extra(reading)["file"]["id"] == "file_2"


def test_the_oldest_files_lie_flat_in_extra_without_their_url() -> None:
    """Old runs have fileId, fileName and fileUrl in place of an object: extra keeps all but the URL."""
    run = {"fileId": "f_1", "fileName": "a.pdf", "fileUrl": "https://files.invalid/?sig=SECRET"}
    assert extra(workflow(run), WORKFLOW_RUNS) == {"fileId": "f_1", "fileName": "a.pdf"}


@pytest.mark.parametrize("key", ["presignedUrl", "outputUrl", "fileUrl", "signedUrl"])
def test_a_presigned_url_leaves_every_json_cell(key: str) -> None:
    """Outputs that are kept as JSON, outputs of steps and unknown keys lose presigned URLs at any depth."""
    inner = {"a": [{key: "https://files.invalid/?sig=SECRET", "kept": 1}]}
    readings = [
        processor({"object": "split_run", "output": {"splits": []}, "initialOutput": inner}),
        processor({"object": "edit_run", "output": inner}),
        processor({"object": "parse_run", "output": inner}, include_parse_output=True),
        processor({"object": "extract_run", "unknown": inner}),
        workflow({"stepRuns": [{"step": {"type": "X"}, "output": inner}]}),
        workflow({"stepRuns": [{"step": {"type": "X"}, "result": inner}]}),
        workflow({"stepRuns": [{"step": {"type": "X"}, "unknown": inner}]}),
    ]
    for reading in readings:
        text = str(golden(reading))
        assert "SECRET" not in text
        assert "'kept': 1" in text


def test_a_classification_that_review_changed_keeps_both() -> None:
    """The class is the final one.

    The model's class has its own column, and its other values are in extra.
    """
    reading = processor(
        {
            "object": "classify_run",
            "output": {"id": "c_2", "type": "order", "confidence": 1, "insights": []},
            "initialOutput": {
                "id": "c_1",
                "type": "invoice",
                "confidence": 0.4,
                "insights": [{"type": "reasoning", "content": "A total."}],
            },
            "reviewedOutput": {"id": "c_2", "type": "order", "confidence": 1, "insights": []},
        }
    )
    row = only(reading, PROCESSOR_RUNS)
    found = (row["classification_id"], row["classification"], row["classification_confidence"])
    assert found == ("c_2", "order", 1.0)
    assert (row["initial_classification"], row["initial_confidence"]) == ("invoice", 0.4)
    assert extra(reading) == {"initialOutput": {"id": "c_1", "type": "invoice", "confidence": 0.4}}
    assert only(reading, INSIGHTS) == {
        "processor_run_id": "r_1",
        "output": "initial",
        "path": "",
        "position": 0,
        "type": "reasoning",
        "content": "A total.",
        "extra": None,
    }


def test_a_classification_that_review_kept_tells_its_reasoning_once() -> None:
    """Equal insights are one list. The model's class is still in its column."""
    output = {"id": "c_1", "type": "order", "insights": [{"type": "reasoning", "content": "x"}]}
    reading = processor(
        {
            "object": "classify_run",
            "output": output,
            "initialOutput": output,
            "reviewedOutput": output,
        }
    )
    assert only(reading, INSIGHTS)["output"] == "final"
    assert only(reading, PROCESSOR_RUNS)["initial_classification"] == "order"
    assert extra(reading) is None


@pytest.mark.parametrize("key", ["initialOutput", "reviewedOutput"])
def test_a_classification_of_an_unknown_shape_is_kept(key: str) -> None:
    """An output that is no object is kept in extra."""
    run = {"object": "classify_run", "output": {"id": "c_1", "type": "order"}, key: ["order", 1]}
    assert extra(processor(run)) == {key: ["order", 1]}


def test_splits_that_review_changed_keep_the_other_lists() -> None:
    """The rows are the final splits. An initial list that differs is kept as JSON."""
    one, two = {"id": "s_1", "startPage": 1}, {"id": "s_2", "startPage": 2}
    run = {
        "object": "split_run",
        "output": {"splits": [one]},
        "initialOutput": {"splits": [one, two]},
    }
    reading = processor(run)
    assert [row["split_id"] for row in reading.batch.dicts(SPLITS)] == ["s_1"]
    assert extra(reading) == {"initialOutput": {"splits": [one, two]}}


def test_parse_output_is_loaded_on_request_only() -> None:
    """Chunks are the document itself: without include_parse_output no cell has any of them."""
    run = {"object": "parse_run", "output": {"chunks": [{"content": "SECRET 0.10"}]}}
    assert "SECRET" not in str(golden(processor(run)))
    row = only(processor(run, include_parse_output=True), PROCESSOR_RUNS)
    assert (json.loads(row["parse_output"]), row["output_format"]) == (run["output"], "parse")


def test_a_run_of_an_unknown_kind_keeps_its_outputs() -> None:
    """INSTRUCT_QA of the oldest documents, or a new kind: extra keeps its outputs as they came."""
    run = {"type": "INSTRUCT_QA", "output": {"answer": 42}, "initialOutput": {"answer": 41}}
    reading = processor(run)
    assert only(reading, PROCESSOR_RUNS)["type"] == "INSTRUCT_QA"
    assert extra(reading) == {"output": {"answer": 42}, "initialOutput": {"answer": 41}}


@pytest.mark.parametrize("kind", ["extract", "classify", "split"])
def test_a_nested_run_that_does_not_say_so_was_reviewed_with_its_workflow_run(kind: str) -> None:
    """Up to 2024-12-23 only the workflow run shows whether people have reviewed it."""
    nested = {"object": f"{kind}_run", "id": "p_1"}
    steps = [{"step": {"type": "X"}, "result": {f"{kind}Run": nested}}]
    reading = workflow({"reviewed": True, "stepRuns": steps})
    assert only(reading, PROCESSOR_RUNS)["reviewed"] is True


def test_a_parse_run_is_not_reviewed_with_its_workflow_run() -> None:
    """In no version does it have `reviewed`: counts of reviewed runs must not include texts without a review."""
    nested = {"object": "parse_run", "id": "p_1"}
    steps = [{"step": {"type": "X"}, "result": {"parseRun": nested}}]
    reading = workflow({"reviewed": True, "stepRuns": steps})
    assert only(reading, PROCESSOR_RUNS)["reviewed"] is None


def test_an_unknown_step_keeps_its_result() -> None:
    """A new step type does not break a load: its result is in output, other keys are in extra."""
    step = {
        "id": "sr_1",
        "stepType": "TELEPORT",
        "step": {"id": "s_1"},
        "result": {"to": ["x"]},
        "new": 1,
    }
    row = only(workflow({"stepRuns": [step]}), WORKFLOW_STEPS)
    assert {k: v for k, v in row.items() if v is not None} == {
        "workflow_run_id": "r_1",
        "position": 0,
        "step_run_id": "sr_1",
        "step_id": "s_1",
        "type": "TELEPORT",
        "output": '{"to":["x"]}',
        "extra": '{"new":1}',
    }


def test_a_nested_run_without_id_stays_in_the_step() -> None:
    """A run without an id cannot have a row, so the step keeps it."""
    step = {"stepType": "EXTRACT", "result": {"extractRun": {"status": "FAILED", "why": "?"}}}
    reading = workflow({"stepRuns": [step]})
    row = only(reading, WORKFLOW_STEPS)
    assert (json.loads(row["output"]), row["processor_run_id"]) == (step["result"], None)
    assert reading.batch.dicts(PROCESSOR_RUNS) == [] and reading.nested_ids == ()


def test_steps_follow_outputs_in_old_versions() -> None:
    """Up to 2025-04-21 processor runs and other steps are in two lists: positions continue without a gap."""
    run = {
        "outputs": [{"id": "dpr_1", "type": "CLASSIFY"}, {"type": "EXTRACT", "note": "no id"}],
        "stepRuns": [{"id": "sr_1", "step": {"type": "RULE_VALIDATION"}, "output": {"rules": []}}],
    }
    rows = workflow(run).batch.dicts(WORKFLOW_STEPS)
    assert [(r["position"], r["type"], r["processor_run_id"], r["output"]) for r in rows] == [
        (0, "CLASSIFY", "dpr_1", None),
        (1, "EXTRACT", None, '{"type":"EXTRACT","note":"no id"}'),
        (2, "RULE_VALIDATION", None, '{"rules": []}'),
    ]


def test_a_value_of_an_unexpected_type_is_kept_in_extra() -> None:
    """A changed type neither fails a load nor loses a value."""
    run = {
        "object": "extract_run",
        "status": 7,
        "usage": "many",
        "createdAt": "soon",
        "reviewed": "yes",
    }
    reading = processor(run, LISTED._replace(status=None))
    assert extra(reading) == {"status": 7, "usage": "many", "createdAt": "soon", "reviewed": "yes"}
    assert only(reading, PROCESSOR_RUNS)["status"] is None


@pytest.mark.parametrize("value", [7, [], {"a": 1}, True])
@pytest.mark.parametrize(
    "key", ["object", "type", "outputs", "edits", "extractor", "extractorVersion", "usage", "files"]
)
def test_a_key_that_is_not_what_it_was_stays(key: str, value: Any) -> None:
    """A redundant key of another type than before is kept in extra."""
    run = {"id": "exr_1", "status": "PROCESSED", "output": {"value": {"a": 1}}, key: value}
    rows = alone(run).batch.dicts(PROCESSOR_RUNS)
    empty = key in ("edits", "files") and value == []
    understood = key in ("edits", "extractor", "extractorVersion", "usage") and value == {"a": 1}
    extra = json.loads(rows[0]["extra"] or "{}")
    if understood and key == "edits":
        assert extra == {}
    else:
        assert extra == ({} if empty else {key: value})


@pytest.mark.parametrize("edits", ["x", 7, True, [{"notes": "x"}]])
def test_edits_of_another_shape_are_kept(edits: Any) -> None:
    """They are not edits of a field, and are not lost."""
    [run] = alone({"id": "exr_1", "output": {"value": {}}, "edits": edits}).batch.dicts(PROCESSOR_RUNS)
    assert json.loads(run["extra"]) == {"edits": edits}


def test_a_type_beside_the_kind_of_object_is_kept() -> None:
    """Only a type that equals the kind of object is left out."""
    [run] = alone({"object": "extract_run", "id": "e", "type": "OTHER"}).batch.dicts(PROCESSOR_RUNS)
    assert (run["type"], run["extra"]) == ("EXTRACT", '{"type":"OTHER"}')
    [run] = alone({"object": "x", "id": "e", "type": "SPLITTER"}).batch.dicts(PROCESSOR_RUNS)
    assert (run["type"], run["extra"]) == ("SPLIT", None)


def test_two_types_of_a_step_are_both_kept() -> None:
    """The step run has the type that ran, the workflow's step the type that was intended."""
    steps = [{"stepType": "NEW", "step": {"type": "OLD"}}, {"stepType": "A", "step": {"type": "A"}}]
    body = json.dumps({"id": "w", "stepRuns": steps}).encode()
    reading = workflow_run(body, ListedRun("w", None, None, None), Context("2026-02-09"))
    first, second = reading.batch.dicts(WORKFLOW_STEPS)
    assert (first["type"], first["extra"]) == ("NEW", '{"step":{"type":"OLD"}}')
    assert (second["type"], second["extra"]) == ("A", None)


def test_a_class_of_another_type_is_kept() -> None:
    """The model's class is a cell if it is a text. Another type is kept in extra."""
    output = {"type": "a"}
    run = {"object": "classify_run", "id": "c", "output": output, "initialOutput": {"type": 7}}
    [row] = alone(run).batch.dicts(PROCESSOR_RUNS)
    assert row["initial_classification"] is None
    assert json.loads(row["extra"]) == {"initialOutput": {"type": 7}}


def test_what_stands_beside_the_envelope_is_kept() -> None:
    """Extra keeps unknown keys; success and object are left out."""
    run = {"id": "w", "status": "PROCESSED"}
    body = json.dumps({"success": True, "object": "x", "workflowRun": run, "warnings": ["y"]})
    reading = workflow_run(body.encode(), ListedRun("w", None, None, None), Context("v1"))
    [row] = reading.batch.dicts(WORKFLOW_RUNS)
    assert row["extra"] == '{"envelope":{"warnings":["y"]}}'


@pytest.mark.parametrize("inner", ["[]", '"x"', "7", '{"a":1,"a":2}'])
def test_an_envelope_without_a_run_is_named(inner: str) -> None:
    """The error is about the envelope's value, not about the keys next to it."""
    body = f'{{"success": true, "workflowRun": {inner}}}'.encode()
    with pytest.raises(ShapeError, match=r"not a JSON object|comes twice"):
        workflow_run(body, ListedRun("w", None, None, None), Context("v1"))


def test_a_parse_run_keeps_other_outputs_only_on_request() -> None:
    """Initial and reviewed outputs are the document itself, like the final one."""
    run = {"object": "parse_run", "id": "p", "output": {"a": 1}, "initialOutput": {"secret": 1}}
    body, listed = json.dumps(run).encode(), ListedRun("p", None, None, None)
    for keep in (False, True):
        context = Context("2026-02-09", include_parse_output=keep)
        [row] = processor_run(body, listed, context).batch.dicts(PROCESSOR_RUNS)
        assert row["extra"] == ('{"initialOutput":{"secret": 1}}' if keep else None)


def test_numbers_keep_every_digit_in_json_cells() -> None:
    """metadata, config, edits and extra have the digits that came, not those of a double."""
    body = (
        b'{"object": "extract_run", "id": "r_1", "metadata": {"a": 0.10, "b": 12345678901234567890123},'
        b' "config": {"c": 1E5}, "unknown": -0.0, "output": {"value": {"x": 1.50}, "metadata": {}},'
        b' "edits": {"x": {"originalValue": 1.500, "editedValue": 1.50}}}'
    )
    reading = processor_run(body, LISTED, CONTEXT)
    row = only(reading, PROCESSOR_RUNS)
    assert row["metadata"] == '{"a": 0.10, "b": 12345678901234567890123}'
    assert row["config"] == '{"c": 1E5}'
    assert row["extra"] == '{"unknown":-0.0}'
    assert only(reading, FIELDS)["extra"] == '{"edit":{"originalValue": 1.500, "editedValue": 1.50}}'


def test_text_that_no_utf8_can_hold_arrives_as_its_escape() -> None:
    r"""A lone surrogate becomes the six characters of its escape.

    A NUL and a proper pair are kept.
    """
    body = (
        rb'{"object": "extract_run", "id": "r_1", "output": {"value": '
        rb'{"\ud800": "a\uDFFFb", "nul": "x\u0000y", "pair": "\ud83d\ude00", "plain": "\\ud800"}}}'
    )
    reading = processor_run(body, LISTED, CONTEXT)
    found = {row["path"]: row["value"] for row in reading.batch.dicts(FIELDS)}
    assert found == {
        "\\ud800": "a\\uDFFFb",
        "nul": "x\0y",
        "pair": "\N{GRINNING FACE}",
        "plain": "\\ud800",
    }
    to_tables(reading.batch)


@pytest.mark.parametrize("name", RUNS)
def test_the_rows_of_every_example_fit_their_tables(name: str) -> None:
    """Every cell has the type that its column declares."""
    document = json.loads((FOLDER / f"{name}.json").read_bytes())
    batch = read(document, version(name)).batch
    for table, rows in to_tables(batch):
        assert rows.num_rows == len(batch.rows(table))
        rows.validate(full=True)
