"""The models of a dataset in the destination: views, or tables where the settings say so.

    models, columns of the tables ──► fingerprint ──┐
                                                    ├──► are they those of the comment? ──► else make what differs
    packages, marks of deleted runs ──► state ──────┘                                       (and fill the tables)

The comment on the first view has both. A load with nothing new compares them and reads no fields. What has no comment of
docruns is somebody else's: it stays.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Set
from typing import Any

from dlt.common.destination.exceptions import DestinationException
from dlt.destinations.sql_client import SqlClientBase

from ...core.errors import ConfigError, DocrunsError
from ...core.tables import EVALUATION_ITEMS, PROCESSOR_RUNS, SYNCS, WORKFLOW_RUNS
from ...models import per_processor
from ...models.dialects import Critical, functions, translate
from ...models.model import (
    ORDER,
    Existing,
    View,
    digest,
    fingerprint,
    known_columns,
    models,
    schema_name,
)
from ...store.destinations import DestinationTraits
from ...store.duckdb.file import quote
from .settings import (
    SECTION,
    VIEW,
    AnswerSettings,
    Materialization,
    answer_settings,
    choose_filled,
    choose_tables,
)
from .statements import MADE, NOTHING, Made, Making

logger = logging.getLogger("docruns")

_COLUMNS = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s"

_CRITICAL = """
SELECT DISTINCT coalesce(r.processor_name, r.processor_id, 'inline'), f.field
FROM {dataset}.fields f JOIN {dataset}.processor_runs r ON r.id = f.processor_run_id
WHERE f.kind = 'leaf' AND r.type = 'EXTRACT' AND r.deleted_at IS NULL
"""
"""The fields of each processor, under the names that the models have for them."""

_CHANGING = (WORKFLOW_RUNS, PROCESSOR_RUNS, EVALUATION_ITEMS)
"""The tables whose packages and marks of deleted rows tell whether stored models are those of the rows."""

_UNLIMITED = ("RESET GLOBAL memory_limit", "RESET GLOBAL threads")
"""For the rest of a load, which merges nothing more. With the 120 MB and the one thread of a load, the scores of a million
leaves are sorted on disk."""

Client = SqlClientBase[Any]


def make_views(
    client: Client,
    traits: DestinationTraits,
    columns: Existing | None = None,
    *,
    is_asked_for: bool = False,
    wanted: Materialization | None = None,
) -> int:
    """Make the models if they are not those of the newest definitions, fields and settings; where they are tables, also
    if rows have changed. Returns how many were made.

    `columns` are those of the tables, as far as they are known: asking the database takes longer. The fields are read
    where a package has brought runs since they were read last, or `is_asked_for`. `wanted` overrides the setting;
    tables that are asked for are filled in any case. DocrunsError where the destination refuses. A dataset without the
    table of fields gets no models.
    """
    dialect, dataset, settings = traits.models_dialect, client.dataset_name, answer_settings()
    if dialect is None:
        return 0
    text = functions(dialect, dataset, settings.critical)
    try:
        made = _made(client, traits)
        there = {name for name, each in made.items() if each.is_table}
        stored = _stored(traits, wanted, settings, there)
        known = columns or existing_columns(client)
        base = fingerprint(dialect, dataset, text, known_columns(known))
        making = Making(dataset, text, (), base, _state(client, known, is_stored=bool(stored)))
        is_stale = made.get(ORDER[0], NOTHING).mark != making.first
        if not (is_stale or is_asked_for or there != stored):
            return 0
        existing = existing_columns(client)
        if "fields" not in existing:
            return 0
        _analyze(client, traits)
        _warn_of_critical(client, settings.critical)
        making = making._replace(views=_views(client, dialect, existing, stored))
        filled = stored if is_stale else choose_filled(wanted, stored)
        return _make(client, traits, making, made, filled)
    except DestinationException as error:
        raise DocrunsError(
            f"The views of {schema_name(dataset)} could not be made. The rows are loaded. "
            f"Once the cause is gone, run `docruns models`. The cause: {str(error).splitlines()[0]}"
        ) from error


def _analyze(client: Client, traits: DestinationTraits) -> None:
    """Let the database count the rows of tables that have changed much. The models' queries join them."""
    stale = client.execute_sql(traits.stale_query, client.dataset_name) if traits.stale_query else ()
    for (name,) in stale or ():
        client.execute_sql(f"ANALYZE {client.make_qualified_table_name(name)}")


