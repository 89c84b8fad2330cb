"""Compares two destinations cell by cell, without the platform: for `docruns verify --against`.

    ids of each table, on both sides ──► those whose rows have other hashes ──► 500 at a time: each cell beside the other

Hashes are made by DuckDB, so where one side is no DuckDB, all rows are read.

JSON is compared by its value. A destination whose text holds no NUL has it spelled out, and agrees with one that has it
as it is. Tables that say how a dataset was loaded, `syncs` and `quarantine`, are not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from ...core.errors import ConfigError, option_names
from ...core.tables import CLEARED, QUARANTINE, SYNCS, TABLES, Table
from ...store import lookup
from ...store.destinations import traits_of
from ...store.failures import translate_errors
from ...store.lookup import Pipeline
from ...store.pipeline import open_for_reading
from ...store.process.environment import private_files
from ...store.target import Target, require_database
from ...sync.metrics import Progress
from .verify import Difference, DoubledKey, VerifyResult, plain, without_nul

OF_OTHER = {
    "--database": "--against",
    "--destination": "--against",
    "--dataset": "--against-dataset",
}
"""The options that name the other target, by those that name the target itself."""

_AT_ONCE = 500

_OTHER = "other database"


@private_files()
def verify_against(
    provider: str,
    target: Target,
    other: Target,
    progress: Progress | None = None,
    *,
    on_wait: Callable[[str], None] | None = None,
) -> VerifyResult:
    """Compare all rows of two targets, which stay as they are. Sends no request.

    Rows that only one of them has are `cells` without a column. `doubled` has the keys of both.
    """
    require_database(target)
    result = VerifyResult(provider)
    with translate_errors(target), ExitStack() as opened:
        with option_names(OF_OTHER), translate_errors(other):
            require_database(other)
            theirs = opened.enter_context(open_for_reading(provider, other, on_wait))
        ours = opened.enter_context(open_for_reading(provider, target, on_wait))
        for table in TABLES:
            result.doubled += [DoubledKey(table.name, *each) for each in lookup.doubled_keys(ours, table)]
            name = f"{table.name} ({_OTHER})"
            result.doubled += [DoubledKey(name, *each) for each in lookup.doubled_keys(theirs, table)]
            if table not in (SYNCS, QUARANTINE):
                _compare(result, table, ours, theirs, progress)
    if not result.rows_compared:
        raise ConfigError(
            "--dataset", f"neither {target} ({target.dataset}) nor {other} ({other.dataset}) holds rows."
        )
    return result


def _compare(
    result: VerifyResult, table: Table, ours: Pipeline, theirs: Pipeline, progress: Progress | None
) -> None:
    by = table.set_of or table.key[0]
    ids, equal = _suspects(table, by, ours, theirs)
    result.rows_compared += equal
    holds_nul = [traits_of(side).holds_nul for side in (ours, theirs)]
    names = [lookup.columns_in(side, table) for side in (ours, theirs)]
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        rows = [
            {
                tuple(row[name] for name in table.key): row if all(holds_nul) else without_nul(table, row)
                for row in lookup.rows_of(side, table, by, some, columns)
            }
            for side, columns in zip((ours, theirs), names, strict=True)
        ]
        result.rows_compared += len(rows[0].keys() | rows[1].keys())
        result.cells += _differences(table, *rows)
        if progress is not None:
            progress("comparing", table.name, start + len(some), len(ids))


def _suspects(table: Table, by: str, ours: Pipeline, theirs: Pipeline) -> tuple[list[str], int]:
    """The ids whose rows may differ, and how many rows the other ids have."""
    names = [column.name for column in table.columns if column.name != CLEARED]
    here = lookup.row_hashes(ours, table, by, names)
    there = None if here is None else lookup.row_hashes(theirs, table, by, names)
    if here is None or there is None:
        found = {id_ for side in (ours, theirs) for (id_,) in lookup.columns_of(side, table.name, (by,))}
        return sorted(found), 0
    differ = sorted(id_ for id_ in here.keys() | there.keys() if here.get(id_) != there.get(id_))
    return differ, sum(number for id_, (number, _) in here.items() if there.get(id_) == here[id_])


_Rows = Mapping[tuple[Any, ...], Mapping[str, Any]]


def _differences(table: Table, ours: _Rows, theirs: _Rows) -> Iterator[Difference]:
    columns = [column for column in table.columns if column.name != CLEARED]
    for key in sorted(ours.keys() | theirs.keys(), key=str):
        our, their = ours.get(key), theirs.get(key)
        if our == their:
            continue
        if our is None or their is None:
            yield Difference(table.name, key, None, our and "a row", their and "a row", _OTHER)
            continue
        for column in columns:
            # an earlier version of docruns has made a table without the column: nothing is in it
            here, there = (plain(column, row.get(column.name)) for row in (our, their))
            if here != there:
                yield Difference(table.name, key, column.name, here, there, _OTHER)
