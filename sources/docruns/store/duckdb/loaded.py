"""A DuckDB file that docruns has loaded, read for a copy: what has changed since it was copied, in packages.

    rows of the file ──► a fingerprint for each unit ──► units that differ from the copy ──► packages, oldest first

A unit is a workflow run or a processor run with its rows in all tables, an item of an evaluation set with its fields,
or a row of any other table. Nothing but the rows is believed: an UPDATE changes no date and no package. All lists of
units are DuckDB's, which writes to disk what its memory cannot hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from ...core.tables import (
    CLEARED,
    EVALUATION_ITEMS,
    PROCESSOR_RUNS,
    PUSHES,
    QUARANTINE,
    SYNCS,
    TABLES,
    WORKFLOW_RUNS,
    Column,
    Table,
)
from .file import attach_database, quote

MEMORY = "150MB"
"""The memory limit of the instance of DuckDB that reads the file."""

PACKAGE_ROWS = 200_000
"""Rows of a package: those of 500 heavy runs, or of 7,500 light ones."""

BATCH_ROWS = 20_000
"""Rows that are read at once."""

_PARENTS = {
    "workflow_run_id": WORKFLOW_RUNS,
    "processor_run_id": PROCESSOR_RUNS,
    "evaluation_item_id": EVALUATION_ITEMS,
}

_TYPES = {
    "text": "VARCHAR", "json": "VARCHAR", "bigint": "BIGINT", "double": "DOUBLE", "bool": "BOOLEAN", "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
}  # fmt: skip

_RUNS = (WORKFLOW_RUNS.name, PROCESSOR_RUNS.name)

_LAST = (QUARANTINE.name, PUSHES.name, SYNCS.name)
"""A row of `syncs` says what is loaded: it follows the runs."""


class Unit(NamedTuple):
    """What is copied as a whole, and the hash of its rows."""

    kind: str
    id: str
    fingerprint: str


class Package(NamedTuple):
    """Units that are copied together. `units` counts them by kind, `rows` their rows of all tables."""

    number: int
    rows: int
    units: dict[str, int]


@contextmanager
def open_loaded(
    path: Path, dataset: str, folder: Path, on_wait: Callable[[str], None] | None = None
) -> Iterator[LoadedFile]:
    """The dataset of a DuckDB file, which stays as it is. `folder` is for what DuckDB's memory cannot hold.

    Raises LockedError after a while where another process has the file open for writing.
    """
    with closing(attach_database(path, on_wait=on_wait)) as connection:
        yield LoadedFile(connection, dataset, folder)


class LoadedFile:
    """See `open_loaded`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, dataset: str, folder: Path) -> None:
        self._connection, self._dataset = connection, dataset
        settings = {"TimeZone": "UTC", "memory_limit": MEMORY, "temp_directory": folder, "threads": 2}
        for name, value in settings.items():
            literal = str(value).replace("'", "''")
            connection.execute(f"SET {name} = '{literal}'")
        query = (
            "SELECT table_name, list(column_name) FROM duckdb_columns() "
            "WHERE database_name = 'loaded' AND schema_name = ? GROUP BY ALL"
        )
        self._columns: dict[str, set[str]] = {
            name: set(columns) for name, columns in connection.execute(query, [dataset]).fetchall()
        }
        self.tables = [table for table in TABLES if self._columns.get(table.name, set()) >= set(table.key)]
        """Those of `core/tables` that the dataset has."""
        connection.execute(
            "CREATE TEMP TABLE copied (kind VARCHAR, id VARCHAR, fingerprint VARCHAR, load_id VARCHAR)"
        )
        connection.execute("CREATE TEMP TABLE torn (id VARCHAR)")

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query, in which {} is the dataset, for a few rows."""
        dataset = f"loaded.{quote(self._dataset)}"
        return self._connection.execute(query.format(dataset), list(values)).fetchall()

    def note_copied(self, units: Iterable[Sequence[tuple[str, str, str | None, str]]]) -> None:
        """What the copy holds already, in portions: kind, id, fingerprint and package of units. Of several rows of a
        unit the one of the newest package counts."""
        for some in units:
            self._insert("copied", some)

    def note_torn(self, ids: Iterable[str]) -> None:
        """Units to copy in any case, by their ids: a killed copy has stored a part of their rows."""
        self._insert("torn", [(id_,) for id_ in ids])

    def _insert(self, table: str, rows: Sequence[tuple[str | None, ...]]) -> None:
        """As one JSON text: DuckDB takes 0.1 ms for each value of a list that is a parameter."""
        if rows:
            cells = ", ".join(f"row[{place}]" for place in range(1, len(rows[0]) + 1))
            query = f"INSERT INTO {table} SELECT {cells} FROM (SELECT unnest(from_json(?, '[[\"VARCHAR\"]]')) AS row)"
            self._connection.execute(query, [json.dumps(rows)])

    def plan(self, report: Callable[[int, int], None]) -> list[Package]:
        """What is to be copied, in packages: other tables first, then runs in the order of their creation, with the
        processor runs of a workflow run beside it. `report` gets the tables that are read, and how many there are."""
        run = self._connection.execute
        run("CREATE TEMP TABLE hashes (kind VARCHAR, id VARCHAR, hash UBIGINT, number BIGINT)")
        for done, table in enumerate(self.tables, start=1):
            names = ", ".join(quote(column.name) for column in self._stored(table))
            run(
                f"INSERT INTO hashes SELECT {_kind(table)}, {_id(table)}, bit_xor(hash('{table.name}', {names})), "
                f"count(*) FROM {self._name(table)} GROUP BY ALL"
            )
            report(done, len(self.tables))
        run("""
            CREATE TEMP TABLE units AS SELECT kind, id, format('{:x}', bit_xor(hash)) AS fingerprint,
                   sum(number)::BIGINT AS number
            FROM hashes GROUP BY ALL;
            DROP TABLE hashes;
            CREATE TEMP TABLE due AS SELECT u.* FROM units u LEFT JOIN (
                SELECT kind, id, arg_max(fingerprint, load_id) AS fingerprint FROM copied GROUP BY ALL
            ) c USING (kind, id)
            WHERE u.fingerprint IS DISTINCT FROM c.fingerprint OR u.id IN (SELECT id FROM torn)
        """)
        run(f"CREATE TEMP TABLE planned AS {self._in_packages()}")
        found = run("""
            SELECT package, sum(rows)::BIGINT, map(list(kind), list(units)) FROM (
                SELECT package, kind, sum(number) AS rows, count(*) AS units FROM planned GROUP BY ALL
            ) GROUP BY ALL ORDER BY ALL
        """)
        return [Package(*row) for row in found.fetchall()]

    def count(self, kind: str) -> int:
        """How many units of a kind the file holds. Only after `plan`."""
        ((number,),) = self._connection.execute(
            "SELECT count(*) FROM units WHERE kind = ?", [kind]
        ).fetchall()
        return int(number)

    def batches(self, package: Package) -> Iterator[tuple[Table, Any]]:
        """All rows of a package as Arrow record batches, table by table, those that clear the rows of its runs first."""
        for table in self.tables:
            # a set is replaced by its id alone
            kinds = "', '".join(_RUNS if table.set_of == "run_id" else [_kind_of(table)])
            planned = f"FROM planned WHERE package = ? AND kind IN ('{kinds}')"
            if table.set_of:
                yield from self._read(table, f"SELECT {', '.join(_clearing_cells(table))} {planned}", package)
            cells = ", ".join(self._cell(table, column) for column in table.columns)
            rows = f"SELECT {cells} FROM {self._name(table)} WHERE {_id(table)} IN (SELECT id {planned})"
            yield from self._read(table, rows, package)

    def _read(self, table: Table, query: str, package: Package) -> Iterator[tuple[Table, Any]]:
        reader = self._connection.execute(query, [package.number]).to_arrow_reader(BATCH_ROWS)
        yield from ((table, rows) for rows in reader if rows.num_rows)

    def units(self, package: Package) -> Iterator[list[Unit]]:
        """The units of a package, in portions."""
        query = "SELECT kind, id, fingerprint FROM planned WHERE package = ?"
        found = self._connection.execute(query, [package.number])
        while rows := found.fetchmany(BATCH_ROWS):
            yield [Unit(*row) for row in rows]

    def _in_packages(self) -> str:
        """The query for `planned`. A workflow run is never without its processor runs: a load that goes on in a copy
        would fetch them by themselves, and not know what made them. So what has one owner is in one package."""
        ranks = dict.fromkeys(_RUNS, 2) | {name: 3 + place for place, name in enumerate(_LAST)}
        rank = " ".join(f"WHEN '{name}' THEN {place}" for name, place in ranks.items())
        columns = self._columns.get(PROCESSOR_RUNS.name, set())
        runs, inside = "planned_runs", "workflow_run_id" if "workflow_run_id" in columns else "NULL"
        both = [
            f"SELECT '{name}' AS kind, id, created_at, {owner} AS owner FROM loaded.{quote(self._dataset)}.{name}"
            for name, owner in ((WORKFLOW_RUNS.name, "id"), (PROCESSOR_RUNS.name, f"coalesce({inside}, id)"))
            if name in self._columns
        ]
        return f"""
            WITH {runs} AS ({" UNION ALL ".join(both)}),
            placed AS (
                SELECT d.*, CASE d.kind {rank} ELSE 1 END AS rank, coalesce(w.created_at, r.created_at) AS created,
                       coalesce(r.owner, d.id) AS owner
                FROM due d LEFT JOIN {runs} r ON r.kind = d.kind AND r.id = d.id
                LEFT JOIN {runs} w ON w.kind = '{WORKFLOW_RUNS.name}' AND w.id = r.owner
            )
            SELECT kind, id, fingerprint, number, (sum(number) OVER (
                ORDER BY rank, created NULLS FIRST, owner RANGE UNBOUNDED PRECEDING
            ) - 1)::BIGINT // {PACKAGE_ROWS} AS package FROM placed
        """

    def _name(self, table: Table) -> str:
        return f"loaded.{quote(self._dataset)}.{quote(table.name)}"

    def _stored(self, table: Table) -> list[Column]:
        held = self._columns[table.name]
        return [column for column in table.columns if column.name in held and column.name != CLEARED]

    def _cell(self, table: Table, column: Column) -> str:
        """A column as its type in the table; null where an earlier version of docruns has made the table without it."""
        is_held = column.name in self._columns[table.name] and column.name != CLEARED
        value = quote(column.name) if is_held else "NULL"
        return f"CAST({value} AS {_TYPES[column.type]}) AS {quote(column.name)}"


def _kind(table: Table) -> str:
    """The kind of the unit that a row belongs to, as SQL."""
    if table.set_of == "run_id":
        return f"CASE WHEN run_kind = 'workflow' THEN '{WORKFLOW_RUNS.name}' ELSE '{PROCESSOR_RUNS.name}' END"
    return f"'{_kind_of(table)}'"


def _kind_of(table: Table) -> str:
    return _PARENTS[table.set_of].name if table.set_of else table.name


def _id(table: Table) -> str:
    """The id of that unit, as SQL."""
    if table.set_of:
        return quote(table.set_of)
    return f"concat_ws('/', {', '.join(map(quote, table.key))})"


def id_columns(table: Table) -> tuple[str, ...]:
    """The columns whose values, separated by slashes, are the id of a row's unit."""
    return (table.set_of,) if table.set_of else table.key


def _clearing_cells(table: Table) -> Iterator[str]:
    """The cells of `Table.clearing_row`, whose run is `id`, as SQL."""
    values = {None: "NULL", True: "true"}
    for column, cell in zip(table.columns, table.clearing_row(""), strict=True):
        value = "id" if column.name == table.set_of else values.get(cell) or repr(cell)
        yield f"CAST({value} AS {_TYPES[column.type]}) AS {quote(column.name)}"
