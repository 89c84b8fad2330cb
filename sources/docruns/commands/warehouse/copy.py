"""Copies what is loaded in a DuckDB file to another destination, without the platform: for `docruns copy`.

    the file ──► fingerprints of its runs ──┐
                                            ├──► runs that differ ──► package, package, … ──► the copy
    fingerprints that the copy has stored ──┘     rows, fingerprints; with the last one the file's state

A package of a copy is one of a load: the same Arrow tables, merges and locks. It brings the fingerprints of its runs,
and those of a package that was not committed to the end count for nothing. So a killed copy is healed by the next one.
The state comes last: a load into a copy that is half done reads all lists, and fetches what the copy lacks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import dlt
from dlt.sources import DltSource

from ...core.codec import rfc3339
from ...core.errors import LACKS_RUNS, ConfigError, DocrunsError
from ...core.privacy import KEEP
from ...core.tables import COPIED, PROCESSOR_RUNS, TABLES, WORKFLOW_RUNS
from ...providers.resources import add_tables, make_source, missing_tables
from ...store import lookup
from ...store.arrow import Tables, replaced_runs, stored_rows, to_arrow
from ...store.duckdb.loaded import LoadedFile, Package, Unit, id_columns, open_loaded
from ...store.failures import is_out_of_memory, translate_errors
from ...store.merges.hints import Hints
from ...store.pipeline import (
    checkpoint_aside,
    limit_memory,
    load_package,
    open_for_reading,
    open_pipeline,
    temporary_folder,
)
from ...store.process.environment import private_files
from ...store.process.memory import gc_frozen, system_memory_pool
from ...store.target import Target, exclusive, working_folder
from ...sync.metrics import Progress
from ..answers.settings import answer_settings
from ..load import check_provider, describe_dataset

RUNS = (WORKFLOW_RUNS.name, PROCESSOR_RUNS.name)

_FROM, _FIRST = "copied_from", "first_package"
"""In the state of a copy: the first package of the file that it was copied from, and its own first package."""

_PORTION = 10_000

MEMORY = "250MB"
"""The memory limit of DuckDB in the target. With the 120 MB of a load, one package of 7,500 light runs of three ran
out of it."""

_Item = TypeVar("_Item")


@dataclass
class CopySummary:
    """What one copy did. `copied` and `unchanged` count workflow and processor runs; `rows` counts written rows by
    table. `quarantined`: runs that the file lacks, or has as they were before. `watermark` is the file's, RFC 3339.
    `complete`: the copy has all that the file has, and the file's last load was complete.
    """

    provider: str
    complete: bool = False
    copied: int = 0
    unchanged: int = 0
    quarantined: int = 0
    packages: int = 0
    seconds: float = 0.0
    watermark: str | None = None
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """What the command ends with: 0, or 3 where the file lacks runs."""
        return LACKS_RUNS if self.quarantined else 0

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


class _Source(NamedTuple):
    """What a copy is made of: the rows of a dataset, the state of its loads, and its first package, by which it is
    known."""

    file: LoadedFile
    state: dict[str, Any]
    first: str
    path: Path


@private_files()
def copy_runs(
    source: Target,
    target: Target,
    provider: str,
    progress: Progress | None = None,
    *,
    full: bool = False,
    on_wait: Callable[[str], None] | None = None,
) -> CopySummary:
    """Copy what is new or has changed in `source`, a DuckDB file, since it was copied to `target`; all of it with
    `full`.

    Raises DocrunsError. What was committed by then stays, and the next copy continues there. ConfigError where the
    target holds anything else than a copy of this file, and for a wrong setting of the models.
    """
    answer_settings()
    _check_places(source, target)
    started, folder = time.monotonic(), working_folder(target)
    with translate_errors(target, folder), exclusive(target, f"docruns copy {provider}"):
        summary = _copy_with_limited_memory(source, target, provider, progress, full, on_wait)
    summary.seconds = round(time.monotonic() - started, 3)
    return summary


def _check_places(source: Target, target: Target) -> None:
    if not source.database.exists():
        raise ConfigError("--from", f"{source.database} does not exist.", "Run `docruns load` first.")
    if target.traits.has_file and target.database.exists() and target.database.samefile(source.database):
        raise ConfigError(
            "--from", f"{source.database} is the target too.", "Name another --database or --destination."
        )


def _copy_with_limited_memory(
    source: Target,
    target: Target,
    provider: str,
    progress: Progress | None,
    full: bool,
    on_wait: Callable[[str], None] | None,
) -> CopySummary:
    """Copy with a limit on DuckDB's memory in the target. If that is not enough, go on without it."""
    summary = CopySummary(provider)
    for memory in (MEMORY, None):
        try:
            with (
                temporary_folder(target) as folder,
                open_loaded(source.database, source.dataset, folder, on_wait) as file,
            ):
                found = _read_source(source, provider, file)
                with open_pipeline(provider, target, on_wait) as running, gc_frozen(), system_memory_pool():
                    if memory is not None and target.traits.has_file:
                        limit_memory(running, memory)
                    _Copy(summary, found, running, target, progress).run(full)
                    return summary
        except Exception as error:
            if memory is None or not is_out_of_memory(error):
                raise
            if full:
                summary = CopySummary(provider)
    raise AssertionError


