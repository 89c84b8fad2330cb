"""The fields inside an extraction's output: two shapes, and the plain values behind them.

The API's documentation does not describe these fields.

A: {"id": "fld_01", "name": "total", "type": "NUMBER", "value": 88.1, "confidence": 0.98,
    "placements": [{"page": 1, "x": 0.6, ...}]}
B: {"fieldId": "total", "label": "Total", "fieldType": "money",
    "normalizedValue": {"amount": "88.10", "currency": "EUR"}, "confidenceScore": 93,
    "placement": {"pageIndex": 0, "polygon": [[10, 20], [60, 20], [60, 32], [10, 32]]}}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ..kinds import Field, Value
from ..pool import Sample
from ..reading import PAGE, Entry

A_TYPES: Final = {"date": "DATE", "number": "NUMBER", "integer": "NUMBER", "boolean": "BOOLEAN"}
NESTED: Final = ("object", "signature")
NOTES: Final = ["left at the dock", "ring twice"]
UNSURE: Final = 0.12
Entries = dict[str, Entry]


def output(sample: Sample, round: int, shape: str) -> Value:
    """The output of an extraction: the machine's reading or, after reprocessing, a later round's value."""
    value, entries = _found(sample, round)
    if shape == "A":
        shown = _a_fields(sample, value, entries)
        return {"fieldCount": len(shown), "fields": shown}
    return {"fields": _b_fields(sample, value, entries), "futureKey": []}


def plain(sample: Sample, round: int, shape: str) -> Value:
    """The same output as plain JSON: groups are objects, tables are lists of objects.

    A has camelCase names and separates an amount from its currency (`total`, `totalCurrency`). B has
    snake_case names and money as {"amount": "88.10", "currency": "EUR"}, null when there is none. For a field
    that B repeats, this is the first one.
    """
    value, _ = _found(sample, round)
    shown: Value = {}
    for field in sample.kind.fields:
        held = value[field.name]
        if field.type == "array":
            shown[_name(field, shape)] = [_plain_parts(field.fields, row, shape) for row in held]
        elif field.type in NESTED:
            shown[_name(field, shape)] = _plain_parts(field.fields, held, shape)
        else:
            shown |= _plain_parts((field,), value, shape)
    if shape == "B" and _noted(sample):
        shown["notes"] = NOTES
    return shown


def _found(sample: Sample, round: int) -> tuple[Value, Entries]:
    if round == 0:
        return sample.reading.value, sample.reading.entries
    # a first review may find nothing to change, a later one always changes something
    later = sample.reviewed(round + 1)
    return later.value, later.entries


def _plain_parts(parts: tuple[Field, ...], held: Value, shape: str) -> Value:
    shown: Value = {}
    for part in parts:
        if shape == "A":
            shown.update((name, value) for name, _, value in _a_scalars(part, held[part.name]))
        else:
            shown[part.name] = _b_value(part, held[part.name])
    return shown


def _name(field: Field, shape: str) -> str:
    return _camel(field.name) if shape == "A" else field.name


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _noted(sample: Sample) -> bool:
    return sample.variant % 3 == 0


# shape A


def _a_scalars(field: Field, value: Any) -> Iterator[tuple[str, str, Any]]:
    """(name, type, value) of each scalar of a field; a field has one or two."""
    name = _camel(field.name)
    if field.type == "currency":
        yield name, "NUMBER", value["amount"]
        yield f"{name}Currency", "STRING", value["iso_4217_currency_code"]
    else:
        yield name, A_TYPES.get(field.type, "STRING"), value


def _a_fields(sample: Sample, value: Value, entries: Entries) -> list[Value]:
    shown: list[Value] = []
    for field in sample.kind.fields:
        held = value[field.name]
        id = f"fld_{len(shown) + 1:02d}"
        if field.type == "array":
            shown.append(_a_table(id, field, held, entries, sample.pages))
        elif field.type in NESTED:
            shown.append(_a_group(id, field, held, entries))
        else:
            entry = entries.get(field.name)
            for turn, (name, type, scalar) in enumerate(_a_scalars(field, held)):
                id = f"fld_{len(shown) + 1:02d}"
                shown.append(_a_scalar(id, name, type, scalar, entry, placed=turn == 0))
    return shown


def _a_scalar(
    id: str, name: str, type: str, value: Any, entry: Entry | None, *, placed: bool = True
) -> Value:
    shown: Value = {"id": id, "name": name, "type": type, "value": value}
    shown["confidence"] = _sure(entry)
    if value is None:
        shown["placements"] = []
    elif placed and entry is not None and entry.boxes:
        shown["placements"] = [_share(entry.page, box) for box in entry.boxes]
    return shown


def _a_group(id: str, field: Field, held: Value, entries: Entries) -> Value:
    parts: list[Value] = []
    for part in field.fields:
        entry = entries.get(f"{field.name}.{part.name}") or entries.get(field.name)
        for name, type, scalar in _a_scalars(part, held[part.name]):
            letter = chr(ord("a") + len(parts))
            parts.append(_a_scalar(f"{id}_{letter}", name, type, scalar, entry))
    return {
        "id": id,
        "name": _camel(field.name),
        "type": "GROUP",
        "value": None,
        "confidence": 0.88,
        "fields": parts,
    }


def _a_table(id: str, field: Field, rows: list[Value], entries: Entries, pages: int) -> Value:
    return {
        "id": id,
        "name": _camel(field.name),
        "type": "TABLE",
        "value": [
            {
                name: {
                    "value": scalar,
                    "confidence": _sure(entries.get(f"{field.name}[{place}].{part.name}")),
                }
                for part in field.fields
                for name, _, scalar in _a_scalars(part, row[part.name])
            }
            for place, row in enumerate(rows)
        ],
        "confidence": _sure(entries.get(field.name)),
        "placements": [
            {"page": page, "x": 0.08, "y": 0.45 if page == 1 else 0.06, "width": 0.84, "height": 0.2}
            for page in range(1, min(pages, 2) + 1)
        ],
    }  # fmt: skip


def _sure(entry: Entry | None) -> float:
    return UNSURE if entry is None or entry.ocr is None else entry.ocr


def _share(page: int, box: tuple[int, int, int, int]) -> Value:
    """A box in page pixels, converted to shares of the page's width and height."""
    left, top, right, bottom = box
    width, height = PAGE
    return {
        "page": page,
        "x": round(left / width, 4),
        "y": round(top / height, 4),
        "width": round((right - left) / width, 4),
        "height": round((bottom - top) / height, 4),
    }


