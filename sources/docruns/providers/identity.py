"""Refuses a load whose runs, or whose storage of private columns, differ from those of the dataset.

dlt's source state stores both, without the hash key.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from inspect import unwrap
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

import dlt

from ..core.errors import ConfigError
from ..core.privacy import storage_mode_error
from ..store.destinations import active_pipeline, traits_of
from ..store.lookup import Pipeline, has_package, providers
from ..sync.lists import Platform

logger = logging.getLogger("docruns")

_RUN = unwrap(dlt.Pipeline.run).__code__


def check_storage_mode(platform: Platform) -> None:
    """ConfigError where the dataset has other runs, or stores private columns otherwise than the settings say.

    Each resource begins with this call. In a new dataset the first call writes both to the state.
    """
    _check_format(platform)
    forget_other_dataset(platform)
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
                "sources.%s.drop_columns has changed: existing rows stay as they are", platform.name
            )
        saved["drop_columns"] = privacy.emptied
    _check_content(platform, saved, has_rows)


def _check_format(platform: Platform) -> None:
    """ConfigError in a pipeline of somebody's own that would only add rows, and has not been told to."""
    traits = traits_of(dlt.current.pipeline())
    if traits.has_formats and traits.table_format is None:
        raise ConfigError(
            "destination.filesystem.table_format",
            "is missing, and dlt's own filesystem destination cannot replace the rows of a changed run.",
            f"Run `docruns load {platform.name} --destination filesystem --table-format delta` (or iceberg), or set it "
            "to none for a log of files, to which rows are only added.",
        )


def _check_content(platform: Platform, saved: dict[str, Any], has_rows: bool) -> None:
    """Warn where a setting has changed that decides what the rows of a run hold, and store its value."""
    for name, value in platform.settings.content.items():
        before = saved.setdefault("content", {}).setdefault(name, value)
        if before != value and has_rows and not platform.settings.full:
            logger.warning(
                "sources.%s.%s was %s and is %s now: loaded runs keep their rows; --full reads them again",
                platform.name, name, json.dumps(before), json.dumps(value),
            )  # fmt: skip
        saved["content"][name] = value


def forget_other_dataset(platform: Platform) -> None:
    """Clear the state where it is about another dataset than the one that this package goes to.

    A pipeline keeps its state when it runs with another `dataset_name` or destination: the state would hide all
    that the other dataset lacks. So the state names the first package of its dataset, which the destination must
    have; where it cannot be asked, the name of the dataset must be the same.
    """
    running, saved = active_pipeline(), dlt.current.source_state()
    if name := _dataset_of_run(running):
        running._set_dataset_name(name)
    load_id = dlt.current.load_package_state()["load_id"]
    first = saved.get("first_package") or {}
    if first.get("load_id") == load_id:
        return
    if first and _is_here(running, load_id, first):
        return
    if first:
        logger.warning(
            "%s does not hold what the pipeline's state says of it: %s is loaded from the beginning",
            running.dataset_name, platform.name,
        )  # fmt: skip
        saved.clear()
    saved["first_package"] = {"load_id": load_id, "dataset": running.dataset_name}


def _dataset_of_run(running: Pipeline) -> str | None:
    """The `dataset_name` of the call of `pipeline.run` that extracts now; None where it names none.

    dlt gives this name to the pipeline, takes it back when the extraction begins, and gives it again to the load.
    In between nothing but the call itself has it. The extraction may run in another thread than the call.
    """
    for found in sys._current_frames().values():
        frame: FrameType | None = found
        while frame is not None:
            if frame.f_code is _RUN and frame.f_locals.get("self") is running:
                name = frame.f_locals.get("dataset_name")
                return name if isinstance(name, str) else None
            frame = frame.f_back
    return None


_asked: WeakKeyDictionary[Pipeline, tuple[str, str]] = WeakKeyDictionary()
"""The package that a pipeline extracts, and the first package that its dataset has: each resource asks for it."""


def _is_here(running: Pipeline, load_id: str, first: Mapping[str, str]) -> bool:
    """Whether the first package of a state's dataset is in the pipeline's dataset, or waits to be loaded. `load_id` is
    the package that the pipeline extracts now."""
    if not traits_of(running).takes_updates:
        return first["dataset"] == running.dataset_name
    if _asked.get(running) == (load_id, first["load_id"]):
        return True
    waiting = [*running.list_extracted_load_packages(), *running.list_normalized_load_packages()]
    is_here = first["load_id"] in waiting or has_package(running, first["load_id"])
    if is_here:
        _asked[running] = (load_id, first["load_id"])
    return is_here


def check_identity(platform: Platform) -> None:
    """ConfigError where the dataset holds the runs of another platform, host or workspace, or of another filter.

    The state of one would hide the runs of the other. A full load ignores the state, so it may continue after
    the platform's address has changed; but not with an API version that has other ids of runs, because each
    run would be in the dataset twice.
    """
    saved, now = dlt.current.source_state(), platform.settings.origin
    before = saved.get("origin") or dict(now)
    # a name that the state lacks was no setting when the dataset was loaded
    changed = [name for name in now if before.get(name, now[name]) != now[name]]
    if changed:
        is_refused = platform.replay is not None or "api_version" in changed
        if is_refused or not platform.settings.full:
            raise _identity_error(platform, changed[-1], before, active_pipeline().dataset_name)
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


def require_runs(provider: str, running: Pipeline, where: str) -> None:
    """ConfigError where the dataset was never loaded from the platform: its name may be misspelt. `where`: the target in
    messages."""
    if provider not in providers(running):
        hint = f"Run `docruns load {provider}` first, or name the dataset that it has loaded."
        raise ConfigError("--dataset", f"{where} holds no runs of {provider}.", hint)


def _identity_error(platform: Platform, name: str, before: Mapping[str, Any], dataset: str) -> ConfigError:
    now = platform.settings.origin
    if name == "extra_params":
        why = (
            f"{dataset} was loaded with other parameters: the lists would show other runs than before, and the state "
            "would hide those that are old."
        )
        hint = "Name another --dataset (or --database), or read everything again with --full."
        return ConfigError(f"sources.{platform.name}.{name}", why, hint)
    dataset = f"{dataset} holds runs of {_owner(name, before.get(name))}"
    setting = f"set it to {before[name]}" if before.get(name) else "remove the setting"
    if name == "api_version":
        why = f"{dataset}, and {now[name]} has other ids for them: each run would be in it twice."
        hint = f"Name another --dataset (or --database), or {setting}."
    else:
        why = f"{dataset}, and this load reads {_owner(name, now[name])}: the state of one would hide runs of the other."
        hint = f"Name another --dataset (or --database), or {setting}. " + (
            "Only if it is the same platform under a new address: --full reads everything again."
            if name == "base_url"
            else "Only if it is the same workspace under a new name: --full reads everything again."
        )
    return ConfigError(f"sources.{platform.name}.{name}", why, hint)


def _owner(name: str, value: str | None) -> str:
    """Whose runs they are, in words, by a setting of the origin and its value."""
    if name in ("base_url", "api_version"):
        return str(value or "an unknown platform")
    return f"the workspace {value}" if value else f"the key's own workspace (no {name} is set)"
