"""Extensions of DuckDB, from Python packages where these are installed. DuckDB itself downloads them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import duckdb

from ...core.errors import ConfigError

_PACKAGE = "duckdb_extension_{}"


def require_extensions(names: tuple[str, ...], below: int) -> None:
    """Make DuckDB find extensions without the internet, where packages have them. ConfigError where DuckDB's version is
    `below` or newer, with which dlt cannot use them."""
    if int(duckdb.__version__.partition(".")[0]) >= below:
        raise ConfigError(
            "--destination",
            f"{names[0]} does not work with DuckDB {duckdb.__version__}, because of dlt.",
            f"pip install 'duckdb<{below}'",
        )
    files = [file for name in names if (file := _file_of(name)) is not None]
    if not files:
        return
    with duckdb.connect() as connection:
        installed = "SELECT extension_name FROM duckdb_extensions() WHERE installed"
        there = {name for (name,) in connection.execute(installed).fetchall()}
        for file in files:
            if file.stem not in there:
                quoted = str(file).replace("'", "''")
                connection.execute(f"INSTALL '{quoted}'")


def _file_of(name: str) -> Path | None:
    """The file of an extension for the DuckDB that is installed."""
    package = find_spec(_PACKAGE.format(name))
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent / "extensions" / f"v{duckdb.__version__}"
    return next(folder.glob("*.duckdb_extension"), None)
