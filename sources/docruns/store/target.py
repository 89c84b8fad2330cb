"""Targets and their locks: one load at a time on a target, and on a dataset of PostgreSQL.

    hold_lock(path, "docruns load extend")
        path         is locked
        path.json    {"pid": 4711, "since": "2026-11-22T07:00:00Z", "command": …}, while it is

Two loads of one target would share a working folder, and each would load the other's package. This lock is
for one machine. Loads of two machines would share dlt's staging tables, and merge each other's rows twice:
in PostgreSQL a second lock, in the database, keeps them apart. DuckDB has a lock of its own, one writer at a
time on a file, which a notebook can hold as well: see duckdb/file.py. Other warehouses have no such lock.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import dlt
from dlt.common.destination.exceptions import DestinationException
from dlt.common.runtime.run_context import active
from filelock import FileLock, Timeout

from ..core.errors import ConfigError, LockedError, TransientError
from ..core.settings import DATABASE, DESTINATION
from .destinations import FORMATS, DestinationTraits, location_of, sql_client, traits_by_name, traits_of
from .duckdb.file import check_name
from .failures import check_folder
from .merges.lakes.tables import check_installed

_PATIENCE_S = 0.3
"""Seconds to try a lock that is taken: `lock_holder` takes each one for an instant to see whether it is
free."""
_POLL_S = 0.02
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}


_DATASET_PATIENCE_S = 3.0
"""Seconds to try the lock of a dataset: the server notices a moment later that a process has died."""

_PACKAGE_PATIENCE_S = 900.0
"""Seconds to wait for the package of a load that has lost the lock of the dataset and still writes."""

_TRANSACTION_SETTINGS = """
SELECT set_config(name, value, true) FROM pg_settings JOIN (VALUES
    ('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'),
    ('tcp_keepalives_idle', '60'), ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '6')
) AS wanted (name, value) USING (name)
"""
"""No timeout ends the transaction, and the server notices within two minutes that a machine is gone."""

_DATASET_HOLDER = """
SELECT application_name, backend_start FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND classid::bigint = %s AND objid::bigint = %s
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True)
class Target:
    """Where rows go: a DuckDB file, or any dlt destination by name with its own configuration.

    `table_format` is delta, iceberg, or none for plain files. `work` is the folder for dlt's packages, where it is not
    the usual one (`working_folder`). ConfigError where the name of the file is that of a
    database in memory, and for a table format that the destination does not have, or whose package is missing.
    """

    dataset: str
    database: Path = Path(DATABASE)
    destination: str = DESTINATION
    table_format: str | None = None
    work: Path | None = None

    def __post_init__(self) -> None:
        if self.traits.has_file:
            check_name(self.database, "--database")
        if self.table_format is None:
            return
        if not self.traits.has_formats:
            problem = f"{self.destination} has no table formats."
            raise ConfigError("--table-format", problem, "Leave the option out.")
        if self.table_format not in FORMATS:
            raise ConfigError("--table-format", f"is {self.table_format!r}.", "Write delta, iceberg or none.")
        check_installed(self.table_format)

    def __str__(self) -> str:
        return str(self.database) if self.traits.has_file else self.destination

    @property
    def traits(self) -> DestinationTraits:
        """What its destination can do."""
        return traits_by_name(self.destination, self.table_format)


def working_folder(target: Target) -> Path:
    """The folder where dlt keeps the packages of this target; its name has no special characters."""
    if target.work is not None:
        return target.work
    where = str(target.database.absolute()) if target.traits.has_file else location_of(target.destination)
    name = hashlib.sha256(f"{target.destination}\n{target.dataset}\n{where}".encode()).hexdigest()
    return Path(active().data_dir) / "docruns" / name[:16]


def lock_file(target: Target) -> Path:
    """The file that a load of the target locks."""
    return working_folder(target).with_suffix(".lock")


