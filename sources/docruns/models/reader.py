"""A loaded DuckDB file as data frames, for people.

    data = docruns.read("docruns.duckdb")
    data.model("field_accuracy")          one model
    data.documents("Supplier invoice")    one row per extraction of a processor
    data.items("Supplier invoice", "line_items")
    data.fields(processor="Supplier invoice", reviewed=True)
    data.sql("SELECT … FROM fields")
    data.where(source="API", since="2026-10-01").model("field_accuracy")    the same, of some runs

Each call opens the file read-only and closes it again, so that loads go on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from ..core.errors import ConfigError, DocrunsError
from ..store.duckdb.errors import first_line
from ..store.duckdb.file import attach_database, check_path, open_database, quote
from ..store.duckdb.queries import only_query
from . import per_processor
from .dialects import WRITTEN_IN, literal, translate
from .model import ORDER, models, schema_name

if TYPE_CHECKING:
    import pandas as pd

_CATEGORIES = 0.5
"""A text column becomes a category where fewer values than this share of its rows are distinct."""


def datasets_of(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The datasets of docruns in a database."""
    found = connection.execute(
        "SELECT table_schema FROM information_schema.tables WHERE table_name = 'syncs' ORDER BY 1"
    ).fetchall()
    return [name for (name,) in found if not name.endswith("_staging")]


def choose_dataset(connection: duckdb.DuckDBPyConnection, database: Path, dataset: str | None) -> str:
    """The dataset of that name, or the first. ConfigError where there is none."""
    known = datasets_of(connection)
    if not known:
        raise ConfigError(
            "--database", f"{database} holds no dataset of docruns.", "Run `docruns load` first."
        )
    if dataset is None:
        return known[0]
    if dataset not in known:
        raise ConfigError("--dataset", f"{database} has no dataset {dataset}.", f"It has {', '.join(known)}.")
    return dataset


class Selection(NamedTuple):
    """Which runs count. Each part is a list of names (or ids), or a time of `created_at`; None: all."""

    processor: tuple[str, ...] | None = None
    version: tuple[str, ...] | None = None
    source: tuple[str, ...] | None = None
    workflow: tuple[str, ...] | None = None
    since: str | None = None
    until: str | None = None

    def conditions(self) -> dict[str, str]:
        """The condition on the rows of each table that the selection concerns, each table after those that it reads."""
        times = [
            f"created_at {comparison} CAST({literal(time)} AS TIMESTAMPTZ)"
            for comparison, time in ((">=", self.since), ("<", self.until))
            if time is not None
        ]
        workflows, runs = [*times], [*times]
        if self.workflow is not None:
            workflows.append(_is_one(self.workflow, "workflow_id", "workflow_name"))
            runs.append(f"workflow_run_id IN (SELECT id FROM workflow_runs WHERE {workflows[-1]})")
        if self.processor is not None:
            # the name that the models give it
            name = "coalesce(processor_name, processor_id, 'inline')"
            runs.append(_is_one(self.processor, "processor_id", name))
        if self.version is not None:
            runs.append(_is_one(self.version, "processor_version"))
        if self.source is not None:
            runs.append(_is_one(self.source, "source"))
        inside = "processor_run_id IN (SELECT id FROM processor_runs)"
        return {
            "workflow_runs": " AND ".join(workflows) or "TRUE",
            "workflow_steps": "workflow_run_id IN (SELECT id FROM workflow_runs)",
            "processor_runs": " AND ".join(runs) or "TRUE",
            **dict.fromkeys(("fields", "insights", "citations", "splits"), inside),
        }


def _is_one(names: Sequence[str], *columns: str) -> str:
    among = ", ".join(map(literal, names)) or "NULL"
    return "(" + " OR ".join(f"{column} IN ({among})" for column in columns) + ")"


def _time(name: str, time: str | date) -> str:
    try:
        return datetime.fromisoformat(str(time)).isoformat()
    except ValueError as error:
        raise ConfigError(name, f"is no time: {time}.", "Write, for example, 2026-10-01.") from error


