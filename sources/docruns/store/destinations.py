"""What each destination can do: the only place that compares destinations.

A new destination is one entry in `KNOWN` and one row in tests/store/test_destinations.py. A destination
without an entry gets what dlt says of it, and dlt's defaults for the rest.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import dlt
from dlt.common.configuration.container import Container
from dlt.common.destination import Destination, TLoaderFileFormat
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.pipeline import PipelineContext
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.destinations.sql_client import SqlClientBase

from ..core.errors import ConfigError
from .duckdb.lake import DuckLake
from .duckdb.merge import MergingDuckDb
from .merges.lakes.destination import Files
from .merges.lakes.tables import NO_FORMAT, Format


@dataclass(frozen=True)
class DestinationTraits:
    """What one destination can do, and how docruns loads into it."""

    is_tested: bool = False
    """Tests compare its rows with DuckDB's: tests/destinations/matrix.py. Others need `--untested`."""
    file_format: TLoaderFileFormat | None = None
    """The format of the files that dlt loads from; None is dlt's default for the destination."""
    takes_updates: bool = False
    """It has SQL tables: rows can be changed in place, and a merge can use a condition in SQL."""
    holds_nul: bool = True
    """Its text columns hold the character NUL."""
    parses_json: bool = False
    """Its driver returns JSON as Python objects, where the others return text."""
    has_json_type: bool = True
    """A column of JSON can have a type of its own. Otherwise it is a text column, whose text is the JSON."""
    has_zones: bool = True
    """Its moments know their time zone. Otherwise it holds them in UTC, and returns text or moments without a zone."""
    encoding_query: str = ""
    """A query for the encoding of the database that the dataset is in."""
    encodings: frozenset[str] = frozenset()
    """The encodings that hold every letter."""
    is_staged_once: bool = False
    """Merges read each file once: a file that is loaded again after a failure adds no second copy of its
    rows."""
    has_file: bool = False
    """It is a file that this process opens itself. So `--database` names it, it can be published, and dlt
    must not retry in this process."""
    has_tables_in_schema_only: bool = False
    """Its tables can be queried only after dlt has read their schema from the destination."""
    has_advisory_locks: bool = False
    """It has PostgreSQL's advisory locks, so a load can keep those of other machines off its dataset."""
    models_dialect: str | None = None
    """The dialect of sqlglot for the views of the models; None: they have not been tried on it."""
    views_query: str = ""
    """A query for the views and tables of a schema (both parameters), whether each is a table, and the comment on it; for
    the models."""
    stores_models: bool = False
    """Its models may be tables: tests compare their rows with those of the views."""
    stale_query: str = ""
    """A query for the tables of a schema of whose rows the planner knows too little. It takes a table for small that was
    filled a moment ago, and joins it row by row: 28 s for 5,000 runs, more than three minutes for 20,000."""
    lock_timeout: str | None = None
    """A statement that ends the waits of its transaction for locks of other sessions after ten seconds."""
    comments_query: str | None = None
    """A query for the tables of a schema, their columns (null: the table itself) and the comments on them. Both
    parameters are the schema. None: the destination has no comments."""
    extensions: tuple[str, ...] = ()
    """The extensions of DuckDB with which dlt opens it, the main one first."""
    forgets: bool = False
    """A deleted row leaves nothing for good: no older version of the table, no file that docruns cannot write anew."""
    may_use_pandas: bool = True
    """dlt's client for it may make data frames."""
    has_formats: bool = False
    """It needs to be told a table format: without one, dlt only adds rows."""
    table_format: Format | None = None
    """The table format, where it has been told one."""

    @property
    def is_lake(self) -> bool:
        """It has tables whose rows docruns replaces in commits of their own: SQL only reads them."""
        return self.table_format in ("delta", "iceberg")

    @property
    def is_read_by_duckdb(self) -> bool:
        """Its SQL is that of the DuckDB in this process."""
        return self.models_dialect == "duckdb" or self.is_lake

    @property
    def is_log(self) -> bool:
        """It keeps plain files, to which rows are only added."""
        return self.table_format == NO_FORMAT


