"""Extend as a dlt source: settings in, resources out. What they do is in `sync`, `api` and `rows`."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import dlt
from dlt.common.typing import TSecretStrValue

from ...core.errors import ConfigError
from ...core.parsed import ParsedRun
from ...core.settings import check_base_url, check_key, is_loopback, platform
from ...net.client import Client
from ...store.arrow import Tables
from ...store.environment import warn_of_readable_secrets
from ...store.merge_hints import CONTRACT, Hints
from ...sync.lists import RunList
from ...sync.plan import ListedRun
from ...sync.sync import Sync
from ..identity import check_storage_mode
from ..resources import add_tables, run_resources
from ..settings import make_client, make_settings
from . import api, catalogue, workflow_runs
from .processor_runs import Context


@dlt.source(name="extend", section="extend", schema_contract=CONTRACT)
def extend(
    api_key: TSecretStrValue | None = None,
    base_url: str | None = None,
    api_version: str = api.VERSIONS[0],
    region: str = "us",
    workspace_id: str | None = None,
    requests_per_second: float | None = None,
    concurrency: int = 32,
    max_response_mb: float = 256.0,
    overlap: str = "1h",
    recheck_for: str = "30d",
    chunk_runs: int | None = None,
    since: str | None = None,
    until: str | None = None,
    max_runs: int | None = None,
    full: bool = False,
    include_parse_output: bool = False,
    list_processor_runs: bool | None = None,
    field_values: str = "keep",
    hash_key: TSecretStrValue | None = None,
    drop_columns: list[str] | None = None,
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
        requests_per_second: The most requests a second, over everything that uses the key on this machine;
            default: found out, from 10 up; on loopback without a limit until the first 429.
        concurrency: Requests in flight.
        max_response_mb: MiB, unpacked, above which an answer is refused.
        overlap: How far below the watermark lists are walked again, e.g. 30m, 1h, 2d.
        recheck_for: How long after its last change a run that is not final is looked for.
        chunk_runs: Runs per load package; default: all that are due in one package.
        since: Load only runs whose last change is at or after this time, RFC 3339.
        until: Load only runs whose last change is before this time, RFC 3339.
        max_runs: Fetch at most so many runs.
        full: Fetch every run again, changed or not.
        include_parse_output: Keep a parse run's chunks and blocks as JSON in `parse_output`.
        list_processor_runs: Whether the server lists processor runs before 2025-04-21; default: try.
        field_values: What is written of private columns (`docruns tables` marks them): keep, hash or drop.
        hash_key: The key of these hashes; a secret like api_key.
        drop_columns: Columns that stay empty, as `column` or `table.column`.
        on_sync: Called with this load's `Sync`, for progress and counts.

    Raises:
        ConfigError: A setting is missing or wrong; names its key.
        RefusedError: The platform does not accept the key.
        ApiError: The platform cannot be reached or gives no usable answer.
    """
    version = api.version(api_version, "sources.extend.api_version")
    host = api.host(version, region, "sources.extend.region")
    url = check_base_url(base_url or host, "sources.extend.base_url")
    workspace = workspace_id or os.environ.get("EXTEND_WORKSPACE_ID") or None
    key = _key(api_key, is_loopback(url))
    client = make_client(
        "sources.extend",
        url,
        key,
        api.headers(key, version, workspace),
        api.explain,
        api.check,
        requests_per_second=requests_per_second,
        concurrency=concurrency,
        max_response_mb=max_response_mb,
    )
    settings = make_settings(
        "sources.extend",
        overlap=overlap,
        recheck_for=recheck_for,
        chunk_runs=chunk_runs,
        since=since,
        until=until,
        max_runs=max_runs,
        full=full,
        field_values=field_values,
        hash_key=hash_key,
        drop_columns=drop_columns,
        origin={
            "base_url": platform(api.HOSTS["us"] if url == api.V1_HOST else url),
            "workspace_id": workspace,
            "api_version": api.ids_of(version),
        },
    )
    sync = Sync("extend", client, settings)
    if on_sync is not None:
        on_sync(sync)
    context = Context(version, workspace, include_parse_output)
    return _resources(sync, client, context, list_processor_runs)


def _key(api_key: str | None, local: bool) -> str:
    warn_of_readable_secrets()
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
    listed: ChainMap[str, ListedRun] = ChainMap()
    context = context._replace(summaries=listed)

    def read_alone(body: bytes, run: ListedRun) -> ParsedRun:
        return workflow_runs.processor_run(body, run, context, sync.parents.get(run.id))

    @dlt.resource(name="workflows")
    def workflows() -> Iterator[Tables | None]:
        check_storage_mode(sync)
        with sync.opened():
            yield from catalogue.workflows(sync, context, dlt.current.resource_state())

    @dlt.resource(name="processors")
    def processors() -> Iterator[Tables | None]:
        check_storage_mode(sync)
        with sync.opened():
            yield from catalogue.processors(sync, context, dlt.current.resource_state())

    main = _feed(client, runs, partial(workflow_runs.workflow_run, context=context))
    feeds = [_feed(client, kind, read_alone) for kind in kinds]
    hints = Hints()
    return [
        *run_resources(sync, main, feeds, listed),
        *(add_tables(each, sync.settings.privacy, hints) for each in (workflows, processors)),
    ]


def _feed(
    client: Client, runs: api.ListEndpoint, read: Callable[[bytes, ListedRun], ParsedRun]
) -> RunList:
    return RunList(
        name=runs.name,
        pages=lambda status: api.run_pages(client, runs, status),
        read=read,
        detail=runs.detail if runs.details else None,
        ordered=lambda: runs.ordered,
        optional=runs.optional,
    )
