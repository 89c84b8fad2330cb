"""The platform and the target that a call or a command names by options and settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Any

import dlt

from ...core.errors import ConfigError, option_names
from ...core.settings import CHUNK_RUNS, DATABASE, DESTINATION
from ...providers.extend import connect_extend
from ...providers.plextera import connect_plextera
from ...providers.settings import refuse_unknown_settings, unknown_setting
from ...store.destinations import format_setting, require_tested, traits_by_name
from ...store.failures import from_dlt_config
from ...store.process.environment import disable_telemetry
from ...store.target import Target
from ...sync.lists import Platform
from ..reconcile.against import OF_OTHER

PROVIDERS: dict[str, Callable[..., Platform]] = {"extend": connect_extend, "plextera": connect_plextera}
"""The platforms that docruns loads."""

_RESERVED = re.compile("temp|system|information_schema|pg_.*")
"""Schemas that DuckDB and Postgres keep for themselves."""

_DLT_SETTINGS = ("max_table_nesting", "root_key", "schema_contract", "section", "parallelized")
"""Settings that dlt accepts for any source."""


def make_target(
    provider: str,
    database: Path | str = DATABASE,
    destination: str = DESTINATION,
    dataset: str | None = None,
    table_format: str | None = None,
    untested: bool = False,
    *,
    is_database: bool = False,
) -> Target:
    """Where the rows are, with the table format of the option or of the setting. ConfigError for a dataset name that
    dlt would change, for a destination that is neither tested nor allowed as `untested`, and for files where it must be
    a database.

    Queries with the given name would not find the tables of such a dataset.
    """
    if not destination:
        raise ConfigError("--destination", "is empty.", "Name a dlt destination, or leave it out for DuckDB.")
    # must come before dlt reads its configuration
    disable_telemetry()
    require_tested(destination, untested)
    name = provider if dataset is None else dataset
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
    if is_database and traits_by_name(destination).has_formats:
        raise ConfigError(
            "--destination", f"{destination} keeps files, and `pushes` must be a table of a database."
        )
    return Target(name, Path(database), destination, table_format or format_setting(destination))


def other_target(provider: str, place: Path | str, dataset: str) -> Target:
    """A DuckDB file or another destination, from one word: the name of a destination has neither dot nor slash."""
    is_file = not str(place).isidentifier() or Path(place).exists()
    database, destination = (place, DESTINATION) if is_file else (DATABASE, str(place))
    with option_names(OF_OTHER):
        return make_target(provider, database, destination, dataset)


def connect_platform(
    provider: str, settings: Mapping[str, Any], call: Callable[..., Any] | None = None
) -> Platform:
    """The platform with these settings; those that are missing or None come from dlt's configuration.

    ConfigError for a setting that the platform does not have, here or in the configuration. It names the nearest setting,
    or keyword of `call`, the function that was given them.
    """
    # must come before dlt reads its configuration
    disable_telemetry()
    connect = PROVIDERS.get(provider)
    if connect is None:
        near = get_close_matches(str(provider), PROVIDERS, 1)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(PROVIDERS)}."
        raise ConfigError("provider", f"{provider} is no platform.", hint)
    given = {name: value for name, value in settings.items() if value is not None}
    if provider == "plextera" and given.pop("api_version", "v1") != "v1":
        raise ConfigError("--api-version", "Plextera's API has one version, v1.", "Leave the option out.")
    names = set(signature(connect).parameters)
    for name in given:
        if name not in names:
            keywords = {*signature(call).parameters} - {"provider", "settings"} if call else set()
            raise unknown_setting(name, name, names | keywords)
    try:
        refuse_unknown_settings(provider, [*names, *_DLT_SETTINGS])
        if dlt.config.get(f"sources.{provider}.chunk_runs") is None:
            given.setdefault("chunk_runs", CHUNK_RUNS)
        return connect(**given)
    except Exception as error:
        if (known := from_dlt_config(error, f"sources.{provider}.")) is None:
            raise
        raise known from error
