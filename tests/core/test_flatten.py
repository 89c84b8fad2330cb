from __future__ import annotations

import itertools
import json
import math
import tracemalloc
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docruns.core.batch import Batch
from docruns.core.codec import decode, number_text
from docruns.core.errors import ShapeError
from docruns.core.flatten.flatten import FlatRows, flatten_outputs, rebuild
from docruns.core.flatten.output import (
    NO_OUTPUT,
    Citation,
    Edit,
    FieldMetadata,
    Insight,
    Output,
    Review,
    Schema,
)
from docruns.core.flatten.paths import join, split
from docruns.core.flatten.values import MISSING
from docruns.core.flatten.walk import MAX_DEPTH
from docruns.core.tables import CITATIONS, FIELDS, INSIGHTS
from docruns.store.arrow import schema, to_tables

Row = dict[str, Any]


def field_rows(flat: FlatRows) -> list[Row]:
    return [FIELDS.as_dict(row) for row in flat.fields]


def flat_of(final: str, initial: str | None = None, reviewed: str | None = None, **more: Any) -> FlatRows:
    """The rows of three JSON texts; None is an output that is not there."""
    answers = [NO_OUTPUT if text is None else Output(decode(text)) for text in (final, initial, reviewed)]
    return flatten_outputs("r", None, *answers, **more)


def by_path(flat: FlatRows) -> dict[str, Row]:
    return {row["path"]: row for row in field_rows(flat)}


# arbitrary JSON as text, written by this file alone


class Literal(str):
    """A number, as it stands in the text."""

    __slots__ = ()


def written(value: Any) -> str:
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, dict):
        inner = (f"{json.dumps(k, ensure_ascii=False)}: {written(v)}" for k, v in value.items())
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


ODD_KEYS = [
    "a",
    "A",
    "b",
    "a.b",
    "a[0]",
    "[0]",
    "0",
    "01",
    ".",
    "..",
    "a.",
    ".a",
    "]",
    "[",
    '"',
    "\\",
    '["x"]',
    '["a.b"]',
    '\\"',
    "value",
    "metadata",
    "amount",
    "select",
    "drop_table;",
    "null",
    "true",
    "é",
    "É",
    "😀",
    "\u202eא",
    "iso_4217_currency_code",
    "",
    " ",
    "\0",
    "\n",
    "\x7f",
    "\t.\t",
    "K" * 300,
    "e\u0301",
    "lines[0].sku",
    'lines["sku"]',
    "[9999999999999999999]",
    "[\u0663]",
]
NUMBERS = [
    "0.1",
    "0.10",
    "1e308",
    "1e400",
    "-1E+400",
    "1e-400",
    "12345678901234567890",
    "-0.0",
    "1E5",
    "1.0",
]

