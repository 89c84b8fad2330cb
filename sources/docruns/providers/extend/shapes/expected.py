"""The items of evaluation sets: the output that people expect, as rows, and the ids of the files. No I/O."""

from __future__ import annotations

from contextlib import suppress

import msgspec
from msgspec import Raw

from ....core.codec import encode, is_object
from ....core.flatten.flatten import flatten_outputs
from ....core.payload import Payload
from ....core.tables import EXPECTED_FIELDS, FIELDS, Row
from . import outputs, schemas

_SHARED = [FIELDS.names.index(name) for name in EXPECTED_FIELDS.names[1:-1]]
"""The cells of a row of `fields` that a row of `expected_fields` has too."""

_texts = msgspec.json.Decoder(list[str]).decode


def read_expected(
    row: Payload, item_id: str, type_: str | None, config: Raw | None
) -> tuple[str | None, list[Row]]:
    """The class that an item expects, or the rows of `expected_fields`. Unknown keys stay in the item's row.

    `type_` is the processor's, None where nothing says it; `config` has the types of the fields.
    """
    # {"value": {"total": 9.5}}, {"id": "invoice", "type": "invoice"}, {"splits": [{"type": "invoice", "startPage": 1}]}
    expected = row.raw("expectedOutput")
    if expected is None:
        return None, []
    if is_object(expected) and (type_ == "CLASSIFY" or (type_ is None and _is_class(expected))):
        chosen = Payload(expected)
        class_ = chosen.text("type") or chosen.text("id")
        if class_ is not None:
            if chosen.peek("id") == class_:
                chosen.ignore("id")
            _keep(row, chosen)
            return class_, []
    found = outputs.extraction(expected, None, None, config)
    if found.format is not None:
        # metadata of the value, and keys that the shape does not have
        rest = Payload(expected)
        if found.format == "json_schema":
            rest.drop("value")
        _keep(row, rest)
    flat = flatten_outputs(item_id, None, found.final, schema=schemas.schema_of(config))
    return None, [(item_id, *[cells[at] for at in _SHARED], None) for cells in flat.fields]


def _is_class(expected: Raw) -> bool:
    output = Payload(expected, glance=True)
    return output.peek("id") is not None and output.peek("type") is not None and "value" not in output


def _keep(row: Payload, rest: Payload) -> None:
    if (text := rest.extra()) is not None:
        row.keep("expectedOutput", text)


def file_ids(row: Payload) -> str | None:
    """The ids of an item's files as a JSON list. What else is known of the files stays in the item's row."""
    # {"file": {"id": "file_1", "name": "scan.pdf"}, "files": null}, {"file": null, "files": [{…}, {…}]},
    # {"fileId": "file_1"}
    one, many = row.object("file"), row.objects("files") or []
    files = many or ([] if one is None else [one])
    found = [id_ for file in files if (id_ := file.text("id"))]
    for file in files:
        file.drop("contents", "object")
    rest = [file.extra() or "{}" for file in many]
    if any(text != "{}" for text in rest):
        row.keep("files", f"[{','.join(rest)}]")
    given: list[str] = []
    with suppress(msgspec.MsgspecError):
        given = _texts(row.peek_json("fileIds") or "[]")
        row.drop("fileIds")
    single = row.text("fileId")
    ids = list(dict.fromkeys([*found, *given, *([single] if single else [])]))
    return encode(ids).decode() if ids else None
