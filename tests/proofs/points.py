"""The points in a load where a kill has caused damage before: before or after functions of dlt.

extract ──► commit ──► normalize ──► rename, delete ──► DDL ──► staging, merge of each table
    ──► _dlt_loads
"""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import time
from functools import reduce
from typing import Any, NamedTuple

HELD_BACK_S = 30.0
"""Longer than a merge takes; after that no merge waits any more, because the kill has happened."""


class Point(NamedTuple):
    """A point in a load: before or after the n-th call of a function, counted over the whole load."""

    target: str
    """module:name.name"""
    after: bool
    call: int = 1
    """For a merge: counted over the tables of runs, because the catalogue's tables may be merged first."""
    first: bool = False
    """Kill the first load of a database instead of a later load with changes."""
    table: str | None = None
    """For a merge: the merge of this table, before any other table's, in the n-th package."""


_EXTRACT = "dlt.extract.extract:Extract"
_SPOOL = "dlt.extract.storage:ExtractStorage"
_NORMALIZE = "dlt.normalize.normalize:Normalize"
_PIPELINE = "dlt.pipeline.pipeline:Pipeline"
_STORAGE = "dlt.common.storages.load_storage:LoadStorage"
_PACKAGE = "dlt.common.storages.load_package:PackageStorage"
_LOAD = "dlt.load.load:Load"
_CLIENT = "dlt.destinations.job_client_impl:SqlJobClientBase"
_PUT_ASIDE = "docruns.store.duckdb.merge:MergingClient.create_load_job"
_MERGE = "dlt.destinations.job_client_impl:SqlLoadJob.run"

POINTS = {
    "x1 in extract": Point("dlt.extract.extractors:ArrowExtractor.write_items", True, 9),
    "x2 before the state is extracted": Point(f"{_PIPELINE}._bump_version_and_extract_state", False, 2),
    "x3 before extract's commit": Point(f"{_EXTRACT}.commit_packages", False),
    "x3 in extract's commit": Point(f"{_SPOOL}.commit_new_load_package", True),
    "x4 after extract's commit": Point(f"{_EXTRACT}.commit_packages", True),
    "n0 before normalize": Point(f"{_PIPELINE}.normalize", False, 2),
    "n1 before normalize's rename": Point(f"{_STORAGE}.commit_new_load_package", False),
    "n2 before normalize's delete": Point(f"{_STORAGE}.commit_new_load_package", True),
    "n3 after normalize": Point(f"{_PIPELINE}.normalize", True),
    "l1 before tables are made": Point(f"{_LOAD}.initialize_package", False, first=True),
    "l2 before the schema is stored": Point(f"{_CLIENT}._update_schema_in_storage", False, first=True),
    "l2 after tables are made": Point(f"{_CLIENT}.update_stored_schema", True, first=True),
    "l3 after tables are made": Point(f"{_STORAGE}.commit_schema_update", True, first=True),
    "l4 a job is about to start": Point(f"{_PACKAGE}.start_job", True, 2),
    "l4 first file ready, not marked": Point(_PUT_ASIDE, True),
    "l4 third file ready, not marked": Point(_PUT_ASIDE, True, 3),
    "l4 sixth file ready, not marked": Point(_PUT_ASIDE, True, 6),
    "l4 first load, files ready, not marked": Point(_PUT_ASIDE, True, 4, first=True),
    "l4 marked, not moved": Point(f"{_PACKAGE}.save_pending_transition", True, 2),
    "l5 some ready": Point(f"{_PACKAGE}.complete_job", True, 3),
    "l6 first table, deleted, not inserted": Point(_MERGE, False),
    "l6 third table, deleted, not inserted": Point(_MERGE, False, 3),
    "l7 first table merged, not marked": Point(_MERGE, True),
    "l8 some tables merged": Point(_MERGE, True, 4),
    "l8 some merged, first load": Point(_MERGE, True, 5, first=True),
    "l8 only workflow_runs merged": Point(_MERGE, True, table="workflow_runs"),
    "l8 only processor_runs merged": Point(_MERGE, True, table="processor_runs"),
    "l8 only fields merged": Point(_MERGE, True, table="fields"),
    "l8 only processor_runs merged, first load": Point(_MERGE, True, 2, first=True, table="processor_runs"),
    "l9 before _dlt_loads": Point(f"{_CLIENT}.complete_load", False),
    "l10 after _dlt_loads": Point(f"{_CLIENT}.complete_load", True),
    "l10 first load": Point(f"{_CLIENT}.complete_load", True, first=True),
    "l11 before staging is emptied": Point(f"{_LOAD}._maybe_truncate_staging_dataset", False),
    "l12 package not yet put away": Point(f"{_STORAGE}.complete_load_package", True),
    "between packages": Point(f"{_PIPELINE}.load", True),
    "after the last package": Point(f"{_CLIENT}.complete_load", True, 2),
}


