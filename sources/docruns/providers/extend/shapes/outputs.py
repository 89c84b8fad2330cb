"""Extend's output shapes as `Output`s. No I/O.

    (a) JSON schema     {"value": {"total": 9.5}, "metadata": {"total": {"ocrConfidence": 0.98}}}
    (b) fields array    {"total": {"id": "fld_1", "type": "number", "value": 9.5, "references": []}}
    (c) classification  {"id": "invoice", "type": "invoice", "confidence": 0.93, "insights": []}
    (d) splits          {"splits": [{"type": "invoice", "startPage": 1, "endPage": 2, …}]}

Every API version sends all four, and no key of an output names its shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from ....core.codec import JSON, decode_like, decode_whole, encode, is_object, json_text, members
from ....core.errors import ShapeError
from ....core.flatten.output import NO_OUTPUT, Citation, FieldMetadata, Output, Schema
from ....core.flatten.paths import PathBudget, child_path, join
from ....core.payload import Payload
from .field_metadata import insights, metadata
from .schemas import field_schemas, type_of

# the position of a row; other texts that look like numbers are keys
_INDEX = re.compile("0|[1-9][0-9]{0,17}")


class Outputs(NamedTuple):
    """A run's three outputs. `format` names their shape; `extra` holds keys that the shape does not have."""

    final: Output
    initial: Output
    reviewed: Output
    format: str | None
    extra: dict[str, str]


def extraction(final: Raw | None, initial: Raw | None, reviewed: Raw | None, config: Raw | None) -> Outputs:
    """The outputs of an extraction: of shape (a), (b), or any other JSON, which counts as a value.

    A run without corrections carries everything three times. Equal outputs, equal values and equal metadata
    become the same object, so that they are decoded and walked once.
    """
    extra: dict[str, str] = {}
    formats: list[str | None] = []
    outputs: list[Output] = []
    read_value, read_metadata = _OnceEach(_share_with_first), _OnceEach(lambda raw, _: metadata(raw))
    read_output = _OnceEach(lambda raw, _: _output(raw, config, read_value, read_metadata))
    for name, raw in (("output", final), ("initialOutput", initial), ("reviewedOutput", reviewed)):
        if raw is None:
            outputs.append(NO_OUTPUT)
            continue
        try:
            output, shape, rest = read_output(raw)
        except ShapeError as error:
            raise ShapeError(f"{name}: {error.message}") from error
        outputs.append(output)
        formats.append(shape)
        if rest:
            extra[name] = rest
    return Outputs(outputs[0], outputs[1], outputs[2], formats[0] if formats else None, extra)


_Results = list[tuple[Raw, Any]]
"""Texts that were read, and their results."""


class _OnceEach:
    """Calls `read` once for each distinct text. There are at most three, so comparing beats hashing.

    `read` also gets the earlier results. It must not refer to its `_OnceEach`: such a cycle is freed by the
    garbage collector only.
    """

    def __init__(self, read: Callable[[Raw, _Results], Any]) -> None:
        self._read = read
        self._results: _Results = []

    def __call__(self, raw: Raw) -> Any:
        for text, result in self._results:
            if text == raw:
                return result
        result = self._read(raw, self._results)
        self._results.append((raw, result))
        return result


def _share_with_first(raw: Raw, earlier: _Results) -> JSON:
    """The decoded value. Parts that are equal to those of the first value are the same objects.

    Parts that a reviewer did not change are walked once: saves 0.3 ms of a run of 130 KB with a review.
    """
    return decode_like(raw, *earlier[0]) if earlier else decode_whole(raw)


def _output(
    raw: Raw, config: Raw | None, read_value: _OnceEach, read_metadata: _OnceEach
) -> tuple[Output, str | None, str | None]:
    """One output, the name of its shape, and JSON text of keys that the shape does not have."""
    try:
        parts = members(raw)
    except msgspec.MsgspecError:
        return Output(read_value(raw)), None, None
    if _is_fields_array(parts, config):
        return _fields_array(parts), "fields_array", None
    if "value" not in parts:
        return Output(read_value(raw)), None, None
    rest = {k: v for k, v in parts.items() if k not in ("value", "metadata")}
    by_path: dict[str, FieldMetadata] = {}
    if (metadata_raw := parts.get("metadata")) is not None:
        if is_object(metadata_raw):
            by_path = read_metadata(metadata_raw)
        elif bytes(metadata_raw) != b"null":
            rest["metadata"] = metadata_raw
    text = "{" + ",".join(f"{_quote(k)}:{json_text(v)}" for k, v in rest.items()) + "}"
    return Output(read_value(parts["value"]), by_path), "json_schema", text if rest else None


def _quote(text: str) -> str:
    return encode(text).decode()


