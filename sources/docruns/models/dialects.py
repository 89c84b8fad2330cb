"""A model's query and the functions that models call, for one dataset and one database.

    sql/*.sql        src.fields f ──► "extend"."fields" f        answers.leaves ──► "extend_answers".leaves
    functions/*.sql  CREATE FUNCTION "extend_answers".wilson_low …, by dialect

DuckDB takes the text as it is then; sqlglot translates it for other databases. A table or column that the dataset lacks
(an earlier version has loaded it, or the platform has no such thing) counts as one without rows, or as null.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Final

from ..core.tables import BY_NAME
from ..store.duckdb.file import quote
from .model import Existing, schema_name

WRITTEN_IN: Final = "duckdb"
"""The dialect of the models."""

_TYPES = {
    "text": "TEXT", "bigint": "BIGINT", "double": "DOUBLE", "bool": "BOOLEAN", "date": "DATE",
    "timestamp": "TIMESTAMPTZ", "json": "JSON",
}  # fmt: skip

_TABLE = re.compile(r"\bsrc\.(\w+)")
_ANSWERS = re.compile(r"\banswers\.")

Critical = Mapping[str, Sequence[str]]
"""The fields that decide whether a document is right, by processor; a processor without an entry: all."""


def translate(sql: str, dialect: str, dataset: str, existing: Existing) -> str:
    """A query of a model, for a dataset and in a dialect of sqlglot."""
    text = _TABLE.sub(lambda name: _table(name[1], dataset, existing), sql)
    text = _ANSWERS.sub(f"{quote(schema_name(dataset))}.", text)
    if dialect == WRITTEN_IN:
        return text
    # takes a fifth of a second to import
    import sqlglot

    return sqlglot.transpile(text, read=WRITTEN_IN, write=dialect)[0]


def _table(name: str, dataset: str, existing: Existing) -> str:
    """A table of the dataset, with null for each column that it lacks. In the models an alias follows."""
    have = existing.get(name, set())
    missing = [column for column in BY_NAME[name].columns if column.name not in have]
    place = f"{quote(dataset)}.{quote(name)}"
    if have and not missing:
        return place
    nulls = ", ".join(f"CAST(NULL AS {_TYPES[column.type]}) AS {quote(column.name)}" for column in missing)
    return f"(SELECT *, {nulls} FROM {place})" if have else f"(SELECT {nulls} WHERE FALSE)"


def functions(dialect: str, dataset: str, critical: Critical) -> str:
    """The statements that make the functions of the models, in a dialect."""
    text = (files(__package__) / "functions" / f"{dialect}.sql").read_text()
    return text.replace("{schema}", quote(schema_name(dataset))).replace("{critical}", _condition(critical))


def _condition(critical: Critical) -> str:
    cases = [
        f"WHEN processor_name = {literal(processor)} THEN "
        + (f"field IN ({', '.join(map(literal, fields))})" if fields else "FALSE")
        for processor, fields in critical.items()
    ]
    return f"(CASE {' '.join(cases)} ELSE TRUE END)" if cases else "TRUE"


def literal(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"
