"""Extend's HTTP API: hosts, versions, headers, lists and errors. No rows, no dlt.

    GET /workflow_runs?sortBy=updatedAt&sortDir=desc&maxPageSize=1000&nextPageToken=…
        2026-02-09   {"object": "list", "data": [{"id": …, "updatedAt": …}], "nextPageToken": "…"}
        and older    {"success": true, "workflowRuns": [{…}], "nextPageToken": "…"}
    GET /workflow_runs/{id}

An unknown id, a path that a version lacks and a removed path all answer 404 or 410.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec import Raw

from ...core.codec import clean
from ...core.errors import ApiError, ConfigError, InvalidError, ShapeError
from ...core.payload import Payload, is_usable
from ...net.messages import Request, segment
from ...net.stored import Answers
from ...sync.listed import ListedRun
from ..answers import MAX_STATUS, Circle, Params, check_answer, explain_refusal, inspect_entry
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

SOURCES = (
    "API", "STUDIO", "BATCH_PROCESSOR_RUN", "ADMIN", "PLAYGROUND", "WORKFLOW_CONFIGURATION", "WORKFLOW_RUN",
)  # fmt: skip
"""What the lists of processor runs can be filtered by."""
PARSE_SOURCES = (
    "DOCUMENT_PROCESSOR_RUN", "API", "STUDIO", "BATCH_PARSER_RUN", "EDIT_RUN", "ADMIN", "WORKFLOW_RUN",
)  # fmt: skip
"""The same for parse runs."""

PAGE_SIZE = 1000
SMALLER_PAGES = (100, 20)

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
    `optional`: a load goes on without the list. `size_name`: another name that servers may have for the size of
    its pages. `type`: of its runs; None where each says its own. `sources`: what its runs can be made by, the usual
    ones first, where no run says it.
    """

    name: str
    envelope: str
    final: frozenset[str]
    ordered: bool = True
    details: bool = True
    optional: bool = True
    size_name: str | None = None
    type: str | None = None
    sources: tuple[str, ...] = ()

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
            ListEndpoint("extract_runs", "data", final, type="EXTRACT", sources=SOURCES),
            ListEndpoint("classify_runs", "data", final, type="CLASSIFY", sources=SOURCES),
            ListEndpoint("split_runs", "data", final, type="SPLIT", sources=SOURCES),
            ListEndpoint(
                "parse_runs",
                "data",
                final,
                ordered=False,
                size_name="limit",
                type="PARSE",
                sources=PARSE_SOURCES,
            ),
            ListEndpoint("edit_runs", "data", final, type="EDIT", sources=("API", "STUDIO", "ADMIN")),
            # each row says its source
            ListEndpoint("verify_runs", "data", final, details=False, type="VERIFY"),
        ]
    if list_processor_runs is False or (list_processor_runs is None and api_version == "v1"):
        return workflows, []
    return workflows, [
        ListEndpoint("processor_runs", "processorRuns", FINAL_PROCESSOR_STATUS, sources=SOURCES)
    ]


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


class EvaluationEndpoint(NamedTuple):
    """The lists of evaluation sets and of a set's items: the names that the keys of their rows may have."""

    sets: str
    items: str

    @staticmethod
    def of_set(set_id: str) -> str:
        """The path of a set's items."""
        return f"/evaluation_sets/{segment(set_id)}/items"

    def item(self, set_id: str, item_id: str) -> Request:
        """The request for an item with its expected output."""
        return Request(f"{self.of_set(set_id)}/{segment(item_id)}", subject=item_id)


def evaluation(api_version: str) -> EvaluationEndpoint | None:
    """The lists of evaluation sets in a version; before 2025-04-21 there are none."""
    if api_version == "2026-02-09":
        return EvaluationEndpoint("data evaluationSets", "data evaluationSetItems")
    if api_version == "2025-04-21":
        # the names of its list of items are not documented
        return EvaluationEndpoint("evaluationSets data", "evaluationSetItems evaluationItems items data")
    return None


class _Page(NamedTuple):
    rows: list[Raw]
    token: str | None


