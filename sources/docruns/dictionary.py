"""The data dictionary as text and as Markdown."""

from __future__ import annotations

from .model import CLEARED, TABLES, Table


def as_text() -> str:
    """Tables and columns, one a line."""
    lines: list[str] = []
    for table in TABLES:
        lines += ["", f"{table.name}  (key: {', '.join(table.key)})", f"  {table.doc}"]
        lines += [f"    {name:<26} {type_:<10} {doc}" for name, type_, doc in _columns(table)]
    return "\n".join(lines[1:])


def as_markdown() -> str:
    """The same as Markdown tables."""
    lines: list[str] = []
    for table in TABLES:
        key = ", ".join(f"`{name}`" for name in table.key)
        lines += ["", f"## {table.name}", "", f"{table.doc} Key: {key}.", ""]
        lines += ["| column | type | meaning |", "| --- | --- | --- |"]
        lines += [f"| `{name}` | {type_} | {doc} |" for name, type_, doc in _columns(table)]
    return "\n".join(lines[1:])


def _columns(table: Table) -> list[tuple[str, str, str]]:
    return [(c.name, c.type, c.doc) for c in table.columns if c.name != CLEARED]