_ALL = Selection()


@contextmanager
def open_dataset(
    database: Path,
    dataset: str | None,
    on_wait: Callable[[str], None] | None = None,
    selection: Selection = _ALL,
    query: str = "",
) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """A connection that only reads, on which names of tables and models need no schema, and the dataset's name. Days are
    those of UTC. With a selection it has the views that the query names. ConfigError where the file does not exist."""
    check_path(database, "--database")
    if not database.exists():
        raise ConfigError("--database", f"{database} does not exist.", "Run `docruns load` first.")
    is_all = selection == _ALL
    opened = (
        open_database(database, read_only=True, on_wait=on_wait)
        if is_all
        else attach_database(database, on_wait=on_wait)
    )
    with opened as connection:
        connection.execute("SET TimeZone = 'UTC'")
        name = choose_dataset(connection, database, dataset)
        if not is_all:
            _select(connection, name, selection, query)
        has_views = connection.execute(
            "SELECT count(*) FROM information_schema.schemata WHERE schema_name = ?", [schema_name(name)]
        ).fetchall()[0][0]
        path = ",".join([name, schema_name(name)] if has_views else [name])
        connection.execute(f"SET search_path = '{path}'")
        yield connection, name


def _select(connection: duckdb.DuckDBPyConnection, dataset: str, selection: Selection, query: str) -> None:
    """Make the dataset's tables anew, as views of the selected rows, and above them its functions and what the query
    reads: to make all models takes longer than most queries."""
    answers = schema_name(dataset)
    connection.execute(
        f"CREATE SCHEMA {quote(dataset)}; CREATE SCHEMA {quote(answers)}; USE {quote(dataset)}"
    )
    conditions = selection.conditions()
    existing = tables_of(connection, dataset)
    for table in [*(table for table in conditions if table in existing), *(existing.keys() - conditions)]:
        rows = f"FROM loaded.{quote(dataset)}.{quote(table)} WHERE {conditions.get(table, 'TRUE')}"
        try:
            connection.execute(f"CREATE VIEW {quote(table)} AS {rows}")
        except (duckdb.BinderException, duckdb.CatalogException) as error:
            raise DocrunsError(
                f"{dataset} lacks a table or a column by which runs are chosen: no such run is loaded, or an earlier "
                f"version has loaded it. Run `docruns load`. The cause: {first_line(error)}"
            ) from error
    for name, parameters, body in connection.execute(
        "SELECT function_name, parameters, macro_definition FROM duckdb_functions() "
        "WHERE database_name = 'loaded' AND schema_name = ?",
        [answers],
    ).fetchall():
        connection.execute(f"CREATE MACRO {quote(answers)}.{name}({', '.join(parameters)}) AS {body}")
    text, views = query.lower(), []
    for name, sql in connection.execute(
        "SELECT view_name, sql FROM duckdb_views() WHERE database_name = 'loaded' AND schema_name = ?",
        [answers],
    ).fetchall():
        if name not in ORDER and name in text:
            # a processor's view
            text += sql.lower()
            views.append(sql)
    for model in reversed(models()):
        if model.name in text:
            text += model.sql
            query = translate(model.sql, WRITTEN_IN, dataset, existing)
            views.append(f"CREATE VIEW {quote(answers)}.{quote(model.name)} AS {query}")
    for view in reversed(views):
        connection.execute(view)


def columns_of(connection: duckdb.DuckDBPyConnection, dataset: str, view: str) -> list[str]:
    """The columns of a view. ConfigError where it does not exist."""
    found = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE schema_name = ? AND table_name = ? "
        "AND database_name = current_database() ORDER BY column_index",
        [schema_name(dataset), view],
    ).fetchall()
    if found:
        return [name for (name,) in found]
    known = [
        name
        for (name,) in connection.execute(
            "SELECT DISTINCT table_name FROM duckdb_columns() WHERE schema_name = ? ORDER BY 1",
            [schema_name(dataset)],
        ).fetchall()
    ]
    if not known:
        raise ConfigError("NAME", f"{dataset} has no views yet.", "Run `docruns models` to make them.")
    raise ConfigError("NAME", f"{view} is no view of {schema_name(dataset)}.", f"It has {', '.join(known)}.")


