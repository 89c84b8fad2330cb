"""DuckDB as a dlt destination that merges directly from a package's files.

    dlt:    file ──► INSERT ──► staging table ──► merge ──► table
    here:   file ────────────────────────────────► merge ──► table

The statements are dlt's own. A load takes less than half of the time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from dlt.common.configuration import configspec
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.client import FollowupJobRequest, HasFollowupJobs, LoadJob, RunnableLoadJob
from dlt.common.normalizers.naming import NamingConvention
from dlt.common.schema.typing import TTableSchema
from dlt.common.storages.load_package import LoadJobInfo, ParsedLoadJobFileName
from dlt.destinations import duckdb
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.job_client_impl import SqlLoadJob
from dlt.destinations.job_impl import FollowupJobRequestImpl
from dlt.destinations.sql_jobs import SqlMergeFollowupJob

from .heap import release_memory


@configspec(init=False)
class _Configuration(DuckDbClientConfiguration):
    """dlt's, for a file."""

    def __str__(self) -> str:
        """The address of the file. dlt asks for it after each load, and its own imports SQLAlchemy to build one, which
        takes a twentieth of a load that finds little new."""
        credentials: Any = self.credentials
        return f"duckdb:///{credentials.database}"


class MergingDuckDb(duckdb):
    """dlt's DuckDB destination, without a staging dataset for tables that are merged from Parquet files."""

    spec = _Configuration

    @property
    def destination_type(self) -> str:
        """The type that dlt stores in a dataset: dlt's own, so any pipeline can continue the dataset."""
        return "dlt.destinations.duckdb"

    @property
    def client_class(self) -> type[DuckDbClient]:
        """The client that loads a package."""
        return MergingClient

    def capabilities(
        self, config: DuckDbClientConfiguration | None = None, naming: NamingConvention | None = None
    ) -> DestinationCapabilitiesContext:
        """dlt's, which are the same for any configuration. dlt resolves a configuration with each call, which
        takes a fifth of a load that finds nothing new."""
        return super().capabilities(config or self.spec(), naming)


class MergingClient(DuckDbClient):
    """A client that merges without staging tables, also for a destination that is DuckDB with more to it."""

    def should_load_data_to_staging_dataset(self, table_name: str) -> bool:  # noqa: ARG002
        return False

    def update_stored_schema(self, *about: Any, **how: Any) -> Any:
        # the load of a package begins: DuckDB needs the memory that the extraction has used
        release_memory()
        return super().update_stored_schema(*about, **how)

    def create_load_job(self, table: Any, file_path: str, load_id: str, restore: bool = False) -> LoadJob:
        if _is_merged(table) and ParsedLoadJobFileName.parse(file_path).file_format == "parquet":
            return FinishedJob(file_path)
        if SqlLoadJob.is_sql_job(file_path):
            return _Merge(file_path)
        return super().create_load_job(table, file_path, load_id, restore)

    def create_table_chain_completed_followup_jobs(
        self, table_chain: Sequence[Any], completed_table_chain_jobs: Sequence[LoadJobInfo] | None = None
    ) -> list[FollowupJobRequest]:
        if not _is_merged(table_chain[0]):
            return super().create_table_chain_completed_followup_jobs(table_chain, completed_table_chain_jobs)
        files: defaultdict[str, list[str]] = defaultdict(list)
        for job in completed_table_chain_jobs or ():
            if job.job_file_info.file_format == "parquet":
                files[job.job_file_info.table_name].append(job.file_path)
        return [_MergeRequest(table_chain, _FromFiles(self, files))] if files else []


class FinishedJob(RunnableLoadJob, HasFollowupJobs):
    """The job of a file that the merge reads where it is. It is run, though it does nothing, because dlt
    waits a second for a job that is complete from the start; a job that runs reports its end at once."""

    def run(self) -> None:
        pass


class _MergeRequest(FollowupJobRequestImpl):
    """The statements of a merge, in a file of the package's folder, from where dlt moves it to the jobs.

    dlt writes such files to the system's temporary folder. There one stays if the process is killed, or the
    package is removed, before dlt has moved it.
    """

    def __init__(self, table_chain: Sequence[Any], client: _FromFiles) -> None:
        name = ParsedLoadJobFileName(table_chain[0]["name"], ParsedLoadJobFileName.new_file_id(), 0, "sql")
        super().__init__(name.file_name())
        self._file_path = str(client.package_folder / name.file_name())
        statements = SqlMergeFollowupJob.generate_sql(table_chain, client)
        # one statement a line
        self._save_text_file("\n".join(" ".join(text.splitlines()) for text in statements))


class _Merge(SqlLoadJob):
    """Runs at most two merges at once. DuckDB runs each statement on the thread that sends it, so two keep
    two cores busy. Each merge holds 8 MB for the table's last rows: when all merges into 20,000 heavy runs
    began at once, one load in ten ran out of memory."""

    _at_once = BoundedSemaphore(2)

    def run(self) -> None:
        with self._at_once:
            super().run()


class _FromFiles(DuckDbSqlClient):
    """Builds dlt's statements with a table's files in place of its staging table."""

    def __init__(self, client: DuckDbClient, files: Mapping[str, Sequence[str]]) -> None:
        own = client.sql_client
        super().__init__(own.dataset_name, own.staging_dataset_name, own.credentials, own.capabilities)
        self._files = files

    @property
    def package_folder(self) -> Path:
        """The folder of the package, two levels above its files."""
        return Path(next(iter(self._files.values()))[0]).parent.parent

    def get_qualified_table_names(
        self, table_name: str, quote: bool = True, casefold: bool = True
    ) -> tuple[str, str]:
        table, _ = super().get_qualified_table_names(table_name, quote, casefold)
        paths = ", ".join("'" + path.replace("'", "''") + "'" for path in self._files[table_name])
        return table, f"read_parquet([{paths}], union_by_name=true)"


def _is_merged(table: TTableSchema) -> bool:
    return table["write_disposition"] == "merge"
