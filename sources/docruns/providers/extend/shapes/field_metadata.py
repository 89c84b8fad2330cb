"""What Extend says of each path of an output: scores, citations and insights. No I/O.

    {"total": {"ocrConfidence": 0.98, "logprobsConfidence": null, "reviewAgentScore": 5,
               "citations": […], "insights": […]}}

Metadata is most of a run's text, so it is decoded straight into structs. Metadata with an unknown key or an
unexpected type anywhere is read key by key instead, which is slower and keeps everything.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Raw, Struct

from ....core.codec import json_text, members
from ....core.duplicate_keys import check_structs
from ....core.errors import ShapeError
from ....core.flatten.output import Citation, FieldMetadata, Insight
from ....core.payload import Payload

# the range of a bigint column; a larger number is read by key, which leaves it in extra
_Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Known(Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", gc=False):
    """An object of which all keys are known. `check_structs` expects that defaults are not written again."""


class _Point(Struct, forbid_unknown_fields=True, gc=False):
    x: float
    y: float


class _Page(_Known):
    number: _Whole
    width: float | None = None
    height: float | None = None


# {"page": {"number": 1, "width": 1275, "height": 1650}, "referenceText": "Total due 9,50",
#  "polygon": [{"x": 838, "y": 149}, …], "fileId": "file_1"}
# up to 2025-04-21 "page": 1, "pageWidth": 612
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


class _Entry(_Known):
    ocr_confidence: float | None = None
    logprobs_confidence: float | None = None
    review_agent_score: _Whole | None = None
    confidence: float | None = None
    citations: list[_Citation] | None = None
    insights: list[_Insight] | None = None


# makes a named tuple of all its cells in half the time of its own constructor
_new = tuple.__new__

_typed_metadata = msgspec.json.Decoder(dict[str, _Entry]).decode
_points = msgspec.json.Decoder(list[_Point]).decode


def metadata(raw: Raw | None) -> dict[str, FieldMetadata]:
    """The metadata of each path. ShapeError where a key comes twice with two values."""
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
        tuple([_new(Insight, (i.type, i.content, None)) for i in entry.insights]) if entry.insights else (),
    )


def _citation(c: _Citation) -> Citation:
    page, width, height = c.page, c.page_width, c.page_height
    if type(page) is _Page:
        if (None not in (page.width, width)) or (None not in (page.height, height)):
            raise msgspec.ValidationError("a page's size in both shapes: read by key")
        width = page.width if page.width is not None else width
        height = page.height if page.height is not None else height
        page = page.number
    place = (page, width, height, c.file_id, c.reference_text, c.cell_range)
    if (polygon := json_text(c.polygon)) == "null":
        return _new(Citation, (*place, None, None, None, None, None, None))
    return _new(Citation, (*place, *_box(polygon), polygon, None))


def _box(polygon: str) -> tuple[float | None, float | None, float | None, float | None]:
    try:
        points = _points(polygon)
    except msgspec.MsgspecError:
        return None, None, None, None
    if not points:
        return None, None, None, None
    if len(points) == 4:
        # nearly all are rectangles, for which two corners suffice: 0.4 µs in place of 1.1
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
