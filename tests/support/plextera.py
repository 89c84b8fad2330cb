"""Loads of the sandbox's Plextera, and the rows they leave in the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docruns.commands.load import Summary, load_runs
from docruns.core.tables import TABLES
from docruns.providers.plextera import connect_plextera
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from docruns.sync.lists import Platform
from support.loading import query

PAGE = 5
"""Rows per page; small, so that short lists have several pages."""


def load_plextera(sandbox: Sandbox, database: Path, **options: Any) -> tuple[Summary, Platform]:
    """Load the platform's runs into a DuckDB file; keywords go to `plextera`."""
    options.setdefault("page_size", PAGE)
    platform = connect_plextera(base_url=sandbox.plextera_url, **options)
    return load_runs(platform, Target("plextera", database)), platform


def tables(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every table's rows, in order, without the columns that differ from load to load."""
    found = {}
    # a table exists only after its first row
    names = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'plextera'"
    there = {name for (name,) in query(database, names)}
    for table in TABLES:
        if table.name in ("syncs", "quarantine"):
            continue
        order = ", ".join(table.key)
        sql = f"SELECT * EXCLUDE (_dlt_load_id) FROM plextera.{table.name} ORDER BY {order}"
        if table.name in there:
            found[table.name] = query(database, sql)
    return found
