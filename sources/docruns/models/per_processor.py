"""A view for each extractor, with a typed column for each of its fields, and one for each of its arrays.

    fields of all extractions of a processor ──► doc_<processor>          one row per extraction
                                             ──► doc_<processor>__<array> one row per item

Names are made of processors' and fields' names; where two are equal, the id decides. Types are those of the fields;
where versions differ, the column is text.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import NamedTuple

from ..store.duckdb.file import quote
from .dialects import literal
from .model import View, schema_name

PREFIX = "doc_"
"""How the names of all views of processors begin."""

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

MAX_SCORED = 500
"""Leaves of a view up to which each one has its score and its edit: PostgreSQL's views have at most 1,600 columns."""

_ENDINGS = ("__score", "__edited")

FIELDS_QUERY = """
SELECT r.processor_id, max(r.processor_name), f.field, f.type
FROM {dataset}.fields f JOIN {dataset}.processor_runs r ON r.id = f.processor_run_id
WHERE f.kind = 'leaf' AND r.type = 'EXTRACT' AND r.processor_id IS NOT NULL AND r.deleted_at IS NULL
GROUP BY r.processor_id, f.field, f.type
"""
"""The arguments of `leaves_of`, for a quoted dataset. It runs on every database."""


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
        # a processor that was renamed has several names: the choice must not depend on the order of rows
        names[processor_id] = max(name or "", names.get(processor_id) or "") or None
        types[processor_id, field] |= {type_} - {None, "null"}  # type: ignore[arg-type]
    return [Leaf(id_, names[id_], field, frozenset(found)) for (id_, field), found in sorted(types.items())]


def _single(text: str) -> str:
    """Without two underscores in a row, which stand between a processor and its array."""
    return re.sub("[^a-z0-9]+", "_", text.lower())


def views(leaves: Iterable[Leaf], dataset: str) -> Iterator[View]:
    """The views of all processors. Their SQL is the same for every database, so it needs no translation: that would take
    three seconds for 200 processors."""
    by_processor: defaultdict[str, list[Leaf]] = defaultdict(list)
    for leaf in leaves:
        by_processor[leaf.processor_id].append(leaf)
    titles = _names(
        {id_: _single(f"{PREFIX}{found[0].processor_name or id_}") for id_, found in by_processor.items()}, 40
    )
    for id_, found in by_processor.items():
        title, name = titles[id_], found[0].processor_name or id_
        top = [leaf for leaf in found if "[]" not in leaf.field and leaf.field]
        about = {"grain": "processor_run_id", "processor": name, "id": id_}
        first = (
            f"One extraction of {name}, with a column for each field, its score and whether it was edited."
        )
        yield View(title, _documents(id_, top, dataset), _about(first, about))
        arrays: defaultdict[str, list[Leaf]] = defaultdict(list)
        for leaf in found:
            if leaf.field.count("[]") == 1:
                arrays[leaf.field.partition("[]")[0]].append(leaf)
        array_names = _names({array: _single(array) for array in arrays}, MAX_NAME - len(title) - 2)
        for array, inside in arrays.items():
            about = {"grain": "processor_run_id, item_index", "processor": name, "id": id_, "array": array}
            first = f"One item of {array} in an extraction of {name}, as it is finally."
            query = _items(id_, array, inside, dataset)
            yield View(f"{title}__{array_names[array]}", query, _about(first, about))


def _about(first: str, lines: Mapping[str, str]) -> str:
    return "\n".join([first, *(f"{key}: {' '.join(text.split())}" for key, text in lines.items())])


def parse_about(text: str) -> dict[str, str]:
    """The `processor`, `id`, `grain` and, of a view of items, `array` of a view's description."""
    pairs = (line.partition(": ") for line in text.splitlines()[1:])
    return {key: value for key, colon, value in pairs if colon}