class Pager:
    """Reads lists page by page, with the largest pages that the server allows.

    Extend does not document the largest page of every version. A server that refuses `size` rows is asked for
    fewer, at last for its default.
    """

    def __init__(self, client: Answers, size: int = PAGE_SIZE) -> None:
        self.client = client
        self._sizes = [size, *(smaller for smaller in SMALLER_PAGES if smaller < size), None]

    def through(self, client: Answers) -> Pager:
        """The same pages, asked for with another client."""
        other = copy(self)
        other.client = client
        return other

    def runs(
        self, runs: ListEndpoint, status: str | None = None, source: str | None = None
    ) -> Iterator[list[ListedRun]]:
        """A list's pages, newest change first where the server can order it.

        A row whose id is missing or cannot be requested gets the id ''. With a `status` or a `source`: only runs
        that have it, and no page where the server does not know the value.
        """
        params: Params = NEWEST_FIRST if runs.ordered else ()
        if status is not None and len(status) > MAX_STATUS:
            return
        filters = {"status": status, "source": source}
        wanted = tuple((name, value) for name, value in filters.items() if value is not None)
        params = (*params, *wanted)
        # a hundred thousand rows repeat a few values: one copy of each is kept
        copies: dict[Any, Any] = {}
        try:
            for rows in self.pages(f"/{runs.name}", params, runs.envelope, runs.size_name):
                yield [_listed(row, runs, copies) for row in rows]
        except InvalidError:
            if not wanted:
                raise

    def pages(
        self,
        path: str,
        params: Params,
        envelope: str,
        size_name: str | None = None,
        may_restart: bool = True,
    ) -> Iterator[list[Raw]]:
        """The rows of a list, page by page, until an answer has no token. [] while a page is on its way.

        `envelope`: the key of the rows, or several that it may have, separated by blanks.
        `size_name`: the page size under another name, for servers that ignore `maxPageSize`. A short or empty
        page does not end a list. A token that repeats would never end: ShapeError. A token that expires (400)
        starts the list again, once; rows then come twice.
        """
        request = self._first_request(path, params)
        self.client.begin([request])
        yield []
        request, page = self._first_page(request, params, envelope)
        yield page.rows
        if size_name is not None and page.token is not None:
            request, page = self._renamed(request, page, envelope, size_name)
            yield page.rows
        circle = Circle()
        while page.token is not None:
            circle.check(page.rows, page.token, request)
            following = request._replace(params=(*request.params, ("nextPageToken", page.token)))
            self.client.begin([following])
            yield []
            try:
                page = self._read(following, envelope)
            except InvalidError:
                if not may_restart:
                    raise
                yield from self.pages(path, params, envelope, size_name, may_restart=False)
                return
            yield page.rows

    def _first_request(self, path: str, params: Params) -> Request:
        size = self._sizes[0]
        asked: Params = () if size is None else (("maxPageSize", size),)
        return Request(path, (*asked, *params), subject=path)

    def _first_page(self, request: Request, params: Params, envelope: str) -> tuple[Request, _Page]:
        """The first page of the largest size that the server takes, and the request that it answers."""
        path, before = request.path, self._sizes
        # the whole list has been read before: of its filters the server may not know the value
        has_filter = any(name in ("status", "source") for name, _ in params)
        while True:
            try:
                page = self._read(request, envelope)
                break
            except InvalidError:
                # another list may have found a smaller size meanwhile
                if request == self._first_request(path, params):
                    if has_filter or len(self._sizes) == 1:
                        # the size is not what the server refuses
                        self._sizes = before
                        raise
                    self._sizes = self._sizes[1:]
                request = self._first_request(path, params)
        return request, page

    def _renamed(self, request: Request, page: _Page, envelope: str, size_name: str) -> tuple[Request, _Page]:
        """The first page again with its size under another name, without the rows that have come, if it was short."""
        size = self._sizes[0]
        if size is None or len(page.rows) >= size:
            return request, page._replace(rows=[])
        renamed = request._replace(params=((size_name, size), *request.params))
        try:
            larger = self._read(renamed, envelope)
        except InvalidError:
            return request, page._replace(rows=[])
        known = {bytes(row) for row in page.rows}
        return renamed, larger._replace(rows=[row for row in larger.rows if bytes(row) not in known])

    def _read(self, request: Request, envelope: str) -> _Page:
        answer = Payload(clean(self.client.get(request).body))
        names = envelope.split()
        name = next((known for known in names if known in answer), names[0])
        rows = answer.raws(name)
        if name in answer:
            raise ShapeError(f"{name!r} is not a list", request=str(request))
        if rows is None and "nextPageToken" not in answer:
            raise ShapeError(f"the answer has no list {names[0]!r}", request=str(request))
        token = answer.label("nextPageToken") or None
        if "nextPageToken" in answer:
            raise ShapeError("the page token is not a text", request=str(request))
        return _Page(rows or [], token)


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