keys = st.sampled_from(ODD_KEYS) | st.text(max_size=4)
numbers = (
    st.sampled_from(NUMBERS)
    | st.integers().map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
)
scalars = st.none() | st.booleans() | numbers.map(Literal) | st.text(max_size=8) | st.just("2026-02-09")
currency = st.fixed_dictionaries(
    {
        "amount": st.none() | numbers.map(Literal) | st.text(max_size=3),
        "iso_4217_currency_code": st.none() | st.just("EUR"),
    }
)
signature = st.fixed_dictionaries(
    {
        "printed_name": st.none() | st.text(max_size=3),
        "signature_date": st.sampled_from([None, "2026-02-09", "soon"]),
        "is_signed": st.none() | st.booleans(),
        "title_or_role": st.none() | st.text(max_size=3),
    }
)
trees = st.recursive(
    scalars | currency | signature,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
types = st.sampled_from(
    [
        None,
        "string",
        "number",
        "boolean",
        "date",
        "currency",
        "signature",
        "enum",
        "array",
        "object",
    ]
)
schemas = st.recursive(
    st.builds(Schema, types),
    lambda inner: st.builds(Schema, types, st.dictionaries(keys, inner, max_size=3), st.none() | inner),
    max_leaves=6,
)
outputs = st.tuples(trees, st.none() | trees, st.none() | trees)


def same_json(value: Any, text: str, *, ordered: bool = False) -> bool:
    """Equal as JSON: true is not 1, 1 is not 1.0; with `ordered` keys come in the same order."""
    return json.dumps(value, sort_keys=not ordered) == json.dumps(json.loads(text), sort_keys=not ordered)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(trees, min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.none() | schemas,
)
def test_rows_give_back_each_output_exactly(
    values: list[Any], there: list[bool], known: Schema | None
) -> None:
    """rebuild(flatten(x)) is x for the three outputs alike, whatever the schema claims."""
    texts = [written(value) if is_there else None for value, is_there in zip(values, there, strict=True)]
    answers = [NO_OUTPUT if text is None else Output(decode(text)) for text in texts]
    rows = field_rows(flatten_outputs("r", None, *answers, schema=known))
    columns = ("value_json", "initial_json", "reviewed_json")
    for column, text in zip(columns, texts, strict=True):
        moved = "initial_path" if column == "initial_json" else "path"
        back = rebuild((row[moved] or row["path"], row[column]) for row in rows)
        if text is None:
            assert all(row[column] is None for row in rows)
            assert back is None
        else:
            assert same_json(back, text, ordered=column == "value_json")


@settings(max_examples=300, deadline=None)
@given(outputs, st.none() | schemas, st.lists(st.text(max_size=6) | keys, max_size=4))
def test_the_cells_of_a_path_follow_from_the_path(
    values: tuple[Any, Any, Any], known: Schema | None, unknown: list[str]
) -> None:
    """Paths are unique; field, name, parent, index and position agree with the path."""
    texts = [None if value is None else written(value) for value in values]
    answers = [NO_OUTPUT if text is None else Output(decode(text)) for text in texts]
    answers[0] = answers[0]._replace(metadata={path: FieldMetadata(0.5) for path in unknown})
    rows = field_rows(flatten_outputs("r", "w", *answers, schema=known))
    assert len({row["path"] for row in rows}) == len(rows)
    for position, row in enumerate(rows):
        steps = split(row["path"])
        names = [step for step in steps if isinstance(step, str)]
        indexes = [step for step in steps if isinstance(step, int)]
        assert join(steps) == row["path"]
        assert row["position"] == position
        assert row["name"] == (names[-1] if names else None)
        index = indexes[-1] if indexes else None
        assert row["item_index"] == (~index if index is not None and index < 0 else index)
        assert row["parent_path"] == (join(steps[:-1]) if steps else None)
        assert row["field"] == without_indexes(steps)
        assert (row["processor_run_id"], row["workflow_run_id"]) == ("r", "w")


def without_indexes(steps: list[str | int]) -> str:
    field = ""
    for step in steps:
        if isinstance(step, int):
            field += "[]"
        else:
            one = join([step])
            field += f".{one}" if field and not one.startswith("[") else one
    return field


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 10**6) | keys))
def test_a_path_splits_into_what_it_was_joined_from(steps: list[str | int]) -> None:
    """split(join(x)) is x, for every key and index."""
    assert split(join(steps)) == steps


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        ([], ""),
        (["total"], "total"),
        (["line_items", 0, "amount"], "line_items[0].amount"),
        ([0, 1], "[0][1]"),
        (["a.b"], '["a.b"]'),
        (["x", "a.b", "y"], 'x["a.b"].y'),
        (["x", "", 3], 'x[""][3]'),
        (["x", 'say "hi"'], 'x["say \\"hi\\""]'),
        (["0"], "0"),
    ],
)
def test_a_path_is_written_as_the_platform_keys_it(steps: list[str | int], path: str) -> None:
    """Plain names and indexes as the platform has them; a name that could mislead is JSON-quoted."""
    assert join(steps) == path
    assert split(path) == steps


@pytest.mark.parametrize("path", ["]", "[", "[x]", 'a"b', '["a"', "a..b", "[-1]", "a]"])
def test_what_is_no_path_is_refused(path: str) -> None:
    """A path that cannot be split is named in the error."""
    with pytest.raises(ShapeError, match="not a field path"):
        split(path)


# metadata and edits


def platform_path(path: str) -> str:
    """The path as a platform writes it that does not quote names."""
    text = ""
    for step in split(path):
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def unique_entry(mark: int, insights: int, citations: int) -> FieldMetadata:
    return FieldMetadata(
        mark + 0.25,
        insights=tuple(Insight("reasoning", f"{mark}:{i}") for i in range(insights)),
        citations=tuple(Citation(page=i, reference_text=f"{mark}:{i}") for i in range(citations)),
    )