def _is_fields_array(parts: Mapping[str, Raw], config: Raw | None) -> bool:
    """Shape (b): every value is an object with an id and a type. The config decides for {}."""
    if not parts:
        kind = Payload(config, glance=True) if config is not None and is_object(config) else ()
        return ("fields" in kind or "fieldsToExtract" in kind) and "schema" not in kind
    for raw in parts.values():
        if not is_object(raw):
            return False
        field = Payload(raw, glance=True)
        if field.peek("type") is None or ("value" not in field and "id" not in field):
            return False
    return True


def _fields_array(parts: Mapping[str, Raw]) -> Output:
    # {"line_items": {"id": "fld_6", "type": "array", "confidence": 0.64, "value": [{"sku": "A1"}],
    #   "references": [{"id": "0", "fieldName": "sku", "page": 1, "boundingBoxes": [{"left": 60}]}]}}
    values: dict[str, JSON] = {}
    by_path: dict[str, FieldMetadata] = {}
    budget = PathBudget()
    for name, raw in parts.items():
        field = Payload(raw)
        content = field.raw("value")
        values[name] = None if content is None else decode_whole(content)
        type_ = field.text("type")
        kind = type_of(type_)
        if kind is None:
            field.keep("type", _quote(type_ or ""))
        path = join([name])
        definitions = Payload(raw).objects("schema") or []
        citations = _citations_by_path(name, field, definitions, budget)
        by_path[path] = FieldMetadata(
            confidence=field.number("confidence"),
            citations=tuple(citations.pop(path, ())),
            insights=insights(field),
            type=kind,
            extra=field.extra(),
        )
        for target, cited in citations.items():
            by_path[target] = FieldMetadata(citations=tuple(cited))
        # a currency or a signature is one leaf, also where it has a schema
        if kind not in ("currency", "signature"):
            schema = field_schemas(definitions)
            by_path.update(_nested_types(path, values[name], schema, by_path, budget))
    return Output(values, by_path)


def _citations_by_path(
    name: str, field: Payload, definitions: list[Payload], budget: PathBudget
) -> dict[str, list[Citation]]:
    """A field's `references`, by the path that each is about."""
    nested_names = {definition.peek("name") for definition in definitions}
    citations: dict[str, list[Citation]] = {}
    for reference in field.objects("references") or ():
        if reference.peek("id") == field.peek("id"):
            reference.ignore("id")
        budget.spend(len(name))
        target = _target(name, reference, nested_names)
        citations.setdefault(target, []).extend(_citations(reference))
    return citations


def _target(name: str, reference: Payload, nested_names: set[str | None]) -> str:
    """The path that a reference is about: a row's cell, a row, a nested field, or the field itself."""
    row = reference.text("id")
    part = reference.text("fieldName")
    steps: list[str | int] = [name]
    if row is not None and _INDEX.fullmatch(row):
        steps.append(int(row))
    elif row is not None and row != name:
        reference.keep("id", _quote(row))
    if part is not None and part != name:
        if part in nested_names:
            steps.append(part)
        else:
            reference.keep("fieldName", _quote(part))
    return join(steps)


def _citations(reference: Payload) -> list[Citation]:
    """One citation per box; a reference without a box is one citation of its page."""
    page = reference.integer("page")
    boxes = reference.objects("boundingBoxes") or []
    extra = reference.extra()
    if not boxes:
        return [Citation(page=page, extra=extra)]
    return [
        Citation(
            page=page,
            left=box.number("left"),
            top=box.number("top"),
            right=box.number("right"),
            bottom=box.number("bottom"),
            extra=_both(extra, box.extra()),
        )
        for box in boxes
    ]


def _both(a: str | None, b: str | None) -> str | None:
    """One JSON object of two. The keys of a reference and of its boxes differ."""
    return f"{a[:-1]},{b[1:]}" if a and b else a or b


def _nested_types(
    path: str,
    value: JSON,
    schema: Mapping[str, Schema],
    by_path: Mapping[str, FieldMetadata],
    budget: PathBudget,
) -> dict[str, FieldMetadata]:
    """The metadata of the cells below a field, with their types from the field's own schema."""
    types: dict[str, FieldMetadata] = {}
    rows: Iterable[tuple[str, JSON]] = [(path, value)]
    if type(value) is list:
        rows = ((child_path(path, i), row) for i, row in enumerate(value))
    for row_path, row in rows:
        if type(row) is not dict:
            continue
        for key in row:
            if (cell := schema.get(key)) is not None and cell.type:
                budget.spend(len(row_path) + len(key))
                cell_path = child_path(row_path, key)
                types[cell_path] = replace(by_path.get(cell_path, FieldMetadata()), type=cell.type)
                if cell.children or cell.items:
                    inner = cell.items.children if cell.items else cell.children
                    types.update(_nested_types(cell_path, row[key], inner, by_path, budget))
    return types
