"""The dlt pipeline of a load: its working folder, its destination, its packages."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import dlt
from dlt.common.configuration.utils import get_resolved_traces

from ..core.errors import ConfigError, LockedError
from . import lookup
from .destinations import sql_client
from .duckdb.file import STORAGE_KEY, STORAGE_VERSION, checkpoint, open_database
from .duckdb.lake import open_lake, require_extensions
from .duckdb.merge import MergingDuckDb
from .duckdb.rewrite import remove_unfinished, unfinished
from .failures import check_folder
from .merges.lakes.destination import DESTINATIONS
from .process.temporary import own_folder, remove_leftovers
from .target import Target, hold_dataset, lock_holders, temporary_place, working_folder

MEMORY = "120MB"
"""The memory limit of DuckDB, which writes to disk beyond it. Without a limit DuckDB keeps what it has read
or written of the database: a first load of 100,000 runs peaked at 990 MB instead of 520, and took as long.
With 150 MB a load of heavy runs takes 3 % less time and 60 MB more than with 80. With 80, two of four
first loads of 2,000 mixed runs ran out of it on a busy machine and began again; with 100, none of six."""

_DUCKDB_SETTINGS = {
    # return freed memory at once: 80 MB less at the peak
    "allocator_flush_threshold": "1MB",
    "allocator_bulk_deallocation_flush_threshold": "1MB",
    "allocator_background_threads": "true",
    # nothing depends on the order of rows
    "preserve_insertion_order": "false",
    # two threads that share one INSERT waste space: a file of 22.8 MB for 1,000 heavy runs, 17.3
    # with one thread
    "threads": "1",
}

_RAISE = "LOAD__RAISE_ON_MAX_RETRIES"

_ENCODING = ("PGCLIENTENCODING", "UTF8")
"""For libpq, which otherwise takes the database's encoding: the Parquet driver sends UTF-8 in any case, and a
database in LATIN1 stored each byte of a letter as a letter."""

_REMOVE_S = 5.0


def limit_memory(running: dlt.Pipeline, memory: str) -> None:
    """Set DuckDB's memory limit for all of its connections, and let it return freed memory at once."""
    with sql_client(running) as client:
        for name, value in {"memory_limit": memory, **_DUCKDB_SETTINGS}.items():
            client.execute_sql(f"SET GLOBAL {name} = '{value}'")


def load_package(running: dlt.Pipeline, source: Any, target: Target) -> None:
    """Load one package of a source, to its end."""
    # dlt's annotation leaves out None, which is its default
    file_format: Any = target.traits.file_format
    running.run(source, loader_file_format=file_format)


def commit_state(running: dlt.Pipeline, provider: str, values: dict[str, Any]) -> None:
    """Change a provider's state in the destination, in a package of its own; nothing where it has none there yet."""
    running.sync_destination()
    sources = running.state.get("sources", {})
    if not sources.get(provider):
        return
    with running.managed_state(extract_state=True) as state:
        state["sources"][provider].update(values)
    running.normalize()
    running.load()


def checkpoint_aside(running: dlt.Pipeline, target: Target, aside: Executor) -> Future[None]:
    """Write what is committed from memory and log into the file, while the next package is extracted: this
    takes an eighth of a heavy load. dlt lets DuckDB collect a gigabyte first, and at 100,000 runs that was
    half of 2.0 GB."""
    connection = None
    if target.traits.has_file:
        # a connection of its own: dlt closes those that it lends when it gets them back
        connection = running.destination.config_params["credentials"].cursor()

    def write() -> None:
        if connection is not None:
            with connection:
                checkpoint(connection)

    return aside.submit(write)


@contextmanager
def open_pipeline(
    provider: str, target: Target, on_wait: Callable[[str], None] | None = None
) -> Iterator[dlt.Pipeline]:
    """The pipeline of a provider on a target with its database open, in a new working folder that is removed
    after. What a killed command has left of the target is removed first.

    The caller holds the target's lock (`exclusive`): the folder of another process would be deleted.
    """
    # a loaded package has no use on disk, and it is a copy of somebody's documents
    os.environ.setdefault("LOAD__DELETE_COMPLETED_JOBS", "true")
    os.environ.setdefault("LOAD__TRUNCATE_STAGING_DATASET", "true")
    # dlt would delay a signal, and forget it when the package ends first
    os.environ.setdefault("RUNTIME__INTERCEPT_SIGNALS", "false")
    folder = working_folder(target)
    with _no_retries(target), _destination(target, on_wait) as destination:
        shutil.rmtree(folder, ignore_errors=True)
        remove_leftovers(temporary_place(target))
        _remove_unfinished(target)
        try:
            folder.mkdir(parents=True, mode=0o700)
            with (
                _activated(provider, target, destination, folder) as running,
                hold_dataset(running, target),
                _keep_row_ids(running),
            ):
                yield running
        finally:
            # nothing commits what is not committed by now: it only fills the disk
            _remove(folder)


def _remove_unfinished(target: Target) -> None:
    """Remove the copy of the database that a killed `forget` has left. The caller has the database open."""
    if not target.traits.has_file or not any(path.exists() for path in unfinished(target.database)):
        return
    # a forget of another dataset holds another lock
    if not lock_holders(target.database).keys() - {target.dataset}:
        remove_unfinished(target.database)


