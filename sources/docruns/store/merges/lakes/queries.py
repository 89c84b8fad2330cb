"""Queries on a lake: DuckDB over the newest commit of each table that a query names.

dlt's own client needs DuckDB's extensions for Delta, Iceberg and buckets, which DuckDB downloads. Here the packages that
write the tables also open them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.impl.filesystem.sql_client import FilesystemSqlClient
from dlt.destinations.sql_client import raise_database_error

from .tables import open_table


class LakeSqlClient(FilesystemSqlClient):
    """SQL that reads. Within one `with` a table stays at the commit at which a query first named it."""

    def open_connection(self) -> Any:
        """A connection without views."""
        self._seen: set[str] = set()
        return super().open_connection()

    def create_secret(self, *about: Any, **how: Any) -> bool:  # noqa: ARG002
        """Let DuckDB read dlt's own tables, which are files in a bucket, through the file system that writes them."""
        config = self.remote_client.config
        if not config.is_local_filesystem:
            self._register_filesystem(self.remote_client.fs_client, config.protocol)
        return True

    @raise_database_error
    def create_views_for_tables(self, tables: dict[str, str]) -> None:
        """Views for tables that are there, whatever the schema of the pipeline says."""
        for name in tables:
            if name.startswith("_dlt_"):
                with suppress(DestinationUndefinedEntity):
                    super().create_views_for_tables({name: name})
            elif name not in self._seen:
                self._add_view(name)

    def _add_view(self, name: str) -> None:
        found = open_table(self.remote_client, name).dataset()
        if found is None:
            return
        self._seen.add(name)
        self._conn.register(f"lake_{name}", found)
        view = self.make_qualified_table_name(name)
        self._conn.execute(f'CREATE OR REPLACE VIEW {view} AS SELECT * FROM "lake_{name}"')
