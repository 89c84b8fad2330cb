"""The settings that all sources share: checks them and makes a client and a load's settings of them."""

from __future__ import annotations

import logging
import math
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import dlt
from dlt.common.configuration import with_config
from dlt.common.configuration.providers.doc import BaseDocProvider
from dlt.common.runtime.run_context import active

from ..core.errors import ApiError, ConfigError, RefusedError
from ..core.privacy import make_privacy, refuse_archive
from ..core.settings import Settings, duration, is_loopback, moment
from ..net.client import Client
from ..net.messages import ConnectionSettings
from ..net.redaction import strip_signed_urls_of_json
from ..net.shared_budget import Budget
from ..store.archive.writing import ArchiveWriter
from ..store.process.environment import disable_telemetry, warn_of_readable_secrets
from ..sync.lists import Platform

logger = logging.getLogger("docruns")

REQUESTS_PER_SECOND = 10.0
"""The first rate of a load: the limit of Extend's lowest plan. Plextera documents no limit."""

INIT_SECTION = "docruns"
"""`dlt init docruns` writes the secrets of the source below [sources.docruns]."""

PROVIDERS = ("extend", "plextera")
"""The platforms that have a section of their own."""

_PLACEHOLDER = "<configure me>"
"""The value that `dlt init` writes for a secret."""

P = ParamSpec("P")


def configured(provider: str) -> Callable[[Callable[P, Platform]], Callable[P, Platform]]:
    """Let a function take the settings that it is not given from dlt's configuration, `[sources.<provider>]`.

    dlt's telemetry is off before dlt reads its configuration, which would start it.
    """

    def decorate(connect: Callable[P, Platform]) -> Callable[P, Platform]:
        injected = with_config(connect, sections=("sources", provider))

        @wraps(connect)
        def connect_quietly(*args: P.args, **settings: P.kwargs) -> Platform:
            disable_telemetry()
            return injected(*args, **settings)

        return connect_quietly

    return decorate


Explain = Callable[[int, Mapping[str, str], bytes, str], ApiError]
"""Makes the error of a refused request; see `Client`."""


@dataclass(frozen=True)
class ClientOptions:
    """The settings of the client that all sources share, as `connect_extend` describes them."""

    requests_per_second: float | None
    concurrency: int
    max_response_mb: float

    def make_client(
        self,
        section: str,
        base_url: str,
        key: str,
        headers: Mapping[str, str],
        explain: Explain,
        check: Callable[[bytes, str], None],
    ) -> Client:
        """A client of that address, with the request budget of its key. ConfigError names the setting."""

        def explain_with_advice(
            status: int, answered: Mapping[str, str], body: bytes, request: str
        ) -> ApiError:
            error = explain(status, answered, body, request)
            if isinstance(error, RefusedError):
                variable = f"{section.rpartition('.')[2].upper()}_API_KEY"
                error.advice = (
                    f"Check {section}.api_key (or {variable}): is it whole, not revoked, "
                    "and one for this host?"
                )
            return error

        ceiling = check_bounds(f"{section}.requests_per_second", self.requests_per_second, 0)
        connection = ConnectionSettings(
            base_url=base_url,
            headers=dict(headers),
            concurrency=check_bounds(f"{section}.concurrency", self.concurrency, 1),
            max_response_mb=check_bounds(f"{section}.max_response_mb", self.max_response_mb, 1e-6),
        )
        budget = Budget.shared(
            Path(active().data_dir) / "docruns" / "budgets",
            base_url,
            key,
            ceiling or None,
            None if is_loopback(base_url) else REQUESTS_PER_SECOND,
        )
        return Client(connection, budget, explain_with_advice, check)


@dataclass(frozen=True)
class LoadOptions:
    """The settings of a load that all sources share, not yet checked; `connect_extend` describes them."""

    overlap: str
    recheck_for: str
    replica_lag: str
    chunk_runs: int | None
    since: str | None
    until: str | None
    max_runs: int | None
    full: bool
    field_values: str
    hash_key: str | None
    drop_columns: Iterable[str] | None

    def make_settings(
        self, section: str, origin: Mapping[str, str | None], content: Mapping[str, object]
    ) -> Settings:
        """The settings, checked. ConfigError names the setting."""
        since, until = moment(self.since, "since"), moment(self.until, "until")
        hash_key = _secret(section.rpartition(".")[2], "hash_key", self.hash_key)
        if since is not None and until is not None and since >= until:
            raise ConfigError(
                "until", f"{self.until} is not after since, {self.since}: no run lies between them."
            )
        return Settings(
            overlap=duration(self.overlap, f"{section}.overlap"),
            recheck_for=duration(self.recheck_for, f"{section}.recheck_for"),
            replica_lag=duration(self.replica_lag, f"{section}.replica_lag"),
            chunk_runs=check_bounds(f"{section}.chunk_runs", self.chunk_runs, 1),
            since=since,
            until=until,
            max_runs=check_bounds(f"{section}.max_runs", self.max_runs, 1),
            full=self.full,
            privacy=make_privacy(self.field_values, hash_key, self.drop_columns, section),
            origin=origin,
            content=content,
        )


def make_archive(
    provider: str, url: str | None, settings: Settings, api_version: str, workspace: str | None
) -> ArchiveWriter | None:
    """Where a load keeps raw answers; None where it keeps none. ConfigError where `field_values` forbids it."""
    if not url:
        return None
    refuse_archive(settings.privacy, f"sources.{provider}")
    return ArchiveWriter(url, provider, workspace, api_version, settings.origin, strip_signed_urls_of_json)


