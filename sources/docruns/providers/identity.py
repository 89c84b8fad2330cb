"""Refuses a load whose runs, or whose storage of private columns, differ from those of the dataset.

dlt's source state stores both, without the hash key.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import dlt

from ..core.errors import ConfigError
from ..core.privacy import storage_mode_error
from ..store.lookup import Pipeline
from ..sync.lists import Platform

logger = logging.getLogger("docruns")


def check_storage_mode(platform: Platform) -> None:
    """ConfigError where the dataset has other runs, or stores private columns otherwise than the settings say.

    Each resource begins with this call. In a new dataset the first call writes both to the state.
    """
    check_identity(platform)
    saved, privacy = dlt.current.source_state(), platform.settings.privacy
    has_rows = any(saved.get("resources", {}).values())
    # a dataset from before `field_values` existed keeps everything
    before = saved.get("privacy", "keep" if has_rows else privacy.mark)
    if before != privacy.mark:
        raise storage_mode_error(before, privacy.mark, f"sources.{platform.name}")
    if privacy.mark != "keep":
        saved["privacy"] = privacy.mark
    if saved.get("drop_columns", []) != privacy.emptied:
        if has_rows:
            logger.warning(
                "docruns: sources.%s.drop_columns has changed: existing rows stay as they are", platform.name
            )
        saved["drop_columns"] = privacy.emptied


def check_identity(platform: Platform) -> None:
    """ConfigError where the dataset holds the runs of another platform, host or workspace.

    The state of one would hide the runs of the other. A full load ignores the state, so it may continue after
    the platform's address has changed; but not with an API version that has other ids of runs, because each
    run would be in the dataset twice.
    """
    saved, now = dlt.current.source_state(), platform.settings.origin
    before = saved.get("origin") or dict(now)
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        if not platform.settings.full or "api_version" in changed:
            raise _identity_error(platform, changed[-1], before, dlt.current.pipeline().dataset_name)
        saved.get("resources", {}).clear()
    saved["origin"] = dict(now)


def check_stored_identity(platform: Platform, running: Pipeline, *, only_reads: bool = False) -> None:
    """ConfigError where the destination holds the runs of another platform, host or workspace: what it stores says
    nothing about these runs.

    The ids of workflow runs are the same in all API versions, so a command that only reads may use another one.
    """
    running.sync_destination()
    sources: Mapping[str, Any] = running.state.get("sources", {})
    before = sources.get(platform.name, {}).get("origin") or {}
    now = {**platform.settings.origin}
    if only_reads:
        now.pop("api_version", None)
    changed = [name for name in now if name in before and before[name] != now[name]]
    if changed:
        raise _identity_error(platform, changed[-1], before, running.dataset_name)


def _identity_error(platform: Platform, name: str, before: Mapping[str, Any], dataset: str) -> ConfigError:
    now = platform.settings.origin
    dataset = f"{dataset} holds runs of {before.get(name)}"
    if name == "api_version":
        why = f"{dataset}, and {now[name]} has other ids for them: each run would be in it twice."
        hint = f"Name another --dataset (or --database), or set it to {before.get(name)}."
    else:
        why = f"{dataset}, and these are of {now[name]}: the state of one would hide runs of the other."
        hint = (
            "Name another --dataset (or --database). Only if it is the same platform under a new "
            "address: --full reads everything again."
        )
    return ConfigError(f"sources.{platform.name}.{name}", why, hint)