@st.composite
def commented(draw: Any) -> tuple[list[Output], dict[str, Edit]]:
    """Three outputs, with what is said of some of their paths, and of some that they do not have."""
    values = [draw(trees), draw(st.none() | trees), draw(st.none() | trees)]
    texts = [written(v) for v in values]
    answers = [
        NO_OUTPUT if v is None and i else Output(decode(t))
        for i, (v, t) in enumerate(zip(values, texts, strict=True))
    ]
    known = [row["path"] for row in field_rows(flatten_outputs("r", None, *answers))] or [""]
    paths = st.sampled_from(known) | st.sampled_from(known).map(platform_path) | keys
    marks = itertools.count(1)
    for i, answer in enumerate(answers):
        chosen = draw(st.lists(paths, unique=True, max_size=4))
        said = {
            p: unique_entry(next(marks), draw(st.integers(0, 2)), draw(st.integers(0, 2))) for p in chosen
        }
        answers[i] = answer._replace(metadata=said)
    chosen = draw(st.lists(paths, unique=True, max_size=3))
    edits = {p: Edit(f"note {next(marks)}", f'{{"n":{next(marks)}}}') for p in chosen}
    return answers, edits


@settings(max_examples=400, deadline=None)
@given(commented())
def test_everything_that_is_said_of_a_path_lands_in_one_row(
    case: tuple[list[Output], dict[str, Edit]],
) -> None:
    """Each score, insight, citation and edit is in exactly one row, also for paths that no value has."""
    answers, edits = case
    flat = flatten_outputs("r", None, *answers, review=Review(edits))
    rows = field_rows(flat)
    scores = []
    for row in rows:
        if row["ocr_confidence"] is not None:
            scores.append(row["ocr_confidence"])
        other = json.loads(row["extra"] or "{}")
        scores += [other[key]["ocrConfidence"] for key in ("output", "reviewedOutput") if key in other]
    said = [entry for answer in answers for entry in answer.metadata.values()]
    assert sorted(scores) == sorted(entry.ocr_confidence for entry in said)

    insights = [INSIGHTS.as_dict(row) for row in flat.insights]
    citations = [CITATIONS.as_dict(row) for row in flat.citations]
    for name, answer in zip(("final", "initial", "reviewed"), answers, strict=True):
        mine = list(answer.metadata.values())
        assert sorted(row["content"] for row in insights if row["output"] == name) == sorted(
            i.content for entry in mine for i in entry.insights
        )
        assert sorted(row["reference_text"] for row in citations if row["output"] == name) == sorted(
            c.reference_text for entry in mine for c in entry.citations
        )
    for table, found in ((INSIGHTS, insights), (CITATIONS, citations)):
        assert len({tuple(row[k] for k in table.key) for row in found}) == len(found)

    paths = {row["path"]: row for row in rows}
    for row in rows:
        of_row = [i for i in insights if (i["output"], i["path"]) == ("final", row["path"])]
        at_row = [c for c in citations if (c["output"], c["path"]) == ("final", row["path"])]
        assert (row["insight_count"], row["citation_count"]) == (len(of_row), len(at_row))
        assert row["page"] == (at_row[0]["page"] if at_row else None)
    assert {row["path"] for row in insights + citations} <= paths.keys()

    assert sorted(row["edit_note"] for row in rows if row["edit_note"]) == sorted(
        str(edit.note) for edit in edits.values()
    )
    if answers[1].value is MISSING:
        assert all(row["edited"] and row["edit_kind"] for row in rows if row["edit_note"])