def temporary_place(target: Target) -> Path:
    """The folder for the temporary folders of all commands on the target, see process/temporary.py."""
    return working_folder(target).with_suffix(".temporary")


def require_database(target: Target) -> None:
    """Raise ConfigError where the database does not exist, so that a query does not create an empty one."""
    if target.traits.has_file and not target.database.exists():
        raise ConfigError("--database", f"{target.database} does not exist.", "Run `docruns load` first.")


_VIEWS = """
SELECT 1 FROM duckdb_views() WHERE schema_name = %s AND view_name = 'syncs' AND database_name = current_database()
"""


def how_to_ask(dataset: str) -> str:
    """What to do where a dataset in a file holds views of a lake, to see its rows."""
    command = f"docruns status --destination filesystem --table-format delta --dataset {dataset}"
    return f"`{command}` (or iceberg) asks the lake."


def refuse_views(running: dlt.Pipeline, target: Target) -> None:
    """ConfigError where the dataset in a file holds views of a lake, which take no rows."""
    if not target.traits.has_file:
        return
    with sql_client(running) as client:
        if client.execute_sql(_VIEWS, target.dataset):
            raise ConfigError(
                "--database",
                f"{target.dataset} in {target.database} holds views of a lake, which take no rows.",
                "Name another file, or load into the lake: --destination filesystem.",
            )


@contextmanager
def exclusive(target: Target, command: str) -> Iterator[None]:
    """Keep all other loads of this machine off the target. LockedError where one is running."""
    check_folder(working_folder(target))
    where = target.database.absolute() if target.traits.has_file else target
    with hold_lock(lock_file(target), command, str(where), target.dataset):
        yield


class LockHolder(NamedTuple):
    """The process that holds a target's lock. `since` is RFC 3339; `database` is a DuckDB file or the name of
    another destination."""

    pid: int
    since: str
    command: str
    database: str = ""
    dataset: str = ""

    def __str__(self) -> str:
        return f"`{self.command}` (process {self.pid}) since {self.since}"