def _views(client: Client, dialect: str, existing: Existing, stored: Set[str]) -> list[View]:
    """The models, and the views of processors by the fields that the dataset has."""
    dataset = client.dataset_name
    rows = client.execute_sql(per_processor.FIELDS_QUERY.format(dataset=quote(dataset))) or ()
    leaves = per_processor.leaves_of(rows)  # type: ignore[arg-type]
    return [
        *(
            View(
                each.name,
                translate(each.sql, dialect, dataset, existing),
                each.about,
                each.name in stored,
            )
            for each in models()
        ),
        *per_processor.views(leaves, dataset),
    ]


def _warn_of_critical(client: Client, critical: Critical) -> None:
    """Name the keys of the setting that no leaf of the dataset has: they are misspelt, or their runs are not loaded."""
    if not critical:
        return
    query = _CRITICAL.format(dataset=quote(client.dataset_name))
    known: defaultdict[str, set[str]] = defaultdict(set)
    for processor, field in client.execute_sql(query) or ():
        known[processor].add(field)
    for processor, fields in critical.items():
        key = f'{SECTION}.critical."{processor}"'
        if processor not in known:
            logger.warning("%s: %s has no extractions of that processor", key, client.dataset_name)
        elif unknown := sorted({*fields} - known[processor]):
            logger.warning("%s: no extraction has the field %s", key, ", ".join(unknown))


def _make(
    client: Client, traits: DestinationTraits, making: Making, made: dict[str, Made], filled: Set[str]
) -> int:
    """Make what differs, in one transaction. Returns how many views and tables that were."""
    changed = {view.name for view in making.changed(made)}
    if traits.has_file and any(view.is_table for view in making.views):
        for statement in _UNLIMITED:
            client.execute_sql(statement)
    with client.begin_transaction():
        if traits.lock_timeout:
            # a session that has read a view and does not end its transaction must not stop the load
            client.execute_sql(traits.lock_timeout)
        if changed or made.keys() - {view.name for view in making.views}:
            client.execute_many([*making.replace(made)])
        # what is made has the rows of now
        if rest := filled - changed:
            client.execute_many([*making.fill(rest)])
            changed |= rest
        client.execute_sql(making.describe(making.views[0]))
    return len(changed)


def refill_tables(client: Client, traits: DestinationTraits) -> None:
    """Fill the models that are tables anew, where a dataset has such: they hold values of runs that are gone."""
    if traits.models_dialect and any(each.is_table for each in _made(client, traits).values()):
        make_views(client, traits, is_asked_for=True)


def _stored(
    traits: DestinationTraits, wanted: Materialization | None, settings: AnswerSettings, there: Set[str]
) -> Set[str]:
    """The models that are to be tables; `there`: those that are. ConfigError where the destination stores none."""
    stored = choose_tables(wanted, settings.materialized, there)
    if stored and not traits.stores_models:
        raise ConfigError(
            f"{SECTION}.materialized",
            "makes tables of models, and these are stored in DuckDB files and PostgreSQL only.",
            f"Write {VIEW}.",
        )
    if settings.materialized is not None and choose_tables(None, settings.materialized, stored) != stored:
        logger.warning(
            "%s.materialized is %r: the next load makes the models so again", SECTION, settings.materialized
        )
    return stored


def _state(client: Client, known: Existing, *, is_stored: bool) -> str:
    """The newest package that has brought runs. A load that was killed before it made the views has brought some, too.

    Of tables also the number of rows, of marks of deleted ones, and the newest of each."""
    syncs = client.make_qualified_table_name(SYNCS.name)
    ((newest,),) = client.execute_sql(f"SELECT max(load_id) FROM {syncs} WHERE fetched > 0") or ((None,),)
    if not is_stored:
        return str(newest)
    queries = [
        f"SELECT '{table.name}', count(*), max(_dlt_load_id), count(deleted_at), CAST(max(deleted_at) AS VARCHAR) "
        f"FROM {client.make_qualified_table_name(table.name)}"
        for table in _CHANGING
        if {"_dlt_load_id", "deleted_at"} <= set(known.get(table.name, ()))
    ]
    found = client.execute_sql(" UNION ALL ".join(queries)) or () if queries else ()
    return f"{newest}-{digest(*sorted(map(tuple, found)))}"


def existing_columns(client: Client) -> Existing:
    """The columns of each table of the client's dataset."""
    columns: defaultdict[str, set[str]] = defaultdict(set)
    for table, column in client.execute_sql(_COLUMNS, client.dataset_name) or ():
        columns[table].add(column)
    return columns


def _made(client: Client, traits: DestinationTraits) -> dict[str, Made]:
    """The views and tables that docruns has made in the schema of the answers, by name."""
    schema = schema_name(client.dataset_name)
    return {
        name: Made(bool(is_table), comment)
        for name, is_table, comment in client.execute_sql(traits.views_query, schema, schema) or ()
        if comment and f"\n{MADE}" in comment
    }
