"""PURE. Extend's output shapes as `Answer`s, and its configurations as `Schema`s.

    (a) JSON schema      {"value": {"total": 9.5}, "metadata": {"total": {"ocrConfidence": 0.98, …}}}
    (b) fields array     {"total": {"id": "fld_1", "type": "number", "value": 9.5, "references": […]}}
    (c) classification   {"id": "invoice", "type": "invoice", "confidence": 0.93, "insights": []}
    (d) splits           {"splits": [{"type": "invoice", "startPage": 1, "endPage": 2, …}]}

All four come in every API version, and nothing inside an output says which one it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from ...core.codec import JSON, decode_like, decode_whole, encode, is_object, json_text, members
from ...core.duplicate_keys import check_structs
from ...core.errors import ShapeError
from ...core.flatten.output import NO_OUTPUT, Citation, FieldMetadata, Insight, Output, Schema
from ...core.flatten.paths import PathBudget, child_path, join
from ...core.payload import Payload
from .schemas import TYPES, field_schemas

# what a bigint column can hold: a larger number is read by key, which leaves it in extra
_Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Known(Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", gc=False):
    """What is left out when it is written again says nothing: `check_structs` counts on it."""


class _Point(Struct, forbid_unknown_fields=True, gc=False):
    x: float
    y: float


class _Page(_Known):
    number: _Whole
    width: float | None = None
    height: float | None = None


# {"page": {"number": 1, "width": 1275, "height": 1650}, "referenceText": "Total due 9,50",
#  "polygon": [{"x": 838, "y": 149}, …], "fileId": "file_1"}; up to 2025-04-21 "page": 1, "pageWidth": 612
class _Citation(_Known):
    page: _Page | _Whole | None = None
    page_width: float | None = None
    page_height: float | None = None
    file_id: str | None = None
    reference_text: str | None = None
    cell_range: str | None = None
    polygon: Raw = Raw(b"null")  # a union with None would take null only


class _Insight(_Known):
    type: str | None = None
    content: str | None = None


# {"ocrConfidence": 0.98, "logprobsConfidence": null, "reviewAgentScore": 5, "citations": […], "insights": […]}
class _Entry(_Known):
    ocr_confidence: float | None = None
    logprobs_confidence: float | None = None
    review_agent_score: _Whole | None = None
    confidence: float | None = None
    citations: list[_Citation] | None = None
    insights: list[_Insight] | None = None


# a row's place; what else looks like a number stays as it came
_INDEX = re.compile("0|[1-9][0-9]{0,17}")

# a named tuple from all of its cells, in half the time that its own constructor takes
_new = tuple.__new__

_typed_metadata = msgspec.json.Decoder(dict[str, _Entry]).decode
_points = msgspec.json.Decoder(list[_Point]).decode


def metadata(raw: Raw | None) -> dict[str, FieldMetadata]:
    """What the platform says of each path.

    Payloads of the known shape are decoded straight into structs; one with an unknown key or an
    unexpected type anywhere is read key by key instead, which is slower and keeps everything.
    """
    if raw is None:
        return {}
    try:
        entries = _typed_metadata(raw)
        found = {path: _entry(entry) for path, entry in entries.items()}
    except (msgspec.MsgspecError, OverflowError):
        return {path: _entry_by_key(entry) for path, entry in members(raw).items()}
    check_structs(bytes(raw), entries)
    return found


def _entry(entry: _Entry) -> FieldMetadata:
    return FieldMetadata(
        entry.ocr_confidence,
        entry.logprobs_confidence,
        entry.review_agent_score,
        entry.confidence,
        tuple([_citation(c) for c in entry.citations]) if entry.citations else (),
        tuple([_new(Insight, (i.type, i.content, None)) for i in entry.insights])
        if entry.insights
        else (),
    )


def _citation(c: _Citation) -> Citation:
    page, width, height = c.page, c.page_width, c.page_height
    if type(page) is _Page:
        if (None not in (page.width, width)) or (None not in (page.height, height)):
            raise msgspec.ValidationError("a page's size in both shapes: read by key")
        width = page.width if page.width is not None else width
        height = page.height if page.height is not None else height
        page = page.number
    if (polygon := json_text(c.polygon)) == "null":
        return Citation(page, width, height, c.file_id, c.reference_text, c.cell_range)  # type: ignore[arg-type] # narrowed above
    place = (page, width, height, c.file_id, c.reference_text, c.cell_range)
    return _new(Citation, (*place, *_box(polygon), polygon, None))


def _box(polygon: str) -> tuple[float | None, float | None, float | None, float | None]:
    try:
        points = _points(polygon)
    except msgspec.MsgspecError:
        return None, None, None, None
    if not points:
        return None, None, None, None
    if len(points) == 4:
        # nearly all are rectangles, which two corners tell: 0.4 µs in place of 1.1
        a, b, c, d = points
        if a.x == d.x and b.x == c.x and a.y == b.y and c.y == d.y:
            left, right = (a.x, c.x) if a.x <= c.x else (c.x, a.x)
            top, bottom = (a.y, c.y) if a.y <= c.y else (c.y, a.y)
            return left, top, right, bottom
    xs, ys = [p.x for p in points], [p.y for p in points]
    return min(xs), min(ys), max(xs), max(ys)


def _entry_by_key(raw: Raw) -> FieldMetadata:
    try:
        entry = Payload(raw)
    except ShapeError:
        return FieldMetadata(extra='{"metadata":' + json_text(raw) + "}")
    scores = (
        entry.number("ocrConfidence"),
        entry.number("logprobsConfidence"),
        entry.integer("reviewAgentScore"),
        entry.number("confidence"),
    )
    citations = tuple(map(_citation_by_key, entry.objects("citations") or ()))
    return FieldMetadata(*scores, citations, insights(entry), extra=entry.extra())


def _citation_by_key(c: Payload) -> Citation:
    page = c.object("page")
    if page is not None:
        width, height = _size(page, "width", c, "pageWidth"), _size(page, "height", c, "pageHeight")
        numbers = page.integer("number"), width, height
    else:
        numbers = c.integer("page"), c.number("pageWidth"), c.number("pageHeight")
    file_id, text, cells = c.text("fileId"), c.text("referenceText"), c.text("cellRange")
    polygon = c.json("polygon")
    box = _box(polygon) if polygon else (None, None, None, None)
    return Citation(*numbers, file_id, text, cells, *box, polygon, c.extra())


def _size(page: Payload, key: str, c: Payload, old_key: str) -> float | None:
    size = page.number(key)
    if size is None:
        return c.number(old_key)
    c.ignore_empty(old_key)
    return size


def insights(payload: Payload) -> tuple[Insight, ...]:
    """The list under `insights`: [{"type": "reasoning", "content": "Printed next to …"}]."""
    found = payload.objects("insights") or []
    return tuple(Insight(i.text("type"), i.text("content"), i.extra()) for i in found)


class Outputs(NamedTuple):
    """A run's three outputs as answers; `extra` is what their shape has no place for."""

    final: Output
    initial: Output
    reviewed: Output
    format: str | None
    extra: dict[str, str]


