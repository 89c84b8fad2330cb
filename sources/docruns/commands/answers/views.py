"""The views of the models in the destination, in the schema `<dataset>_answers`.

    models, columns of the tables, fields of processors ──► fingerprint ──► is it that of the views? ──► else make all

The fingerprint stands in the comment on each view, with the newest package whose fields were read. A load with nothing
new compares both and reads no fields. A view without docruns' comment is somebody else's: it stays.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import dlt
from dlt.common.destination.exceptions import DestinationException
from dlt.destinations.sql_client import SqlClientBase

from ...core.errors import ConfigError, DocrunsError
from ...core.tables import SYNCS
from ...models import per_processor
from ...models.dialects import Critical, functions, literal, translate
from ...models.model import Existing, View, fingerprint, known_columns, models, schema_name
from ...store.destinations import DestinationTraits
from ...store.duckdb.file import quote

SECTION = "answers"
"""The section of the configuration."""

_MADE = "Made by docruns"

_COLUMNS = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s"

_FIRST = "leaves"
"""The view whose comment tells the state of all: they are made in one transaction."""

Client = SqlClientBase[Any]


class AnswerSettings(NamedTuple):
    """`views`: loads make the views. `critical`: the fields that decide whether a document is right, by processor."""

    views: bool
    critical: Critical


def answer_settings() -> AnswerSettings:
    """The settings in the section `answers`. ConfigError for a value of another kind."""
    views, critical = (_setting(name) for name in AnswerSettings._fields)
    if not isinstance(views, bool | None):
        raise ConfigError(f"{SECTION}.views", f"is {views!r}.", "Write true or false.")
    if critical is not None and not (
        isinstance(critical, dict)
        and all(isinstance(fields, list) for fields in critical.values())
        and all(isinstance(field, str) for fields in critical.values() for field in fields)
    ):
        raise ConfigError(
            f"{SECTION}.critical",
            "is not a table of lists.",
            'Write, below [answers.critical], a line such as: "Supplier invoice" = ["total", "due_date"].',
        )
    return AnswerSettings(views is not False, critical or {})


def _setting(name: str) -> Any:
    found: Any = dlt.config.get(f"{SECTION}.{name}")
    if isinstance(found, str):
        # of an environment variable
        with suppress(ValueError):
            return json.loads(found.lower() if name == "views" else found)
    return found


def make_views(
    client: Client, traits: DestinationTraits, columns: Existing | None = None, is_asked_for: bool = False
) -> int:
    """Make the views if they are not those of the newest models and fields. Returns how many were made.

    `columns` are those of the tables, as far as they are known: asking the database takes longer. The fields are read
    where a package has brought runs since they were read last, or `is_asked_for`. DocrunsError where the destination
    refuses. A dataset without the table of fields gets no views.
    """
    dialect, dataset = traits.models_dialect, client.dataset_name
    if dialect is None:
        return 0
    function_texts = functions(dialect, dataset, answer_settings().critical)
    try:
        base = fingerprint(
            dialect, dataset, function_texts, known_columns(columns or existing_columns(client))
        )
        comments = _comments(client, traits)
        stored, _, seen = comments.get(_FIRST, "").rpartition(" ")[2].rpartition("/")
        newest = _newest_package(client)
        if stored.startswith(base) and seen == newest and not is_asked_for:
            return 0
        existing = existing_columns(client)
        if "fields" not in existing:
            return 0
        rows = client.execute_sql(per_processor.FIELDS_QUERY.format(dataset=quote(dataset))) or ()
        leaves = per_processor.leaves_of(rows)  # type: ignore[arg-type]
        whole = f"{base}-{fingerprint(leaves)}"
        views = [
            *(
                View(each.name, translate(each.sql, dialect, dataset, existing), each.about)
                for each in models()
            ),
            *per_processor.views(leaves, dataset),
        ]
        with client.begin_transaction():
            if traits.lock_timeout:
                # a session that has read a view and does not end its transaction must not stop the load
                client.execute_sql(traits.lock_timeout)
            if stored == whole and comments.keys() >= {view.name for view in views}:
                _describe(client, views[0], f"{whole}/{newest}")
                return 0
            _replace(client, comments, function_texts, views, f"{whole}/{newest}")
        return len(views)
    except DestinationException as error:
        raise DocrunsError(
            f"The views of {schema_name(dataset)} could not be made. The rows are loaded. "
            f"Once the cause is gone, run `docruns models`. The cause: {str(error).splitlines()[0]}"
        ) from error


def _newest_package(client: Client) -> str:
    """The newest package that has brought runs. A load that was killed before it made the views has brought some, too."""
    syncs = client.make_qualified_table_name(SYNCS.name)
    ((newest,),) = client.execute_sql(f"SELECT max(load_id) FROM {syncs} WHERE fetched > 0") or ((None,),)
    return str(newest)


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
    for view in views:
        client.execute_sql(f"CREATE VIEW {schema}.{quote(view.name)} AS {view.query}")
        _describe(client, view, whole)


def _describe(client: Client, view: View, whole: str) -> None:
    schema = quote(schema_name(client.dataset_name))
    text = literal(f"{view.about}\n{_MADE}, {whole}")
    client.execute_sql(f"COMMENT ON VIEW {schema}.{quote(view.name)} IS {text}")