_sent = signal.SIGKILL


def kill() -> None:
    """Send the armed signal, by default `kill -9`: nothing is flushed and nothing is closed."""
    os.kill(os.getpid(), _sent)


def arm(name: str, sent: signal.Signals = signal.SIGKILL) -> None:
    """Make this process send itself a signal at a point; use it only in processes that may die.

    A name like `module:Class.function` is the point before the first call of this function; `module:Class.function after 3`
    the one after its third call.
    """
    global _sent
    _sent = sent
    point = point_of(name)
    if "deleted, not inserted" in name:
        _arm_inside_merge(point.call)
        return
    if point.table:
        _arm_alone(point.table, point.call)
        return
    owner, function = owner_of(point)
    real = getattr(owner, function)
    calls = itertools.count(1)

    def hooked(*arguments: Any, **options: Any) -> Any:
        is_last = (point.target != _MERGE or _is_of_runs(arguments[0])) and next(calls) == point.call
        if is_last and not point.after:
            kill()
        result = real(*arguments, **options)
        if is_last:
            kill()
        return result

    setattr(owner, function, hooked)


def owner_of(point: Point) -> tuple[Any, str]:
    """The class or module whose function is a point, and this function's name."""
    module, _, path = point.target.partition(":")
    *owners, function = path.split(".")
    owner = reduce(getattr, owners, importlib.import_module(module))
    return owner, function


def point_of(name: str) -> Point:
    """A point by its name in POINTS, or by that of a function."""
    if ":" not in name:
        return POINTS[name]
    target, *more = name.split()
    return Point(target, "after" in more, next((int(word) for word in more if word.isdecimal()), 1))


def _is_of_runs(job: Any) -> bool:
    from docruns.core.tables import RUN_TABLES

    return job.job_file_info().table_name in {table.name for table in RUN_TABLES[:9]}


def _arm_alone(table: str, package: int) -> None:
    """Kill when only this table of a package is merged, and no other table."""
    from docruns.store.duckdb.merge import _Merge

    # patch before the wait for one of the two merge slots, or the waiting merges would occupy both
    real = _Merge.run
    packages: list[str] = []

    def hooked(self: Any) -> None:
        # dict.fromkeys keeps one entry: merges run in threads, and two may be the first of a
        # package
        packages[:] = dict.fromkeys((*packages, self._load_id))
        if packages.index(self._load_id) + 1 != package:
            real(self)
        elif self.job_file_info().table_name == table:
            real(self)
            kill()
        else:
            time.sleep(HELD_BACK_S)
            real(self)

    _Merge.run = hooked  # type: ignore[method-assign]


def _arm_inside_merge(call: int) -> None:
    """Kill inside the n-th merge: after its first DELETE, before the rest."""
    from dlt.destinations.sql_client import SqlClientBase

    real = SqlClientBase.execute_many
    calls = itertools.count(1)

    def one_by_one(self: Any, statements: Any, *arguments: Any, **options: Any) -> Any:
        deletes = [i for i, text in enumerate(statements) if text.lstrip().startswith("DELETE FROM")]
        if not deletes or next(calls) != call:
            return real(self, statements, *arguments, **options)
        for statement in statements[: deletes[0] + 1]:
            self.execute_sql(statement)
        return kill()

    SqlClientBase.execute_many = one_by_one  # type: ignore[method-assign]