def _documents(processor_id: str, leaves: list[Leaf], dataset: str) -> str:
    ids = [f"d.{name}" for name in _IDS]
    cells = list(_cells(leaves, ""))
    return (
        f"SELECT {', '.join([*ids, *cells])} FROM {_answers(dataset)}.documents d "
        f"LEFT JOIN {_leaves(leaves, dataset)} f ON f.processor_run_id = d.processor_run_id "
        f"WHERE d.processor_id = {literal(processor_id)} GROUP BY {', '.join(ids)}"
    )


def _items(processor_id: str, array: str, leaves: list[Leaf], dataset: str) -> str:
    cells = list(_cells(leaves, f"{array}[]"))
    return (
        f"SELECT d.processor_run_id, d.workflow_run_id, f.item_index, {', '.join(cells)} FROM {_answers(dataset)}.documents d "
        f"JOIN {_leaves(leaves, dataset)} f ON f.processor_run_id = d.processor_run_id "
        f"WHERE d.processor_id = {literal(processor_id)} AND f.value_json IS NOT NULL "
        f"AND f.field LIKE {literal(_escaped(array) + '[]%')} ESCAPE '!' AND f.field NOT LIKE '%[]%[]%' "
        "GROUP BY d.processor_run_id, d.workflow_run_id, f.item_index"
    )


def _leaves(leaves: list[Leaf], dataset: str) -> str:
    """The leaves of all extractions, without the values and scores of removed ones. This is said once, not in each column:
    DuckDB makes the view in half of the time."""
    cells = {value: value for value in sorted({_value_column(leaf) for leaf in leaves})}
    cells["score"] = "coalesce(logprobs_confidence, ocr_confidence, confidence)"
    kept = (
        f"CASE WHEN edit_kind IS DISTINCT FROM 'removed' THEN {cell} END AS {name}"
        for name, cell in cells.items()
    )
    return (
        f"(SELECT processor_run_id, item_index, field, value_json, edited, {', '.join(kept)} "
        f"FROM {quote(dataset)}.fields WHERE kind = 'leaf')"
    )


def _value_column(leaf: Leaf) -> str:
    """The column of `fields` that has a leaf's values in the type that they all have."""
    columns = {_VALUES.get(type_, "value") for type_ in leaf.types}
    return columns.pop() if len(columns) == 1 else "value"


def _cells(leaves: list[Leaf], prefix: str) -> Iterator[str]:
    """The columns of each leaf: its value, its score, and whether it was edited."""
    texts = {
        leaf.field: leaf.field[len(prefix) :].lstrip(".").replace(".", "__") or "value" for leaf in leaves
    }
    names = _names(texts, MAX_NAME - len("__edited"), {*_IDS, "item_index"})
    for leaf in leaves:
        value, name = _value_column(leaf), names[leaf.field]
        # FILTER would say the same, and DuckDB would take fifteen times as long to read the view
        here = f"CASE WHEN f.field = {literal(leaf.field)} THEN f."
        whole = "bool_or" if value == "value_boolean" else "max"
        yield f'{whole}({here}{value} END) AS "{name}"'
        if len(leaves) > MAX_SCORED:
            continue
        yield f'max({here}score END) AS "{name}__score"'
        yield f'bool_or({here}edited END) AS "{name}__edited"'


def _names(texts: Mapping[str, str], length: int, reserved: Set[str] = frozenset()) -> dict[str, str]:
    """Names for SQL, unique and at most `length` characters long, by key. A name that two keys would have, or that is
    `reserved`, gets a part of a hash of its key, so it does not depend on the others' order."""
    plain = {key: re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_") or "x" for key, text in texts.items()}
    plain = {key: name[:length] for key, name in plain.items()}
    times = Counter(plain.values())
    return {
        key: name
        if times[name] == 1 and name not in reserved and not name.endswith(_ENDINGS)
        else f"{name[: length - 7]}_{hashlib.sha256(key.encode()).hexdigest()[:6]}"
        for key, name in plain.items()
    }


def _answers(dataset: str) -> str:
    return quote(schema_name(dataset))


def _escaped(text: str) -> str:
    return re.sub(r"([!%_])", r"!\1", text)
