"""Whose runs a dataset holds, and how their private columns are stored: other runs are refused."""

from __future__ import annotations

import logging
from typing import Any

import dlt

from ..core.errors import ConfigError
from ..core.privacy import storage_mode_error
from ..sync.sync import Sync

logger = logging.getLogger("docruns")


def check_identity(sync: Sync) -> None:
    """ConfigError where the dataset holds another platform's runs, or another workspace's: what is known of those
    would hide these. A full load takes nothing for known, unless each run would be there under two ids."""
    saved, now = dlt.current.source_state(), dict(sync.settings.origin)
    before = saved.get("origin") or now
    other = [name for name in now if before.get(name) != now[name]]
    if other:
        if not sync.settings.full or "api_version" in other:
            raise _identity_error(other[-1], before, now, sync)
        saved.get("resources", {}).clear()
    saved["origin"] = now


def _identity_error(name: str, before: Any, now: Any, sync: Sync) -> ConfigError:
    held = f"{dlt.current.pipeline().dataset_name} holds runs of {before.get(name)}"
    if name == "api_version":
        why = f"{held}, and {now[name]} calls them by other ids: each would be there twice."
        hint = f"Name another --dataset (or --database), or set it to {before.get(name)}."
    else:
        why = f"{held}, and these are of {now[name]}: what is known of one would hide the other's."
        hint = (
            "Name another --dataset (or --database). Only where it is the same one under another name: "
            "--full reads everything again."
        )
    return ConfigError(f"sources.{sync.provider}.{name}", why, hint)


def check_storage_mode(sync: Sync) -> None:
    """ConfigError where rows that are there are not this platform's, or were stored in another way than the
    settings now say.

    Each resource begins with it: the first one of a dataset notes both, without the key.
    """
    check_identity(sync)
    saved = dlt.current.source_state()
    now = sync.settings.privacy.mark
    # what was loaded before there was a choice was kept
    before = saved.get("privacy", "keep" if any(saved.get("resources", {}).values()) else now)
    if before != now:
        raise storage_mode_error(before, now, f"sources.{sync.provider}")
    if now != "keep":
        saved["privacy"] = now
    emptied = sync.settings.privacy.emptied
    if saved.get("drop_columns", []) != emptied:
        if any(saved.get("resources", {}).values()):
            logger.warning(
                "docruns: sources.%s.drop_columns has changed: rows that are there stay as they are",
                sync.provider,
            )
        saved["drop_columns"] = emptied
