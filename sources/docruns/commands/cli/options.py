"""Arguments and options that several commands share, and the platform and target they name."""

from __future__ import annotations

import re
from enum import StrEnum
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import ConfigError

if TYPE_CHECKING:
    from ...store.target import Target
    from ...sync.lists import Platform

_RESERVED = re.compile("temp|system|information_schema|pg_.*")
"""Schemas that DuckDB and Postgres keep for themselves."""

_DLT_SETTINGS = ("max_table_nesting", "root_key", "schema_contract", "section", "parallelized")
"""Settings that dlt accepts for any source."""


class Provider(StrEnum):
    """The platforms that docruns loads."""

    extend = "extend"
    plextera = "plextera"


class Writable(StrEnum):
    """The platforms whose runs docruns can change."""

    extend = "extend"


ProviderArgument = Annotated[
    Provider, typer.Argument(metavar="extend|plextera", help="The platform.", show_default=False)
]
WritableArgument = Annotated[
    Writable, typer.Argument(metavar="extend", help="The platform.", show_default=False)
]
Database = Annotated[Path, typer.Option(help="DuckDB file.")]
Destination = Annotated[
    str, typer.Option(help="Name of any dlt destination. Set it up in dlt's configuration.")
]
Dataset = Annotated[
    str | None, typer.Option(help="Schema for the tables.", show_default="the platform's name")
]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        help="Address of the API. `docruns sandbox` prints those of a sandbox.", show_default="the platform's"
    ),
]
ApiVersion = Annotated[
    str | None,
    typer.Option(
        help="Extend's API version: 2026-02-09, 2025-04-21, 2024-12-23 or v1.", show_default="newest"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]

DEFAULT_DATABASE = Path("docruns.duckdb")

QUARANTINED = 3
"""The exit code where runs are in quarantine, refused or not confirmed."""


def make_target(
    provider: Provider | Writable, database: Path, destination: str, dataset: str | None
) -> Target:
    """Where the rows are. ConfigError for a dataset name that dlt would change.

    Queries with the given name would not find the tables of such a dataset.
    """
    from ...store.target import Target

    if not destination:
        raise ConfigError("--destination", "is empty.", "Name a dlt destination, or leave it out for DuckDB.")
    name = provider.value if dataset is None else dataset
    if not re.fullmatch("[a-z_][a-z0-9_]*", name) or "__" in name or name.endswith("_"):
        plain = re.sub("_+", "_", re.sub("[^a-z0-9]", "_", name.lower())).strip("_") or "runs"
        raise ConfigError(
            "--dataset",
            f"{name!r} is not a plain schema name, and dlt would change it.",
            f"Use lower-case letters, digits and single underscores, for example {plain}.",
        )
    if _RESERVED.fullmatch(name):
        raise ConfigError(
            "--dataset",
            f"{name} is a schema of the database itself, which takes no tables there.",
            f"Use another name, for example {name}_runs.".replace("pg_", "my_"),
        )
    return Target(name, database, destination)


def connect_platform(provider: Provider, options: dict[str, Any]) -> Platform:
    """The platform with the user's options; other settings come from dlt's configuration."""
    import dlt

    from ...providers.extend import connect_extend
    from ...providers.plextera import connect_plextera
    from ...providers.settings import refuse_unknown_settings
    from ...store.process.environment import disable_telemetry
    from ..load import CHUNK_RUNS

    # must come before dlt reads its configuration
    disable_telemetry()
    connect: Any = {Provider.extend: connect_extend, Provider.plextera: connect_plextera}[provider]
    given = {key: value for key, value in options.items() if value is not None}
    refuse_unknown_settings(provider, [*signature(connect).parameters, *_DLT_SETTINGS])
    if dlt.config.get(f"sources.{provider}.chunk_runs") is None:
        given.setdefault("chunk_runs", CHUNK_RUNS)
    if provider is Provider.plextera and given.pop("api_version", "v1") != "v1":
        raise ConfigError("--api-version", "Plextera's API has one version, v1.", "Leave the option out.")
    platform: Platform = connect(**given)
    return platform