@settings(max_examples=400, deadline=None)
@given(commented(), st.none() | schemas, st.booleans(), st.booleans())
def test_both_ways_write_the_same_rows(
    case: tuple[list[Output], dict[str, Edit]],
    schema: Schema | None,
    is_reviewed: bool,
    has_edits: bool,
) -> None:
    """Three outputs that share one value (the fast way) give the rows of three equal copies (the plain way)."""
    outputs, edits = case
    text = number_text(outputs[0].value).encode()
    shared = [outputs[0], outputs[1]._replace(value=outputs[0].value), outputs[2]]
    shared[2] = shared[2]._replace(value=outputs[0].value) if is_reviewed else NO_OUTPUT
    copies = [output if output.value is MISSING else output._replace(value=decode(text)) for output in shared]
    more: dict[str, Any] = {"schema": schema, "review": Review(edits if has_edits else None)}
    assert flatten_outputs("r", "w", *shared, **more) == flatten_outputs("r", "w", *copies, **more)
    # nor does it matter whether the metadata is shared
    alike = [output._replace(metadata=outputs[0].metadata) for output in shared]
    apart = [output._replace(metadata=dict(outputs[0].metadata)) for output in copies]
    assert flatten_outputs("r", "w", *alike, **more) == flatten_outputs("r", "w", *apart, **more)


@settings(max_examples=150, deadline=None)
@given(commented())
def test_all_rows_fit_their_tables(case: tuple[list[Output], dict[str, Edit]]) -> None:
    """Whatever is flattened converts to Arrow with the declared schema, and keeps every cell."""
    answers, edits = case
    flat = flatten_outputs("r", "w", *answers, review=Review(edits))
    batch = Batch()
    for table, rows in (
        (FIELDS, flat.fields),
        (INSIGHTS, flat.insights),
        (CITATIONS, flat.citations),
    ):
        batch.extend(table, rows)
    for table, converted in to_tables(batch):
        assert converted.schema == schema(table)
        converted.validate(full=True)
        assert [tuple(row.values()) for row in converted.to_pylist()] == batch.rows(table)


@settings(max_examples=200, deadline=None)
@given(outputs)
def test_leaves_and_edits_are_counted(values: tuple[Any, Any, Any]) -> None:
    """The counts that go into processor_runs are those of the rows."""
    texts = [None if value is None else written(value) for value in values]
    flat = flat_of(*[t if t is not None else "null" for t in texts[:1]], *texts[1:])
    leaves = [row for row in field_rows(flat) if row["kind"] == "leaf"]
    edited = sum(row["edited"] is True for row in leaves)
    assert (flat.leaves, flat.edited) == (len(leaves), edited or None)
    reviewed = flat_of(
        *[t if t is not None else "null" for t in texts[:1]], *texts[1:], review=Review(None, True)
    )
    assert reviewed.edited == (edited if texts[1] is not None else None)


def test_one_entry_is_not_shared_by_two_nodes_that_a_platform_cannot_tell_apart() -> None:
    """`a.b` may mean a key with a dot or a nested one: one of them gets the entry, not both."""
    said = {"a.b": FieldMetadata(0.5, insights=(Insight("reasoning", "once"),))}
    flat = flatten_outputs("r", None, Output(decode('{"a.b": 1, "a": {"b": 2}}'), said))
    assert [row["path"] for row in field_rows(flat) if row["ocr_confidence"] == 0.5] == ['["a.b"]']
    assert len(flat.insights) == 1


def test_an_entry_whose_path_no_value_has_is_a_row_of_its_own() -> None:
    """No score is lost: metadata without a value gets a row with a valid path."""
    said = {"lines[3].sku": FieldMetadata(0.5, 0.25, 4), "not a[path": FieldMetadata(0.75)}
    rows = field_rows(flatten_outputs("r", None, Output(decode('{"x": 1}'), said)))
    assert [{k: v for k, v in row.items() if v is not None} for row in rows[1:]] == [
        {
            "processor_run_id": "r",
            "path": "lines[3].sku",
            "field": "lines[].sku",
            "name": "sku",
            "parent_path": "lines[3]",
            "position": 1,
            "item_index": 3,
            "kind": "leaf",
            "type": "null",
            "ocr_confidence": 0.5,
            "logprobs_confidence": 0.25,
            "review_agent_score": 4,
            "citation_count": 0,
            "insight_count": 0,
        },
        {
            "processor_run_id": "r",
            "path": '["not a[path"]',
            "field": '["not a[path"]',
            "name": "not a[path",
            "parent_path": "",
            "position": 2,
            "kind": "leaf",
            "type": "null",
            "ocr_confidence": 0.75,
            "citation_count": 0,
            "insight_count": 0,
        },
    ]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a[999999999999999999]", "a[999999999999999999]"),
        ("a[9999999999999999999]", '["a[9999999999999999999]"]'),
        ("a[" + "9" * 5000 + "]", '["a[' + "9" * 5000 + ']"]'),
        ("a[\u0663]", '["a[\u0663]"]'),
        ("a[01]", '["a[01]"]'),
        ("a" * 10_001, "a" * 10_001),
        ("a" + ".b" * 500_000, '["a' + ".b" * 500_000 + '"]'),
    ],
)
def test_an_index_that_no_list_has_is_a_name(key: str, path: str) -> None:
    """Metadata of any path text becomes a row that its table takes, in little time."""
    flat = flatten_outputs("r", None, Output({}, {key: FieldMetadata(0.5)}))
    row = field_rows(flat)[1]
    assert (row["path"], row["ocr_confidence"]) == (path, 0.5)
    assert join(split(path)) == path
    batch = Batch()
    batch.extend(FIELDS, flat.fields)
    to_tables(batch)


