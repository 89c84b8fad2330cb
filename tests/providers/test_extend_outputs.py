from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from docruns.core.batch import Batch
from docruns.core.codec import Number
from docruns.core.flatten.flatten import FlatRows, flatten_outputs
from docruns.core.flatten.output import (
    NO_OUTPUT,
    Citation,
    Edit,
    FieldMetadata,
    Insight,
    Output,
    Schema,
)
from docruns.core.tables import CITATIONS, FIELDS, INSIGHTS
from docruns.providers.extend.shapes import field_metadata
from docruns.providers.extend.shapes.field_metadata import metadata
from docruns.providers.extend.shapes.outputs import Outputs, extraction
from docruns.providers.extend.shapes.schemas import edits, schema_of
from docruns.store.arrow import to_tables
from support.extend_payloads import RUNS, load, run_of


def raw(value: Any) -> Raw:
    return Raw(value if isinstance(value, bytes) else json.dumps(value).encode())


def by_key(text: Raw) -> dict[str, FieldMetadata]:
    """The metadata, read key by key only."""
    parts = msgspec.json.decode(text, type=dict[str, Raw])
    return {path: field_metadata._entry_by_key(entry) for path, entry in parts.items()}


# metadata

POINTS = [{"x": 4, "y": 1}, {"x": 1.5, "y": 1}, {"x": 4, "y": 3}, {"x": 1.5, "y": 3}]
PLACES = [
    ({"page": {"number": 2, "width": 1275, "height": 1650.5}}, (2, 1275.0, 1650.5)),
    ({"page": {"number": 2, "width": None}}, (2, None, None)),
    ({"page": 2, "pageWidth": 612, "pageHeight": 792}, (2, 612.0, 792.0)),
    ({"page": 2}, (2, None, None)),
    ({"page": 2.0}, (2, None, None)),
    ({"page": None}, (None, None, None)),
    ({}, (None, None, None)),
]


@pytest.mark.parametrize(("place", "expected"), PLACES)
def test_the_page_of_a_citation_comes_in_two_shapes(place: Any, expected: Any) -> None:
    """A number with separate sizes, or an object with all three."""
    text = raw({"a": {"citations": [place]}})
    [citation] = metadata(text)["a"].citations
    assert citation == Citation(*expected)
    assert by_key(text) == metadata(text)


def test_a_polygon_is_kept_as_it_came_with_its_box() -> None:
    """Points may be skewed and in any order. The box contains all of them."""
    polygon = json.dumps(POINTS)
    [citation] = metadata(raw({"a": {"citations": [{"polygon": POINTS}]}}))["a"].citations
    assert citation == Citation(left=1.5, top=1.0, right=4.0, bottom=3.0, polygon=polygon)


@pytest.mark.parametrize("polygon", [[], [{"x": 1}], [{"x": 1, "y": 2, "z": 3}], "round", {"r": 5}])
def test_an_odd_polygon_is_kept_without_a_box(polygon: Any) -> None:
    """A polygon without corners has no box, but its text is kept."""
    text = raw({"a": {"citations": [{"polygon": polygon}]}})
    [citation] = metadata(text)["a"].citations
    assert citation == Citation(polygon=json.dumps(polygon))
    assert by_key(text) == metadata(text)


def test_all_of_an_entry_is_read() -> None:
    """Scores in the platform's own scales, citations and insights in order."""
    metadata_by_path = {
        "total": {
            "ocrConfidence": 0.98,
            "logprobsConfidence": 1,
            "reviewAgentScore": 5,
            "confidence": 0.5,
            "citations": [
                {"page": 1, "fileId": "f", "referenceText": "t", "cellRange": "A1:B2"},
                {"page": 2},
            ],
            "insights": [{"type": "reasoning", "content": "x"}, {"type": "issue", "content": None}],
        }
    }
    assert metadata(raw(metadata_by_path)) == {
        "total": FieldMetadata(
            0.98,
            1.0,
            5,
            0.5,
            (Citation(1, None, None, "f", "t", "A1:B2"), Citation(2)),
            (Insight("reasoning", "x"), Insight("issue", None)),
        )
    }


