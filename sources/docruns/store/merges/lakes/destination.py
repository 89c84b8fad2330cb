"""Delta and Iceberg tables as dlt destinations that replace the rows of runs.

    dlt:    file ──► upsert by key: rows that a run has no more stay
    here:   files of a package ──► one commit a table, see commits.py

dlt's state, schemas and list of packages are the same, in files beside the tables.
"""

from __future__ import annotations

from threading import BoundedSemaphore
from typing import Any

from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.normalizers.naming import NamingConvention
from dlt.common.schema.utils import get_columns_names_with_prop, get_first_column_name_with_prop
from dlt.destinations import filesystem
from dlt.destinations.impl.filesystem.configuration import FilesystemDestinationClientConfiguration
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient, ReferenceFollowupJob
from dlt.destinations.job_impl import ReferenceFollowupJobRequest
from dlt.destinations.sql_client import SqlClientBase

from ...duckdb.merge import FinishedJob
from .commits import merge, read_files
from .queries import LakeSqlClient
from .tables import NO_FORMAT, Format, open_table


class _Merge(ReferenceFollowupJob):
    """Merges the files of a table. Two at once: each holds the rows that a package has for its table."""

    _at_once = BoundedSemaphore(2)

    def run(self) -> None:
        about: Any = self._load_table
        key = get_columns_names_with_prop(about, "primary_key")
        by = get_columns_names_with_prop(about, "merge_key") or key
        decides = get_first_column_name_with_prop(about, "dedup_sort")
        cleared = get_first_column_name_with_prop(about, "hard_delete")
        with self._at_once:
            table = open_table(self._job_client, self.load_table_name)
            merge(table, read_files(self.file_paths), by, key, (decides or "", cleared or ""))


class _Client(FilesystemClient):
    table_format: Format

    @property
    def sql_client_class(self) -> type[SqlClientBase[Any]]:
        return LakeSqlClient

    @property
    def sql_client(self) -> Any:
        if not self._sql_client:
            self._sql_client = LakeSqlClient(self, self.dataset_name)
        return self._sql_client

    @sql_client.setter
    def sql_client(self, client: Any) -> None:
        self._sql_client = client

    def get_load_job_class(self, table: Any, file_path: str) -> Any:
        if table.get("table_format") != self.table_format or table["write_disposition"] != "merge":
            return super().get_load_job_class(table, file_path)
        return _Merge if ReferenceFollowupJobRequest.is_reference_job(file_path) else FinishedJob

    def complete_load(self, load_id: str) -> None:
        # dlt stores the state first. A kill after it would leave a state that counts runs as loaded, of a package that
        # does not count. In this order the next load finds them loaded, and the state follows
        self._store_load(load_id)
        self._store_current_state(load_id)

    def _write_to_json_file(self, filepath: str, data: Any) -> None:
        # a kill could cut off a file that is written in its place
        aside = self.pathlib.join(self.dataset_path, f".{self.pathlib.basename(filepath)}")
        super()._write_to_json_file(aside, data)
        self.fs_client.mv(aside, filepath)


class _DeltaClient(_Client):
    table_format = "delta"


class _IcebergClient(_Client):
    table_format = "iceberg"


class Files(filesystem):
    """dlt's filesystem destination as it is: plain files, a log to which rows are only added."""

    table_format: Format = NO_FORMAT

    @property
    def destination_type(self) -> str:
        """The type that dlt stores in a dataset: dlt's own."""
        return "dlt.destinations.filesystem"


class _Lake(Files):
    """Tables whose rows are replaced by runs."""

    def capabilities(
        self,
        config: FilesystemDestinationClientConfiguration | None = None,
        naming: NamingConvention | None = None,
    ) -> DestinationCapabilitiesContext:
        """dlt's, which are the same for any configuration. dlt resolves a configuration with each call, seventy times
        a load."""
        return super().capabilities(config or self.spec(), naming)

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        found = super()._raw_capabilities()
        found.supported_merge_strategies = ["delete-insert"]
        return found


class DeltaLake(_Lake):
    """Tables in the Delta format."""

    table_format = "delta"

    @property
    def client_class(self) -> type[FilesystemClient]:
        """The client that loads a package."""
        return _DeltaClient


class IcebergLake(_Lake):
    """Tables in the Iceberg format."""

    table_format = "iceberg"

    @property
    def client_class(self) -> type[FilesystemClient]:
        """The client that loads a package."""
        return _IcebergClient


DESTINATIONS = {"delta": DeltaLake, "iceberg": IcebergLake, NO_FORMAT: Files}
"""The destinations, by table format."""