@contextmanager
def temporary_folder(target: Target) -> Iterator[Path]:
    """A new folder for copies of the target's documents, which is removed after. The caller need not hold the target's
    lock. If the process is killed, the next command on the target removes the folder.

    Raises OSError. ConfigError where dlt cannot use the folder.
    """
    place = temporary_place(target)
    check_folder(place)
    with own_folder(place) as folder:
        yield folder


@contextmanager
def _no_retries(target: Target) -> Iterator[None]:
    """Keep dlt from retrying, unless the environment says otherwise, for a file that this process opens: the
    transaction that failed may still be open in it."""
    if not target.traits.has_file:
        yield
        return
    with _raising:
        if not _loads and _RAISE in os.environ:
            is_ours = False
        else:
            is_ours = True
            os.environ[_RAISE] = "1"
            _loads.append(target)
    try:
        yield
    finally:
        with _raising:
            if is_ours:
                _loads.remove(target)
                if not _loads:
                    os.environ.pop(_RAISE, None)


_raising = Lock()
_loads: list[Target] = []
"""The loads of this process for which `_RAISE` is set: the last one to end removes it."""


@contextmanager
def _keep_row_ids(running: dlt.Pipeline) -> Iterator[None]:
    """Let dlt add its row ids where the dataset has them already, and only there.

    The setting is for all pipelines of an environment. dlt's column takes no nulls, so a dataset with rows keeps what
    it was begun with.
    """
    name = f"{running.pipeline_name}__NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_ID".upper()
    before, has_ids = os.environ.get(name), lookup.has_row_ids(running)
    if has_ids is not None:
        os.environ[name] = "true" if has_ids else "false"
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


@contextmanager
def _utf8() -> Iterator[None]:
    """Talk to PostgreSQL in UTF-8, whatever the encoding of the database is."""
    name, value = _ENCODING
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _remove(folder: Path) -> None:
    """Remove a folder. For a few seconds, a merge that the load no longer waits for may still write to it."""
    give_up = time.monotonic() + _REMOVE_S
    while folder.exists() and time.monotonic() < give_up:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        except KeyboardInterrupt:
            # a second Ctrl-C must not leave documents behind
            shutil.rmtree(folder, ignore_errors=True)
            raise
        time.sleep(0.05 if folder.exists() else 0)


@contextmanager
def open_for_reading(
    provider: str, target: Target, on_wait: Callable[[str], None] | None = None
) -> Iterator[dlt.Pipeline]:
    """A pipeline for queries on the target only. It holds no lock and has a temporary folder of its own."""
    with (
        _folder_for_reading(target) as folder,
        _destination(target, on_wait, read_only=True) as destination,
        _activated(provider, target, destination, folder) as running,
    ):
        if target.traits.has_tables_in_schema_only:
            running.sync_destination()
        yield running


@contextmanager
def _folder_for_reading(target: Target) -> Iterator[Path]:
    with ExitStack() as opened:
        try:
            folder = opened.enter_context(temporary_folder(target))
        except (OSError, ConfigError):
            # queries need no folder that only loads use, and which a reader may not write to
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="docruns-")))
        yield folder


@contextmanager
def _activated(provider: str, target: Target, destination: Any, folder: Path) -> Iterator[dlt.Pipeline]:
    running = dlt.pipeline(
        f"docruns_{provider}", pipelines_dir=str(folder), destination=destination, dataset_name=target.dataset
    )
    try:
        yield running
    finally:
        # another pipeline may have been opened inside this one
        if running.is_active:
            running.deactivate()
        # dlt keeps each value that it looked up, with all that refers to it: keys, and closed
        # connections
        get_resolved_traces().clear()


@contextmanager
def _destination(
    target: Target, on_wait: Callable[[str], None] | None, read_only: bool = False
) -> Iterator[Any]:
    if not target.traits.has_file:
        if target.traits.extensions:
            require_extensions(target.traits.extensions, below=2)
            with _utf8(), open_lake() as lake:
                yield lake
            return
        with _utf8():
            table_format = target.traits.table_format
            yield DESTINATIONS[table_format]() if table_format else target.destination
        return
    # duckdb names the file's catalog by the file's name up to the first dot, and cannot tell it
    # from a schema
    if target.database.name.lstrip(".").partition(".")[0].lower() == target.dataset.lower():
        raise ConfigError(
            "--database",
            f"{target.database} has the name of its dataset, {target.dataset}, and DuckDB would mix them up.",
            "Give one of them another name.",
        )
    # opened here, first: a locked file is reported before any request is sent
    try:
        connection = open_database(
            target.database,
            read_only=read_only,
            on_wait=on_wait,
            storage_version=dlt.config.get(STORAGE_KEY, str) or STORAGE_VERSION,
        )
    except LockedError as error:
        who = lock_holders(target.database)
        who.pop(target.dataset, None)
        if not who:
            raise
        # DuckDB lets one process write to a file, also where datasets differ
        [dataset, other], *_ = who.items()
        raise LockedError(
            f"{target.database}: {other} is at work on it, on the dataset {dataset}. "
            "Wait until it has ended, or give each platform a file of its own (--database)."
        ) from error
    with closing(connection):
        # without transactions a table's DELETE and INSERT are committed apart
        yield MergingDuckDb(connection, supports_transactions=True)