_DUCKDB_COMMENTS = """
    SELECT table_name, NULL, comment FROM duckdb_tables()
    WHERE schema_name = %s AND database_name = current_database()
    UNION ALL SELECT table_name, column_name, comment FROM duckdb_columns()
    WHERE schema_name = %s AND database_name = current_database()
"""
_DUCKDB_VIEWS = """
    SELECT view_name, FALSE, comment FROM duckdb_views()
    WHERE schema_name = %s AND database_name = current_database()
    UNION ALL SELECT table_name, TRUE, comment FROM duckdb_tables()
    WHERE schema_name = %s AND database_name = current_database()
"""
_POSTGRES_VIEWS = """
    SELECT c.relname, c.relkind = 'r', obj_description(c.oid, 'pg_class') FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND n.nspname = %s AND c.relkind IN ('v', 'r')
"""
_POSTGRES_STALE = """
    SELECT relname FROM pg_stat_user_tables WHERE schemaname = %s AND n_mod_since_analyze > n_live_tup / 10
"""
_POSTGRES_COMMENTS = """
    WITH tables AS (
        SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND n.nspname = %s AND c.relkind IN ('r', 'p')
    )
    SELECT relname, NULL, obj_description(oid, 'pg_class') FROM tables
    UNION ALL SELECT relname, attname, col_description(oid, attnum)
    FROM tables JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND NOT attisdropped
"""

KNOWN = {
    "duckdb": DestinationTraits(
        is_tested=True,
        # dlt's default, INSERT statements, is 20 times slower and takes 13 times the memory
        file_format="parquet",
        takes_updates=True,
        is_staged_once=True,
        has_file=True,
        models_dialect="duckdb",
        views_query=_DUCKDB_VIEWS,
        stores_models=True,
        comments_query=_DUCKDB_COMMENTS,
        forgets=True,
        may_use_pandas=False,
    ),
    "postgres": DestinationTraits(
        is_tested=True,
        # dlt's default, CSV, turns every empty string into NULL
        file_format="parquet",
        takes_updates=True,
        holds_nul=False,
        parses_json=True,
        encoding_query="SHOW server_encoding",
        # SQL_ASCII keeps the bytes of UTF-8 as they are
        encodings=frozenset({"UTF8", "SQL_ASCII"}),
        has_advisory_locks=True,
        models_dialect="postgres",
        views_query=_POSTGRES_VIEWS,
        stores_models=True,
        stale_query=_POSTGRES_STALE,
        lock_timeout="SET LOCAL lock_timeout = '10s'",
        comments_query=_POSTGRES_COMMENTS,
        forgets=True,
    ),
    "ducklake": DestinationTraits(
        is_tested=True,
        file_format="parquet",
        takes_updates=True,
        is_staged_once=True,
        models_dialect="duckdb",
        views_query=_DUCKDB_VIEWS,
        comments_query=_DUCKDB_COMMENTS,
        extensions=("ducklake", "sqlite_scanner", "postgres_scanner"),
    ),
    # SQLite, MySQL and MariaDB are tested
    "sqlalchemy": DestinationTraits(
        is_tested=True,
        # text in dlt's default, jsonl, may begin with a character that marks a type there
        file_format="parquet",
        takes_updates=True,
        # the client would store the text of a JSON column as a JSON string
        has_json_type=False,
        has_zones=False,
    ),
    "redshift": DestinationTraits(takes_updates=True, holds_nul=False),
    "filesystem": DestinationTraits(is_tested=True, has_tables_in_schema_only=True, has_formats=True),
}
"""By the name that dlt gives the destination's type."""


def _lake(table_format: Format) -> DestinationTraits:
    return DestinationTraits(
        is_tested=True,
        file_format="parquet",
        takes_updates=True,
        # the rows of a run are replaced, also those of a first attempt
        is_staged_once=True,
        has_formats=True,
        table_format=table_format,
    )


FORMATS: dict[str, DestinationTraits] = {
    "delta": _lake("delta"),
    "iceberg": _lake("iceberg"),
    NO_FORMAT: DestinationTraits(
        is_tested=True, has_tables_in_schema_only=True, has_formats=True, table_format=NO_FORMAT
    ),
}
"""The traits of a destination that has table formats, by table format."""


def traits_by_name(name: str, table_format: str | None = None) -> DestinationTraits:
    """The traits of a destination that is known by its name only, before dlt has set it up."""
    traits = KNOWN.get(name, DestinationTraits())
    return FORMATS.get(table_format or "", traits) if traits.has_formats else traits


def format_setting(name: str) -> str | None:
    """The table format that the configuration sets for the destination `name`, or None where it has none. ConfigError
    where it needs one."""
    if not traits_by_name(name).has_formats:
        return None
    found: str | None = dlt.config.get(f"destination.{name}.table_format", str)
    if found is None:
        raise ConfigError(
            "--table-format",
            f"is missing, and {name} cannot replace the rows of a changed run in plain files.",
            "Write --table-format delta, or iceberg; or none, for a log to which rows are only added.",
        )
    return found


_KEEP_DAYS = 7
"""Days for which older versions of a table of a lake can be read, where the setting `keep_days` is missing."""


