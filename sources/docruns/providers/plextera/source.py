"""Plextera as a platform that can be loaded, and as a dlt source. Its parts are those of Extend's."""

from __future__ import annotations

import json
from functools import wraps
from hashlib import sha256
from inspect import unwrap
from typing import Any

import dlt
from dlt.common.typing import TSecretStrValue

from ...core.parsed import ParsedRun
from ...core.settings import check_base_url, check_key, platform_of
from ...net.client import Client
from ...store.merges.hints import CONTRACT
from ...sync.listed import ListedRun
from ...sync.lists import KnownRuns, Parse, Platform, RunList
from ...sync.sync import Sync
from ..resources import run_resources
from ..settings import ClientOptions, LoadOptions, check_bounds, configured, find_api_key, make_archive
from . import api, pages
from .runs import API_VERSION, MAX_DEPTH, Context, extraction, workflow_run


@configured("plextera")
def connect_plextera(
    api_key: TSecretStrValue | None = None,
    base_url: str | None = None,
    workspace: str | None = None,
    requests_per_second: float | None = None,
    concurrency: int = 32,
    max_response_mb: float = 256.0,
    overlap: str = "1h",
    recheck_for: str = "30d",
    replica_lag: str = "2m",
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
    archive: str | None = None,
) -> Platform:
    """Workflow runs, nested ones among them, their steps, and extractions with their fields, from Plextera.

    Resources: `workflow_runs` (with steps and nested runs) and `processor_runs` (extractions, with fields and
    citations). Each run that is due costs one request. A run that did not change since the last load costs
    none.

    Args:
        api_key: The key, with or without its `api-key` prefix, also read from PLEXTERA_API_KEY.
            Optional on loopback addresses.
        base_url: The API's address with its path.
        workspace: A label for every row, because ids are unique within a workspace only.
        requests_per_second: The most requests a second, for all processes on this machine that use
            the key. Default: docruns finds the limit, starting at 10; on loopback there is none until
            the first 429.
        concurrency: Requests in flight.
        max_response_mb: The largest answer in MiB after decompression; a larger one is an error.
        overlap: How far below the watermark a load walks lists again, e.g. 30m, 1h, 2d.
        recheck_for: How long after its last change a load looks for a run that is not final.
        replica_lag: How much older than the lists an answer may be. A run that was read sooner after
            its last change, and whose answer has no date, is read once more by a later load.
        chunk_runs: Runs per load package. Default: all due runs in one package.
        since: Load only runs whose last change is at or after this time, RFC 3339.
        until: Load only runs whose last change is before this time, RFC 3339.
        max_runs: The most runs to fetch.
        full: Fetch every run again, changed or not.
        page_size: Rows per page, 1 to 100.
        page_start: Number of the first page, 0 or 1. Default: docruns finds out.
        sort_runs: Whether the server can sort workflow runs by last change. Default: docruns
            finds out.
        sort_extractions: Whether the server can sort extractions by last change. Default: docruns
            finds out.
        max_depth: Levels of nested runs that become rows. Deeper runs stay in `extra` of their step.
        extra_params: Query parameters for both lists, sent as they are, e.g. a filter.
        field_values: keep, hash or drop values of private columns (`docruns tables` marks them).
        hash_key: The key of these hashes, a secret like api_key.
        drop_columns: Columns that stay empty, as `column` or `table.column`.
        archive: A folder, or a URL of fsspec, that keeps every answer as it came but for signed URLs.

    Raises:
        ConfigError: A setting is missing or wrong. The message names its key.
        RefusedError: The platform does not accept the key.
        ApiError: The platform cannot be reached or sends no usable answer.
    """
    url = check_base_url(base_url or api.BASE_URL, "sources.plextera.base_url")
    key = check_key(api.bare_key(find_api_key("plextera", api_key, url)), "sources.plextera.api_key")
    check_bounds("sources.plextera.page_size", page_size, 1, 100)
    check_bounds("sources.plextera.page_start", page_start, 0, 1)
    check_bounds("sources.plextera.max_depth", max_depth, 0)
    client = ClientOptions(requests_per_second, concurrency, max_response_mb).make_client(
        "sources.plextera", url, key, api.headers(key), api.explain, api.check
    )
    options = LoadOptions(
        overlap,
        recheck_for,
        replica_lag,
        chunk_runs,
        since,
        until,
        max_runs,
        full,
        field_values,
        hash_key,
        drop_columns,
    )
    settings = options.make_settings(
        "sources.plextera",
        {
            "base_url": platform_of(url),
            "workspace": workspace,
            "extra_params": _digest(extra_params),
        },
        {"max_depth": max_depth},
    )
    extra = tuple((extra_params or {}).items())
    lists = _lists(
        client,
        pages.Paging(page_size, page_start, sort_runs, extra),
        pages.Paging(page_size, page_start, sort_extractions, extra),
        workspace,
        max_depth,
    )
    keeper = make_archive("plextera", archive, settings, API_VERSION, workspace)
    return Platform("plextera", client, settings, lists, run_resources, has_nested_runs=True, archive=keeper)


@dlt.source(name="plextera", section="plextera", schema_contract=CONTRACT)
@wraps(connect_plextera, assigned=("__doc__",))
def plextera(*args: Any, **settings: Any) -> list[Any]:
    """The dlt source, with the settings of `connect_plextera`."""
    # dlt has taken what is missing from its configuration already
    platform = unwrap(connect_plextera)(*args, **settings)
    assert isinstance(platform, Platform)
    return platform.resources(Sync(platform))


def _digest(extra_params: dict[str, Any] | None) -> str | None:
    """What tells parameters apart, without them: one can be a secret."""
    return (
        sha256(json.dumps(extra_params, sort_keys=True).encode()).hexdigest()[:16] if extra_params else None
    )


def _lists(
    client: Client,
    runs_paging: pages.Paging,
    extractions_paging: pages.Paging,
    workspace: str | None,
    max_depth: int,
) -> tuple[RunList, ...]:
    """The list of workflow runs and the list of extractions."""

    def context_of(known: KnownRuns) -> Context:
        return Context(workspace, known.listed, known.links.get, max_depth)

    def parse_workflow_run(body: bytes, run: ListedRun, known: KnownRuns) -> ParsedRun:
        return workflow_run(body, run, context_of(known))

    def parse_extraction(body: bytes, run: ListedRun, known: KnownRuns) -> ParsedRun:
        return extraction(body, run, context_of(known), known.parents.get(run.id))

    def run_list(endpoint: pages.ListEndpoint, parse: Parse, optional: bool) -> RunList:
        return RunList(
            name=endpoint.name,
            pages=lambda status: pages.run_pages(client, endpoint, status),
            parse=parse,
            detail=endpoint.detail,
            is_ordered=lambda: endpoint.sorted,
            doubt=lambda: endpoint.doubt,
            other_pages=lambda: pages.other_pages(client, endpoint),
            optional=optional,
        )

    runs = pages.ListEndpoint("workflow_runs", "/workflow-runs", api.FINAL_RUN_STATUS, runs_paging)
    extractions = pages.ListEndpoint(
        "extractions", "/document-insights/extractions", api.FINAL_EXTRACTION_STATUS, extractions_paging
    )
    return run_list(runs, parse_workflow_run, False), run_list(extractions, parse_extraction, True)