def _read_source(source: Target, provider: str, file: LoadedFile) -> _Source:
    """Raises ConfigError where the file holds no runs of the provider, DocrunsError where a killed load has left some
    at two versions."""
    with open_for_reading(provider, source) as reading:
        if provider not in (held := lookup.providers(reading)):
            what = f"runs of {', '.join(held)} only" if held else "no such dataset"
            raise ConfigError(
                "--from",
                f"{source.database} holds {what} ({source.dataset}).",
                "Name the dataset of the file with --from-dataset; `docruns status` lists them.",
            )
        if torn := lookup.half_loaded_runs(reading):
            raise DocrunsError(
                f"{source.database}: nothing was copied: a killed load left {len(torn):,} runs at two versions. "
                "Load again until the summary no longer says that runs are due."
            )
        reading.sync_destination()
        state = _state_of(reading, provider)
    ((first,),) = file.rows(
        "SELECT arg_min(load_id, (inserted_at, load_id)) FROM {}._dlt_loads WHERE status = 0"
    )
    return _Source(file, state, str(first), source.database)


def _state_of(running: dlt.Pipeline, provider: str) -> dict[str, Any]:
    """What the state of a provider's loads says of the platform, and not of the dataset that it is in."""
    saved = running.state.get("sources", {}).get(provider) or {}
    return deepcopy({name: value for name, value in saved.items() if name not in (_FROM, _FIRST)})