def keep_days(name: str) -> int:
    """The setting `keep_days` of the destination `name`. ConfigError where it is no number of days."""
    found: Any = dlt.config.get(f"destination.{name}.keep_days")
    if found is None:
        return _KEEP_DAYS
    if not str(found).isdecimal() or int(found) < 1:
        hint = "Write a whole number of days, at least 1."
        raise ConfigError(f"destination.{name}.keep_days", f"is {found!r}.", hint)
    return int(found)


def require_tested(name: str, is_allowed: bool) -> None:
    """Raise ConfigError for a destination that no test compares with DuckDB, unless the option or the setting says so.

    A name of the user's own counts as the type that the configuration gives it.
    """
    section = f"destination.{name}"
    type_ = dlt.config.get(f"{section}.destination_type", str) if name not in KNOWN else None
    type_ = (type_ or name).rpartition(".")[2]
    if is_allowed or traits_by_name(type_).is_tested or dlt.config.get(f"{section}.untested", bool):
        return
    with suppress(UnknownDestinationModule):
        Destination.from_reference(type_)
        raise _untested_error(type_, section)


def _untested_error(type_: str, section: str) -> ConfigError:
    tested = ", ".join(sorted(name for name, traits in KNOWN.items() if traits.is_tested))
    return ConfigError(
        "--destination",
        f"{type_} is not tested: nobody has compared its rows with those of DuckDB. Tested are {tested}.",
        f"Add --untested, or set untested = true in [{section}], and compare the rows with `docruns verify --deep 100`.",
    )


def location_of(name: str) -> str:
    """Where the destination `name` of dlt's configuration keeps its data: server, port and database, without user
    and secrets. Empty where the configuration does not say: the destination names what is missing when it is opened.
    """
    config: Any = None
    with suppress(Exception):
        destination: Any = Destination.from_reference(name)
        config = destination.configuration(None, accept_partial=True)
    credentials = getattr(config, "credentials", None)
    # of DuckLake, it is that of the catalog
    credentials = getattr(credentials, "catalog", None) or credentials
    parts: list[object] = [getattr(config, "bucket_url", None)]
    parts += [getattr(credentials, part, None) for part in ("host", "port", "database", "project_id")]
    # a socket's folder is in the query
    query = getattr(credentials, "query", None) or {}
    parts += [query.get("host"), query.get("port")]
    return "\n".join("" if part is None else str(part) for part in parts) if any(parts) else ""


def traits_of(pipeline: dlt.Pipeline) -> DestinationTraits:
    """The traits of a pipeline's destination, whatever name its configuration gives it."""
    destination = pipeline.destination
    if isinstance(destination, Files):
        return FORMATS[destination.table_format]
    type_ = destination.destination_type.rpartition(".")[2]
    traits = KNOWN.get(type_)
    if traits is None:
        try:
            has_sql = issubclass(destination.client_class, SqlJobClientBase)
        except ModuleNotFoundError as error:
            raise ConfigError(
                "--destination",
                f"{type_} needs a package that is not installed: {error}.",
                f"pip install 'dlt[{type_}]'",
            ) from error
        return DestinationTraits(takes_updates=has_sql)
    if traits.has_formats and dlt.config.get(f"destination.{type_}.table_format", str) == NO_FORMAT:
        # in somebody's own pipeline: dlt keeps such files by itself
        return FORMATS[NO_FORMAT]
    # dlt's own destinations, in somebody's own pipeline, merge from staging tables
    is_staged_once = traits.is_staged_once and isinstance(destination, MergingDuckDb | DuckLake)
    return replace(traits, is_staged_once=is_staged_once)


def active_pipeline() -> dlt.Pipeline:
    """The pipeline that runs now. `dlt.current.pipeline` returns the same one and reads dlt's configuration with each
    call: the 22 calls of a first load took a fifteenth of it, where runs are few."""
    return Container()[PipelineContext].pipeline()  # type: ignore[return-value]


_clients: WeakKeyDictionary[dlt.Pipeline, tuple[str, Any, SqlClientBase[Any]]] = WeakKeyDictionary()


def sql_client(pipeline: dlt.Pipeline) -> SqlClientBase[Any]:
    """A client of the pipeline's destination and dataset, to be opened with `with`.

    For each `pipeline.sql_client()` dlt reads its whole configuration: ten of them took a quarter of a load with
    nothing new. It is read once for a pipeline, destination and dataset, where the client depends on nothing else.
    """
    if traits_of(pipeline).comments_query is None:
        return pipeline.sql_client()
    dataset, destination, client = _clients.get(pipeline, ("", None, None))
    if client is None or dataset != pipeline.dataset_name or destination is not pipeline.destination:
        client = pipeline.sql_client()
        _clients[pipeline] = pipeline.dataset_name, pipeline.destination, client
    # `copy` asks a client for attributes before it has any, and dlt's then fails
    copied = object.__new__(type(client))
    copied.__dict__.update(client.__dict__)
    return copied
