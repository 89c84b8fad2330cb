"""Run a source until nothing is due: pipeline, database and packages. What the command and jobs call.

    open the database ──► clear what a crash left ──► package, package, … ──► Summary
      (bounded wait)        (uncommitted = undone)      chunk_runs runs each

The destination is the only memory. A package's rows and the state that says so are committed together,
so whatever a killed load left in the working folder is thrown away and its runs, at most a chunk, are
fetched again. That also leaves no place for dlt's wedges between two folders, and lets one working
folder serve a database that was moved, copied or deleted.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import dlt
import duckdb
from dlt.common.runtime.run_context import active
from dlt.sources import DltSource

from .errors import ConfigError, DocrunsError, LockedError
from .sync import Progress, Sync

CHUNK_RUNS = 1000
"""Runs per load package when the configuration says nothing: what a kill can cost."""

WAIT_S = 30.0
"""Seconds to wait for a database that somebody else has open."""

_RUN_LISTS = ("workflow_runs", "processor_runs")


@dataclass(frozen=True)
class Target:
    """Where rows go: a DuckDB file, or any dlt destination by name with its own configuration."""

    dataset: str
    database: Path = Path("docruns.duckdb")
    destination: str = "duckdb"

    def __str__(self) -> str:
        return str(self.database) if self.destination == "duckdb" else self.destination


@dataclass
class Summary:
    """What one load did. `watermark` is RFC 3339; seconds are wall-clock seconds."""

    provider: str
    complete: bool = False
    listed: int = 0
    fetched: int = 0
    unchanged: int = 0
    quarantined: int = 0
    requests: int = 0
    retries: int = 0
    throttled_s: float = 0.0
    seconds: float = 0.0
    watermark: str | None = None
    rows: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def load(
    make_source: Callable[[Callable[[Sync], None]], DltSource],
    target: Target,
    progress: Progress | None = None,
) -> Summary:
    """Load all that is due. `make_source(on_sync)` builds the provider's source.

    Raises DocrunsError; what was committed until then stays, and the next load goes on from there.
    """
    started = time.monotonic()
    syncs: list[Sync] = []

    def on_sync(sync: Sync) -> None:
        sync.progress = progress
        syncs.append(sync)

    with _errors_unwrapped():
        source = make_source(on_sync)
        sync = syncs[0]
        with pipeline(sync.provider, target) as running:
            runs: Any = source
            while True:
                running.run(runs, loader_file_format=_file_format(target))
                if not sync.may_go_on:
                    break
                # the catalogue is read once a load
                runs = source.with_resources(*_RUN_LISTS)
    return _summary(sync, time.monotonic() - started)


def _summary(sync: Sync, seconds: float) -> Summary:
    used = sync.client.usage
    mark: datetime | None = sync.watermark
    return Summary(
        provider=sync.provider,
        complete=sync.complete,
        listed=sync.counts.listed,
        fetched=sync.counts.fetched,
        unchanged=sync.counts.unchanged,
        quarantined=sync.counts.quarantined,
        requests=used.requests,
        retries=used.retries,
        throttled_s=round(used.throttled_s, 3),
        seconds=round(seconds, 3),
        watermark=mark.isoformat().replace("+00:00", "Z") if mark else None,
        rows=dict(sync.rows),
    )


def _file_format(target: Target) -> Any:
    # dlt's default for duckdb is 20 times slower and takes 13 times the memory
    return "parquet" if target.destination == "duckdb" else None


@contextmanager
def pipeline(provider: str, target: Target) -> Iterator[dlt.Pipeline]:
    """The pipeline of a provider on a target, in an empty working folder, its database open."""
    # a package that was loaded is of no use on disk, and it is a copy of somebody's documents
    os.environ.setdefault("LOAD__DELETE_COMPLETED_JOBS", "true")
    os.environ.setdefault("LOAD__TRUNCATE_STAGING_DATASET", "true")
    folder = working_folder(target)
    with _destination(target) as destination:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        running = dlt.pipeline(
            f"docruns_{provider}",
            pipelines_dir=str(folder),
            destination=destination,
            dataset_name=target.dataset,
        )
        try:
            yield running
        finally:
            running.deactivate()


def working_folder(target: Target) -> Path:
    """Where dlt spools packages of this target: one folder each, its name free of odd characters."""
    path = str(target.database.absolute()) if target.destination == "duckdb" else ""
    name = hashlib.sha256(f"{target.destination}\n{target.dataset}\n{path}".encode()).hexdigest()
    return Path(active().data_dir) / "docruns" / name[:16]


@contextmanager
def _destination(target: Target) -> Iterator[Any]:
    if target.destination != "duckdb":
        yield target.destination
        return
    # opened here, first: who holds the file is known before a single request is sent
    connection = open_database(target.database)
    try:
        # without transactions a table's DELETE and INSERT are committed apart
        yield dlt.destinations.duckdb(connection, supports_transactions=True)
    finally:
        connection.close()


def open_database(
    path: Path, *, read_only: bool = False, wait_s: float = WAIT_S
) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file, waiting while another process holds it. LockedError after `wait_s`."""
    if "?" in str(path):
        # duckdb takes what follows for options, and looks for its log elsewhere
        raise ConfigError("--database", f"{path} holds a question mark, which DuckDB cannot open.")
    give_up = time.monotonic() + wait_s
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only)
        except duckdb.IOException as error:
            if "lock" not in str(error).lower() and "used by another" not in str(error).lower():
                raise DocrunsError(f"{path}: cannot be opened: {_first_line(error)}") from error
            if time.monotonic() >= give_up:
                raise LockedError(
                    f"{path}: another process has it open: {_holder(error)}. "
                    "Close the notebook or program that holds it, then run this again."
                ) from error
        time.sleep(0.2)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _holder(error: Exception) -> str:
    text = _first_line(error)
    at = text.find("held in ")
    return text[at + len("held in ") :].split(". ")[0] if at >= 0 else text


@contextmanager
def _errors_unwrapped() -> Iterator[None]:
    """Raise the error of ours that dlt has wrapped, in place of the wrapping."""
    try:
        yield
    except DocrunsError:
        raise
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, DocrunsError):
                raise cause from error
            cause = cause.__cause__ or getattr(cause, "exception", None) or cause.__context__
        raise