class _Copy:
    """One copy into an open target."""

    def __init__(
        self,
        summary: CopySummary,
        source: _Source,
        running: dlt.Pipeline,
        target: Target,
        progress: Progress | None,
    ) -> None:
        self._source, self._running, self._target = source, running, target
        self._report = progress or (lambda *_: None)
        self._summary = summary
        self._package: Package | None = None
        self._is_last = False
        self._to_copy = 0
        self._written = Counter[str]()

    def run(self, full: bool) -> None:
        """Copy all packages."""
        file, summary = self._source.file, self._summary
        check_provider(self._running, summary.provider, self._target)
        saved = self._check_target()
        if not full:
            file.note_copied(_portions(self._copied()))
            for table in TABLES:
                file.note_torn(
                    "/".join(map(str, key))
                    for key in lookup.uncommitted(self._running, table, id_columns(table))
                )
        packages = file.plan(lambda done, total: self._report("comparing", "tables", done, total))
        self._to_copy = sum(package.units.get(kind, 0) for package in packages for kind in RUNS)
        self._load(packages, is_known=saved == self._source.state)
        describe_dataset(self._running)
        self._summarize()

    def _check_target(self) -> dict[str, Any]:
        """ConfigError where the target has not been copied from this file. Gives the state as it came from there."""
        self._running.sync_destination()
        saved = self._running.state.get("sources", {}).get(self._summary.provider) or {}
        syncs = {load_id for (load_id,) in self._source.file.rows("SELECT load_id FROM {}.syncs")}
        others = {load_id for (load_id,) in lookup.columns_of(self._running, "syncs", ("load_id",))} - syncs
        if others or (saved and saved.get(_FROM) != self._source.first):
            raise ConfigError(
                "--dataset",
                f"{self._target} ({self._target.dataset}) holds what {self._source.path} does not: runs were loaded "
                "into it, or it is a copy of another file.",
                "Copy into a new dataset. Or go on with `docruns load`, which needs no copy.",
            )
        return _state_of(self._running, self._summary.provider)

    def _copied(self) -> Iterator[tuple[str, str, str | None, str]]:
        """What the copy holds already, of packages that were committed to the end."""
        loads = lookup.columns_of(self._running, "_dlt_loads", ("load_id", "status"))
        ended = {load_id for load_id, status in loads if status == 0}
        columns = (*Unit._fields, "_dlt_load_id")
        for kind, id_, fingerprint, load_id in lookup.columns_of(self._running, COPIED.name, columns):
            if load_id in ended:
                yield kind, id_, fingerprint, load_id

    def _load(self, packages: list[Package], is_known: bool) -> None:
        source = self._as_source()
        with ThreadPoolExecutor(1, "docruns-checkpoint") as aside:
            for package in packages:
                self._package, self._is_last = package, package is packages[-1]
                load_package(self._running, source, self._target)
                checkpoint_aside(self._running, self._target, aside).result()
                self._summary.packages += 1
                for name, written in self._written.items():
                    self._summary.rows[name] = self._summary.rows.get(name, 0) + written
                self._summary.copied += sum(package.units.get(kind, 0) for kind in RUNS)
        if not packages and not is_known:
            self._package, self._is_last = None, True
            load_package(self._running, source, self._target)

    def _as_source(self) -> DltSource:
        @dlt.resource(name="copies")
        def copies() -> Iterator[Tables]:
            self._move_state()
            if self._package is not None:
                yield from self._rows(self._package)
            if self._is_last:
                yield Tables([*missing_tables()])

        # private values are as the file has them
        resource = add_tables(copies, KEEP, Hints())
        return make_source(self._summary.provider, lambda: [resource])

    def _move_state(self) -> None:
        """The file's state with the last package; before, only whose runs they are and how they are stored."""
        saved = dlt.current.source_state()
        first = saved.get(_FIRST) or {
            "load_id": dlt.current.load_package_state()["load_id"],
            "dataset": self._running.dataset_name,
        }
        state = deepcopy(self._source.state)
        if self._is_last:
            saved.clear()
            saved.update(state)
        elif not saved:
            saved.update({name: value for name, value in state.items() if name != "resources"})
            saved.setdefault("privacy", "keep")
        saved.update({_FIRST: first, _FROM: self._source.first})

    def _rows(self, package: Package) -> Iterator[Tables]:
        """The rows of the runs, those that clear what the copy has of them, and their fingerprints."""
        file, self._written = self._source.file, Counter()
        for units in file.units(package):
            yield _stored(COPIED, to_arrow(COPIED, units))
        done, of_runs = self._summary.copied, sum(package.units.get(kind, 0) for kind in RUNS)
        number = 0
        for table, batch in file.batches(package):
            found = stored_rows(table, batch)
            written = found.num_rows - len(replaced_runs(table, found))
            self._written[table.name] += written
            number += written
            self._report("copying", "runs", done + of_runs * number // package.rows, self._to_copy)
            yield _stored(table, found)

    def _summarize(self) -> None:
        file, summary = self._source.file, self._summary
        summary.unchanged = sum(map(file.count, RUNS)) - summary.copied
        ((summary.quarantined,),) = file.rows("SELECT count(*) FROM {}.quarantine WHERE resolved_at IS NULL")
        ((mark, complete),) = file.rows(
            "SELECT arg_max(watermark, (finished_at, load_id)), arg_max(complete, (finished_at, load_id)) FROM {}.syncs"
        )
        summary.watermark = rfc3339(mark) if mark else None
        summary.complete = bool(complete)


def _stored(table: Any, rows: Any) -> Tables:
    return Tables([(table, rows)], is_stored=True)


def _portions(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while some := list(islice(iterator, _PORTION)):
        yield some
