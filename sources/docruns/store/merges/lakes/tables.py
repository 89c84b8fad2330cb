"""The tables of a lake, by the format that its client has."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal

from ....core.errors import ConfigError
from . import delta, iceberg
from .commits import LakeTable

Format = Literal["delta", "iceberg", "none"]
NO_FORMAT: Literal["none"] = "none"
"""Plain files: a log, to which rows are only added."""

_PACKAGES = {"delta": delta.PACKAGE, "iceberg": iceberg.PACKAGE}


def check_installed(table_format: str) -> None:
    """ConfigError where the packages for a table format are not installed."""
    package = _PACKAGES.get(table_format)
    if package is not None and find_spec(package) is None:
        raise ConfigError(
            "--table-format",
            f"{table_format} needs the package {package}, which is not installed.",
            "pip install 'docruns[lakes]'",
        )


def open_table(client: Any, name: str) -> LakeTable:
    """A table of a lake, which may not be there yet. `client` is dlt's client of the destination."""
    location = client.get_open_table_location(client.table_format, name).rstrip("/")
    if client.table_format == "iceberg":
        return iceberg.Iceberg(client, name, location)
    from dlt.common.libs.deltalake import deltalake_storage_options

    options = deltalake_storage_options(client.config.credentials, client.config.deltalake_storage_options)
    return delta.Delta(location, options, client.config.deltalake_configuration)
