"""DuckDB as a destination that merges straight from a package's files.

    dlt:    file ──► INSERT ──► staging table ──► merge ──► table
    here:   file ────────────────────────────────► merge ──► table

dlt's own statements, with the files where its staging tables would be: a load takes less than half of the time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from threading import BoundedSemaphore
from typing import Any

from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.client import (
    FollowupJobRequest,
    HasFollowupJobs,
    LoadJob,
    RunnableLoadJob,
)
from dlt.common.normalizers.naming import NamingConvention
from dlt.common.schema.typing import TTableSchema
from dlt.common.storages.load_package import LoadJobInfo, ParsedLoadJobFileName
from dlt.destinations import duckdb
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.job_client_impl import SqlLoadJob
from dlt.destinations.sql_jobs import SqlMergeFollowupJob

from ..memory import release_memory


class MergingDuckDb(duckdb):
    """dlt's DuckDB, but for tables that are merged from Parquet: these need no staging dataset."""

    is_staged_once = True

    @property
    def destination_type(self) -> str:
        """What a dataset remembers: any pipeline may go on with it."""
        return "dlt.destinations.duckdb"

    @property
    def client_class(self) -> type[DuckDbClient]:
        """What loads a package."""
        return _Client

    def capabilities(
        self,
        config: DuckDbClientConfiguration | None = None,
        naming: NamingConvention | None = None,
    ) -> DestinationCapabilitiesContext:
        """They are the same for any configuration. dlt would resolve one each time that it asks, which is a fifth
        of a load that finds nothing new."""
        return super().capabilities(config or self.spec(), naming)


class _Client(DuckDbClient):
    def should_load_data_to_staging_dataset(self, table_name: str) -> bool:  # noqa: ARG002
        return False

    def update_stored_schema(self, *about: Any, **how: Any) -> Any:
        # a package begins: DuckDB needs the memory that it took to extract it
        release_memory()
        return super().update_stored_schema(*about, **how)

    def create_load_job(
        self, table: Any, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        if _is_merged(table) and _is_rows(ParsedLoadJobFileName.parse(file_path)):
            return _PutAside(file_path)
        if SqlLoadJob.is_sql_job(file_path):
            return _Merge(file_path)
        return super().create_load_job(table, file_path, load_id, restore)

    def create_table_chain_completed_followup_jobs(
        self,
        table_chain: Sequence[Any],
        completed_table_chain_jobs: Sequence[LoadJobInfo] | None = None,
    ) -> list[FollowupJobRequest]:
        if not _is_merged(table_chain[0]):
            return super().create_table_chain_completed_followup_jobs(
                table_chain, completed_table_chain_jobs
            )
        files: defaultdict[str, list[str]] = defaultdict(list)
        for job in completed_table_chain_jobs or ():
            if _is_rows(job.job_file_info):
                files[job.job_file_info.table_name].append(job.file_path)
        return [SqlMergeFollowupJob.from_table_chain(table_chain, _FromFiles(self, files))]


class _PutAside(RunnableLoadJob, HasFollowupJobs):
    """A file that is to be read where it is. dlt waits a second for jobs that are there at once: one of these
    runs, and tells it that it is done."""

    def run(self) -> None:
        pass


class _Merge(SqlLoadJob):
    """Two at once: that keeps DuckDB's two threads busy. Each holds 8 MB for the table's last rows, and of
    merges into 20,000 heavy runs that all began at once, one load in ten found no more memory."""

    _at_once = BoundedSemaphore(2)

    def run(self) -> None:
        with self._at_once:
            super().run()


class _FromFiles(DuckDbSqlClient):
    """Words statements: a table's files stand where its staging table would."""

    def __init__(self, client: DuckDbClient, files: Mapping[str, Sequence[str]]) -> None:
        said = client.sql_client
        super().__init__(
            said.dataset_name, said.staging_dataset_name, said.credentials, said.capabilities
        )
        self._files = files

    def get_qualified_table_names(
        self, table_name: str, quote: bool = True, casefold: bool = True
    ) -> tuple[str, str]:
        table, _ = super().get_qualified_table_names(table_name, quote, casefold)
        paths = ", ".join("'" + path.replace("'", "''") + "'" for path in self._files[table_name])
        return table, f"read_parquet([{paths}], union_by_name=true)"


def _is_merged(table: TTableSchema) -> bool:
    return table["write_disposition"] == "merge"


def _is_rows(file: ParsedLoadJobFileName) -> bool:
    return file.file_format == "parquet"
