"""A view for each extractor, with a typed column for each of its fields, and one for each of its arrays.

    fields of all extractions of a processor ──► doc_<processor>          one row per extraction
                                             ──► doc_<processor>__<array> one row per item

Names are made of processors' and fields' names; where two are equal, the id decides. Types are those of the fields;
where versions differ, the column is text.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MAX_NAME = 63
"""Bytes of a name in PostgreSQL."""

_VALUES = {
    "number": "value_number",
    "currency": "value_number",
    "boolean": "value_boolean",
    "date": "value_date",
}
_IDS = (
    "processor_run_id",
    "workflow_run_id",
    "processor_version",
    "source",
    "file_id",
    "file_name",
    "page_count",
    "created_at",
    "reviewed",
    "dashboard_url",
)
"""Columns of `documents` that stand first in each view of documents."""

FIELDS_QUERY = """
SELECT r.processor_id, max(r.processor_name), f.field, f.type
FROM src.fields f JOIN src.processor_runs r ON r.id = f.processor_run_id
WHERE f.kind = 'leaf' AND r.type = 'EXTRACT' AND r.processor_id IS NOT NULL AND r.deleted_at IS NULL
GROUP BY r.processor_id, f.field, f.type
"""


class Leaf(NamedTuple):
    """A field of a processor, with the types that its values have had."""

    processor_id: str
    processor_name: str | None
    field: str
    types: frozenset[str]


def leaves_of(rows: Iterable[tuple[str, str | None, str, str | None]]) -> list[Leaf]:
    """The leaves of all processors, from the rows of `FIELDS_QUERY`."""
    types: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    names: dict[str, str | None] = {}
    for processor_id, name, field, type_ in rows:
        names[processor_id] = name or names.get(processor_id)
        types[processor_id, field] |= {type_} - {None, "null"}  # type: ignore[arg-type]
    return [Leaf(id_, names[id_], field, frozenset(found)) for (id_, field), found in sorted(types.items())]


def views(leaves: Iterable[Leaf]) -> Iterator[tuple[str, str]]:
    """The name and the query of each view, in the dialect of the models: see views.py."""
    by_processor: defaultdict[str, list[Leaf]] = defaultdict(list)
    for leaf in leaves:
        by_processor[leaf.processor_id].append(leaf)
    titles = _names({id_: f"doc_{found[0].processor_name or id_}" for id_, found in by_processor.items()}, 40)
    for id_, found in by_processor.items():
        top = [leaf for leaf in found if "[]" not in leaf.field and leaf.field]
        yield titles[id_], _documents(id_, top)
        arrays: defaultdict[str, list[Leaf]] = defaultdict(list)
        for leaf in found:
            if leaf.field.count("[]") == 1:
                arrays[leaf.field.partition("[]")[0]].append(leaf)
        array_names = _names({array: array for array in arrays}, MAX_NAME - len(titles[id_]) - 2)
        for array, inside in arrays.items():
            yield f"{titles[id_]}__{array_names[array]}", _items(id_, array, inside)


def _documents(processor_id: str, leaves: list[Leaf]) -> str:
    ids = [f"d.{name}" for name in _IDS]
    cells = list(_cells(leaves, ""))
    return (
        f"SELECT {', '.join([*ids, *cells])} FROM answers.documents d "
        "LEFT JOIN src.fields f ON f.processor_run_id = d.processor_run_id AND f.kind = 'leaf' "
        f"WHERE d.processor_id = {_literal(processor_id)} GROUP BY {', '.join(ids)}"
    )


def _items(processor_id: str, array: str, leaves: list[Leaf]) -> str:
    cells = list(_cells(leaves, f"{array}[]"))
    return (
        f"SELECT d.processor_run_id, d.workflow_run_id, f.item_index, {', '.join(cells)} FROM answers.documents d "
        "JOIN src.fields f ON f.processor_run_id = d.processor_run_id AND f.kind = 'leaf' "
        f"WHERE d.processor_id = {_literal(processor_id)} AND f.value_json IS NOT NULL "
        f"AND f.field LIKE {_literal(_escaped(array) + '[]%')} ESCAPE '!' AND f.field NOT LIKE '%[]%[]%' "
        "GROUP BY d.processor_run_id, d.workflow_run_id, f.item_index"
    )


def _cells(leaves: list[Leaf], prefix: str) -> Iterator[str]:
    """The columns of each leaf: its value, its score, and whether it was edited."""
    texts = {
        leaf.field: leaf.field[len(prefix) :].lstrip(".").replace(".", "__") or "value" for leaf in leaves
    }
    names = _names(texts, MAX_NAME - len("__edited"))
    for leaf in leaves:
        [*types] = leaf.types
        value = _VALUES.get(types[0], "value") if len(types) == 1 else "value"
        name, where = names[leaf.field], f"f.field = {_literal(leaf.field)}"
        here = f"{where} AND f.value_json IS NOT NULL"
        whole = "bool_or" if value == "value_boolean" else "max"
        yield f'{whole}(CASE WHEN {here} THEN f.{value} END) AS "{name}"'
        score = "coalesce(f.logprobs_confidence, f.ocr_confidence, f.confidence)"
        yield f'max(CASE WHEN {here} THEN {score} END) AS "{name}__score"'
        yield f'bool_or(CASE WHEN {where} THEN f.edited END) AS "{name}__edited"'


def _names(texts: dict[str, str], length: int) -> dict[str, str]:
    """Names for SQL, unique and at most `length` characters long, by key. A name that two keys would have gets a part
    of a hash of its key, so it does not depend on the others' order."""
    plain = {key: re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_") or "x" for key, text in texts.items()}
    plain = {key: name[:length] for key, name in plain.items()}
    taken: defaultdict[str, int] = defaultdict(int)
    for name in plain.values():
        taken[name] += 1
    return {
        key: name
        if taken[name] == 1
        else f"{name[: length - 7]}_{hashlib.sha256(key.encode()).hexdigest()[:6]}"
        for key, name in plain.items()
    }


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _escaped(text: str) -> str:
    return re.sub(r"([!%_])", r"!\1", text)
