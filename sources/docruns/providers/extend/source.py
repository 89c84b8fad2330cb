"""Extend as a platform that can be loaded, and as a dlt source.

A provider's source has four parts:

    connect_<name>   settings, with their docs ──► Platform
    <name>           the dlt source: resources of that platform, with the same settings
    _lists           its lists of runs, each with its pages, its detail request and its parser
    _resources       the dlt resources; only where there are more than the two run resources
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, MutableMapping
from functools import partial, wraps
from inspect import unwrap
from typing import Any

import dlt
from dlt.common.typing import TSecretStrValue

from ...core.parsed import ParsedRun
from ...core.settings import check_base_url, check_key, platform_of
from ...store.arrow import Tables
from ...store.merges.hints import CONTRACT, Hints
from ...sync.listed import ListedRun
from ...sync.lists import KnownRuns, Parse, Platform, RunList
from ...sync.sync import Sync
from ..identity import check_storage_mode
from ..resources import add_tables, run_resources
from ..settings import ClientOptions, LoadOptions, check_bounds, configured, find_api_key, make_archive
from . import api, catalogue, evaluation, workflow_runs
from .processor_runs import Context


@configured("extend")
def connect_extend(
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
    replica_lag: str = "2m",
    chunk_runs: int | None = None,
    since: str | None = None,
    until: str | None = None,
    max_runs: int | None = None,
    full: bool = False,
    include_parse_output: bool = False,
    page_size: int = api.PAGE_SIZE,
    list_processor_runs: bool | None = None,
    field_values: str = "keep",
    hash_key: TSecretStrValue | None = None,
    drop_columns: list[str] | None = None,
    archive: str | None = None,
) -> Platform:
    """Workflow runs, processor runs, their fields and all other rows of a run, from Extend.

    Resources: `workflow_runs` (with their steps, processor runs, fields, insights, citations, splits and
    files), `processor_runs` (those outside of workflow runs), `workflows`, `processors`, `evaluation_sets`.
    Each run that is due costs one request. A run that did not change since the last load costs none. Every
    yield holds whole runs, so any limit leaves whole runs and a correct state.

    Args:
        api_key: The key, also read from EXTEND_API_KEY. Optional on loopback addresses.
        base_url: The API's address without a path. Default: the region's host.
        api_version: 2026-02-09, 2025-04-21, 2024-12-23 or v1.
        region: us, us2 (HIPAA) or eu1.
        workspace_id: The workspace, for an organisation key. Also read from EXTEND_WORKSPACE_ID.
        requests_per_second: The most requests a second, for all processes on this machine that use
            the key. Default: docruns finds the limit, starting at 10; on loopback there is none until
            the first 429.
        concurrency: Requests in flight.
        max_response_mb: The largest answer in MiB after decompression; a larger one is an error.
        overlap: How far below the watermark a load walks lists again, e.g. 30m, 1h, 2d.
        recheck_for: How long after its last change a load looks for a run that is not final, and lists
            the items of an evaluation set.
        replica_lag: How much older than the lists an answer may be. A run that was read sooner after
            its last change, and whose answer has no date, is read once more by a later load.
        chunk_runs: Runs per load package. Default: all due runs in one package.
        since: Load only runs whose last change is at or after this time, RFC 3339.
        until: Load only runs whose last change is before this time, RFC 3339.
        max_runs: The most runs to fetch.
        full: Fetch every run again, changed or not.
        include_parse_output: Keep a parse run's chunks and blocks as JSON in `parse_output`.
        page_size: Rows per page of a list, 1 to 1000. Where the server refuses it, docruns asks for fewer.
        list_processor_runs: Whether a server before 2025-04-21 lists processor runs. Default: try.
        field_values: keep, hash or drop values of private columns (`docruns tables` marks them).
        hash_key: The key of these hashes, a secret like api_key.
        drop_columns: Columns that stay empty, as `column` or `table.column`.
        archive: A folder, or a URL of fsspec, that keeps every answer as it came but for signed URLs.

    Raises:
        ConfigError: A setting is missing or wrong. The message names its key.
        RefusedError: The platform does not accept the key.
        ApiError: The platform cannot be reached or sends no usable answer.
    """
    version = api.version(api_version, "sources.extend.api_version")
    host = api.host(version, region, "sources.extend.region")
    url = check_base_url(base_url or host, "sources.extend.base_url")
    workspace = workspace_id or os.environ.get("EXTEND_WORKSPACE_ID") or None
    key = check_key(find_api_key("extend", api_key, url), "sources.extend.api_key")
    check_bounds("sources.extend.page_size", page_size, 1, api.PAGE_SIZE)
    client = ClientOptions(requests_per_second, concurrency, max_response_mb).make_client(
        "sources.extend", url, key, api.headers(key, version, workspace), api.explain, api.check
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
        "sources.extend",
        {
            "base_url": platform_of(api.HOSTS["us"] if url == api.V1_HOST else url),
            "workspace_id": workspace,
            "api_version": api.ids_of(version),
        },
        {"include_parse_output": include_parse_output},
    )
    context = Context(version, workspace, include_parse_output)
    pager = api.Pager(client, page_size)
    lists = _lists(pager, context, list_processor_runs)
    resources = partial(_resources, context=context, pager=pager)
    keeper = make_archive("extend", archive, settings, version, workspace)
    return Platform("extend", client, settings, lists, resources, archive=keeper)


@dlt.source(name="extend", section="extend", schema_contract=CONTRACT)
@wraps(connect_extend, assigned=("__doc__",))
def extend(*args: Any, **settings: Any) -> list[Any]:
    """The dlt source, with the settings of `connect_extend`."""
    # dlt has taken what is missing from its configuration already
    platform = unwrap(connect_extend)(*args, **settings)
    assert isinstance(platform, Platform)
    return platform.resources(Sync(platform))


def _lists(pager: api.Pager, context: Context, list_processor_runs: bool | None) -> tuple[RunList, ...]:
    """The list of workflow runs, then the lists of processor runs that the API version has."""

    def parse_workflow_run(body: bytes, run: ListedRun, known: KnownRuns) -> ParsedRun:
        return workflow_runs.workflow_run(body, run, context._replace(summaries=known.listed))

    def parse_processor_run(body: bytes, run: ListedRun, known: KnownRuns, type_: str | None) -> ParsedRun:
        listed = context._replace(summaries=known.listed, listed_type=type_)
        summary = {"riskLevel": known.risk_levels.get(run.id), **(run.summary or {})}
        run = run._replace(source=known.sources.get(run.id) or run.source, summary=summary)
        return workflow_runs.processor_run(body, run, listed, known.parents.get(run.id))

    def run_list(endpoint: api.ListEndpoint, parse: Parse) -> RunList:
        return RunList(
            sources=endpoint.sources,
            of_source=lambda source: pager.runs(endpoint, source=source),
            name=endpoint.name,
            pages=lambda status: pager.runs(endpoint, status),
            parse=parse,
            detail=endpoint.detail if endpoint.details else None,
            is_ordered=lambda: endpoint.ordered,
            optional=endpoint.optional,
        )

    runs, others = api.run_lists(context.api_version, list_processor_runs)
    return (
        run_list(runs, parse_workflow_run),
        *(run_list(endpoint, partial(parse_processor_run, type_=endpoint.type)) for endpoint in others),
    )


def _resources(sync: Sync, context: Context, pager: api.Pager) -> list[Any]:
    """The dlt resources of one load: the two that all platforms have, the catalogue and the evaluation sets."""

    def resource(name: str, load: Callable[[MutableMapping[str, Any]], Iterator[Tables | None]]) -> Any:
        @dlt.resource(name=name)
        def rows() -> Iterator[Tables | None]:
            check_storage_mode(sync.platform)
            with sync.open_client():
                yield from load(dlt.current.resource_state())

        return add_tables(rows, sync.settings.privacy, hints)

    def of_catalogue(saved: MutableMapping[str, Any], of_workflows: bool) -> Iterator[Tables | None]:
        return catalogue.load(sync, pager, context, saved, of_workflows)

    hints, pager = Hints(), pager.through(sync.platform.answers)
    return [
        *run_resources(sync),
        resource("workflows", partial(of_catalogue, of_workflows=True)),
        resource("processors", partial(of_catalogue, of_workflows=False)),
        resource("evaluation_sets", partial(evaluation.load, sync, pager, context)),
    ]
