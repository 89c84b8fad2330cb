"""The models of a dataset: make them, list them, show their SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ...core.errors import ConfigError
from ...models.dbt import write_project
from ...models.dialects import WRITTEN_IN, translate
from ...models.model import ORDER, models, schema_name
from ...models.per_processor import FIELDS_QUERY, leaves_of, views
from ...models.reader import columns_of, open_dataset, tables_of
from ...store.destinations import sql_client
from ...store.duckdb.file import quote
from ...store.pipeline import open_pipeline
from ...store.process.environment import private_files
from ...store.target import Target, exclusive
from .settings import Materialization, answer_settings, require_storable
from .views import Client, existing_columns, make_views

_ANSWERS = """
    SELECT view_name, coalesce(comment, '') FROM duckdb_views()
    WHERE schema_name = $schema AND database_name = current_database()
    UNION ALL SELECT table_name, coalesce(comment, '') FROM duckdb_tables()
    WHERE schema_name = $schema AND database_name = current_database()
"""


class ListedView(NamedTuple):
    """A view of a dataset: its name, what a row is, and the columns that tell rows apart."""

    name: str
    row: str
    grain: str


@private_files()
def renew_views(
    target: Target,
    on_wait: Callable[[str], None] | None = None,
    materialized: str | None = None,
    name: str | None = None,
) -> int:
    """Make the models of a dataset, where they are not up to date. Returns how many were made.

    `materialized` is view or table, for all models or for the one of that name; by default what the setting says, or
    what they are. ConfigError where that model cannot be a table.
    """
    if name is not None:
        require_storable(name, "NAME")
    if target.traits.models_dialect is None:
        raise _no_views(target)
    with _open(target, on_wait) as client:
        wanted = Materialization(materialized, name) if materialized else None
        return make_views(client, target.traits, is_asked_for=True, wanted=wanted)


@contextmanager
def _open(target: Target, on_wait: Callable[[str], None] | None) -> Iterator[Client]:
    """A client of a dataset that no load changes meanwhile. ConfigError where there is no such dataset."""
    with (
        exclusive(target, "docruns models"),
        open_pipeline("models", target, on_wait) as running,
        sql_client(running) as client,
    ):
        if "fields" not in existing_columns(client):
            raise ConfigError(
                "--dataset", f"{target} has no tables in {target.dataset}.", "Run `docruns load` first."
            )
        yield client


def views_of(database: Path, dataset: str | None) -> tuple[str, list[ListedView]]:
    """The name of the dataset, and its views and stored models: the models in their order, then those of the processors."""
    with open_dataset(database, dataset) as (connection, name):
        found = connection.execute(_ANSWERS, {"schema": schema_name(name)}).fetchall()
    order = {view: place for place, view in enumerate(ORDER)}
    found.sort(key=lambda each: (order.get(each[0], len(order)), each[0]))
    return name, [_listed(view, comment) for view, comment in found]


def _listed(name: str, comment: str) -> ListedView:
    lines = comment.splitlines() or [""]
    grain = next((line.removeprefix("grain: ") for line in lines if line.startswith("grain: ")), "")
    return ListedView(name, lines[0].partition(". ")[0].partition(": ")[0].rstrip("."), grain)


def sql_of(database: Path, dataset: str | None, view: str) -> str:
    """The SQL of a view with its description: of a model as it is written, of a processor's view as the database has it."""
    with open_dataset(database, dataset) as (connection, name):
        columns_of(connection, name, view)
        model = next((each for each in models() if each.name == view), None)
        if model is not None:
            about, sql = (
                model.about,
                translate(model.sql, WRITTEN_IN, name, tables_of(connection, name)).strip(),
            )
        else:
            about, sql = connection.execute(
                "SELECT coalesce(comment, ''), sql FROM duckdb_views() WHERE schema_name = $schema AND view_name = $view "
                "UNION ALL SELECT coalesce(comment, ''), sql FROM duckdb_tables() "
                "WHERE schema_name = $schema AND table_name = $view",
                {"schema": schema_name(name), "view": view},
            ).fetchall()[0]
    return "".join(f"-- {line}\n" for line in about.splitlines()) + sql


def all_rows_of(database: Path, dataset: str | None, view: str) -> str:
    """The query for all rows of a view. ConfigError, with the known ones, where it does not exist."""
    with open_dataset(database, dataset) as (connection, name):
        columns_of(connection, name, view)
    return f"SELECT * FROM {quote(schema_name(name))}.{quote(view)}"


@private_files()
def write_dbt(target: Target, folder: Path, on_wait: Callable[[str], None] | None = None) -> int:
    """Write the models of a dataset as a dbt project. Returns how many there are.

    The views of processors are those of a DuckDB file; of another destination the project has none.
    """
    dialect, critical = target.traits.models_dialect, answer_settings().critical
    if dialect is None:
        raise _no_views(target)
    if not target.traits.has_file:
        with _open(target, on_wait) as client:
            return write_project(folder, target.dataset, dialect, existing_columns(client), critical)
    with open_dataset(target.database, target.dataset) as (connection, name):
        rows = connection.execute(FIELDS_QUERY.format(dataset=quote(name))).fetchall()
        existing = tables_of(connection, name)
    return write_project(
        folder, name, dialect, existing, critical, views(leaves_of(rows), name), target.database
    )


def _no_views(target: Target) -> ConfigError:
    return ConfigError(
        "--destination",
        f"{target.destination} has no views of docruns' models.",
        "They are made in DuckDB and PostgreSQL.",
    )
