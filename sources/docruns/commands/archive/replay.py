"""Load every table from an archive. The platform is not asked, and no key is needed.

    archive ──► Index ──► its runs as lists, its answers as a client ──► the same code as a load ──► tables
                  └──► states of the lists, deleted runs ──► the destination, when all is loaded

Every answer is read again, so a replay brings new columns too. A run that the destination holds in a newer
version stays as it is there. A replay that was stopped is started again from the beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ...core.parsed import ParsedRun
from ...net.messages import Request
from ...net.stored import StoredClient
from ...providers.answers import as_listed
from ...store import lookup
from ...store.archive.folder import Folder
from ...store.archive.reading import Index, choose_workspace, open_index
from ...store.destinations import traits_of
from ...store.merges.updates import mark_deleted
from ...store.pipeline import commit_state
from ...sync.listed import ListedRun
from ...sync.lists import KnownRuns, Platform, Replay, RunList, answer_key
from ..load import RUN_RESOURCES
from .workers import FEED, Setup, WorkersClient

_ROWS = 1000
"""Runs on a page."""

FEW = 500
"""Fewer workflow runs than this are read before a worker has started."""

WORKSPACE = {"extend": "workspace_id", "plextera": "workspace"}
"""The setting that names the workspace of a provider."""


@dataclass(frozen=True)
class Opened:
    """An archive whose index is read."""

    folder: Folder
    workspace: str | None
    index: Index
    origin: Mapping[str, Any]

    @property
    def is_whole(self) -> bool:
        """The archive holds all that the state of its last load covers."""
        return "workflow_runs" in self.index.states

    @property
    def version(self) -> str:
        """The API version that was read last."""
        return max(self.index.versions, key=lambda version: self.index.versions[version])


def open_archive(url: str, provider: str, workspace: str | None) -> Opened:
    """Read which runs an archive holds. ConfigError where it holds none of that workspace."""
    folder = Folder(url, provider)
    name = f"sources.{provider}.{WORKSPACE[provider]}"
    chosen = choose_workspace(folder, workspace, name)
    return Opened(folder, chosen, open_index(folder, chosen), folder.origin(chosen) or {})


def as_platform(opened: Opened, platforms: Mapping[str, Platform], workers: int = 1) -> Platform:
    """The platform as the archive has it. `platforms`: the one of each API version, for its readers and settings.
    `workers`: processes that read answers about workflow runs, where there are many."""
    base, index = platforms[opened.version], opened.index
    settings = replace(base.settings, origin=dict(opened.origin), full=True)
    ready: dict[str, ParsedRun] = {}
    lists = tuple(_stored_list(each, index, platforms, ready) for each in base.lists)
    names = {each.name for each in lists}

    states: dict[str, dict[str, Any]] = {}
    lacking: list[Request] = []

    def find(request: Request) -> bytes | None:
        feed = request.path.partition("/")[0]
        if feed in names:
            return index.body(feed, request.subject)
        body = index.body(*answer_key(request))
        if body is None:
            lacking.append(request)
        return body

    # it has what a load needs of a client
    client: Any = StoredClient(find)
    if workers > 1 and opened.folder.provider == "extend" and len(index.feeds.get(FEED, ())) >= FEW:
        keeps = bool(settings.content.get("include_parse_output"))
        setup = Setup(opened.folder.url, opened.folder.provider, opened.workspace, keeps)
        client = WorkersClient(find, setup, workers, ready)
    is_window = settings.since is not None or settings.until is not None

    def finish(running: lookup.Pipeline) -> None:
        _mark_deleted(opened, running)
        before = _resources(opened, running)
        resources = {**before, **_restored(opened.index.states, before, states, is_window)}
        if lacking or not opened.is_whole:
            # the next load reads the catalogue again
            resources = {name: state for name, state in resources.items() if name in RUN_RESOURCES}
        if resources != before:
            commit_state(running, opened.folder.provider, {"resources": resources})

    return replace(base, client=client, settings=settings, lists=lists, replay=Replay(finish, states))


def _stored_list(
    run_list: RunList, index: Index, platforms: Mapping[str, Platform], ready: dict[str, ParsedRun]
) -> RunList:
    """A list of runs as the archive has it, newest change first. `ready`: workflow runs that a worker has read."""
    name = run_list.name
    feed = index.feeds.get(name, {})
    readers = {
        version: next((each.parse for each in platform.lists if each.name == name), run_list.parse)
        for version, platform in platforms.items()
    }

    def parse(body: bytes, run: ListedRun, known: KnownRuns) -> ParsedRun:
        if name == FEED and (read := ready.pop(run.id, None)) is not None:
            return read
        there = feed.get(run.id)
        return (run_list.parse if there is None else readers[there.api_version])(body, run, known)

    def pages(_: str | None) -> Iterator[list[ListedRun]]:
        # of a deleted run that was never read there is nothing to load
        is_unread = {id_ for id_, each in feed.items() if each.place is None and run_list.detail is not None}
        runs = [
            as_listed(each.entry._asdict())
            for id_, each in feed.items()
            if not (id_ in is_unread and id_ in index.deleted)
        ]
        runs.sort(key=lambda run: run.changed, reverse=True)
        for start in range(0, len(runs), _ROWS):
            yield runs[start : start + _ROWS]

    return replace(
        run_list,
        pages=pages,
        parse=parse,
        detail=run_list.detail and (lambda run_id: Request(f"{name}/{run_id}", subject=run_id)),
        is_ordered=lambda: True,
        by_status=False,
        doubt=lambda: None,
        other_pages=None,
        sources=(),
    )


def _mark_deleted(opened: Opened, running: lookup.Pipeline) -> None:
    if traits_of(running).takes_updates:
        by_time: dict[datetime, list[str]] = {}
        for run_id, at in opened.index.deleted.items():
            by_time.setdefault(at, []).append(run_id)
        for at, ids in by_time.items():
            mark_deleted(running, {"workflow_runs": ids, "processor_runs": ids}, {}, at)


def _resources(opened: Opened, running: lookup.Pipeline) -> dict[str, Any]:
    """What dlt stores of each resource in the destination."""
    running.sync_destination()
    sources: Mapping[str, Any] = running.state.get("sources", {})
    return dict(sources.get(opened.folder.provider, {}).get("resources", {}))


def _restored(
    archived: Mapping[str, Any], before: Mapping[str, Any], own: Mapping[str, Any], is_window: bool
) -> dict[str, Any]:
    """The states of the lists, with the runs that could not be loaded now. A dataset that was loaded before keeps its
    own. What a window leaves out, or the archive lacks, stays due."""
    states = {"workflow_runs": before.get("workflow_runs", {}), **before.get("processor_runs", {})}
    if not any(states.values()):
        if is_window:
            return {}
        states = {name: dict(state) for name, state in archived.items()}
    for name, state in states.items():
        failed = own.get(name, {}).get("failed", {})
        if state and failed:
            states[name] = {**state, "failed": {**failed, **state.get("failed", {})}}
    return {"workflow_runs": states.pop("workflow_runs", {}), "processor_runs": states}