def extraction(
    final: Raw | None, initial: Raw | None, reviewed: Raw | None, config: Raw | None
) -> Outputs:
    """The outputs of an extraction, of shape (a), (b), or any other JSON, which counts as a value.

    Equal outputs, equal values and equal metadata become the same object, so that they are decoded
    and walked once: a run that nobody corrected carries everything three times.
    """
    extra: dict[str, str] = {}
    formats: list[str | None] = []
    answers: list[Output] = []
    values, metadatas = _Seen(_like_first), _Seen(lambda raw, _: metadata(raw))
    outputs = _Seen(lambda raw, _: _answer(raw, config, values, metadatas))
    for name, raw in (("output", final), ("initialOutput", initial), ("reviewedOutput", reviewed)):
        if raw is None:
            answers.append(NO_OUTPUT)
            continue
        try:
            answer, form, rest = outputs(raw)
        except ShapeError as error:
            raise ShapeError(f"{name}: {error.message}") from error
        answers.append(answer)
        formats.append(form)
        if rest:
            extra[name] = rest
    return Outputs(answers[0], answers[1], answers[2], formats[0] if formats else None, extra)


_Pairs = list[tuple[Raw, Any]]


class _Seen:
    """Reads each distinct text once; there are at most three, so comparing beats hashing.

    `read` is told what has been read so far. It must not hold its `_Seen`: only the collector would part them.
    """

    def __init__(self, read: Callable[[Raw, _Pairs], Any]) -> None:
        self._read = read
        self._known: _Pairs = []

    def __call__(self, raw: Raw) -> Any:
        for known, result in self._known:
            if known == raw:
                return result
        result = self._read(raw, self._known)
        self._known.append((raw, result))
        return result


def _like_first(raw: Raw, known: _Pairs) -> JSON:
    """A value that takes over what it has in common with the first: what a reviewer left as it was is
    the same object, and is walked once. Saves 0.3 ms of a run of 130 KB that was reviewed."""
    return decode_like(raw, *known[0]) if known else decode_whole(raw)