LONG = "k" * 200_000
PLACES = tuple(Citation(page=i) for i in range(2000))


@pytest.mark.parametrize(
    "answer",
    [
        Output({LONG: [0] * 5000}),
        Output({LONG: {str(i): 0 for i in range(5000)}}),
        Output({"a": {LONG: [[i] for i in range(2000)]}}),
        Output({}, {LONG: FieldMetadata(citations=PLACES)}),
        Output({}, {LONG: FieldMetadata(insights=(Insight("a", "b"),) * 2000)}),
        Output([0] * 5_000_000),
    ],
)
def test_paths_that_no_table_should_hold_are_refused(answer: Output) -> None:
    """A small output whose paths would take gigabytes is refused before they are built."""
    tracemalloc.start()
    with pytest.raises(ShapeError, match="too many fields, or too long ones"):
        flatten_outputs("r", None, answer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300_000_000


def test_a_long_id_counts_like_a_path() -> None:
    """The limit counts the run's id too, because every row repeats it."""
    with pytest.raises(ShapeError, match="too many fields"):
        flatten_outputs("r" * 100_000, None, Output([0] * 5000))


def test_fifty_thousand_fields_are_none_too_many() -> None:
    """A large document with usual paths stays below the limit."""
    value = {"lines": [{"description": "x", "amount": i} for i in range(16_700)]}
    assert flatten_outputs("r" * 40, "w" * 40, Output(value)).leaves == 33_400


def test_unknown_paths_that_are_written_alike_stay_apart() -> None:
    """A quoted path does not collide with a path that is written like it: two entries give two rows."""
    said = {"x[": FieldMetadata(0.5), '["x["]': FieldMetadata(0.75)}
    rows = field_rows(flatten_outputs("r", None, Output({}, said)))
    assert sorted((row["ocr_confidence"], row["path"]) for row in rows[1:]) == [
        (0.5, '["[\\"x[\\"]"]'),
        (0.75, '["x["]'),
    ]


def test_the_scores_are_the_models_own() -> None:
    """The columns hold the model's scores; scores that review changed are in extra."""
    final = Output(decode('{"a": 1}'), {"a": FieldMetadata(1.0, 1.0, 5)})
    initial = Output(decode('{"a": 2}'), {"a": FieldMetadata(0.5, None, 2)})
    row = by_path(flatten_outputs("r", None, final, initial))["a"]
    assert (row["value"], row["ocr_confidence"], row["review_agent_score"]) == ("1", 0.5, 2)
    assert json.loads(row["extra"]) == {
        "output": {"ocrConfidence": 1.0, "logprobsConfidence": 1.0, "reviewAgentScore": 5}
    }


def test_the_models_reasoning_is_kept_where_it_differs_only() -> None:
    """Rows with output = initial exist only where the model's own list differs from the final one."""
    kept, other = (Insight("reasoning", "same"),), (Insight("reasoning", "before"),)
    final = Output(
        decode('{"a": 1, "b": 1}'),
        {"a": FieldMetadata(insights=kept), "b": FieldMetadata(insights=kept)},
    )
    initial = Output(
        decode('{"a": 1, "b": 2}'),
        {"a": FieldMetadata(insights=kept), "b": FieldMetadata(insights=other)},
    )
    found = [row[1:6] for row in flatten_outputs("r", None, final, initial).insights]
    assert found == [
        ("final", "a", 0, "reasoning", "same"),
        ("final", "b", 0, "reasoning", "same"),
        ("initial", "b", 0, "reasoning", "before"),
    ]


# edits


def kinds(final: str, initial: str | None, edits: dict[str, Edit] | None = None) -> dict[str, Any]:
    rows = by_path(flat_of(final, initial, review=Review(edits, True)))
    known = None if initial is None else False
    assert all(row["edited"] == (True if row["edit_kind"] else known) for row in rows.values())
    return {path: row["edit_kind"] for path, row in rows.items()}


def test_without_the_models_answer_nothing_is_edited() -> None:
    """A run without an initial output has no edits."""
    assert kinds('{"a": 1}', None) == {"a": None}


def test_review_changes_adds_and_removes() -> None:
    """The values decide whether a leaf was changed, added or removed; a changed leaf does not mark its container."""
    assert kinds(
        '{"same": 1, "new": 2, "other": 3, "rows": [{"x": 1}, {"x": 2}], "type": []}',
        '{"same": 1, "gone": 2, "other": 4, "rows": [{"x": 1}], "type": {}}',
    ) == {
        "same": None,
        "new": "added",
        "other": "changed",
        "gone": "removed",
        "rows": None,
        "rows[0]": None,
        "rows[0].x": None,
        "rows[1]": "added",
        "rows[1].x": "added",
        "type": "changed",
    }


@pytest.mark.parametrize(
    ("final", "initial", "edited"),
    [
        ("1.0", "1.00", False),
        ("1", "1.0", False),
        ("1e2", "100", False),
        ("12345678901234567890", "12345678901234567891", False),
        ("1e400", "1e401", True),
        ("1", '"1"', True),
        ("1", "true", True),
        ("0", "false", True),
        ("null", '""', True),
        ('"a"', '"A"', True),
        ("[]", "[]", False),
        (
            '{"amount": 1, "iso_4217_currency_code": "EUR"}',
            '{"iso_4217_currency_code": "EUR", "amount": 1.0}',
            False,
        ),
        (
            '{"amount": 1, "iso_4217_currency_code": "EUR"}',
            '{"amount": 1, "iso_4217_currency_code": "USD"}',
            True,
        ),
    ],
)
def test_values_are_compared_as_json_values(final: str, initial: str, edited: bool) -> None:
    """1.0 is 1.00, but true is not 1 and "1" is not 1; numbers with the same double are equal."""
    assert kinds(f'{{"a": {final}}}', f'{{"a": {initial}}}')["a"] == ("changed" if edited else None)


@pytest.mark.parametrize(
    ("initial", "edited", "edit_kind"), [('{"a": 1, "b": {}}', False, None), (None, True, "changed")]
)
def test_values_decide_where_the_platform_shows_them(
    initial: str | None, edited: bool, edit_kind: str | None
) -> None:
    """A record of an edit without a difference is kept, and counts only where the model's value is not shown. That of an
    object counts as no leaf."""
    edit = Edit("checked", '{"notes":"checked","page":2}')
    flat = flat_of('{"a": 1, "b": {}}', initial, review=Review({"a": edit, "b": edit}, True))
    for row in by_path(flat).values():
        assert (row["edited"], row["edit_kind"], row["edit_note"]) == (edited, edit_kind, "checked")
        assert row["extra"] == '{"edit":{"notes":"checked","page":2}}'
    assert flat.edited == int(edited)


@pytest.mark.parametrize(
    ("is_reviewed", "initial", "edits", "edited", "count"),
    [
        (True, '{"a": 1}', None, False, 0),
        (True, '{"a": 2}', None, True, 1),
        (True, None, None, None, None),
        (True, None, {}, False, 0),
        (False, '{"a": 1}', {}, None, None),
        (None, '{"a": 1}', {}, None, None),
        (False, '{"a": 2}', {}, True, 1),
    ],
)
def test_edited_is_null_where_nobody_looked(
    is_reviewed: bool | None,
    initial: str | None,
    edits: dict[str, Edit] | None,
    edited: bool | None,
    count: int | None,
) -> None:
    """False needs a reviewer who left the value, and a platform that shows the model's value or records the edits."""
    flat = flat_of('{"a": 1}', initial, review=Review(edits, is_reviewed))
    assert (by_path(flat)["a"]["edited"], flat.edited) == (edited, count)


# values


def cells(literal: str, type_: str | None = None) -> dict[str, Any]:
    known = Schema("object", {"a": Schema(type_)}) if type_ else None
    row = by_path(flat_of(f'{{"a": {literal}}}', schema=known))["a"]
    names = (
        "kind",
        "type",
        "value",
        "value_number",
        "value_boolean",
        "value_date",
        "currency_code",
        "value_json",
    )
    return {name: row[name] for name in names if row[name] is not None}


@pytest.mark.parametrize(
    ("literal", "number"),
    [
        ("0.1", 0.1),
        ("0.10", 0.1),
        ("1e308", 1e308),
        ("1E5", 100000.0),
        ("12345678901234567890", 12345678901234567890.0),
        ("-0.0", -0.0),
        ("1e-400", 0.0),
        ("1e400", None),
        ("-1e400", None),
        ("1" + "0" * 400, None),
        ("0.1000000000000000055511151231257827021181583404541015625", 0.1),
    ],
)
def test_a_number_keeps_every_digit(literal: str, number: float | None) -> None:
    """The JSON text is the literal that came; the double is null where it cannot hold the number."""
    found = cells(literal)
    assert (found["value_json"], found["value"], found["type"]) == (literal, literal, "number")
    assert found.get("value_number") == number
    if number is not None:
        assert math.copysign(1, found["value_number"]) == math.copysign(1, number)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\r\n",
        "\N{GRINNING FACE}\N{ZERO WIDTH JOINER}",
        "\u202eשלום",
        'say "hi" \\ /',
        "a\0b",
        "\x01\x1f\x7f\x80\u2028\ufeff\uffff\U0010ffff",
        "'; drop table fields; --",
        "x" * 1_000_000,
    ],
    ids=lambda text: f"{len(text)} characters",
)
def test_a_string_keeps_every_character(text: str) -> None:
    """value holds any text unquoted and value_json holds it as JSON."""
    found = cells(json.dumps(text))
    assert (found["value"], found["type"]) == (text, "string")
    assert json.loads(found["value_json"]) == text


