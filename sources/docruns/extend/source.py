"""Extend as a dlt source: settings in, resources out. What they do is in `sync`, `api` and `rows`."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import dlt
from dlt.common.typing import TSecretStrValue

from .. import loaded
from ..arrow import Tables
from ..errors import ConfigError
from ..feed import Listed
from ..http import Budget, Client, check_base_url, check_key, is_loopback
from ..http import Settings as HttpSettings
from ..resources import CONTRACT, add_tables
from ..settings import duration, moment
from ..sync import Feed, Settings, Sync
from . import api, catalogue, rows
from .rows import Context, Parent

REQUESTS_PER_SECOND = 10.0
"""What Extend's lowest paid plan allows; nothing is held back on this machine's own addresses."""


@dlt.source(name="extend", section="extend", schema_contract=CONTRACT)
def extend(
    api_key: TSecretStrValue | None = None,
    base_url: str | None = None,
    api_version: str = api.VERSIONS[0],
    region: str = "us",
    workspace_id: str | None = None,
    requests_per_second: float | None = None,
    concurrency: int = 16,
    overlap: str = "1h",
    chunk_runs: int | None = None,
    since: str | None = None,
    until: str | None = None,
    max_runs: int | None = None,
    full: bool = False,
    include_parse_output: bool = False,
    list_processor_runs: bool | None = None,
    on_sync: Callable[[Sync], None] | None = None,
) -> Sequence[Any]:
    """Workflow runs, processor runs, their fields and all that hangs on them, from Extend.

    Resources: `workflow_runs` (with their steps, processor runs, fields, insights, citations, splits
    and files), `processor_runs` (those that came in no workflow run), `workflows`, `processors`.
    Each run that is due costs one request; a run that did not change since the last load costs none.
    Every yield holds whole runs, so any limit leaves whole runs and a true state behind.

    Args:
        api_key: The key, also read from EXTEND_API_KEY. On this machine's own addresses optional.
        base_url: The API's address without a path; default: the region's host.
        api_version: 2026-02-09, 2025-04-21, 2024-12-23 or v1.
        region: us, us2 (HIPAA) or eu1.
        workspace_id: For organisation keys, also read from EXTEND_WORKSPACE_ID.
        requests_per_second: Requests a second over everything; default 10, on loopback no limit.
        concurrency: Requests in flight.
        overlap: How far below the watermark lists are walked again, e.g. 30m, 1h, 2d.
        chunk_runs: Runs per load package; default: all that are due in one package.
        since: Load only runs whose last change is at or after this time, RFC 3339.
        until: Load only runs whose last change is before this time, RFC 3339.
        max_runs: Fetch at most so many runs.
        full: Fetch every run again, changed or not.
        include_parse_output: Keep a parse run's chunks and blocks as JSON in `parse_output`.
        list_processor_runs: Whether the server lists processor runs before 2025-04-21; default: try.
        on_sync: Called with this load's `Sync`, for progress and counts.

    Raises:
        ConfigError: A setting is missing or wrong; names its key.
        RefusedError: The platform does not accept the key.
        ApiError: The platform cannot be reached or gives no usable answer.
    """
    version = api.version(api_version, "sources.extend.api_version")
    url = base_url or api.host(version, region, "sources.extend.region")
    url = check_base_url(url, "sources.extend.base_url")
    workspace = workspace_id or os.environ.get("EXTEND_WORKSPACE_ID") or None
    local = is_loopback(url)
    client = Client(
        HttpSettings(
            base_url=url,
            headers=api.headers(_key(api_key, local), version, workspace),
            concurrency=concurrency,
        ),
        Budget(requests_per_second or (None if local else REQUESTS_PER_SECOND)),
        api.explain,
        api.check,
    )
    settings = Settings(
        overlap=duration(overlap, "sources.extend.overlap"),
        chunk_runs=chunk_runs,
        since=moment(since, "since"),
        until=moment(until, "until"),
        max_runs=max_runs,
        full=full,
    )
    sync = Sync("extend", client, settings)
    if on_sync is not None:
        on_sync(sync)
    context = Context(version, workspace, include_parse_output)
    return _resources(sync, client, context, list_processor_runs)


def _key(api_key: str | None, local: bool) -> str:
    key = api_key or os.environ.get("EXTEND_API_KEY") or ("sandbox" if local else None)
    if key is None:
        raise ConfigError(
            "sources.extend.api_key",
            "is not set.",
            "Put it into .dlt/secrets.toml under [sources.extend], or set EXTEND_API_KEY.",
        )
    return check_key(key, "sources.extend.api_key")


def _resources(
    sync: Sync, client: Client, context: Context, list_processor_runs: bool | None
) -> Sequence[Any]:
    runs, kinds = api.run_lists(context.api_version, list_processor_runs)
    parents: dict[str, Parent] = {}
    listed: ChainMap[str, Listed] = ChainMap()
    context = context._replace(summaries=listed)
    main = _feed(client, runs, partial(rows.workflow_run, context=context))
    feeds = [_feed(client, kind, _reader(context, parents)) for kind in kinds]
    sync.feeds = (main, *feeds)

    def plan_processor_runs() -> None:
        saved = dlt.current.resource_state("processor_runs")
        for feed in feeds:
            sync.plan(feed, saved.setdefault(feed.name, {}))
        # nested runs lack their dates in some versions: the lists, walked first, know them
        listed.maps = [sync.summaries(feed.name) for feed in feeds]

    @dlt.resource(name="workflow_runs")
    def workflow_runs() -> Iterator[Tables]:
        selected = dlt.current.source().resources.selected
        load_id = dlt.current.load_package_state()["load_id"]
        sync.start_package(load_id)
        try:
            with client:
                if "processor_runs" in selected:
                    plan_processor_runs()
                yield from sync.batches(main, dlt.current.resource_state())
            if "processor_runs" not in selected:
                yield sync.row_of_package()
        finally:
            sync.workflows_done = True

    @dlt.resource(name="processor_runs")
    def processor_runs() -> Iterator[Tables | None]:
        sync.start_package(dlt.current.load_package_state()["load_id"])
        saved = dlt.current.resource_state()
        # a run that arrives inside its workflow run is not fetched on its own: those come first
        while (
            "workflow_runs" in dlt.current.source().resources.selected and not sync.workflows_done
        ):
            yield None
        with client:
            for feed in feeds:
                is_known = partial(_known, sync, parents)
                yield from sync.batches(feed, saved.setdefault(feed.name, {}), is_known)
        yield sync.row_of_package()

    @dlt.resource(name="workflows")
    def workflows() -> Iterator[Tables]:
        with client:
            yield from catalogue.workflows(client, context, dlt.current.resource_state())

    @dlt.resource(name="processors")
    def processors() -> Iterator[Tables]:
        with client:
            yield from catalogue.processors(client, context, dlt.current.resource_state())

    return [add_tables(r) for r in (workflow_runs, processor_runs, workflows, processors)]


def _feed(client: Client, runs: api.RunList, read: Any) -> Feed:
    return Feed(
        name=runs.name,
        pages=lambda status: api.run_pages(client, runs, status),
        read=read,
        detail=runs.detail if runs.details else None,
        ordered=runs.ordered,
        optional=runs.optional,
    )


def _reader(context: Context, parents: dict[str, Parent]) -> Any:
    def read(body: bytes, run: Listed) -> rows.Reading:
        return rows.processor_run(body, run, context, parents.get(run.id))

    return read


def _known(sync: Sync, parents: dict[str, Parent], due: Sequence[Listed]) -> set[str]:
    """Due runs that the destination holds already; the parents of the others are noted."""
    wanted = [run for run in due if run.id not in sync.arrived]
    found = loaded.processor_runs(dlt.current.pipeline(), [run.id for run in wanted])
    known = set()
    for run in wanted:
        held = found.get(run.id)
        if held is None:
            continue
        if held.workflow_run_id is not None:
            parents[run.id] = Parent(held.workflow_run_id, held.workflow_step_position)
        if not sync.settings.full and _is_current(held.updated_at, run.updated_at):
            known.add(run.id)
    return known


def _is_current(held: datetime | None, listed: datetime | None) -> bool:
    return held is not None and listed is not None and held >= listed
