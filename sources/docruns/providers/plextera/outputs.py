"""Plextera's extraction output as an `Output`. No I/O.

    {"fieldCount": 2, "fields": [
       {"id": "fld_1", "name": "total", "type": "NUMBER", "value": 9.5, "confidence": 0.91,
        "placements": [{"page": 2, "x": 0.7, "y": 0.83, "width": 0.11, "height": 0.02}]},
       {"id": "fld_2", "name": "lines", "type": "TABLE",
        "value": [{"sku": {"value": "A1", "confidence": 0.97}}]}]}

Plextera does not document the keys of a field. So each key is the first of a list of candidates that the
field has, and its row's extra keeps the whole element as it came. The path of a field is its name; names that
repeat become items, `name[0]`, `name[1]`, and a field without a name has its position as its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from ...core.codec import JSON, Number, decode, json_text, number_text
from ...core.flatten.output import Citation, FieldMetadata, Output
from ...core.flatten.paths import PathBudget, child_path
from ...core.flatten.values import double

_ID = ("id", "fieldId", "key")
_NAME = ("name", "label", "key", "fieldId", "id")
_TYPE = ("type", "fieldType", "valueType")
_VALUE = ("value", "normalizedValue", "text")
_CONFIDENCE = ("confidence", "confidenceScore", "score")
_PLACEMENTS = ("placements", "placement", "locations")
_CHILDREN = ("fields", "children", "rows", "items")

_CONTAINERS: dict[type, str] = {dict: "object", list: "array"}
_TYPES = {
    "string": "string",
    "text": "string",
    "date": "date",
    "number": "number",
    "integer": "number",
    "decimal": "number",
    "boolean": "boolean",
    "money": "currency",
    "currency": "currency",
    "signature": "signature",
    "enum": "enum",
    "group": "object",
    "object": "object",
    "table": "array",
    "array": "array",
    "list": "array",
}


def make_output(fields: list[Raw]) -> Output:
    """The fields as one object, by name, with the metadata of each path.

    The metadata's extra keeps each field as it came. ShapeError where the paths would be too long in all.
    """
    reader = _Fields()
    elements, texts = [decode(raw) for raw in fields], [json_text(raw) for raw in fields]
    return Output(reader.object(elements, "", texts), reader.by_path)


class _Fields:
    """Reads fields into values. `by_path` is the metadata of the paths read so far."""

    def __init__(self) -> None:
        self.by_path: dict[str, FieldMetadata] = {}
        self._budget = PathBudget()

    def below(self, path: str, step: str | int) -> str:
        """The path one step down."""
        self._budget.spend(len(path))
        return child_path(path, step)

    def note(self, path: str, entry: FieldMetadata) -> None:
        """Store the metadata of a path. Where a value has two wrappers, the inner one takes precedence."""
        inner = self.by_path.get(path)
        if inner is not None:
            entry = replace(
                entry,
                confidence=entry.confidence if inner.confidence is None else inner.confidence,
                citations=inner.citations or entry.citations,
                type=inner.type or entry.type,
            )
        self.by_path[path] = entry

    def object(self, elements: list[JSON], path: str, texts: Sequence[str] = ()) -> dict[str, JSON]:
        """Elements as an object. `texts` are the elements as they came, for the extra of their rows."""
        names = [_name(element, i) for i, element in enumerate(elements)]
        repeats = Counter(names)
        value: dict[str, JSON] = {}
        for i, (name, element) in enumerate(zip(names, elements, strict=True)):
            field_path = self.below(path, name)
            if repeats[name] > 1:
                items: list[JSON] = value.setdefault(name, [])
                field_path = self.below(field_path, len(items))
                item, entry = self.node(element, field_path)
                items.append(item)
            else:
                value[name], entry = self.node(element, field_path)
            extra = '{"element":' + texts[i] + "}" if texts else None
            self.note(field_path, replace(entry, extra=extra))
        return value

    def node(self, element: JSON, path: str) -> tuple[JSON, FieldMetadata]:
        """A field's value as plain JSON, and its metadata."""
        if type(element) is not dict or not _is_field(element):
            return element, FieldMetadata()
        value = _first(element, _VALUE)
        type_ = _first(element, _TYPE)
        entry = FieldMetadata(
            confidence=_double(_first(element, _CONFIDENCE)),
            citations=_citations(_first(element, _PLACEMENTS)),
            type=_TYPES.get(type_.lower()) if type(type_) is str else None,
        )
        children = _first(element, _CHILDREN)
        if type(children) is list and value is None:
            if entry.type == "array":
                return self.table(children, path), entry
            return self.object(children, path), replace(entry, type=entry.type or "object")
        unwrapped = self.unwrap(value, path)
        if entry.type in ("object", "array"):
            # the value shows which of both it is, if any
            entry = replace(entry, type=_CONTAINERS.get(type(unwrapped)))
        return unwrapped, entry

    def table(self, rows: list[JSON], path: str) -> list[JSON]:
        """Rows that are fields themselves: [{"items": [{"label": "Sku", "normalizedValue": "A1"}]}]."""
        values: list[JSON] = []
        for i, row in enumerate(rows):
            row_path = self.below(path, i)
            value, entry = self.node(row, row_path)
            values.append(value)
            self.note(row_path, replace(entry, type=None))
        return values

    def unwrap(self, value: JSON, path: str) -> JSON:
        """Rows and cells of a table: {"sku": {"value": "A1", "confidence": 0.97}} gives {"sku": "A1"}."""
        if type(value) is list:
            return [self.unwrap(item, self.below(path, i)) for i, item in enumerate(value)]
        if type(value) is not dict:
            return value
        if "value" in value and _double(_first(value, _CONFIDENCE)) is not None:
            inner, entry = self.node(value, path)
            self.note(path, entry)
            return inner
        return {key: self.unwrap(item, self.below(path, key)) for key, item in value.items()}