@pytest.mark.parametrize(
    ("literal", "type_", "expected"),
    [
        ('"a"', None, {"type": "string", "value": "a"}),
        (
            '"2026-02-09"',
            None,
            {"type": "date", "value": "2026-02-09", "value_date": date(2026, 2, 9)},
        ),
        ('"2026-02-31"', None, {"type": "string", "value": "2026-02-31"}),
        ('"2026-02-09"', "string", {"type": "string", "value": "2026-02-09"}),
        ('"9 May"', "date", {"type": "date", "value": "9 May"}),
        ('"NET_30"', "enum", {"type": "enum", "value": "NET_30"}),
        ("true", None, {"type": "boolean", "value": "true", "value_boolean": True}),
        ("false", None, {"type": "boolean", "value": "false", "value_boolean": False}),
        ("true", "string", {"type": "string", "value": "true", "value_boolean": True}),
        ("1", "date", {"type": "date", "value": "1", "value_number": 1.0}),
        ("null", None, {"type": "null"}),
        ("null", "number", {"type": "number"}),
        ("null", "array", {"type": "array"}),
    ],
)
def test_a_leaf_has_the_cells_of_its_value(literal: str, type_: str | None, expected: dict[str, Any]) -> None:
    """The type comes from the schema where there is one, the cells from the value that came."""
    assert cells(literal, type_) == {"kind": "leaf", "value_json": literal, **expected}


