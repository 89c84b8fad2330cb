"""Where an archive is: a folder on this machine or in an object store, named by a URL of fsspec.

    URL/provider=extend/workspace=ws_1/_origin.json             whose runs these are
    URL/provider=extend/workspace=ws_1/day=2026-05-18/<id>.parquet   one part of each package

A part has a name of its own and is never changed: only `compact`, `expire` and `forget` replace parts.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import pyarrow as pa

from ...core.errors import ConfigError, DocrunsError
from ..process.environment import private_files

SCHEMA = pa.schema(
    [
        ("provider", pa.string()),
        ("feed", pa.string()),
        ("id", pa.string()),
        ("status", pa.string()),
        ("created_at", pa.timestamp("us", "UTC")),
        ("updated_at", pa.timestamp("us", "UTC")),
        ("is_final", pa.bool_()),
        ("summary", pa.string()),
        ("fetched_at", pa.timestamp("us", "UTC")),
        ("api_version", pa.string()),
        ("workspace", pa.string()),
        ("body", pa.string()),
    ]
)
"""The columns of every part. `body` is null where a list has shown the run and no answer was read."""

STATE, DELETED = "state", "deleted"
"""Feeds of docruns itself: what the lists of a package left as their state, and runs that were marked as deleted."""

NO_WORKSPACE = "__HIVE_DEFAULT_PARTITION__"
"""How DuckDB and Spark spell a partition without a value."""

_ORIGIN = "_origin.json"

fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None
"""None on Windows, where no process knows which files another one writes."""


class Part(NamedTuple):
    """One file of an archive. `day` is when its answers were fetched; `size` is in bytes."""

    path: str
    workspace: str | None
    day: date
    size: int


class Folder:
    """The folder of one provider in an archive. ConfigError where the URL cannot be one."""

    def __init__(self, url: str, provider: str) -> None:
        import fsspec  # 0.1 s, which a load without an archive does not need

        self.url, self.provider = url, provider
        try:
            self.files, root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise ConfigError("archive", f"{url!r} needs a package: {error}") from error
        except ValueError as error:
            raise ConfigError("archive", f"{url!r} is no URL of a folder: {error}") from error
        self.is_local = "file" in self.files.protocol
        self.root = f"{root.rstrip('/')}/provider={provider}"

    def of_workspace(self, workspace: str | None) -> str:
        """The path of a workspace's folder."""
        return f"{self.root}/workspace={quote(workspace, safe=' ') if workspace else NO_WORKSPACE}"

    def parts(self) -> list[Part]:
        """All parts, oldest day first."""
        with self.errors("read"):
            if not self.files.exists(self.root):
                return []
            # a listing that was cached may lack what another process has written
            self.files.invalidate_cache()
            found = self.files.find(self.root, detail=True)
        parts = [self._part(path, info) for path, info in found.items() if path.endswith(".parquet")]
        return sorted((part for part in parts if part is not None), key=lambda part: (part.day, part.path))

    def leftovers(self) -> list[str]:
        """Local files that a load or a rewrite did not finish, because it was killed. Those that a process has open for
        writing are not among them."""
        with self.errors("read"):
            found = self.files.find(self.root) if self.is_local and self.files.exists(self.root) else []
        names = {path: path.rpartition("/")[2] for path in found}
        unfinished = [path for path, name in names.items() if name.startswith(".") and name.endswith(".part")]
        with self.errors("read"):
            return [path for path in unfinished if not _is_locked(path)]

    def _part(self, path: str, info: Mapping[str, Any]) -> Part | None:
        keys = dict(piece.split("=", 1) for piece in path.split("/") if "=" in piece)
        name = path.rpartition("/")[2]
        try:
            day, workspace = date.fromisoformat(keys["day"]), keys["workspace"]
        except (KeyError, ValueError):
            return None
        if name.startswith("."):
            return None
        return Part(
            path, None if workspace == NO_WORKSPACE else unquote(workspace), day, int(info["size"] or 0)
        )

    def origin(self, workspace: str | None) -> dict[str, Any] | None:
        """Whose runs a workspace's folder holds; None where it holds none."""
        path = f"{self.of_workspace(workspace)}/{_ORIGIN}"
        with self.errors("read"):
            if not self.files.exists(path):
                return None
            found: dict[str, Any] = json.loads(self.files.cat_file(path))
        return found

    def note_origin(self, workspace: str | None, origin: Mapping[str, Any]) -> None:
        """Write whose runs the folder holds. ConfigError where it holds those of another platform or workspace."""
        before = self.origin(workspace)
        if before is None:
            self.write(
                f"{self.of_workspace(workspace)}/{_ORIGIN}",
                lambda file: file.write(json.dumps(dict(origin)).encode()),
            )
        elif before != dict(origin):
            raise ConfigError(
                f"sources.{self.provider}.archive",
                f"{self.url} holds the answers of {_words(before)}, and this load reads {_words(origin)}.",
                "Name another archive.",
            )

    def write(self, path: str, fill: Callable[[Any], object]) -> None:
        """Write a file in one step, for its owner only: it is there as a whole or not at all."""
        with self.errors("written"), private_files():
            self.files.makedirs(path.rpartition("/")[0], exist_ok=True)
            # an object store shows an object when it is whole
            place = unfinished(path) if self.is_local else path
            try:
                with self.files.open(place, "wb") as file:
                    self.lock(file)
                    fill(file)
                    self.flush(file)
                self.finish(place, path)
            except BaseException:
                if place != path:
                    with suppress(Exception):
                        self.files.rm(place)
                raise

    def lock(self, file: Any) -> None:
        """Mark a local file as one that this process writes. The mark ends when the file is closed, also by a kill."""
        if self.is_local and fcntl is not None:
            # some shared folders have no locks
            with suppress(OSError):
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)

    def flush(self, file: Any) -> None:
        """Make sure that a local file is on the disk before it gets its name."""
        if self.is_local:
            file.flush()
            os.fsync(file.fileno())

    def finish(self, place: str, path: str) -> None:
        """Give a file that is whole its name."""
        if place != path:
            Path(place).replace(path)

    def remove(self, paths: list[str]) -> None:
        """Remove files."""
        with self.errors("written"):
            for path in paths:
                self.files.rm(path)

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Name the archive in each error of its files."""
        try:
            yield
        except DocrunsError:
            raise
        # each store has errors of its own
        except Exception as error:
            raise DocrunsError(
                f"archive: {self.url} cannot be {what}: {type(error).__name__}: {error}. "
                "Check that the folder exists for this user and has space."
            ) from error

    @contextmanager
    def part_errors(self, path: str) -> Iterator[None]:
        """Name the part in each error of reading it."""
        try:
            yield
        except DocrunsError:
            raise
        # a store, Parquet, UTF-8 and JSON have errors of their own
        except Exception as error:
            name = path if self.is_local else self.files.unstrip_protocol(path)
            raise DocrunsError(
                f"archive: {name} cannot be read: {type(error).__name__}: {str(error).rstrip('.')}. Check that this "
                "user may read it. If the file is damaged, restore it from a copy, or move it out of the archive: its "
                "answers are missing then, and the load after a replay reads those runs from the platform again."
            ) from error


def unfinished(path: str) -> str:
    """The name of a local file until it is whole; readers of Parquet folders leave it out."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.part"


def _is_locked(path: str) -> bool:
    """Whether a process writes the file."""
    if fcntl is None:
        return False
    try:
        with Path(path).open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):
        # or it has its name by now
        return True
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
    return False


def _words(origin: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in origin.items() if value is not None)
