"""The types of fields from Extend's configurations, and the reviewer's edits. No I/O."""

from __future__ import annotations

from functools import lru_cache

import msgspec
from msgspec import Raw

from ....core.codec import JSON, decode, decode_whole, json_text, members
from ....core.errors import ShapeError
from ....core.flatten.output import Edit, Schema
from ....core.payload import Payload

_raws = msgspec.json.Decoder(dict[str, Raw]).decode
_raw_list = msgspec.json.Decoder(list[Raw]).decode

TYPES = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "date": "date",
    "currency": "currency",
    "signature": "signature",
    "enum": "enum",
    "array": "array",
    "object": "object",
}


def schema_of(config: Raw | None) -> Schema | None:
    """The types of a run's fields: from `config.schema`, or from the old `config.fields`."""
    if config is None:
        return None
    try:
        parts = _raws(config)
    except msgspec.MsgspecError:
        return None
    if (raw := parts.get("schema")) is not None:
        return _json_schema(bytes(raw))
    for key in ("fields", "fieldsToExtract"):
        if (raw := parts.get(key)) is not None:
            return _field_list(bytes(raw))
    return None


# thousands of runs share a few configurations
@lru_cache(maxsize=512)
def _json_schema(raw: bytes) -> Schema | None:
    try:
        return _schema(decode(raw))
    except (msgspec.MsgspecError, RecursionError):
        return None


@lru_cache(maxsize=512)
def _field_list(raw: bytes) -> Schema | None:
    try:
        return Schema("object", field_schemas([Payload(entry) for entry in _raw_list(raw)]))
    except (msgspec.MsgspecError, ShapeError, RecursionError):
        return None


def _schema(node: JSON) -> Schema | None:
    # {"type": "object", "properties": {"total": {"type": "object", "extend:type": "currency", …}}}
    if type(node) is not dict:
        return None
    special = node.get("extend:type")
    kinds = node.get("type")
    kinds = kinds if type(kinds) is list else [kinds]
    type_ = next((TYPES[k] for k in kinds if type(k) is str and k in TYPES), None)
    if type(special) is str and special in TYPES:
        type_ = TYPES[special]
    elif type(node.get("enum")) is list:
        type_ = "enum"
    properties = node.get("properties")
    children = {}
    if type(properties) is dict and type_ not in ("currency", "signature"):
        children = {key: known for key, inner in properties.items() if (known := _schema(inner))}
    return Schema(type_, children, _schema(node.get("items")))


def type_of(name: str | None) -> str | None:
    """A field's type by the name that a definition gives it; "string[]" is an array. None is unknown."""
    return TYPES.get(name or "", "array" if (name or "").endswith("[]") else None)


def field_schemas(definitions: list[Payload]) -> dict[str, Schema]:
    """The types of fields by name, from a list of definitions."""
    # [{"id": "sub_1", "name": "amount", "type": "currency", "schema": […]}]
    found: dict[str, Schema] = {}
    for definition in definitions:
        name, kind = definition.text("name"), type_of(definition.text("type"))
        if name is None:
            continue
        inner = field_schemas(definition.objects("schema") or [])
        if kind == "array":
            found[name] = Schema(kind, {}, Schema("object", inner) if inner else None)
        elif kind in ("currency", "signature"):
            found[name] = Schema(kind)
        else:
            found[name] = Schema(kind, inner)
    return found


def edits(raw: Raw | None) -> dict[str, Edit]:
    """The reviewer's edits by path; null entries are skipped."""
    # {"po_number": {"originalValue": null, "editedValue": "PO-9", "notes": "…"}, "total": null}
    found: dict[str, Edit] = {}
    for path, entry in members(raw).items() if raw is not None else ():
        if bytes(entry) == b"null":
            continue
        try:
            record = Payload(entry)
            values = [record.raw(key) for key in ("originalValue", "editedValue")]
            original, edited = [None if raw is None else decode_whole(raw) for raw in values]
            found[path] = Edit(record.text("notes"), json_text(entry), original, edited)
        except ShapeError:
            found[path] = Edit(None, json_text(entry))
    return found
