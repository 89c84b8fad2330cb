"""Extend's HTTP API: hosts, versions, headers, lists and errors. No rows, no dlt.

    GET /workflow_runs?sortBy=updatedAt&sortDir=desc&maxPageSize=1000&nextPageToken=…
        2026-02-09   {"object": "list", "data": [{"id": …, "updatedAt": …}], "nextPageToken": "…"}
        and older    {"success": true, "workflowRuns": [{…}], "nextPageToken": "…"}
    GET /workflow_runs/{id}

An unknown id, a path that a version lacks and a removed path all answer 404 or 410.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import Raw

from ...core.codec import clean
from ...core.errors import ApiError, ConfigError, InvalidError, ShapeError
from ...core.payload import Payload, is_usable
from ...net.client import Client
from ...net.messages import Request, segment
from ...sync.plan import ListedRun
from ..answers import MAX_STATUS, Params, check_answer, explain_refusal, inspect_entry
from .processor_runs import FINAL_STATUS as FINAL_PROCESSOR_STATUS
from .workflow_runs import FINAL_STATUS as FINAL_WORKFLOW_STATUS

VERSIONS = ("2026-02-09", "2025-04-21", "2024-12-23", "v1")
"""Every documented version, newest first. `v1` is the API before versions were dated."""

HOSTS = {
    "us": "https://api.extend.ai",
    "us2": "https://api.us2.extend.app",
    "eu1": "https://api.eu1.extend.ai",
}
"""Base URL by region."""
V1_HOST = "https://api-prod.extend.app"
"""The host in the documents of v1: the older name of the region us."""

NEWEST_FIRST: Params = (("sortBy", "updatedAt"), ("sortDir", "desc"))
OLDEST_FIRST: Params = (("sortBy", "createdAt"), ("sortDir", "asc"))

PAGE_SIZE = 1000
MAX_PAGES = 100_000

# the date for v1, which its documents describe: a request with a new key and no date gets a 400
_V1_DATE = "2024-11-14"

# keys that a list's summaries have, and the details of the same version lack
_SUMMARY_KEYS = (
    "workflowVersionId",
    "reviewedByUser",
    "rejectionNote",
    "processorId",
    "processorName",
    "processorVersionId",
)


def version(name: str, key: str) -> str:
    """The version, if it is documented. ConfigError names the config key."""
    if name not in VERSIONS:
        raise ConfigError(
            key, f"{name!r} is not a version of Extend's API.", f"Known: {', '.join(VERSIONS)}."
        )
    return name


def host(api_version: str, region: str, key: str) -> str:
    """The base URL of a region. ConfigError names the config key."""
    if region not in HOSTS:
        raise ConfigError(
            key, f"{region!r} is not a region of Extend.", f"Known: {', '.join(sorted(HOSTS))}."
        )
    return V1_HOST if api_version == "v1" and region == "us" else HOSTS[region]


def ids_of(api_version: str) -> str:
    """The group of versions with equal ids of processor runs: dpr_… became exr_…, clr_… and splr_…."""
    return VERSIONS[0] if api_version == VERSIONS[0] else f"{VERSIONS[1]} and before"


def headers(api_key: str, api_version: str, workspace_id: str | None) -> dict[str, str]:
    """The headers of every request."""
    values = {
        "authorization": f"Bearer {api_key}",
        "x-extend-api-version": _V1_DATE if api_version == "v1" else api_version,
        "accept": "application/json",
        "user-agent": "docruns",
    }
    if workspace_id:
        values["x-extend-workspace-id"] = workspace_id
    return values


@dataclass(frozen=True)
class ListEndpoint:
    """One list of runs.

    `ordered`: the server can send the newest change first. `details`: a run may be fetched by its id.
    `optional`: an API version, or a server with it, may lack the list.
    """

    name: str
    envelope: str
    final: frozenset[str]
    ordered: bool = True
    details: bool = True
    optional: bool = True

    def detail(self, run_id: str) -> Request:
        """The request for one run in full."""
        return Request(f"/{self.name}/{segment(run_id)}", subject=run_id)


def run_lists(api_version: str, list_processor_runs: bool | None) -> tuple[ListEndpoint, list[ListEndpoint]]:
    """The workflow-run list of a version, and its lists of processor runs.

    Verify runs are never fetched: reading one can use up the customer's only copy of it. Extend does not
    document whether 2024-12-23 lists processor runs: True or False decides, None tries.
    """
    new = api_version == "2026-02-09"
    workflows = ListEndpoint(
        "workflow_runs", "data" if new else "workflowRuns", FINAL_WORKFLOW_STATUS, optional=False
    )
    if new:
        final = FINAL_PROCESSOR_STATUS
        return workflows, [
            ListEndpoint("extract_runs", "data", final, optional=False),
            ListEndpoint("classify_runs", "data", final, optional=False),
            ListEndpoint("split_runs", "data", final, optional=False),
            ListEndpoint("parse_runs", "data", final, ordered=False),
            ListEndpoint("edit_runs", "data", final),
            ListEndpoint("verify_runs", "data", final, details=False),
        ]
    if list_processor_runs is False or (list_processor_runs is None and api_version == "v1"):
        return workflows, []
    optional = api_version != "2025-04-21" and not list_processor_runs
    processors = ListEndpoint("processor_runs", "processorRuns", FINAL_PROCESSOR_STATUS, optional=optional)
    return workflows, [processors]


@dataclass(frozen=True)
class CatalogueEndpoint:
    """One list of the catalogue. `envelope` and `version_envelope` are the keys of its rows and versions."""

    name: str
    envelope: str
    version_envelope: str
    type: str | None = None
    """EXTRACT, CLASSIFY, SPLIT; None for workflows, and where each row has its own type."""


def catalogue(api_version: str) -> list[CatalogueEndpoint]:
    """The catalogue's lists in a version; before 2025-04-21 there are none."""
    if api_version == "2026-02-09":
        return [
            CatalogueEndpoint("workflows", "data", "data"),
            CatalogueEndpoint("extractors", "data", "data", "EXTRACT"),
            CatalogueEndpoint("classifiers", "data", "data", "CLASSIFY"),
            CatalogueEndpoint("splitters", "data", "data", "SPLIT"),
        ]
    if api_version == "2025-04-21":
        return [CatalogueEndpoint("processors", "processors", "versions")]
    return []


