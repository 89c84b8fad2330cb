"""Readings as JSON in the shape of each version, encoded once per pooled document.

2026-02-09:  {"value": {...}, "metadata": {"total": {"ocrConfidence": 0.95, ...,
              "citations": [{"fileId": ..., "page": {"number": 2, ...}}]}}}
2025-04-21:  the same with {"page": 2, "pageWidth": 1275, "pageHeight": 1650} and no fileId
before:      entries without reviewAgentScore, citations without a page size
legacy:      {"total": {"id": "fld_02", "type": "currency", "value": {...}, "confidence": 0.91,
              "references": [...]}}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from ..kinds import Field, Kind, Value
from ..pool import Sample
from ..reading import PAGE, Box, Entry
from ..wire import encode
from .catalog import definition

FILE: Final = b"file_@@@@@@@@@@@@@@@@@@@@"
"""Placeholder for the run's own file id inside pooled bytes.

It has the length of a real id; the finished body has the real id in its place.
"""

_WIDTH, _HEIGHT = PAGE


class Outputs:
    """The encoded outputs of one pooled sample; `edition` is 2026, 2025 or 2024 (v1 equals 2024).

    `keyed_anew`: whether the metadata of a reviewed output has the paths of the reviewed value, or still those of the
    machine result. Extend does not document which.
    """

    def __init__(self, sample: Sample, keyed_anew: Callable[[], bool]) -> None:
        self.sample = sample
        self.keyed_anew = keyed_anew
        self._made: dict[tuple[str, int, int, bool, bool], msgspec.Raw] = {}

    def machine(self, edition: int, legacy: bool) -> msgspec.Raw:
        """The model's output."""
        return self._output(edition, 0, legacy)

    def reviewed(self, edition: int, round: int, legacy: bool) -> msgspec.Raw:
        """The output after the given round of review."""
        return self._output(edition, round, legacy)

    def edits(self, round: int, edition: int) -> msgspec.Raw:
        """The edits of a round of review.

        {"po_number": {"originalValue": null, "editedValue": "PO-9107", "notes": ..., "page": 1,
         "fieldType": "string"}}

        Only 2026-02-09 has null for a field that was opened and not changed.
        """
        key = ("edits", edition, round, False, False)
        if key not in self._made:
            done = self.sample.reviewed(round).edits
            self._made[key] = msgspec.Raw(
                encode(
                    {path: edit and edit_json(edit) for path, edit in done.items() if edit or edition >= 2026}
                )
            )
        return self._made[key]

    def edited(self, round: int) -> bool:
        return any(self.sample.reviewed(round).edits.values())

    def _output(self, edition: int, round: int, legacy: bool) -> msgspec.Raw:
        key = ("output", edition, round, legacy, self.keyed_anew())
        found = self._made.get(key)
        if found is None:
            value, entries = self._content(round)
            shown = (
                fields_array(self.sample.kind, value, entries)
                if legacy
                else {"value": value, "metadata": _metadata(entries, edition)}
            )
            found = self._made[key] = msgspec.Raw(encode(shown))
        return found

    def _content(self, round: int) -> tuple[Value, dict[str, Entry]]:
        if round == 0:
            return self.sample.reading.value, self.sample.reading.entries
        done = self.sample.reviewed(round)
        if self.keyed_anew():
            return done.value, done.entries
        return done.value, done.entries_by_machine_path(self.sample.kind, self.sample.reading)


def edit_json(edit: Any) -> dict[str, Any]:
    shown = {
        "originalValue": edit.original,
        "editedValue": edit.edited,
        "notes": edit.notes,
        "page": edit.page,
        "fieldType": edit.type,
    }
    if edit.notes is None:
        del shown["notes"]
    return shown


def _metadata(entries: dict[str, Entry], edition: int) -> dict[str, Any]:
    return {path: _entry(entry, edition) for path, entry in entries.items()}


def _entry(entry: Entry, edition: int) -> dict[str, Any]:
    shown: dict[str, Any] = {"ocrConfidence": entry.ocr, "logprobsConfidence": entry.logprobs}
    if edition >= 2025:
        shown["reviewAgentScore"] = entry.score
    shown["citations"] = [_citation(entry, box, edition) for box in entry.boxes]
    if entry.insights:
        shown["insights"] = [{"type": type, "content": content} for type, content in entry.insights]
    return shown


def _citation(entry: Entry, box: Box, edition: int) -> dict[str, Any]:
    left, top, right, bottom = box
    polygon = [
        {"x": left, "y": top},
        {"x": right, "y": top},
        {"x": right, "y": bottom},
        {"x": left, "y": bottom},
    ]
    if edition >= 2026:
        page = {"number": entry.page, "width": _WIDTH, "height": _HEIGHT}
        return {
            "fileId": FILE.decode(),
            "page": page,
            "referenceText": entry.text,
            "polygon": polygon,
        }
    shown: dict[str, Any] = {"page": entry.page, "referenceText": entry.text, "polygon": polygon}
    if edition >= 2025:
        shown |= {"pageWidth": _WIDTH, "pageHeight": _HEIGHT}
    return shown


def fields_array(kind: Kind, value: Value, entries: dict[str, Entry]) -> dict[str, Any]:
    """The older output: one result per field; rows have no confidences of their own."""
    return {
        field.name: _result(field, number, value[field.name], entries)
        for number, field in enumerate(kind.fields, 1)
    }


def _result(field: Field, number: int, value: Any, entries: dict[str, Entry]) -> dict[str, Any]:
    own = entries.get(field.name)
    id = f"fld_{number:02d}"
    shown: dict[str, Any] = {
        "id": id,
        "type": "number" if field.type == "integer" else field.type,
        "value": value,
    }
    shown["confidence"] = (own.ocr if own else None) or 0.4
    shown |= {key: part for key, part in definition(field, id).items() if key in ("schema", "enum")}
    shown["references"] = list(_references(field, id, entries))
    if own and own.insights:
        shown["insights"] = [{"type": type, "content": content} for type, content in own.insights]
    return shown


def _references(field: Field, id: str, entries: dict[str, Entry]) -> Iterator[dict[str, Any]]:
    """The places of a value on the pages; references to array rows have the row index as text."""
    for path, entry in entries.items():
        name, _, rest = path.partition("[")
        if name.partition(".")[0] != field.name or not entry.boxes:
            continue
        row, _, part = rest.partition("].")
        yield {
            "id": row.rstrip("]") or id,
            "fieldName": part or field.name,
            "page": entry.page,
            "boundingBoxes": [
                {"left": left, "top": top, "right": right, "bottom": bottom}
                for left, top, right, bottom in entry.boxes
            ],
        }
