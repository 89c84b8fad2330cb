"""What both sources take, checked and made into a client and a load's settings. Errors name the setting."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import dlt
from dlt.common.runtime.run_context import active

from ..core.errors import ApiError, ConfigError, RefusedError
from ..core.privacy import make_privacy
from ..core.settings import Settings, check_base_url, duration, is_loopback, moment
from ..net.client import Client
from ..net.messages import ConnectionSettings as HttpSettings
from ..net.shared_budget import Budget

REQUESTS_PER_SECOND = 10.0
"""What is allowed on Extend's lowest plan, to begin with; Plextera documents no limit, and this is a polite one."""


def make_client(
    section: str,
    base_url: str,
    key: str,
    headers: Mapping[str, str],
    explain: Callable[[int, Mapping[str, str], bytes, str], ApiError],
    check: Callable[[bytes, str], None],
    *,
    requests_per_second: float | None,
    concurrency: int,
    max_response_mb: float,
) -> Client:
    """A client of that address, with the budget of its key."""
    url = check_base_url(base_url, f"{section}.base_url")

    def explained(status: int, said: Mapping[str, str], body: bytes, request: str) -> ApiError:
        error = explain(status, said, body, request)
        if isinstance(error, RefusedError):
            variable = f"{section.rpartition('.')[2].upper()}_API_KEY"
            error.advice = f"Check {section}.api_key (or {variable}): is it whole, not revoked, and one for this host?"
        return error

    ceiling = check_bounds(f"{section}.requests_per_second", requests_per_second, 0)
    return Client(
        HttpSettings(
            base_url=url,
            headers=dict(headers),
            concurrency=check_bounds(f"{section}.concurrency", concurrency, 1),
            max_response_mb=check_bounds(f"{section}.max_response_mb", max_response_mb, 1e-6),
        ),
        Budget.shared(
            Path(active().data_dir) / "docruns" / "budgets",
            url,
            key,
            ceiling or None,
            None if is_loopback(url) else REQUESTS_PER_SECOND,
        ),
        explained,
        check,
    )


def make_settings(
    section: str,
    *,
    overlap: str,
    recheck_for: str,
    chunk_runs: int | None,
    since: str | None,
    until: str | None,
    max_runs: int | None,
    full: bool,
    field_values: str,
    hash_key: str | None,
    drop_columns: Iterable[str] | None,
    origin: Mapping[str, str | None],
) -> Settings:
    """What to load, in which portions, and what of it is written."""
    first, last = moment(since, "since"), moment(until, "until")
    if first is not None and last is not None and first >= last:
        raise ConfigError(
            "until", f"{until} is not after since, {since}: no run lies between them."
        )
    return Settings(
        overlap=duration(overlap, f"{section}.overlap"),
        recheck_for=duration(recheck_for, f"{section}.recheck_for"),
        chunk_runs=check_bounds(f"{section}.chunk_runs", chunk_runs, 1),
        since=first,
        until=last,
        max_runs=check_bounds(f"{section}.max_runs", max_runs, 1),
        full=full,
        privacy=make_privacy(field_values, hash_key, drop_columns, section),
        origin=origin,
    )


def check_bounds(key: str, number: Any, least: float, most: float = math.inf) -> Any:
    """The number, or None; ConfigError where it is none within these bounds, both included."""
    if number is not None and not least <= number <= most:
        bounds = f"at least {least:g}" if most == math.inf else f"{least:g} to {most:g}"
        raise ConfigError(key, f"{number} is not {bounds}.")
    return number


def refuse_unknown_settings(provider: str, known: Iterable[str]) -> None:
    """ConfigError for a key of [sources.<provider>] that is no setting: dlt passes over it, and what was meant by it,
    a host or what is kept of documents, is then something else."""
    names = set(known)
    start = f"SOURCES__{provider}__".upper()
    for given in dlt.config.config_providers:
        found, _ = given.get_value(provider, dict, "", "sources")
        said: dict[str, Any] = found if isinstance(found, dict) else {}
        for name, value in said.items():
            # a table of its own is dlt's, of a resource, say
            if name not in names and not isinstance(value, dict):
                raise _unknown(f"sources.{provider}.{name}", name, names)
    for variable in os.environ:
        name = variable.removeprefix(start).lower()
        if variable.startswith(start) and "__" not in name and name not in names:
            raise _unknown(variable, name, names)


def _unknown(key: str, name: str, names: set[str]) -> ConfigError:
    close = get_close_matches(name, names, 1)
    hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(sorted(names))}."
    return ConfigError(key, "is no setting.", hint)