CURRENCY = '{"amount":9.50,"iso_4217_currency_code":"EUR"}'
SIGNATURE = '{"printed_name":"A","signature_date":"2026-02-09","is_signed":true,"title_or_role":null}'


@pytest.mark.parametrize("type_", [None, "currency"])
def test_a_currency_is_one_leaf(type_: str | None) -> None:
    """The keys or the schema identify a currency; its amount is the value."""
    assert cells(CURRENCY, type_) == {
        "kind": "leaf",
        "type": "currency",
        "value": "9.50",
        "value_number": 9.5,
        "currency_code": "EUR",
        "value_json": CURRENCY,
    }


@pytest.mark.parametrize("type_", [None, "signature"])
def test_a_signature_is_one_leaf(type_: str | None) -> None:
    """The keys or the schema identify a signature; is_signed and the date have their columns."""
    assert cells(SIGNATURE, type_) == {
        "kind": "leaf",
        "type": "signature",
        "value": SIGNATURE,
        "value_boolean": True,
        "value_date": date(2026, 2, 9),
        "value_json": SIGNATURE,
    }


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        ('{"amount":null,"iso_4217_currency_code":null}', {}),
        ('{"amount":"9,50","iso_4217_currency_code":7}', {"value": "9,50"}),
        (
            '{"amount":1e400,"iso_4217_currency_code":"EUR"}',
            {"value": "1e400", "currency_code": "EUR"},
        ),
        ('{"amount":[1],"iso_4217_currency_code":"EUR"}', {"value": "[1]", "currency_code": "EUR"}),
        (
            '{"amount":true,"iso_4217_currency_code":"EUR"}',
            {"value": "true", "currency_code": "EUR"},
        ),
        ('{"amount":"","iso_4217_currency_code":"EUR"}', {"value": "", "currency_code": "EUR"}),
    ],
)
def test_an_odd_currency_is_kept_as_it_came(literal: str, expected: dict[str, Any]) -> None:
    """value_number holds real numbers only; the JSON text keeps everything."""
    found = cells(literal)
    assert found == {"kind": "leaf", "type": "currency", "value_json": literal, **expected}


