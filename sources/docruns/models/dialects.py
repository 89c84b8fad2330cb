"""A model's query and the functions that models call, for one dataset and one database.

    sql/*.sql        src.fields f ──► "extend"."fields" f        answers.leaves ──► "extend_answers".leaves
    functions/*.sql  CREATE FUNCTION "extend_answers".wilson_low …, by dialect

DuckDB takes the text as it is then; sqlglot translates it for other databases. A table or column that the dataset lacks
(an earlier version has loaded it, or the platform has no such thing) counts as one without rows, or as null.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
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
    text = fill_tables(sql, existing, lambda name: f"{quote(dataset)}.{quote(name)}")
    text = _ANSWERS.sub(f"{quote(schema_name(dataset))}.", text)
    return to_dialect(text, dialect)


def to_dialect(sql: str, dialect: str) -> str:
    """A text in the dialect of the models, in another one."""
    if dialect == WRITTEN_IN:
        return sql
    # takes a fifth of a second to import
    import sqlglot

    return sqlglot.transpile(sql, read=WRITTEN_IN, write=dialect, pretty=True)[0]


def fill_tables(sql: str, existing: Existing, place: Callable[[str], str]) -> str:
    """A model's text with the place of each table; what the dataset lacks is null. In the models an alias follows."""

    def filled(found: re.Match[str]) -> str:
        name = found[1]
        have = existing.get(name, set())
        missing = [column for column in BY_NAME[name].columns if column.name not in have]
        if have and not missing:
            return place(name)
        nulls = ", ".join(
            f"CAST(NULL AS {_TYPES[column.type]}) AS {quote(column.name)}" for column in missing
        )
        return f"(SELECT *, {nulls} FROM {place(name)})" if have else f"(SELECT {nulls} WHERE FALSE)"

    return _TABLE.sub(filled, sql)


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
