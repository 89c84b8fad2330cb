"""DuckLake as a dlt destination that opens its lake once, and merges directly from a package's files.

    dlt:    each query ──► DuckDB, extension, catalog, all opened anew
    here:   first query ──► DuckDB, extension, catalog ◄── each query

DuckDB checks the signature of an extension whenever it loads it, for 0.3 s of CPU. It finds the extensions in Python
packages, where these are installed. One merge is one snapshot of the lake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import duckdb
from dlt.destinations import ducklake
from dlt.destinations.impl.ducklake.ducklake import DuckLakeClient
from dlt.destinations.impl.ducklake.sql_client import DuckLakeSqlClient
from filelock import FileLock

from ...core.errors import ConfigError
from .merge import MergingClient

_PACKAGE = "duckdb_extension_{}"


def require_extensions(names: tuple[str, ...], below: int) -> None:
    """Make DuckDB find extensions without the internet, where packages have them. ConfigError where DuckDB's version is
    `below` or newer, with which dlt cannot use them."""
    if int(duckdb.__version__.partition(".")[0]) >= below:
        raise ConfigError(
            "--destination",
            f"{names[0]} does not work with DuckDB {duckdb.__version__}, because of dlt.",
            f"pip install 'duckdb<{below}'",
        )
    files = [file for name in names if (file := _file_of(name)) is not None]
    if not files:
        return
    with _install_lock(), duckdb.connect() as connection:
        installed = "SELECT extension_name FROM duckdb_extensions() WHERE installed"
        there = {name for (name,) in connection.execute(installed).fetchall()}
        for file in files:
            if file.stem not in there:
                quoted = str(file).replace("'", "''")
                connection.execute(f"INSTALL '{quoted}'")


@contextmanager
def _install_lock() -> Iterator[None]:
    """One process at a time: an extension that another one installs once more is missing for a moment. No lock where
    no file can be written, because there nothing is installed either."""
    lock = FileLock(Path.home() / ".duckdb" / "docruns.lock")
    try:
        Path(lock.lock_file).parent.mkdir(exist_ok=True)
        lock.acquire()
    except OSError:
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _file_of(name: str) -> Path | None:
    """The file of an extension for the DuckDB that is installed."""
    package = find_spec(_PACKAGE.format(name))
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent / "extensions" / f"v{duckdb.__version__}"
    return next(folder.glob("*.duckdb_extension"), None)


@contextmanager
def open_lake() -> Iterator[DuckLake]:
    """dlt's DuckLake destination as it is configured. It opens the lake for the first query, and closes it at the end."""
    # without transactions a table's DELETE and INSERT are two snapshots
    destination = DuckLake(supports_transactions=True)
    try:
        yield destination
    finally:
        destination.lake.close()


class _Lake:
    """A database in memory that a lake is attached to. Its connections may be used at the same time."""

    def __init__(self) -> None:
        self._connection: Any = None
        self._name = ""
        self._lock = Lock()

    def connection(self, name: str, attach: Callable[[], Any]) -> Any:
        """A connection, to be closed by the caller. `attach` opens the database with the lake `name`."""
        with self._lock:
            if self._connection is None:
                self._connection, self._name = attach(), name
                # two threads that share one INSERT write two files
                self._connection.execute("SET GLOBAL threads = 1")
            return self._connection.cursor()

    def close(self) -> None:
        """Close the lake. A catalog that is not detached first may be left broken."""
        with self._lock:
            if self._connection is not None:
                self._connection.execute("USE memory")
                self._connection.execute(f'DETACH "{self._name}"')
                self._connection.close()
                self._connection = None


class _SqlClient(DuckLakeSqlClient):
    lake: _Lake
    _conn: Any

    def open_connection(self) -> Any:
        name = self.credentials.ducklake_name
        # dlt's own method leaves what it has opened in `_conn`, too
        self._conn = self.lake.connection(name, super().open_connection)
        self._conn.execute(f"USE {self.escape_column_name(name)}")
        # a first load makes the schema later
        with suppress(duckdb.CatalogException):
            self._conn.execute(f"SET search_path = '{self.fully_qualified_dataset_name()}'")
        return self._conn

    def close_connection(self) -> None:
        if self._conn:
            self._conn.close()
            self._conn = None


class _Client(MergingClient, DuckLakeClient):
    def __init__(self, schema: Any, config: Any, capabilities: Any) -> None:
        super().__init__(schema, config, capabilities)
        theirs = self.sql_client
        self.sql_client = _SqlClient(
            theirs.dataset_name,
            theirs.staging_dataset_name,
            theirs.credentials,
            theirs.capabilities,
            theirs.override_data_path,
            theirs.automatic_migration,
        )


class DuckLake(ducklake):
    """dlt's DuckLake destination, with one lake for all clients."""

    @cached_property
    def lake(self) -> _Lake:
        """The lake, which the first query opens."""
        return _Lake()

    @property
    def destination_type(self) -> str:
        """The type that dlt stores in a dataset: dlt's own, so any pipeline can continue the dataset."""
        return "dlt.destinations.ducklake"

    @property
    def client_class(self) -> type[DuckLakeClient]:
        """The client that loads a package."""
        return _Client

    def client(self, schema: Any, initial_config: Any = None) -> Any:
        """A client that shares the lake."""
        made: Any = super().client(schema, initial_config)
        made.sql_client.lake = self.lake
        return made