def test_a_currency_by_its_keys_or_by_the_schema_is_a_leaf() -> None:
    """An object with the keys of a currency and no others is a leaf, whatever the schema says. With other keys the
    schema decides."""
    literal = '{"amount":1,"note":"x"}'
    assert cells(literal, "currency")["kind"] == "leaf"
    assert cells(literal, "object") == {"kind": "object", "type": "object", "value_json": "{}"}
    assert (cells(CURRENCY, "object")["kind"], cells(CURRENCY, "object")["type"]) == ("leaf", "currency")


def test_containers_and_items_have_rows_of_their_own() -> None:
    """kind is leaf, item, array or object; a plain value in an array is a leaf."""
    rows = by_path(flat_of('{"o": {}, "l": [1, {"x": 1}, [], null]}'))
    found = {
        path: (row["kind"], row["type"], row["value_json"], row["item_index"]) for path, row in rows.items()
    }
    assert found == {
        "o": ("object", "object", "{}", None),
        "l": ("array", "array", "[]", None),
        "l[0]": ("leaf", "number", "1", 0),
        "l[1]": ("item", "object", "{}", 1),
        "l[1].x": ("leaf", "number", "1", 1),
        "l[2]": ("array", "array", "[]", 2),
        "l[3]": ("leaf", "null", "null", 3),
    }


@pytest.mark.parametrize("literal", ["1", '"x"', "null", "[]", "{}", "[1]"])
def test_a_value_that_is_no_object_hangs_at_the_root(literal: str) -> None:
    """The root's path is ''; an object with keys has no row for itself."""
    root = by_path(flat_of(literal))[""]
    assert (root["field"], root["name"], root["parent_path"], root["position"]) == (
        "",
        None,
        None,
        0,
    )
    assert "" not in by_path(flat_of('{"a": 1}'))


def test_no_output_at_all_gives_no_rows() -> None:
    """A run without an output has no fields."""
    assert flatten_outputs("r", None, NO_OUTPUT) == FlatRows([], [], [], 0, None)


@pytest.mark.parametrize("shape", ['{"a":%s}', "[%s]"])
@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, MAX_DEPTH + 60])
def test_what_is_nested_too_deeply_is_one_leaf(shape: str, depth: int) -> None:
    """Every level down to MAX_DEPTH is a row; deeper levels are kept as JSON text."""
    text = "1.50"
    for _ in range(depth):
        text = shape % text
    flat = flat_of(text)
    rows = field_rows(flat)
    # an array at the root is a row itself
    assert len(rows) == min(depth, MAX_DEPTH) + (shape == "[%s]")
    assert same_json(rebuild((row["path"], row["value_json"]) for row in rows), text)
    assert [row["kind"] for row in rows].count("leaf") == 1
    assert rows[-1]["value_json"].count("1.50") == 1


def test_missing_shows_itself() -> None:
    """A debugger shows a missing value as MISSING and not as None."""
    assert repr(MISSING) == "MISSING"