def find_api_key(provider: str, api_key: str | None, base_url: str) -> str:
    """The key of the settings or of the environment. Optional on loopback addresses."""
    warn_of_readable_secrets()
    warn_of_unread_settings()
    variable = f"{provider.upper()}_API_KEY"
    key = _secret(provider, "api_key", api_key) or os.environ.get(variable)
    if not key and is_loopback(base_url):
        return "sandbox"
    if not key:
        raise ConfigError(
            f"sources.{provider}.api_key",
            "is not set.",
            f"Put it into .dlt/secrets.toml under [sources.{provider}], or set {variable}.",
        )
    return key


def _secret(provider: str, name: str, value: str | None) -> str | None:
    """A secret of [sources.<provider>], or of the section that `dlt init` made; None for its placeholder.

    That section serves Extend, which the script of `dlt init` loads: a key of Extend must not go to Plextera.
    """
    if value and value != _PLACEHOLDER:
        return value
    found = dlt.secrets.get(f"sources.{INIT_SECTION}.{name}", str) if provider == "extend" else None
    return found if found != _PLACEHOLDER else None


def check_bounds(key: str, number: Any, least: float, most: float = math.inf) -> Any:
    """The number, or None. ConfigError where it is out of bounds, which are inclusive."""
    if number is not None and not least <= number <= most:
        bounds = f"at least {least:g}" if most == math.inf else f"{least:g} to {most:g}"
        raise ConfigError(key, f"{number} is not {bounds}.")
    return number


def refuse_unknown_settings(provider: str, known: Iterable[str]) -> None:
    """ConfigError for an unknown key in [sources.<provider>].

    dlt ignores unknown keys, so a misspelled host or `field_values` would silently have its default.
    """
    # a nested table is a setting of dlt, such as one of a resource
    refuse_unknown_keys(("sources", provider), known, has_others_tables=True)
    if provider == "extend":
        _refuse_beside_secrets()


def refuse_unknown_keys(
    section: Sequence[str], known: Iterable[str], *, has_others_tables: bool = False
) -> None:
    """ConfigError for an unknown key in a section of dlt's configuration, in a file or in the environment.

    `has_others_tables`: its nested tables are not all settings of docruns.
    """
    names = set(known)
    for config_provider in dlt.config.config_providers:
        table, _ = config_provider.get_value(section[-1], dict, "", *section[:-1])
        values: dict[str, Any] = table if isinstance(table, dict) else {}
        for name, value in values.items():
            if name not in names and not (has_others_tables and isinstance(value, dict)):
                raise unknown_setting(".".join([*section, name]), name, names)
    start = "__".join([*section, ""]).upper()
    for variable in os.environ:
        name = variable.removeprefix(start).lower()
        if variable.startswith(start) and "__" not in name and name not in names:
            raise unknown_setting(variable, name, names)


def _refuse_beside_secrets() -> None:
    """ConfigError for a key in [sources.docruns] that is not one of the secrets that are read there."""
    for config_provider in dlt.config.config_providers:
        section, _ = config_provider.get_value(INIT_SECTION, dict, "", "sources")
        for name, value in section.items() if isinstance(section, dict) else ():
            if name not in ("api_key", "hash_key") and not isinstance(value, dict):
                raise ConfigError(
                    f"sources.{INIT_SECTION}.{name}", "is not read.", "Put it into [sources.extend]."
                )


def warn_of_unread_settings() -> None:
    """Log one warning with the sections of dlt's configuration that look like one of docruns and that nothing reads."""
    unread = sorted(filter(_is_unread, _sections()))
    if unread and unread not in _WARNED:
        _WARNED.append(unread)
        names = ", ".join(f"[{'.'.join(section)}]" for section in unread)
        logger.warning(
            "nothing reads %s: the sections of docruns are %s",
            names,
            ", ".join(f"[sources.{name}]" for name in PROVIDERS),
        )


_WARNED: list[list[tuple[str, ...]]] = []


def _sections() -> set[tuple[str, ...]]:
    """The sections of the configuration files and of the environment, down to the second level."""
    found = {tuple(name.lower().split("__")[:-1][:2]) for name in os.environ if "__" in name.strip("_")}
    for provider in dlt.config.config_providers:
        tables = tomllib.loads(provider.to_toml()) if isinstance(provider, BaseDocProvider) else {}
        for name, table in tables.items():
            inner = (
                [key for key, value in table.items() if isinstance(value, dict)]
                if isinstance(table, dict)
                else []
            )
            found |= {(name, key) for key in inner} or ({(name,)} if isinstance(table, dict) else set())
    return found


def _is_unread(section: tuple[str, ...]) -> bool:
    """Whether it is a section of docruns, misspelt. Other sections are of dlt, of its pipelines and other sources."""
    outer, inner = section[0], section[1] if len(section) > 1 else ""
    if outer == "sources":
        return inner not in (*PROVIDERS, INIT_SECTION) and bool(get_close_matches(inner, PROVIDERS, 1, 0.8))
    is_ours = inner in PROVIDERS or bool(get_close_matches(inner, PROVIDERS, 1, 0.8))
    return (is_ours and bool(get_close_matches(outer, ["sources"], 1, 0.8))) or (
        outer in PROVIDERS and not inner
    )


def unknown_setting(key: str, name: str, names: set[str]) -> ConfigError:
    """The error for a setting that does not exist, with the nearest one that does."""
    close = get_close_matches(name, names, 1)
    hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(sorted(names))}."
    return ConfigError(key, "is no setting.", hint)
