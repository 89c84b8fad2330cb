"""The views of the models in the destination, in the schema `<dataset>_answers`.

    models, columns of the tables, fields of processors ──► fingerprint ──► is it that of the views? ──► else make all

The fingerprint stands in the comment on each view. A load that wrote no fields compares it without a look at the
fields. A view without docruns' comment is somebody else's: it stays.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationException
from dlt.destinations.sql_client import SqlClientBase

from ...core.errors import ConfigError, DocrunsError
from ...models import per_processor
from ...models.dialects import functions, translate
from ...models.model import Existing, View, fingerprint, known_columns, models, schema_name
from ...store.destinations import DestinationTraits
from ...store.duckdb.file import quote

SETTING = "answers"
"""The section of the configuration: `views` (false: no load makes them), and `critical`, fields by processor."""

_MADE = "Made by docruns"

_COLUMNS = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s"

_FIRST = "leaves"
"""The view whose comment tells the state of all: they are made in one transaction."""

Client = SqlClientBase[Any]


def is_wanted() -> bool:
    """A load makes the views; the setting `answers.views` says otherwise."""
    return dlt.config.get(f"{SETTING}.views", bool) is not False


def critical_fields() -> dict[str, list[str]]:
    """The fields that decide whether a document is right, by the name of the processor. ConfigError for another shape."""
    found: Any = dlt.config.get(f"{SETTING}.critical")
    if found is None:
        return {}
    if isinstance(found, str):
        # of an environment variable
        with suppress(ValueError):
            found = json.loads(found)
    if not isinstance(found, dict) or not all(
        isinstance(fields, list) and all(isinstance(field, str) for field in fields)
        for fields in found.values()
    ):
        raise ConfigError(
            f"{SETTING}.critical",
            "is not a table of lists.",
            'Write, below [answers.critical], a line such as: "Supplier invoice" = ["total", "due_date"].',
        )
    return found


def make_views(
    client: Client, traits: DestinationTraits, columns: Existing | None = None, has_new_fields: bool = True
) -> int:
    """Make the views if they are not those of the newest models and fields. Returns how many were made.

    `columns` are those of the tables, as far as they are known: asking the database takes longer. DocrunsError where the
    destination refuses. An empty dataset gets no views.
    """
    dialect, dataset = traits.models_dialect, client.dataset_name
    if dialect is None:
        return 0
    made_functions = functions(dialect, dataset, critical_fields())
    try:
        base = fingerprint(
            dialect, dataset, made_functions, known_columns(columns or existing_columns(client))
        )
        comments = _comments(client, traits)
        stored = comments.get(_FIRST, "").rpartition(" ")[2]
        if stored.startswith(base) and not has_new_fields:
            return 0
        existing = existing_columns(client)
        if "fields" not in existing:
            return 0
        rows = client.execute_sql(per_processor.FIELDS_QUERY.format(dataset=quote(dataset))) or ()
        leaves = per_processor.leaves_of(rows)  # type: ignore[arg-type]
        whole = f"{base}-{fingerprint(leaves)}"
        if stored == whole:
            return 0
        views = [
            *(
                View(each.name, translate(each.sql, dialect, dataset, existing), each.about)
                for each in models()
            ),
            *per_processor.views(leaves, dataset),
        ]
        with client.begin_transaction():
            _replace(client, comments, made_functions, views, whole)
        return len(views)
    except DestinationException as error:
        raise DocrunsError(
            f"The views of {schema_name(dataset)} could not be made: "
            f"{str(error).splitlines()[0]} The rows are loaded. Once the cause is gone, run `docruns models`."
        ) from error


def existing_columns(client: Client) -> Existing:
    """The columns of each table of the client's dataset."""
    columns: defaultdict[str, set[str]] = defaultdict(set)
    for table, column in client.execute_sql(_COLUMNS, client.dataset_name) or ():
        columns[table].add(column)
    return columns


def _comments(client: Client, traits: DestinationTraits) -> dict[str, str]:
    """The comments on the views that docruns has made, by view."""
    schema = schema_name(client.dataset_name)
    return {
        name: comment
        for name, comment in client.execute_sql(traits.views_query, schema) or ()
        if comment and f"\n{_MADE}" in comment
    }


def _replace(
    client: Client, old: Iterable[str], function_texts: str, views: Iterable[View], whole: str
) -> None:
    """All views anew, in the one transaction of the client. A view of an earlier version that is no more goes."""
    schema = quote(schema_name(client.dataset_name))
    client.execute_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    # PostgreSQL drops no view that another one reads
    order = {model.name: place for place, model in enumerate(models())}
    for name in sorted(old, key=lambda name: -order.get(name, len(order))):
        client.execute_sql(f"DROP VIEW IF EXISTS {schema}.{quote(name)}")
    client.execute_sql(function_texts)
    for name, query, about in views:
        view = f"{schema}.{quote(name)}"
        client.execute_sql(f"CREATE VIEW {view} AS {query}")
        text = f"{about}\n{_MADE}, {whole}".replace("'", "''")
        client.execute_sql(f"COMMENT ON VIEW {view} IS '{text}'")
