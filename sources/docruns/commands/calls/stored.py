"""The archive that options and settings name, as a platform that a load can read."""

from __future__ import annotations

import os
from typing import Any

import dlt

from ...core.errors import ConfigError
from ...store.process.environment import disable_telemetry
from ...sync.lists import Platform
from ..archive.replay import WORKSPACE, Opened, as_platform, open_archive
from .connect import connect_platform


def find_archive(provider: str, url: str | None) -> str | None:
    """The archive of the option, or of the setting; None where neither is set."""
    disable_telemetry()
    found: str | None = url or dlt.config.get(f"sources.{provider}.archive", str)
    return found or None


def archive_url(provider: str, url: str | None) -> str:
    """The archive to read. ConfigError where none is named."""
    found = find_archive(provider, url)
    if found is None:
        raise ConfigError(
            "--archive",
            "is not set.",
            f"Name the folder that a load with --archive wrote, or set sources.{provider}.archive.",
        )
    return found


def open_stored(provider: str, url: str | None) -> Opened:
    """The archive of a provider, with its index."""
    found = archive_url(provider, url)
    workspace: str | None = dlt.config.get(f"sources.{provider}.{WORKSPACE[provider]}", str)
    if provider == "extend":
        workspace = workspace or os.environ.get("EXTEND_WORKSPACE_ID") or None
    return open_archive(found, provider, workspace)


def connect_stored(provider: str, opened: Opened, options: dict[str, Any], workers: int = 1) -> Platform:
    """The platform as an archive has it: nothing is sent anywhere, and no key is needed."""
    given = {
        **options,
        # no key is needed for an address on this machine, and nothing is sent there
        "base_url": "http://127.0.0.1",
        WORKSPACE[provider]: opened.workspace,
        "archive": "",
    }
    platforms = {}
    for version in opened.index.versions:
        of_version = {**given, "api_version": version}
        if "processor_runs" in opened.index.feeds and provider == "extend":
            of_version["list_processor_runs"] = True
        platforms[version] = connect_platform(provider, of_version)
    return as_platform(opened, platforms, workers)