@pytest.mark.parametrize("row", ["007", "1" * 19, "\u0663", "-1", "1.0"])
def test_a_reference_to_no_row_keeps_its_id(row: str) -> None:
    """Only an index of a row becomes part of the path."""
    field = {"id": "f", "type": "array", "value": [], "references": [{"id": row, "page": 1}]}
    found = extraction(raw({"lines": field}), None, None, None)
    [citation] = found.final.metadata["lines"].citations
    assert citation == Citation(page=1, extra=json.dumps({"id": row}, ensure_ascii=False).replace(" ", ""))


def test_a_configuration_that_is_no_object_says_nothing() -> None:
    """Without a configuration an empty output is an empty value."""
    for config in ([], "fields", 7, True, ["fields"]):
        found = extraction(raw({}), None, None, raw(config))
        assert (found.final.value, found.format) == ({}, None)


def test_the_type_of_a_field_is_any_output_s() -> None:
    """An output without types gets those of another output."""
    field = {"id": "f", "type": "enum", "value": "x"}
    found = extraction(raw({"a": field}), raw({"a": {**field, "type": "NEW"}}), None, None)
    flat = flatten_outputs("r", None, found.final, found.initial)
    assert [FIELDS.as_dict(row)["type"] for row in flat.fields] == ["enum"]


def test_unknown_keys_are_kept_where_they_came() -> None:
    """In the entry, the citation, its page and the insight. Known keys there are still read."""
    metadata_by_path = {
        "a": {
            "ocrConfidence": 0.5,
            "calibrated": 0.10,
            "citations": [{"page": {"number": 1, "dpi": 150}, "rank": 1}],
            "insights": [{"type": "issue", "content": "x", "level": 2}],
        }
    }
    assert metadata(raw(metadata_by_path))["a"] == FieldMetadata(
        0.5,
        citations=(Citation(1, extra='{"rank":1,"page":{"dpi":150}}'),),
        insights=(Insight("issue", "x", '{"level":2}'),),
        extra='{"calibrated":0.1}',
    )


@pytest.mark.parametrize(
    ("entry", "extra"),
    [
        ({"ocrConfidence": "0.9"}, '{"ocrConfidence":"0.9"}'),
        ({"ocrConfidence": True}, '{"ocrConfidence":true}'),
        (b'{"ocrConfidence":1e400}', '{"ocrConfidence":1e400}'),
        ({"reviewAgentScore": 4.5}, '{"reviewAgentScore":4.5}'),
        ({"reviewAgentScore": 2**63}, '{"reviewAgentScore":9223372036854775808}'),
        ({"citations": "none"}, '{"citations":"none"}'),
        ({"insights": [1]}, '{"insights":[1]}'),
        (7, '{"metadata":7}'),
        ([], '{"metadata":[]}'),
        (None, '{"metadata":null}'),
    ],
)
def test_a_score_of_another_type_is_kept_in_extra(entry: Any, extra: str) -> None:
    """A changed type does not fail a load: a value that fits no column is kept in extra."""
    text = raw(entry)
    metadata_by_path = metadata(Raw(b'{"a":' + bytes(text) + b"}"))
    assert metadata_by_path == {"a": FieldMetadata(extra=extra)}
    batch = Batch()
    flat = flatten_outputs("r", None, Output({"a": None}, metadata_by_path))
    batch.extend(FIELDS, flat.fields)
    [(_, rows)] = to_tables(batch)
    assert rows.num_rows == 1


def test_a_page_too_large_for_a_table_is_kept_in_extra() -> None:
    """No number makes a row that its table refuses."""
    [citation] = metadata(raw({"a": {"citations": [{"page": 2**63}]}}))["a"].citations
    assert citation == Citation(extra='{"page":9223372036854775808}')


oddities = st.sampled_from(
    [None, True, 0, 1, -1, 2.0, 2.5, 2**63, 10**25, "x", "", [], {}, [None], [{}], {"a": 1}]
)


