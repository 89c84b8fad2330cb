"""Kill -9 at twenty points of a load into PostgreSQL, DuckLake, Delta and Iceberg; and once more in a first load.

changes ──► load, killed ──► each table is as before or as after ──► load ──► no key is there twice
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from destinations.matrix import DESTINATIONS, Destination
from docruns.core.tables import CLEARED, SYNCS, TABLES

from .children import Children, Ended
from .stage import Figure, Figures, Platform, exactly

PROOF = "kills elsewhere"
REVIEWS, ADDED = 6, 2

_EXTRACT = "dlt.extract.extract:Extract"
_NORMALIZE = "dlt.pipeline.pipeline:Pipeline.normalize"
_STORAGE = "dlt.common.storages.load_storage:LoadStorage"
_PACKAGE = "dlt.common.storages.load_package:PackageStorage"
_ALWAYS = (
    f"{_EXTRACT}.commit_packages",
    f"{_EXTRACT}.commit_packages after",
    _NORMALIZE,
    f"{_NORMALIZE} after",
    f"{_STORAGE}.commit_new_load_package",
    f"{_STORAGE}.commit_new_load_package after",
    "dlt.load.load:Load.initialize_package",
    f"{_PACKAGE}.start_job after 2",
    f"{_PACKAGE}.save_pending_transition after 2",
    f"{_PACKAGE}.complete_job after 3",
    f"{_PACKAGE}.complete_job after 12",
    f"{_STORAGE}.complete_load_package",
    f"{_STORAGE}.complete_load_package after",
)

_MERGE = "dlt.destinations.job_client_impl:SqlLoadJob.run"
_COUNTED = "dlt.destinations.job_client_impl:SqlJobClientBase.complete_load"
_SQL = (
    _MERGE,
    f"{_MERGE} after",
    f"{_MERGE} after 4",
    "l6 first table, deleted, not inserted",
    "l6 third table, deleted, not inserted",
    _COUNTED,
    f"{_COUNTED} after",
)


def _lake(commit: str) -> tuple[str, ...]:
    client = "docruns.store.merges.lakes.destination:_Client"
    return (
        commit,
        f"{commit} after",
        f"{commit} after 4",
        f"{client}._store_load",
        f"{client}._store_load after",
        f"{client}._store_current_state after",
        # a file is whole, and not yet where it belongs
        "fsspec.implementations.local:LocalFileSystem.mv",
    )


POINTS = {
    "postgres": _ALWAYS + _SQL,
    "ducklake-sqlite": _ALWAYS + _SQL,
    "delta": _ALWAYS + _lake("docruns.store.merges.lakes.delta:Delta.write"),
    # files are written, and no commit names them
    "iceberg": _ALWAYS + _lake("pyiceberg.catalog.sql:SqlCatalog.commit_table"),
}

_Rows = dict[str, list[str]]


class _Stage(NamedTuple):
    """A destination, with processes that load into it."""

    destination: Destination
    folder: Path
    environment: dict[str, str]
    children: Children
    platform: Platform

    def run(self, command: str, *more: str, dataset: str = "extend", point: str | None = None) -> Ended:
        """Run a command to its end, or to a point."""
        arguments = (*self.destination.options, "--base-url", self.platform.base_url, "--dataset", dataset)
        return self.children.run(
            self.folder, command, "extend", *arguments, *more, environment=self.environment, point=point
        )

    def rows(self, dataset: str = "extend") -> _Rows:
        """All rows of each table as sorted text, without the packages that wrote them."""
        found = {}
        for table in TABLES:
            if table is not SYNCS:
                held = self.destination.rows(self.folder, dataset, table) or []
                found[table.name] = sorted(repr(_plain(row)) for row in held)
        return found

    def doubled(self, dataset: str = "extend") -> list[str]:
        """The tables in which a key has two rows."""
        return [
            table.name
            for table in TABLES
            if max(
                Counter(
                    tuple(row[name] for name in table.key)
                    for row in self.destination.rows(self.folder, dataset, table) or []
                ).values(),
                default=0,
            )
            > 1
        ]

    def kill_at(self, point: str, dataset: str = "extend") -> list[str]:
        """Kill a load at a point, look, and load once more; returns what is wrong."""
        before = self.rows(dataset)
        killed = self.run("load", dataset=dataset, point=point)
        if killed.code != -9:
            return [f"was not killed: exit code {killed.code}: {killed.err[-500:]}"]
        torn = self.rows(dataset)
        healed = self.run("load", dataset=dataset)
        if healed.code != 0 or "half" in healed.err:
            return [f"the next load ends with {healed.code}: {healed.err[-500:]}"]
        after = self.rows(dataset)
        wrong = [
            f"{name} is neither as before nor as after"
            for name in torn
            if torn[name] not in (before[name], after[name])
        ]
        if after == before:
            wrong.append("the load after the kill has changed nothing")
        return wrong + [f"{name} has doubled keys" for name in self.doubled(dataset)]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: cell for name, cell in sorted(row.items()) if name not in ("_dlt_load_id", CLEARED)}


def prove(platform: Platform, folder: Path) -> Figures:
    """Kill loads into each destination, and load once more."""
    figures: Figures = []
    for destination in DESTINATIONS:
        if destination.name in POINTS:
            place = folder / destination.name
            place.mkdir()
            with ExitStack() as stack:
                settings = destination.settings(place, stack)
                children = stack.enter_context(Children())
                figures += _prove(_Stage(destination, place, settings, children, platform))
    return figures


def _prove(stage: _Stage) -> Figures:
    name, points = stage.destination.name, POINTS[stage.destination.name]
    first = stage.run("load")
    assert first.code == 0, first.err
    wrong: dict[str, list[str]] = {}
    for point in points:
        stage.platform.change(REVIEWS, ADDED)
        stage.platform.tell("extend/finish")
        if found := stage.kill_at(point):
            wrong[point] = found
    verified = stage.run("verify", "--deep", "100000")
    # the thirteenth point is in the middle of the tables
    point = points[len(_ALWAYS) + 2]
    if found := stage.kill_at(point, "first") + _unlike(stage.rows("first"), stage.rows()):
        wrong["a first load"] = found
    tried = len(points) + 1
    return [
        exactly(PROOF, f"{name}, points at which one load heals", tried - len(wrong), tried),
        exactly(PROOF, f"{name}, exit code of verify --deep after all of them", verified.code, 0),
        *(
            Figure(PROOF, f"{name}, {at}", "; ".join(found)[:600], "none", False)
            for at, found in wrong.items()
        ),
    ]


def _unlike(ours: _Rows, theirs: _Rows) -> list[str]:
    return [f"{name} differs from that of the other dataset" for name in ours if ours[name] != theirs[name]]