def tables_of(connection: duckdb.DuckDBPyConnection, dataset: str) -> dict[str, set[str]]:
    """The columns of each table of a dataset."""
    tables: dict[str, set[str]] = {}
    for table, column in connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = ?", [dataset]
    ).fetchall():
        tables.setdefault(table, set()).add(column)
    return tables


class Reader:
    """One dataset of a DuckDB file. Its methods give data frames."""

    def __init__(self, database: str | Path, dataset: str | None = None, selection: Selection = _ALL) -> None:
        self.database = Path(database)
        self.selection = selection
        with open_dataset(self.database, dataset) as (_, name):
            self.dataset = name

    def __repr__(self) -> str:
        given = "".join(f", {name}={value!r}" for name, value in self.selection._asdict().items() if value)
        chosen = f".where({given[2:]})" if given else ""
        return f"docruns.read({str(self.database)!r}, dataset={self.dataset!r}){chosen}"

    def where(
        self,
        *,
        processor: str | Sequence[str] | None = None,
        version: str | Sequence[str] | None = None,
        source: str | Sequence[str] | None = None,
        workflow: str | Sequence[str] | None = None,
        since: str | date | datetime | None = None,
        until: str | date | datetime | None = None,
    ) -> Reader:
        """The same dataset with some runs only: the models count what is left, and so do the tables of runs, steps,
        fields, insights, citations and splits. What is not given stays as it is.

        Processors and workflows are named by name or id. `since` (inclusive) and `until` (exclusive) are times of
        `created_at`, UTC unless they say otherwise. A workflow run has no processor, version or source: these three
        choose processor runs.
        """
        lists = {"processor": processor, "version": version, "source": source, "workflow": workflow}
        given: dict[str, Any] = {
            name: (names,) if isinstance(names, str) else tuple(names)
            for name, names in lists.items()
            if names is not None
        }
        given |= {
            name: _time(name, time) for name, time in (("since", since), ("until", until)) if time is not None
        }
        return Reader(self.database, self.dataset, self.selection._replace(**given))

    def sql(self, query: str, parameters: Sequence[Any] = (), *, decimals: bool = False) -> pd.DataFrame:
        """The rows of a query. Names of tables and models need no schema; `?` stands for a parameter.

        Integers and booleans may be null (Int64, boolean), times are in UTC, texts that repeat are categories.
        `decimals`: sums of credits and other exact numbers stay `Decimal`; else they are floats.
        ConfigError for anything but one query that only reads; DocrunsError for a query that fails.
        """
        with open_dataset(self.database, self.dataset, selection=self.selection, query=query) as (
            connection,
            _,
        ):
            try:
                only_query(connection, query, "query")
                result = connection.execute(query, list(parameters))
                kinds = {name: str(kind) for name, kind, *_ in result.description or ()}
                exact = {name for name, kind in kinds.items() if kind.startswith("DECIMAL")}
                if not (decimals and exact):
                    return _with_types(_frame(result), kinds)
                rows = result.fetchall()
            except duckdb.Error as error:
                raise DocrunsError(f"The query fails: {error}") from error
        import pandas as pd

        return _with_types(
            pd.DataFrame(rows, columns=list(kinds)), {n: k for n, k in kinds.items() if n not in exact}
        )

    def model(self, name: str) -> pd.DataFrame:
        """All rows of a model or of a processor's view. ConfigError for a name that is none."""
        self.require(name)
        return self.sql(f"SELECT * FROM {quote(schema_name(self.dataset))}.{quote(name)}")

    def require(self, name: str) -> None:
        """ConfigError where there is no view of that name."""
        with open_dataset(self.database, self.dataset) as (connection, dataset):
            columns_of(connection, dataset, name)

    @property
    def tables(self) -> dict[str, set[str]]:
        """The columns of each table of the dataset. A table exists from its first row on."""
        with open_dataset(self.database, self.dataset) as (connection, dataset):
            return tables_of(connection, dataset)

    @property
    def models(self) -> dict[str, str]:
        """What a row of each model is, by name."""
        return {model.name: model.about.splitlines()[0] for model in models()}

    def documents(self, processor: str) -> pd.DataFrame:
        """One row per extraction of a processor, with a column for each field. `processor` is a name or an id."""
        about = self._views_of(processor)
        return self.model(next(name for name, text in about.items() if "array" not in text))

    def items(self, processor: str, array: str) -> pd.DataFrame:
        """One row per item of an array, as it is finally."""
        about = self._views_of(processor)
        arrays = {text["array"]: name for name, text in about.items() if "array" in text}
        if array not in arrays:
            raise ConfigError(
                "array",
                f"{processor} has no array {array}.",
                f"It has {', '.join(sorted(arrays)) or 'none'}.",
            )
        return self.model(arrays[array])

    def fields(self, processor: str | None = None, reviewed: bool | None = None) -> pd.DataFrame:
        """The leaves of extractions that ended well, of one processor and of reviewed extractions only, if given."""
        conditions, parameters = ["TRUE"], []
        if processor is not None:
            conditions.append("? IN (processor_id, processor_name)")
            parameters.append(processor)
        if reviewed is not None:
            conditions.append("is_reviewed" if reviewed else "NOT is_reviewed")
        where = " AND ".join(conditions)
        return self.sql(f"SELECT * FROM {quote(schema_name(self.dataset))}.leaves WHERE {where}", parameters)

    def _views_of(self, processor: str) -> dict[str, dict[str, str]]:
        """What the views of a processor are about, by view. ConfigError where it has none."""
        with open_dataset(self.database, self.dataset) as (connection, dataset):
            found = connection.execute(
                "SELECT view_name, comment FROM duckdb_views() WHERE schema_name = ?", [schema_name(dataset)]
            ).fetchall()
        about = {name: per_processor.parse_about(comment or "") for name, comment in found}
        own = {
            name: text for name, text in about.items() if processor in (text.get("processor"), text.get("id"))
        }
        if not own:
            known = sorted({text["processor"] for text in about.values() if "processor" in text})
            raise ConfigError(
                "processor",
                f"no view is about {processor}.",
                f"There are views of {', '.join(known) or 'none'}.",
            )
        if len({text["id"] for text in own.values()}) > 1:
            ids = ", ".join(sorted({text["id"] for text in own.values()}))
            raise ConfigError(
                "processor", f"{processor} is the name of several processors.", f"Name an id: {ids}."
            )
        return own


def _frame(result: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    with warnings.catch_warnings():
        # DuckDB 1.5 drops columns in a way that pandas 3.1 warns of
        warnings.simplefilter("ignore", DeprecationWarning)
        return result.df()


def _with_types(frame: pd.DataFrame, kinds: dict[str, str]) -> pd.DataFrame:
    types: dict[str, Any] = {}
    for name, kind in kinds.items():
        if kind in ("BIGINT", "INTEGER", "HUGEINT"):
            types[name] = "Int64"
        elif kind == "BOOLEAN":
            types[name] = "boolean"
        elif kind == "VARCHAR" and frame[name].nunique() < _CATEGORIES * len(frame):
            types[name] = "category"
    return frame.astype(types)


def read(database: str | Path, dataset: str | None = None) -> Reader:
    """A dataset of a DuckDB file, for data frames. `dataset` is by default the only one, or the first by name.

    ConfigError where the file or the dataset does not exist; LockedError where a load has it open for longer than 30
    seconds.
    """
    return Reader(database, dataset)