# shape B


def _b_value(field: Field, value: Any) -> Any:
    if field.type != "currency":
        return value
    if value["amount"] is None:
        return None
    return {"amount": f"{value['amount']:.2f}", "currency": value["iso_4217_currency_code"]}


def _b_fields(sample: Sample, value: Value, entries: Entries) -> list[Any]:
    shown: list[Any] = []
    repeats = sample.variant % 4 == 1
    for field in sample.kind.fields:
        held = value[field.name]
        if field.type == "array":
            shown.append(_b_table(field, held, entries))
        elif field.type in NESTED:
            shown.append({**_b_head(field, "group"), "children": _b_parts(field, held, entries)})
        elif field.type == "enum":
            shown.append({"key": field.name, "text": held})
        else:
            shown.append(_b_scalar(field, held, entries.get(field.name)))
            if repeats and field.type == "currency" and held["amount"] is not None:
                repeats = False
                second = {**held, "amount": held["amount"] + 1.9}
                shown.append({**_b_scalar(field, second, None), "confidenceScore": 41})
    if _noted(sample):
        shown.append({"key": "notes", "text": NOTES})
    if sample.variant % 5 == 0:
        shown += ["bare string field", None]
    return shown


def _b_head(field: Field, type: str) -> Value:
    label = field.name.replace("_", " ").capitalize()
    return {"fieldId": field.name, "label": label, "fieldType": type}


def _b_scalar(field: Field, value: Any, entry: Entry | None) -> Value:
    shown = _b_head(field, "money" if field.type == "currency" else field.type)
    shown["normalizedValue"] = _b_value(field, value)
    if entry is not None and entry.ocr is not None:
        shown["confidenceScore"] = round(entry.ocr * 100)
    if entry is not None and entry.boxes:
        left, top, right, bottom = entry.boxes[0]
        corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
        shown["placement"] = {"pageIndex": entry.page - 1, "polygon": corners}
    return shown


def _b_parts(field: Field, held: Value, entries: Entries) -> list[Value]:
    return [
        _b_scalar(part, held[part.name], entries.get(f"{field.name}.{part.name}")) for part in field.fields
    ]


def _b_table(field: Field, rows: list[Value], entries: Entries) -> Value:
    return {
        **_b_head(field, "table"),
        "rows": [
            {
                "items": [
                    _b_scalar(part, row[part.name], entries.get(f"{field.name}[{place}].{part.name}"))
                    for part in field.fields
                ]
            }
            for place, row in enumerate(rows)
        ],
    }


__all__ = ["output", "plain"]