def _answer(
    raw: Raw, config: Raw | None, values: _Seen, metadatas: _Seen
) -> tuple[Output, str | None, str | None]:
    """One output, the name of its shape, and JSON text of what the shape has no place for."""
    try:
        parts = members(raw)
    except msgspec.MsgspecError:
        return Output(values(raw)), None, None
    if _is_fields_array(parts, config):
        return _fields_array(parts), "fields_array", None
    if "value" not in parts:
        return Output(values(raw)), None, None
    rest = {k: v for k, v in parts.items() if k not in ("value", "metadata")}
    said = parts.get("metadata")
    if said is not None and not is_object(said):
        if bytes(said) != b"null":
            rest["metadata"] = said
        said = None
    told = metadatas(said) if said is not None else {}
    text = "{" + ",".join(f"{_quote(k)}:{json_text(v)}" for k, v in rest.items()) + "}"
    return Output(values(parts["value"]), told), "json_schema", text if rest else None


def _quote(text: str) -> str:
    return encode(text).decode()


def _is_fields_array(parts: Mapping[str, Raw], config: Raw | None) -> bool:
    """Shape (b): every value is an object with an id and a type. An empty output goes by the config."""
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
    #   "references": [{"id": "0", "fieldName": "sku", "page": 1, "boundingBoxes": [{"left": 60, …}]}]}}
    value: dict[str, JSON] = {}
    said: dict[str, FieldMetadata] = {}
    budget = PathBudget()
    for name, raw in parts.items():
        field = Payload(raw)
        content = field.raw("value")
        value[name] = None if content is None else decode_whole(content)
        type_ = field.text("type")
        kind = TYPES.get(type_ or "", "array" if (type_ or "").endswith("[]") else None)
        if kind is None:
            field.keep("type", _quote(type_ or ""))
        path = join([name])
        names = {child.text("name") for child in _definitions(raw)}
        cited: dict[str, list[Citation]] = {}
        for reference in field.objects("references") or ():
            if reference.peek("id") == field.peek("id"):
                reference.ignore("id")
            budget.spend(len(name))
            target = _target(name, reference, names)
            cited.setdefault(target, []).extend(_boxes(reference))
        said[path] = FieldMetadata(
            confidence=field.number("confidence"),
            citations=tuple(cited.pop(path, ())),
            insights=insights(field),
            type=kind,
            extra=field.extra(),
        )
        for target, citations in cited.items():
            said[target] = FieldMetadata(citations=tuple(citations))
        if kind not in ("currency", "signature"):
            # those are one leaf, whatever their own schema says
            schema = field_schemas(_definitions(raw))
            said.update(_nested_types(path, value[name], schema, said, budget))
    return Output(value, said)


def _definitions(raw: Raw) -> list[Payload]:
    return Payload(raw).objects("schema") or []


def _target(name: str, reference: Payload, names: set[str | None]) -> str:
    """The path that a reference is about: a row's cell, a row, a nested name, or the field."""
    row = reference.text("id")
    part = reference.text("fieldName")
    steps: list[str | int] = [name]
    if row is not None and _INDEX.fullmatch(row):
        steps.append(int(row))
    elif row is not None and row != name:
        reference.keep("id", _quote(row))
    if part is not None and part != name:
        if part in names:
            steps.append(part)
        else:
            reference.keep("fieldName", _quote(part))
    return join(steps)


def _boxes(reference: Payload) -> list[Citation]:
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
    """One JSON object of two; the keys of a reference and of its boxes differ."""
    return f"{a[:-1]},{b[1:]}" if a and b else a or b


def _nested_types(
    path: str,
    value: JSON,
    schema: Mapping[str, Schema],
    said: Mapping[str, FieldMetadata],
    budget: PathBudget,
) -> dict[str, FieldMetadata]:
    """Types of the cells below a field, from the field's own schema."""
    found: dict[str, FieldMetadata] = {}
    rows: Iterable[tuple[str, JSON]] = [(path, value)]
    if type(value) is list:
        rows = ((child_path(path, i), row) for i, row in enumerate(value))
    for at, row in rows:
        if type(row) is not dict:
            continue
        for key in row:
            if (known := schema.get(key)) is not None and known.type:
                budget.spend(len(at) + len(key))
                step = child_path(at, key)
                found[step] = replace(said.get(step, FieldMetadata()), type=known.type)
                if known.children or known.items:
                    inner = known.items.children if known.items else known.children
                    found.update(_nested_types(step, row[key], inner, said, budget))
    return found
