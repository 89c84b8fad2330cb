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

import msgspec
from msgspec import Raw

from ...core.codec import clean
from ...core.errors import ApiError, InvalidError, ShapeError
from ...core.payload import Payload, is_usable
from ...net.client import Client
from ...net.http_errors import refusal
from ...net.messages import Request, segment
from ...sync.plan import ListedRun

BASE_URL = "https://api.plextera.com/api/public/v1"
MAX_PAGES = 1_000_000
MAX_STATUS = 100
"""Characters of a status in a list request. Servers limit the length of a URL."""

FINAL_RUN_STATUS = frozenset({"COMPLETED", "FAILED", "CLOSED"})
FINAL_EXTRACTION_STATUS = frozenset({"COMPLETED", "FAILED", "REJECTED"})

_rows = msgspec.json.Decoder(list[Raw]).decode
_any = msgspec.json.Decoder(Raw).decode


def headers(api_key: str) -> dict[str, str]:
    """The headers of every request. `api_key` may have its `api-key` prefix."""
    prefix, _, rest = api_key.partition(" ")
    token = rest if prefix.lower() == "api-key" else api_key
    return {
        "authorization": f"api-key {token.strip()}",
        "accept": "application/json",
        "user-agent": "docruns",
    }


@dataclass(frozen=True)
class Paging:
    """How lists are requested. None: find out. `extra` are query parameters, sent as they are."""

    size: int = 50
    first: int | None = None
    sort: bool | None = None
    extra: tuple[tuple[str, str | int], ...] = ()


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
    if status is None:
        for page in _pages(client, runs, ()):
            yield [_listed(raw, runs) for raw in page]
        return
    if len(status) > MAX_STATUS:
        return
    try:
        for page in _pages(client, runs, (("status", status),)):
            rows = [_listed(raw, runs) for raw in page]
            if any(row.status != status for row in rows):
                return
            yield rows
    except InvalidError:
        return


def _glance(raw: Raw) -> Payload:
    """A list's entry, of which nothing is kept.

    An entry that is no object counts as an empty one.
    """
    try:
        return Payload(raw, glance=True)
    except ShapeError:
        return Payload(b"{}")


def _listed(raw: Raw, runs: ListEndpoint) -> ListedRun:
    row = _glance(raw)
    id_ = row.text("id", "runId", "extractionId") or ""
    id_ = id_ if is_usable(id_) else ""
    status = row.text("status")
    created, updated = row.time("createdAt"), row.time("updatedAt")
    summary = None if id_ else {"row": bytes(raw).decode(errors="replace")}
    return ListedRun(id_, status, created, updated, status in runs.final, summary)


def _pages(
    client: Client, runs: ListEndpoint, filters: tuple[tuple[str, str | int], ...]
) -> Iterator[list[Raw]]:
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
        return [_glance(raw).text(*keys) or bytes(raw).decode(errors="replace") for raw in self.rows]


class _Walk:
    def __init__(
        self, client: Client, runs: ListEndpoint, filters: tuple[tuple[str, str | int], ...]
    ) -> None:
        self.client, self.runs, self.filters = client, runs, filters
        self.first = runs.paging.first or 0
        self.sorting: tuple[tuple[str, str | int], ...] = ()

    def start(self) -> _Page:
        """The first page, sorted if the server can sort.

        A server may refuse or ignore the order.
        """
        newest_first = (("sortBy", "updatedAt"), ("sort", "desc"))
        self.runs.sorted = False
        if self.runs.paging.sort is False:
            return self._first()
        self.sorting = newest_first
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

    def ask(
        self,
        number: int,
        sorting: tuple[tuple[str, str | int], ...] | None = None,
        size: int | None = None,
    ) -> _Page:
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
        raw = answer.raw("data")
        try:
            rows = _rows(raw) if raw is not None else None
        except msgspec.MsgspecError:
            rows = None
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
    """ShapeError where the body of a 200 is no usable answer: not JSON, cut off, or an error."""
    body = clean(body)
    try:
        _any(body)
    except RecursionError as error:
        raise ShapeError("nested too deeply", request=request, retryable=False) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ShapeError(f"not JSON: {error}", request=request) from error
    if not body.lstrip().startswith(b"{"):
        raise ShapeError("not a JSON object", request=request)
    # the `error` of a failed run is data: such a body has an id and a status too
    if len(body) < 2000 and b'"data"' not in body and b'"status"' not in body:
        answer = Payload(body, glance=True)
        if "error" in answer and "id" not in answer:
            raise ShapeError("an error with status 200", request=request)


def explain(status: int, headers: Mapping[str, str], body: bytes, request: str) -> ApiError:
    """The error of a refused request, whatever its body looks like.

    {"error": {"code": "NOT_FOUND", "message": "…", "requestId": "req_…", "retryable": false,
               "details": […]}}
    """
    code = message = request_id = None
    retryable: bool | None = None
    try:
        answer = Payload(body, glance=True)
        inner = answer.object("error") or answer
        code, message = inner.text("code"), inner.text("message")
        request_id, retryable = inner.text("requestId"), inner.boolean("retryable")
        if (details := inner.json("details")) is not None:
            message = f"{message or ''} {details[:500]}".strip()
    except ShapeError:
        message = f"the answer is not JSON: {body[:80]!r}" if body else "empty answer"
    return refusal(
        status,
        request,
        message or "",
        code=code,
        request_id=request_id or headers.get("x-request-id"),
        retryable=retryable,
        headers=headers,
    )
