"""Write a file beside its place, then put it there in one step: whoever reads it sees a whole one, old or new."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...core.errors import ConfigError


@contextmanager
def replacement(path: Path, option: str, database: Path | None = None) -> Iterator[Path]:
    """A file to fill, which becomes `path` at the end; after an error `path` stays as it is, and nothing is left.

    A file that is there keeps its mode, a link its target. A pipe or a device is filled itself. ConfigError about
    `option` where the file cannot be written, or is the `database` that is read.
    """
    if database is not None and path.exists() and database.exists() and path.samefile(database):
        raise ConfigError(option, f"{path} is the database.", "Name another file.")
    try:
        if path.exists() and not path.is_file():
            yield path
            return
        place = path.resolve()
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=".docruns-", suffix=".part")
        os.close(handle)
        part = Path(name)
        try:
            if place.exists():
                part.chmod(place.stat().st_mode)
            yield part
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(option, f"{path} cannot be written ({error.strerror}).") from error