def metadata_like(odd: bool) -> st.SearchStrategy[Any]:
    """Documented metadata; with `odd`, also with unknown keys and values of any type."""

    def loose(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(strategy, strategy, strategy, oddities) if odd else strategy

    def objects(known: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
        some = st.fixed_dictionaries({}, optional={key: loose(value) for key, value in known.items()})
        more = st.dictionaries(st.sampled_from(["new", "extra", "id"]), oddities, max_size=1)
        return st.one_of(some, some, st.builds(lambda a, b: {**a, **b}, some, more)) if odd else some

    score = st.none() | st.floats(0, 1) | st.integers(0, 1)
    page = {"number": st.integers(1, 9), "width": score, "height": score}
    points = objects({"x": st.integers(0, 9) | st.floats(0, 9), "y": st.integers(0, 9)})
    citations = objects(
        {
            "page": st.none() | st.integers(1, 9) | objects(page),
            "pageWidth": score,
            "pageHeight": score,
            "fileId": st.none() | st.text(max_size=3),
            "referenceText": st.none() | st.text(max_size=3),
            "cellRange": st.none() | st.just("A1"),
            "polygon": st.none() | st.lists(points, max_size=4),
        }
    )
    insights = objects({"type": st.just("reasoning"), "content": st.text(max_size=3)})
    entry = {
        "ocrConfidence": score,
        "logprobsConfidence": score,
        "reviewAgentScore": st.integers(1, 5),
        "confidence": score,
        "citations": st.none() | st.lists(citations, max_size=2),
        "insights": st.none() | st.lists(insights, max_size=2),
    }
    return st.dictionaries(st.text(max_size=3), loose(objects(entry)), max_size=3)


metadata_by_path = st.one_of(metadata_like(odd=False), metadata_like(odd=True))


@pytest.mark.parametrize("name", [name for name in RUNS if "extract_run." in name])
def test_documented_metadata_takes_the_fast_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Documented keys and nulls never need the slower reader."""

    def slow(_: Raw) -> FieldMetadata:
        raise AssertionError("read by key")

    monkeypatch.setattr(field_metadata, "_entry_by_key", slow)
    run = run_of(load(name))
    for key in ("output", "initialOutput", "reviewedOutput"):
        found = (run.get(key) or {}).get("metadata")
        if isinstance(found, dict):
            assert metadata(raw(found)).keys() == found.keys()


@settings(max_examples=600, deadline=None)
@given(metadata_by_path)
def test_the_fast_reader_gives_what_the_slow_one_gives(value: Any) -> None:
    """Structs and key-by-key reading give equal entries for documented metadata."""
    assert metadata(raw(value)) == by_key(raw(value))


@settings(max_examples=200, deadline=None)
@given(metadata_by_path)
def test_whatever_metadata_says_fits_the_tables(value: Any) -> None:
    """No shape and no number in metadata makes a row that a table refuses."""
    flat = flatten_outputs("r", None, Output({"a": 1}, metadata(raw(value))))
    batch = Batch()
    for table, rows in (
        (FIELDS, flat.fields),
        (INSIGHTS, flat.insights),
        (CITATIONS, flat.citations),
    ):
        batch.extend(table, rows)
    to_tables(batch)


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner)]
    return [] if value is None else [value]


@settings(max_examples=200, deadline=None)
@given(metadata_by_path)
def test_nothing_that_metadata_say_is_lost(value: Any) -> None:
    """Every number and text of metadata is in the entry: in a cell or in extra."""

    def numbered(part: Any, marks: list[int]) -> Any:
        if isinstance(part, dict):
            return {key: numbered(inner, marks) for key, inner in part.items()}
        if isinstance(part, list):
            return [numbered(inner, marks) for inner in part]
        if part is None or isinstance(part, bool):
            return part
        marks.append(len(marks))
        mark = 1000 + len(marks)
        return f"<{mark}>" if isinstance(part, str) else mark

    document = numbered(value, [])
    text = str(metadata(raw(document)))
    assert [leaf for leaf in leaves(document) if not isinstance(leaf, bool) and str(leaf) not in text] == []


# the shapes of an output


def extract(final: Any, initial: Any = None, reviewed: Any = None, config: Any = None) -> Outputs:
    return extraction(*[None if v is None else raw(v) for v in (final, initial, reviewed, config)])


@pytest.mark.parametrize(
    ("output", "value", "form"),
    [
        ({"value": {"a": 1}, "metadata": {}}, {"a": 1}, "json_schema"),
        ({"value": {"a": 1}}, {"a": 1}, "json_schema"),
        ({"value": None, "metadata": None}, None, "json_schema"),
        ({"value": [1], "metadata": {}}, [1], "json_schema"),
        ({"a": {"id": "f", "type": "string", "value": "x"}}, {"a": "x"}, "fields_array"),
        ({"a": {"id": "f", "type": "string"}}, {"a": None}, "fields_array"),
        ({"value": {"id": "f", "type": "number", "value": 1}}, {"value": 1}, "fields_array"),
        (
            {"value": {"type": "x", "id": "1"}, "metadata": {"type": {}, "id": {}}},
            {"type": "x", "id": "1"},
            "json_schema",
        ),
        (
            {"value": {"type": "x", "id": "1"}, "metadata": {}},
            {"type": "x", "id": "1"},
            "json_schema",
        ),
        ({"a": 1}, {"a": 1}, None),
        ([1, 2], [1, 2], None),
        ("text", "text", None),
        (7, 7, None),
    ],
)
def test_an_output_is_known_by_its_shape(output: Any, value: Any, form: str | None) -> None:
    """No key names the shape. Any other JSON counts as a value, so it is never lost."""
    found = extract(output)
    assert (found.final.value, found.format) == (value, form)
    assert (found.initial, found.reviewed) == (NO_OUTPUT, NO_OUTPUT)


def test_an_empty_output_goes_by_the_configuration() -> None:
    """{} has no shape of its own: an old configuration makes it a fields array."""
    assert extract({}).format is None
    assert extract({}, config={"fields": []}).format == "fields_array"
    assert extract({}, config={"fields": [], "schema": {}}).format is None


def test_what_a_shape_has_no_place_for_is_kept() -> None:
    """Unknown keys next to value and metadata go into the run's extra, under the name of their output."""
    final = {"value": {}, "metadata": {}, "model": "m", "cost": 0.5}
    assert extract(final, {"value": 1, "metadata": [1]}).extra == {
        "output": '{"model":"m","cost":0.5}',
        "initialOutput": '{"metadata":[1]}',
    }


def test_equal_outputs_become_one_object() -> None:
    """A run without corrections carries everything three times: it is decoded once."""
    output = {"value": {"a": 1}, "metadata": {"a": {"ocrConfidence": 0.5}}}
    other = {"value": {"a": 2}, "metadata": {"a": {"ocrConfidence": 0.5}}}
    same = extract(output, output, output)
    assert same.final is same.initial is same.reviewed
    changed = extract(output, other)
    assert changed.final.metadata is changed.initial.metadata
    assert changed.final.value != changed.initial.value


# the fields array


def flat_of(output: Any, **more: Any) -> FlatRows:
    found = extract(output)
    return flatten_outputs("r", None, found.final, **more)


def rows_of(output: Any) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in map(FIELDS.as_dict, flat_of(output).fields)}


def cited(output: Any) -> list[dict[str, Any]]:
    rows = map(CITATIONS.as_dict, flat_of(output).citations)
    unwanted = ("processor_run_id", "output")
    return [{k: v for k, v in row.items() if v is not None and k not in unwanted} for row in rows]


BOX = {"left": 1, "top": 2, "right": 3, "bottom": 4}
CELLS = {"left": 1.0, "top": 2.0, "right": 3.0, "bottom": 4.0}


def field(**cells: Any) -> dict[str, Any]:
    return {"id": "fld_1", "type": "string", "value": "x", "references": [], **cells}


def test_each_box_of_a_reference_is_a_citation() -> None:
    """A reference without a box is one citation of its page."""
    references = [
        {"id": "fld_1", "fieldName": "a", "page": 1, "boundingBoxes": [BOX, BOX]},
        {"id": "fld_1", "fieldName": "a", "page": 2, "boundingBoxes": []},
    ]
    assert cited({"a": field(references=references)}) == [
        {"path": "a", "position": 0, "page": 1, **CELLS},
        {"path": "a", "position": 1, "page": 1, **CELLS},
        {"path": "a", "position": 2, "page": 2},
    ]


def test_a_reference_to_a_row_is_a_citation_of_its_cell() -> None:
    """The row's index is a text, and the cell's name is a separate key."""
    schema = [{"id": "s", "name": "sku", "type": "string"}]
    references = [
        {"id": "1", "fieldName": "sku", "page": 1, "boundingBoxes": [BOX]},
        {"id": "0", "fieldName": "rows", "page": 2, "boundingBoxes": []},
    ]
    value = [{"sku": "A"}, {"sku": "B"}]
    output = {"rows": field(type="array", value=value, schema=schema, references=references)}
    assert cited(output) == [
        {"path": "rows[0]", "position": 0, "page": 2},
        {"path": "rows[1].sku", "position": 0, "page": 1, **CELLS},
    ]


def test_a_reference_to_something_unknown_keeps_what_it_said() -> None:
    """An unknown id or name is kept in the citation's extra."""
    references = [{"id": "fld_9", "fieldName": "elsewhere", "page": 1, "boundingBoxes": []}]
    [citation] = cited({"a": field(references=references)})
    assert citation["path"] == "a"
    assert json.loads(citation["extra"]) == {"id": "fld_9", "fieldName": "elsewhere"}


def test_unknown_keys_of_a_reference_and_of_its_box_are_both_kept() -> None:
    """Extra holds the unknown keys of both."""
    references = [{"id": "fld_1", "page": 1, "text": "t", "boundingBoxes": [{**BOX, "unit": "pt"}]}]
    [citation] = cited({"a": field(references=references)})
    assert json.loads(citation["extra"]) == {"text": "t", "unit": "pt"}


@pytest.mark.parametrize(
    ("type_", "expected", "extra"),
    [
        ("string", "string", {}),
        ("integer", "number", {}),
        ("any[]", "array", {}),
        ("table", "null", {"type": "table"}),
        ("", "null", {"type": ""}),
    ],
)
def test_a_fields_type_is_read_or_kept(type_: str, expected: str, extra: dict[str, str]) -> None:
    """An unknown type is kept in extra, and the value decides the type."""
    row = rows_of({"a": field(type=type_, value=None)})["a"]
    assert row["type"] == expected
    assert json.loads(row["extra"]) == {"id": "fld_1", **extra}


def test_a_field_has_its_score_insights_and_the_rest() -> None:
    """confidence has a column. id, enum and schema are kept in extra."""
    enum = [{"value": "x", "description": "X"}]
    insights = [{"type": "reasoning", "content": "why"}]
    output = {"a": field(type="enum", confidence=0.25, insights=insights, enum=enum)}
    row = rows_of(output)["a"]
    assert (row["type"], row["confidence"], row["insight_count"]) == ("enum", 0.25, 1)
    assert json.loads(row["extra"]) == {"id": "fld_1", "enum": enum}
    [insight] = flat_of(output).insights
    assert insight[3:6] == (0, "reasoning", "why")


@pytest.mark.parametrize("type_", ["currency", "signature"])
def test_the_schema_of_a_leaf_makes_no_rows(type_: str) -> None:
    """A signature has a schema of its parts, but it is one leaf."""
    schema = [{"id": "s", "name": "is_signed", "type": "boolean"}]
    rows = rows_of({"a": field(type=type_, value={"is_signed": True}, schema=schema)})
    assert list(rows) == ["a"]


def test_cells_below_a_field_have_the_types_of_its_schema() -> None:
    """At any depth. The value decides the type of a cell that the schema lacks."""
    schema = [
        {"name": "when", "type": "string"},
        {"name": "inner", "type": "object", "schema": [{"name": "code", "type": "enum"}]},
        {"name": "parts", "type": "any[]", "schema": [{"name": "n", "type": "number"}]},
    ]
    value = [{"when": "2026-02-09", "inner": {"code": "x"}, "parts": [{"n": None}], "new": None}]
    rows = rows_of({"rows": field(type="array", value=value, schema=schema)})
    assert {path: row["type"] for path, row in rows.items()} == {
        "rows": "array",
        "rows[0]": "object",
        "rows[0].when": "string",
        "rows[0].inner": "object",
        "rows[0].inner.code": "enum",
        "rows[0].parts": "array",
        "rows[0].parts[0]": "object",
        "rows[0].parts[0].n": "number",
        "rows[0].new": "null",
    }


def test_a_cell_with_an_odd_name_has_the_type_of_its_schema() -> None:
    """The path is quoted below a field too."""
    schema = [{"name": "net.amount", "type": "enum"}]
    output = {"rows": field(type="array", value=[{"net.amount": None}], schema=schema)}
    rows = rows_of(output)
    assert list(rows) == ["rows", "rows[0]", 'rows[0]["net.amount"]']
    assert rows['rows[0]["net.amount"]']["type"] == "enum"


@pytest.mark.parametrize("name", ["a.b", "", "[0]", 'say "hi"', "é"])
def test_a_field_with_an_odd_name_keeps_its_score(name: str) -> None:
    """The quoted path and the metadata have the same key."""
    [row] = rows_of({name: field(confidence=0.5)}).values()
    assert (row["name"], row["confidence"], row["value"]) == (name, 0.5, "x")


def test_numbers_in_a_fields_array_keep_their_digits() -> None:
    """Also below a field: the cell has the digits that came."""
    text = b'{"a": {"id": "f", "type": "array", "value": [0.10, 1E5], "references": []}}'
    found = extraction(Raw(text), None, None, None)
    rows = flatten_outputs("r", None, found.final).fields
    at = FIELDS.names.index("value_json")
    assert [row[at] for row in rows] == ["[]", "0.10", "1E5"]


# configuration and edits


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, None),
        ([], None),
        ({}, None),
        ({"schema": 7}, None),
        ({"fields": 7}, None),
        ({"fields": [7]}, None),
        (
            {"schema": {"type": "object", "properties": {"a": {"type": ["null", "integer"]}}}},
            Schema("object", {"a": Schema("number")}),
        ),
        (
            {"schema": {"type": "array", "items": {"enum": ["x"], "type": "string"}}},
            Schema("array", {}, Schema("enum")),
        ),
        (
            {"schema": {"properties": {"a": {"type": "string", "extend:type": "date"}, "b": True}}},
            Schema(None, {"a": Schema("date")}),
        ),
        (
            {"schema": {"type": "object", "extend:type": "currency", "properties": {"amount": {}}}},
            Schema("currency"),
        ),
        (
            {"fieldsToExtract": [{"name": "a", "type": "any[]"}, {"type": "string"}]},
            Schema("object", {"a": Schema("array")}),
        ),
        (
            {"fields": [{"name": "a", "type": "array", "schema": [{"name": "b", "type": "date"}]}]},
            Schema("object", {"a": Schema("array", {}, Schema("object", {"b": Schema("date")}))}),
        ),
        (
            {"fields": [{"name": "a", "type": "signature", "schema": [{"name": "b", "type": "date"}]}]},
            Schema("object", {"a": Schema("signature")}),
        ),
    ],
)
def test_a_configuration_tells_the_types(config: Any, expected: Schema | None) -> None:
    """A JSON schema or an old list of fields gives types.

    Anything else gives none and breaks nothing.
    """
    assert schema_of(None if config is None else raw(config)) == expected


def test_an_edit_is_read_with_its_note_and_as_it_came() -> None:
    """A path whose edit is null was not edited. Other shapes are kept."""
    text = b'{"a": {"originalValue": 1.50, "notes": "n"}, "b": null, "c": {"editedValue": 2}, "d": "x"}'
    assert edits(Raw(text)) == {
        "a": Edit("n", '{"originalValue": 1.50, "notes": "n"}', original=Number("1.50")),
        "c": Edit(None, '{"editedValue": 2}', edited=2),
        "d": Edit(None, '"x"'),
    }
    assert edits(None) == {}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=5))
def test_a_box_holds_all_points_of_a_polygon(points: list[tuple[int, int]]) -> None:
    """For rectangles, of which two corners suffice, and for all other polygons."""
    polygon = [{"x": x, "y": y} for x, y in points]
    left, top, right, bottom = field_metadata._box(json.dumps(polygon))
    if points:
        xs, ys = zip(*points, strict=True)
        assert (left, top, right, bottom) == (min(xs), min(ys), max(xs), max(ys))
    else:
        assert left is top is right is bottom is None