@contextmanager
def hold_lock(path: Path, command: str, database: str = "", dataset: str = "") -> Iterator[None]:
    """Hold the lock at `path`. LockedError says which process holds it already, and since when.

    The system releases the lock of a process that dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = _file_lock(path)
    try:
        lock.acquire()
    except Timeout:
        who, what = _read_holder(path), f"{database} ({dataset})" if database else str(path)
        raise LockedError(
            f"{what}: {who or 'another process'} is at work on it. "
            "Wait until it has ended, then run this again."
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise ConfigError(
            "DLT_DATA_DIR",
            f"{path.parent} is on a file system without locks ({error.strerror}).",
            "Set this environment variable to a folder of this machine.",
        ) from error
    note = _note_file(path)
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        holder = LockHolder(os.getpid(), since, command, database, dataset)
        with os.fdopen(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(holder._asdict(), file)
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def lock_holder(path: Path) -> LockHolder | None:
    """The process that holds the lock at `path` now; None where no process does."""
    if not path.exists():
        return None
    try:
        with _file_lock(path):
            return None
    except Timeout:
        return _read_holder(path) or LockHolder(0, "", "unknown")
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None


def lock_holders(database: Path) -> dict[str, LockHolder]:
    """The processes that load into a DuckDB file now, by dataset."""
    locks = working_folder(Target("", database)).parent.glob("*.lock")
    found = [who for path in locks if (who := lock_holder(path)) is not None]
    return {who.dataset: who for who in found if who.database == str(database.absolute())}


def _file_lock(path: Path) -> FileLock:
    # a new one for each call, so that threads of one process exclude each other
    return FileLock(path, timeout=_PATIENCE_S, mode=0o600, poll_interval=_POLL_S)


def _note_file(path: Path) -> Path:
    # beside the lock, because Windows lets no other process read a locked file
    return path.with_suffix(f"{path.suffix}.json")


def _read_holder(path: Path) -> LockHolder | None:
    try:
        found = json.loads(_note_file(path).read_text())
        more = (str(found.get(name, "")) for name in ("database", "dataset"))
        return LockHolder(int(found["pid"]), str(found["since"]), str(found["command"]), *more)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def hold_dataset(running: dlt.Pipeline, target: Target) -> Iterator[None]:
    """Keep the loads of all other machines off a dataset of PostgreSQL, for which LockedError names the load
    that is at work. Does nothing in other destinations. The caller holds the target's lock.

    The lock belongs to a transaction that stays open and idle: it ends with the connection, however the process
    ends, and a pooler that shares connections between transactions cannot give it to somebody else. The connection
    can be lost, and another machine then takes the lock: so each package is loaded under a second lock, after a
    look at the first one.
    """
    if not traits_of(running).has_advisory_locks:
        yield
        return
    with sql_client(running) as client, client.begin_transaction():
        _lock_dataset(client, target, _read_holder(lock_file(target)))
        load = running.load

        def load_alone(*args: Any, **options: Any) -> Any:
            with _only_package(running, target, client):
                return load(*args, **options)

        # `run` calls it after it has extracted and normalized
        running.load = load_alone  # type: ignore[method-assign]
        yield
        _check_lock(client, target)


def _check_lock(client: Any, target: Target) -> None:
    try:
        client.execute_sql("SELECT 1")
    except DestinationException as error:
        raise TransientError(
            f"{target} ({target.dataset}): the connection that held the lock of the dataset was lost. Nothing was "
            "written since. Run this again: it goes on from what is committed."
        ) from error


@contextmanager
def _only_package(running: dlt.Pipeline, target: Target, holder: Any) -> Iterator[None]:
    """Wait until no other load writes a package into the dataset. DocrunsError where the lock of the dataset, which
    `holder` has, was lost."""
    with sql_client(running) as client, client.begin_transaction():
        client.execute_sql(_TRANSACTION_SETTINGS)
        give_up = time.monotonic() + _PACKAGE_PATIENCE_S
        while not _try_lock(client, _key_of(target, "package")):
            if time.monotonic() > give_up:
                raise LockedError(
                    f"{target} ({target.dataset}): another load has been writing a package into it for "
                    f"{_PACKAGE_PATIENCE_S / 60:g} minutes. Wait until it has ended, then run this again."
                )
            time.sleep(0.2)
        _check_lock(holder, target)
        yield


def _try_lock(client: Any, key: int) -> bool:
    found: Any = client.execute_sql("SELECT pg_try_advisory_xact_lock(%s)", key)
    return bool(found[0][0])


def _key_of(target: Target, what: str = "") -> int:
    """The key of an advisory lock: 63 bits."""
    return int.from_bytes(hashlib.sha256(f"docruns{what}\n{target.dataset}".encode()).digest()[:8]) >> 1


def _lock_dataset(client: Any, target: Target, who: LockHolder | None) -> None:
    """Take the lock in the open transaction, and write into it who has it."""
    key = _key_of(target)
    command = who.command if who else "docruns"
    # PostgreSQL keeps 63 bytes of it, and shows it to every user
    name = f"{command} (process {os.getpid()} on {socket.gethostname()[:20]})"
    client.execute_sql(_TRANSACTION_SETTINGS)
    client.execute_sql("SELECT set_config('application_name', %s, true)", name)
    give_up = time.monotonic() + _DATASET_PATIENCE_S
    while not _try_lock(client, key):
        if time.monotonic() < give_up:
            time.sleep(0.1)
            continue
        found = client.execute_sql(_DATASET_HOLDER, key >> 32, key & 0xFFFFFFFF)
        holder, since = found[0] if found else ("", None)
        raise LockedError(
            f"{target} ({target.dataset}): {holder or 'another load'} is at work on it"
            + (f" since {since:%Y-%m-%dT%H:%M:%S%z}" if since else "")
            + ". Wait until it has ended, then run this again."
        )