def _name(element: JSON, position: int) -> str:
    found = _first(element, _NAME) if type(element) is dict else None
    return found if type(found) is str else str(position)


def _first(element: dict[str, Any], keys: tuple[str, ...]) -> JSON:
    return next((element[key] for key in keys if element.get(key) is not None), None)


def _is_field(element: dict[str, Any]) -> bool:
    return any(key in element for key in (*_VALUE, *_CHILDREN))


def _double(value: JSON) -> float | None:
    return double(value) if type(value) is int or type(value) is Number else None


def _citations(placements: JSON) -> tuple[Citation, ...]:
    places = placements if type(placements) is list else [placements]
    return tuple(_citation(place) for place in places if type(place) is dict)


def _citation(place: dict[str, Any]) -> Citation:
    # {"page": 1, "x": 0.62, "y": 0.08, "width": 0.2, "height": 0.02}
    # or {"pageIndex": 0, "polygon": [[10, 20], …]}
    x, y = _double(place.get("x")), _double(place.get("y"))
    width, height = _double(place.get("width")), _double(place.get("height"))
    left, top = _double(place.get("left")), _double(place.get("top"))
    right, bottom = _double(place.get("right")), _double(place.get("bottom"))
    if x is not None and y is not None and width is not None and height is not None:
        left, top, right, bottom = x, y, x + width, y + height
    polygon = place.get("polygon")
    if left is None and type(polygon) is list:
        left, top, right, bottom = _box(polygon)
    return Citation(
        page=_page(place),
        left=left,
        top=top,
        right=right,
        bottom=bottom,
        polygon=None if polygon is None else number_text(polygon),
        extra=number_text(place),
    )


def _page(place: dict[str, Any]) -> int | None:
    for key, base in (("page", 0), ("pageNumber", 0), ("pageIndex", 1)):
        number = place.get(key)
        if type(number) is int and abs(number) < 2**62:
            # an index begins at 0, a page at 1
            return number + base
    return None


def _box(polygon: list[Any]) -> tuple[float | None, float | None, float | None, float | None]:
    xs, ys = [], []
    for point in polygon:
        pair = (point.get("x"), point.get("y")) if type(point) is dict else point
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            return None, None, None, None
        x, y = _double(pair[0]), _double(pair[1])
        if x is None or y is None:
            return None, None, None, None
        xs.append(x)
        ys.append(y)
    return (min(xs), min(ys), max(xs), max(ys)) if xs else (None, None, None, None)


def extraction_ids(output: JSON, known: Any = ()) -> list[str]:
    """Ids of extractions in a step's output.

    These are the texts under `extractionId` at any depth; else all texts that are in `known`; else the
    output's own `id`.
    """
    ids: list[str] = []
    texts: list[str] = []
    _collect(output, ids, texts)
    if ids:
        return ids
    known_ids = [text for text in texts if text in known]
    if known_ids:
        return known_ids
    own_id = output.get("id") if type(output) is dict else None
    return [own_id] if type(own_id) is str else []


def _collect(value: JSON, ids: list[str], texts: list[str], key: str = "") -> None:
    if type(value) is str:
        (ids if key.lower().replace("_", "") == "extractionid" else texts).append(value)
    elif type(value) is dict:
        for name, inner in value.items():
            _collect(inner, ids, texts, name)
    elif type(value) is list:
        for inner in value:
            _collect(inner, ids, texts, key)
