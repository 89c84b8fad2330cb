"""Plextera's HTTP API: address, key, page-numbered lists and errors. No rows, no dlt.

    GET /workflow-runs?page=0&size=100&sortBy=updatedAt&sort=desc
        {"data": [{"id": …, "updatedAt": …}],
         "pageInfo": {"page": 0, "size": 100, "totalItems": 123, "totalPages": 2}}
    GET /workflow-runs/{id}
    GET /document-insights/extractions, GET /document-insights/extractions/{id}

Plextera does not document whether runs can be sorted, how pages are numbered and which filters exist. This
module finds out with a few requests, which settings can save.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from msgspec import Raw

from ...core.codec import clean
from ...core.errors import ApiError, InvalidError, ShapeError
from ...core.payload import Payload, is_usable
from ...net.client import Client
from ...net.messages import Request, segment
from ...sync.plan import ListedRun
from ..answers import MAX_STATUS, Params, check_answer, explain_refusal, inspect_entry

BASE_URL = "https://api.plextera.com/api/public/v1"
MAX_PAGES = 1_000_000

FINAL_RUN_STATUS = frozenset({"COMPLETED", "FAILED", "CLOSED"})
FINAL_EXTRACTION_STATUS = frozenset({"COMPLETED", "FAILED", "REJECTED"})


def bare_key(api_key: str) -> str:
    """The key without its `api-key` prefix."""
    prefix, _, rest = api_key.strip().partition(" ")
    return (rest if prefix.lower() == "api-key" else api_key).strip()


def headers(api_key: str) -> dict[str, str]:
    """The headers of every request. `api_key` may have its `api-key` prefix."""
    return {
        "authorization": f"api-key {bare_key(api_key)}",
        "accept": "application/json",
        "user-agent": "docruns",
    }


@dataclass(frozen=True)
class Paging:
    """How lists are requested. None: find out. `extra` are query parameters, sent as they are."""

    size: int = 50
    first: int | None = None
    sort: bool | None = None
    extra: Params = ()


@dataclass
class ListEndpoint:
    """One list of runs. `sorted`: its walk has found that the newest change comes first."""

    name: str
    path: str
    final: frozenset[str]
    paging: Paging
    sorted: bool = field(default=False, init=False)

    def detail(self, run_id: str) -> Request:
        """The request for one run in full."""
        return Request(f"{self.path}/{segment(run_id)}", subject=run_id)


def run_pages(client: Client, runs: ListEndpoint, status: str | None = None) -> Iterator[list[ListedRun]]:
    """The list's pages, newest change first where the server sorts.

    A row whose id is missing or cannot be requested gets the id ''. With a `status`: only runs with it, and
    no page where the server ignores the filter or does not know the status.
    """
    if status is not None and len(status) > MAX_STATUS:
        return
    filters: Params = () if status is None else (("status", status),)
    try:
        for page in _pages(client, runs, filters):
            rows = [_listed(raw, runs) for raw in page]
            if status is not None and any(row.status != status for row in rows):
                return
            yield rows
    except InvalidError:
        if status is None:
            raise


def _listed(raw: Raw, runs: ListEndpoint) -> ListedRun:
    row = inspect_entry(raw)
    id_ = row.text("id", "runId", "extractionId") or ""
    id_ = id_ if is_usable(id_) else ""
    status = row.text("status")
    created, updated = row.time("createdAt"), row.time("updatedAt")
    summary = None if id_ else {"row": bytes(raw).decode(errors="replace")}
    return ListedRun(id_, status, created, updated, status in runs.final, summary)


def _pages(client: Client, runs: ListEndpoint, filters: Params) -> Iterator[list[Raw]]:
    """All pages once, with any page base, sorting and page information.

    Ends with an empty page, with the last one of `totalPages`, or with a short page where that is missing. A
    page that repeats the previous one shows that pages are numbered from 1. When the list shrinks during the
    walk, rows move to earlier pages, so the previous page is read again.
    """
    walk = _Walk(client, runs, filters)
    page = walk.start()
    number, previous, total, seen = walk.first, page, page.total, 0
    while seen < MAX_PAGES:
        seen += 1
        yield page.rows
        if not page.rows or walk.is_last(page, number):
            return
        number += 1
        page = walk.ask(number)
        if page.rows and page.ids == previous.ids:
            if walk.first == 1:
                raise ShapeError(
                    "two pages in a row hold the same runs; set page_start to the first page's number",
                    request=f"GET {runs.path}",
                )
            walk.first = 1
            number, page = 2, walk.ask(2)
        elif total is not None and page.total is not None and page.total < total:
            # rows were removed: those that moved up a page would be missed
            yield walk.ask(number - 1).rows
        previous, total = page, page.total
    raise ShapeError(f"the list did not end after {MAX_PAGES} pages", request=f"GET {runs.path}")


@dataclass
class _Page:
    rows: list[Raw]
    total: int | None
    pages: int | None

    @property
    def ids(self) -> list[str]:
        keys = ("id", "runId", "extractionId")
        return [inspect_entry(raw).text(*keys) or bytes(raw).decode(errors="replace") for raw in self.rows]


class _Walk:
    def __init__(self, client: Client, runs: ListEndpoint, filters: Params) -> None:
        self.client, self.runs, self.filters = client, runs, filters
        self.first = runs.paging.first or 0
        self.sorting: Params = ()

    def start(self) -> _Page:
        """The first page, sorted if the server can sort: it may refuse or ignore the order."""
        self.runs.sorted = False
        if self.runs.paging.sort is False:
            return self._first()
        self.sorting = (("sortBy", "updatedAt"), ("sort", "desc"))
        try:
            page = self._first()
        except InvalidError:
            if self.runs.paging.sort:
                raise
            self.sorting = ()
            return self._first()
        self.runs.sorted = bool(self.runs.paging.sort) or self._is_sorted(page)
        return page

    def _first(self) -> _Page:
        try:
            return self.ask(self.first)
        except InvalidError:
            if self.runs.paging.first is not None or self.first == 1:
                raise
            # some servers refuse page 0: theirs begin at 1
            page = self.ask(1)
            self.first = 1
            return page

    def _is_sorted(self, page: _Page) -> bool:
        """Whether the opposite order begins with an older change: a server that ignores the order does not."""
        if self.is_last(page, self.first):
            return False
        oldest_first = (("sortBy", "updatedAt"), ("sort", "asc"))
        opposite = self.ask(self.first, oldest_first, 1)
        if not opposite.rows or not page.rows:
            return False
        oldest, newest = (_listed(rows[0], self.runs) for rows in (opposite.rows, page.rows))
        return oldest.id != newest.id and oldest.changed <= newest.changed

    def ask(self, number: int, sorting: Params | None = None, size: int | None = None) -> _Page:
        """One page by its number."""
        paging = self.runs.paging
        params = (
            ("page", number),
            ("size", size or paging.size),
            *(self.sorting if sorting is None else sorting),
            *self.filters,
            *paging.extra,
        )
        reply = self.client.get(Request(self.runs.path, params, subject=self.runs.name))
        answer = Payload(clean(reply.body))
        rows = answer.raws("data")
        if rows is None:
            raise ShapeError("the answer has no list 'data'", request=f"GET {self.runs.path}")
        info = answer.object("pageInfo") or Payload(b"{}")
        return _Page(rows, info.integer("totalItems"), info.integer("totalPages"))

    def is_last(self, page: _Page, number: int) -> bool:
        """Whether no page follows."""
        if page.pages is not None and page.pages > 0:
            return number - self.first + 1 >= page.pages
        return len(page.rows) < self.runs.paging.size


def check(body: bytes, request: str) -> None:
    """ShapeError where the body of a 200 is no usable answer."""
    # the `error` of a failed run is data: such a body has an id and a status too
    data_keys = (b'"data"', b'"status"')
    check_answer(body, request, data_keys, lambda answer: "error" in answer and "id" not in answer)


def explain(status: int, headers: Mapping[str, str], body: bytes, request: str) -> ApiError:
    """The error of a refused request.

    {"error": {"code": "NOT_FOUND", "message": "…", "requestId": "req_…", "retryable": false,
               "details": […]}}
    """
    return explain_refusal(status, headers, body, request, "x-request-id", _message)


def _message(_: Payload, inner: Payload) -> str | None:
    message, details = inner.text("message"), inner.json("details")
    return message if details is None else f"{message or ''} {details[:500]}".strip()
