"""Plextera as a dlt source: settings in, resources out. What they do is in `sync`, `api` and `rows`."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Callable, Sequence
from typing import Any

import dlt
from dlt.common.typing import TSecretStrValue

from ...core.errors import ConfigError
from ...core.parsed import ParsedRun
from ...core.settings import check_base_url, check_key, is_loopback, platform
from ...store.environment import warn_of_readable_secrets
from ...store.merge_hints import CONTRACT
from ...sync.lists import RunList
from ...sync.plan import ListedRun
from ...sync.sync import Sync
from ..resources import run_resources
from ..settings import check_bounds, make_client, make_settings
from . import api
from .runs import MAX_DEPTH, Context, extraction, workflow_run


@dlt.source(name="plextera", section="plextera", schema_contract=CONTRACT)
def plextera(
    api_key: TSecretStrValue | None = None,
    base_url: str | None = None,
    workspace: str | None = None,
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
    page_size: int = 50,
    page_start: int | None = None,
    sort_runs: bool | None = None,
    sort_extractions: bool | None = None,
    max_depth: int = MAX_DEPTH,
    extra_params: dict[str, Any] | None = None,
    field_values: str = "keep",
    hash_key: TSecretStrValue | None = None,
    drop_columns: list[str] | None = None,
    on_sync: Callable[[Sync], None] | None = None,
) -> Sequence[Any]:
    """Workflow runs, nested ones among them, their steps, and extractions with their fields, from Plextera.

    Resources: `workflow_runs` (with steps and nested runs) and `processor_runs` (extractions, with fields and
    citations). Each run that is due costs one request; one that did not change costs none.

    Args:
        api_key: The key, with or without its `api-key` prefix; also read from PLEXTERA_API_KEY. On this
            machine's own addresses optional.
        base_url: The API's address with its path.
        workspace: A label for every row: ids are unique within a workspace only.
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
        page_size: Rows per page, 1 to 100.
        page_start: Number of the first page, 0 or 1; default: find out.
        sort_runs: Whether workflow runs can be sorted by last change; default: find out.
        sort_extractions: The same for extractions.
        max_depth: Levels of nested runs that become rows of their own.
        extra_params: Query parameters for both lists, passed through as they are, e.g. a filter.
        field_values: What is written of private columns (`docruns tables` marks them): keep, hash or drop.
        hash_key: The key of these hashes; a secret like api_key.
        drop_columns: Columns that stay empty, as `column` or `table.column`.
        on_sync: Called with this load's `Sync`, for progress and counts.

    Raises:
        ConfigError: A setting is missing or wrong; names its key.
        RefusedError: The platform does not accept the key.
        ApiError: The platform cannot be reached or gives no usable answer.
    """
    url = check_base_url(base_url or api.BASE_URL, "sources.plextera.base_url")
    key = _key(api_key, is_loopback(url))
    check_bounds("sources.plextera.page_size", page_size, 1, 100)
    check_bounds("sources.plextera.page_start", page_start, 0, 1)
    check_bounds("sources.plextera.max_depth", max_depth, 0)
    client = make_client(
        "sources.plextera",
        url,
        key,
        api.headers(key),
        api.explain,
        api.check,
        requests_per_second=requests_per_second,
        concurrency=concurrency,
        max_response_mb=max_response_mb,
    )
    settings = make_settings(
        "sources.plextera",
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
        origin={"base_url": platform(url), "workspace": workspace},
    )
    sync = Sync("plextera", client, settings)
    if on_sync is not None:
        on_sync(sync)
    extra = tuple((extra_params or {}).items())
    runs = api.ListEndpoint(
        "workflow_runs",
        "/workflow-runs",
        api.FINAL_RUN_STATUS,
        api.Paging(page_size, page_start, sort_runs, extra),
    )
    extractions = api.ListEndpoint(
        "extractions",
        "/document-insights/extractions",
        api.FINAL_EXTRACTION_STATUS,
        api.Paging(page_size, page_start, sort_extractions, extra),
    )
    return _resources(sync, runs, extractions, workspace, max_depth)


def _key(api_key: str | None, local: bool) -> str:
    warn_of_readable_secrets()
    key = api_key or os.environ.get("PLEXTERA_API_KEY") or ("sandbox" if local else None)
    if key is None:
        raise ConfigError(
            "sources.plextera.api_key",
            "is not set.",
            "Put it into .dlt/secrets.toml under [sources.plextera], or set PLEXTERA_API_KEY.",
        )
    # the prefix and the key are two words
    prefix, _, rest = key.strip().partition(" ")
    return check_key(rest if prefix.lower() == "api-key" else key, "sources.plextera.api_key")


def _resources(
    sync: Sync,
    runs: api.ListEndpoint,
    extractions: api.ListEndpoint,
    workspace: str | None,
    max_depth: int,
) -> Sequence[Any]:
    listed: ChainMap[str, ListedRun] = ChainMap()
    context = Context(workspace, listed, sync.links.get, max_depth)

    def read_extraction(body: bytes, run: ListedRun) -> ParsedRun:
        return extraction(body, run, context, sync.parents.get(run.id))

    def feed(kind: api.ListEndpoint, read: Callable[[bytes, ListedRun], ParsedRun]) -> RunList:
        return RunList(
            name=kind.name,
            pages=lambda status: api.run_pages(sync.client, kind, status),
            read=read,
            detail=kind.detail,
            ordered=lambda: kind.sorted,
        )

    main = feed(runs, lambda body, run: workflow_run(body, run, context))
    return run_resources(sync, main, [feed(extractions, read_extraction)], listed, nested=True)
