"""The data dictionary as text and as Markdown."""

from __future__ import annotations

from .model import CLEARED, TABLES, Table

PRIVATE = (
    "document, person: private columns, which say what a document says or who somebody is. The setting "
    "field_values keeps, hashes or empties them. Every table has dlt's _dlt_load_id as well, as in syncs.load_id."
)


def as_text() -> str:
    """Tables and columns, one a line."""
    lines: list[str] = []
    for table in TABLES:
        lines += ["", f"{table.name}  (key: {', '.join(table.key)})", f"  {table.doc}"]
        lines += [
            f"    {name:<26} {type_:<10} {private:<9} {doc}"
            for name, type_, private, doc in _columns(table)
        ]
    return "\n".join([*lines[1:], "", PRIVATE])


def as_markdown() -> str:
    """The same as Markdown tables."""
    lines: list[str] = ["", PRIVATE]
    for table in TABLES:
        key = ", ".join(f"`{name}`" for name in table.key)
        lines += ["", f"## {table.name}", "", f"{table.doc} Key: {key}.", ""]
        lines += ["| column | type | private | meaning |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{name}` | {type_} | {private} | {doc} |"
            for name, type_, private, doc in _columns(table)
        ]
    return "\n".join(lines[1:])


def _columns(table: Table) -> list[tuple[str, str, str, str]]:
    return [(c.name, c.type, c.private or "", c.doc) for c in table.columns if c.name != CLEARED]