def run_pages(client: Client, runs: ListEndpoint, status: str | None = None) -> Iterator[list[ListedRun]]:
    """The list's pages, newest change first where the server can order it.

    A row whose id is missing or cannot be requested gets the id ''. With a `status`: only runs with it, and
    no page where the server does not know the status.
    """
    # parse runs have no order; some servers call the page size `limit`
    params: Params = NEWEST_FIRST if runs.ordered else (("limit", PAGE_SIZE),)
    if status is not None:
        if len(status) > MAX_STATUS:
            return
        params = (*params, ("status", status))
    # a hundred thousand rows repeat a few values: one copy of each is kept
    copies: dict[Any, Any] = {}
    try:
        for rows in pages(client, f"/{runs.name}", params, runs.envelope):
            yield [_listed(row, runs, copies) for row in rows]
    except InvalidError:
        if status is None:
            raise


def _listed(raw: Raw, runs: ListEndpoint, copies: dict[Any, Any]) -> ListedRun:
    row = inspect_entry(raw)
    id_ = row.text("id") or ""
    id_ = id_ if is_usable(id_) else ""
    status = row.text("status")
    status = copies.setdefault(status, status)
    created, updated = row.time("createdAt"), row.time("updatedAt")
    if not id_ or not runs.details:
        # the row is kept as it came
        summary: dict[str, Any] | None = {"row": bytes(raw).decode(errors="replace")}
    else:
        texts = tuple((key, text) for key in _SUMMARY_KEYS if (text := row.text(key)) is not None)
        summary = copies.setdefault(texts, dict(texts)) if texts else None
    return ListedRun(id_, status, created, updated, status in runs.final, summary)


def pages(client: Client, path: str, params: Params, envelope: str) -> Iterator[list[Raw]]:
    """The rows of a list, page by page, until an answer has no token. [] while a page is on its way.

    A short or empty page does not end a list. A token that repeats would never end: ShapeError. A token that
    expires (400) starts the list again, once; rows then come twice.
    """
    token, seen, restarted = None, set[str](), False
    while len(seen) < MAX_PAGES:
        query: Params = (("maxPageSize", PAGE_SIZE), *params)
        if token is not None:
            query += (("nextPageToken", token),)
        request = Request(path, query, subject=path)
        client.begin([request])
        yield []
        try:
            reply = client.get(request)
        except InvalidError:
            if token is None or restarted:
                raise
            token, seen, restarted = None, set(), True
            continue
        page = Payload(clean(reply.body))
        entries = page.raws(envelope)
        if envelope in page:
            raise ShapeError(f"{envelope!r} is not a list", request=f"GET {path}")
        if entries is None and "nextPageToken" not in page:
            raise ShapeError(f"the answer has no list {envelope!r}", request=f"GET {path}")
        yield entries or []
        token = page.label("nextPageToken") or None
        if "nextPageToken" in page:
            raise ShapeError("the page token is not a text", request=f"GET {path}")
        if token is None:
            return
        if token in seen:
            raise ShapeError(
                f"the list goes in circles: page token number {len(seen)} repeats an earlier one",
                request=f"GET {path}",
            )
        seen.add(token)
    raise ShapeError(f"the list did not end after {MAX_PAGES} pages", request=f"GET {path}")


def check(body: bytes, request: str) -> None:
    """ShapeError where the body of a 200 is no usable answer."""
    check_answer(body, request, (b'"data"', b'"id"'), _is_error)


def _is_error(answer: Payload) -> bool:
    is_envelope = "error" in answer or ("code" in answer and "message" in answer)
    return is_envelope or answer.boolean("success") is False


def explain(status: int, headers: Mapping[str, str], body: bytes, request: str) -> ApiError:
    """The error of a refused request.

    {"code": "UNAUTHORIZED", "message": "…", "requestId": "…", "retryable": false}, or wrapped in
    {"error": {…}}, or {"success": false, "error": "text"}, or a gateway's HTML, or nothing.
    """
    return explain_refusal(status, headers, body, request, "x-extend-request-id", _message)


def _message(answer: Payload, inner: Payload) -> str | None:
    return inner.text("message") or answer.text("error")
