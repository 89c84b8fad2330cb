"""The pages of Plextera's lists, read until the end is proved.

    GET /workflow-runs?page=0&size=100&sortBy=updatedAt&sort=desc
        {"data": [{"id": …, "updatedAt": …}],
         "pageInfo": {"page": 0, "size": 100, "totalItems": 123, "totalPages": 2}}

    page 0, 1, 2, …, an empty page ──► is it whole? ──► page 0 again ──► done, or one more walk

Plextera does not document whether runs can be sorted, how pages are numbered and which filters exist. This
module finds out with a few requests, which settings can save.

Nothing that a page says of the list is believed alone: not `totalPages`, not a short page, not `totalItems`.
A list ends with a page that has no rows. Then the rows are counted against `totalItems`, and page 0 is read
again, which shows whether rows have moved. Where the count does not match, where rows have moved or where
there is no usable count, the list is walked once more. What is still not proved then is the list's `doubt`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import Raw

from ...core.codec import clean
from ...core.errors import InvalidError, MissingError, ShapeError
from ...core.payload import Payload, is_usable
from ...net.client import Client
from ...net.messages import Request, segment
from ...sync.listed import Ids, ListedRun
from ..answers import MAX_STATUS, Params, inspect_entry

MAX_PAGES = 1_000_000
WALKS = 3
"""How often a list is walked at most, until a walk proves that nothing is missing."""

NEWEST_FIRST: Params = (("sortBy", "updatedAt"), ("sort", "desc"))
OLDEST_FIRST: Params = (("sortBy", "updatedAt"), ("sort", "asc"))

logger = logging.getLogger("docruns")


@dataclass(frozen=True)
class Paging:
    """How lists are requested. None: find out. `extra` are query parameters, sent as they are."""

    size: int = 50
    first: int | None = None
    sort: bool | None = None
    extra: Params = ()


@dataclass
class ListEndpoint:
    """One list of runs, and what its last walk has found out.

    `sorted`: the newest change comes first. `first`: the number of the first page. `doubt`: why the walk may
    lack runs; None where it is proved whole, or was not read to its end.
    """

    name: str
    path: str
    final: frozenset[str]
    paging: Paging
    sorted: bool = field(default=False, init=False)
    first: int | None = field(default=None, init=False)
    doubt: str | None = field(default=None, init=False)

    def detail(self, run_id: str) -> Request:
        """The request for one run in full."""
        return Request(f"{self.path}/{segment(run_id)}", subject=run_id)


def run_pages(client: Client, runs: ListEndpoint, status: str | None = None) -> Iterator[list[ListedRun]]:
    """The list's pages, newest change first where the server sorts, and what further walks add.

    A row whose id is missing or cannot be requested gets the id ''. With a `status`: only runs with it, and
    no page where the server ignores the filter or does not know the status; that list need not be whole.
    """
    if status is None:
        yield from _prove(_Walk(client, runs))
    elif len(status) <= MAX_STATUS:
        try:
            for page in _Walk(client, runs, (("status", status),)).pages():
                if any(row.status != status for row in page.rows):
                    return
                yield page.rows
        except InvalidError:
            pass


def other_pages(client: Client, runs: ListEndpoint) -> Iterator[list[ListedRun]]:
    """The list's pages with a page size that `run_pages` does not use, in the server's own order.

    So what one of the two cannot see, the other one sees.
    """
    yield from _prove(_Walk(client, runs, size=max(2, runs.paging.size * 2 // 3), may_sort=False))


def _prove(walk: _Walk) -> Iterator[list[ListedRun]]:
    """The pages of a walk, then the runs that further walks add, until the list is proved whole."""
    runs, known = walk.runs, Ids()
    runs.doubt = None
    for turn in range(WALKS):
        missed, is_below = 0, False
        for page in walk.pages():
            rows = []
            for key, row in zip(page.keys, page.rows, strict=True):
                is_new = key not in known
                # what is above all known runs has come since; what is below was missed before
                is_below = is_below or not is_new
                missed += is_new and is_below
                if is_new or turn == 0:
                    rows.append(row)
            yield rows
            known.update(page.keys)
        runs.doubt = walk.doubt(len(known))
        is_repeated = turn > 0 and not missed
        if is_repeated and not walk.lacks_rows:
            runs.doubt = None
        if runs.doubt is None or is_repeated:
            break
        walk.start_over()
    walk.name_contradictions()


class _Page(NamedTuple):
    """`keys` tell rows apart: their ids, or the whole row where it has none."""

    rows: list[ListedRun]
    keys: list[str]
    total: int | None
    pages: int | None


NO_PAGE = _Page([], [], None, None)


class _Walk:
    """One walk of a list, and what it has seen. `start_over` begins the next one."""

    def __init__(
        self,
        client: Client,
        runs: ListEndpoint,
        filters: Params = (),
        *,
        size: int | None = None,
        may_sort: bool = True,
    ) -> None:
        self.client, self.runs, self.filters, self.may_sort = client, runs, filters, may_sort
        self.asked = self.size = size or runs.paging.size
        self.start_over()

    def start_over(self) -> None:
        """Forget what was seen."""
        self.sorting: Params = ()
        self.first = 0
        self.front = NO_PAGE
        """The first page that has rows."""
        self.count = 0
        """Pages with rows."""
        self.seen = Ids()
        self.totals: set[int] = set()
        self.stated_pages: int | None = None
        self.refused: str | None = None

    @property
    def lacks_rows(self) -> bool:
        """The platform has counted more rows than it has shown, all the time."""
        return bool(self.totals) and len(self.seen) < min(self.totals)

    @property
    def is_counted(self) -> bool:
        """The platform has counted the rows that it has shown."""
        return bool(self.totals) and min(self.totals) <= len(self.seen) <= max(self.totals)

    def doubt(self, shown: int) -> str | None:
        """Why this walk may lack runs. Reads the first page again where there are others. `shown` are the runs of
        all walks."""
        if self.lacks_rows:
            return f"the platform counts {min(self.totals):,} and shows {shown:,}"
        if self.count > 1 and self._has_moved():
            return "runs went away from its pages each time they were read"
        is_one_short_page = self.count == 1 and len(self.front.rows) < self.asked and self.refused is None
        if not (self.is_counted or is_one_short_page):
            return self.refused or "each time it was read it showed other runs, and nothing counts them"
        return None

    def name_contradictions(self) -> None:
        """Warn where the platform states that the list is shorter than it is."""
        if self.totals and max(self.totals) < len(self.seen):
            stated = f"totalItems says {max(self.totals):,}"
        elif self.stated_pages is not None and self.stated_pages < self.count:
            stated = f"totalPages says {self.stated_pages:,}"
        else:
            return
        logger.warning(
            "%s: %s, and the list has %s runs on %s pages; docruns has read them all",
            self.runs.name, stated, f"{len(self.seen):,}", f"{self.count:,}",
        )  # fmt: skip

    def _has_moved(self) -> bool:
        """Whether rows of the first page have gone, other than from its end: the rows below have moved up."""
        now = set(self.ask(self.first).keys)
        kept = [key in now for key in self.front.keys]
        return kept != sorted(kept, reverse=True)

    def pages(self) -> Iterator[_Page]:
        """The pages, up to an empty one that ends the list; it is among them where it is the first one."""
        page, previous = self._start(), NO_PAGE
        number = self.first
        for _ in range(MAX_PAGES):
            if not page.rows and number == self.first:
                yield page
            if not page.rows and self._may_go_on(number, page):
                number, page = number + 1, self._next(number + 1)
                self.first = self.first if self.seen else number
            if not page.rows:
                return
            if page.keys == previous.keys and number == 1:
                # page 0 is another name of page 1
                number, self.first, page = 2, 1, self._next(2)
                if not page.rows:
                    return
            if page.keys == previous.keys:
                if not self._is_end(page):
                    self._check_that_pages_turn()
                return
            self._note(page)
            yield page
            if self.filters and self._is_end(page):
                return
            if previous.total is not None and page.total is not None and page.total < previous.total:
                yield from self._step_back(number)
            number, previous = number + 1, page
            page = self._next(number)
        raise ShapeError(f"the list did not end after {MAX_PAGES} pages", request=f"GET {self.runs.path}")

    def _may_go_on(self, number: int, page: _Page) -> bool:
        """Whether an empty page may be followed by others: it is the first one, or more rows were counted."""
        if not self.seen and page.total is not None:
            self.totals.add(page.total)
        return (number == self.first and self.runs.first is None) or self.lacks_rows

    def _is_end(self, page: _Page) -> bool:
        return page.total == len(self.seen)

    def _note(self, page: _Page) -> None:
        changes = [row.changed for row in page.rows]
        if changes != sorted(changes, reverse=True):
            self.runs.sorted = False
        if self.front is NO_PAGE:
            self.front, self.runs.first = page, self.first
            # a server that caps pages may still count them in the size that it was asked for
            self.size = min(self.size, len(page.rows))
        self.count += 1
        self.seen.update(page.keys)
        self.stated_pages = page.pages
        if page.total is not None:
            self.totals.add(page.total)

    def _step_back(self, number: int) -> Iterator[_Page]:
        """Pages before `number` again: rows were removed, and those that moved up would be missed. Ends with a
        page that has a row that was seen."""
        while number > self.first:
            number -= 1
            page = self.ask(number)
            is_linked = any(key in self.seen for key in page.keys)
            self.seen.update(page.keys)
            yield page
            if is_linked:
                return

    def _next(self, number: int) -> _Page:
        """A page after the first one. Servers answer a page past the end with no rows, or refuse it."""
        try:
            return self.ask(number)
        except (InvalidError, MissingError) as error:
            self.refused = f"its page {number} was refused ({error.status})"
            return NO_PAGE

    def _check_that_pages_turn(self) -> None:
        """ShapeError unless the page that came again is the last one, which some servers send for each page past
        the end, or the whole list. With pages of one row, page 1 then has the list's second row, or the list."""
        rows = self.front.keys
        if len(rows) == 1:
            return
        other = self.ask(self.first + 1, size=1).keys
        if other != rows and other not in ([rows[1]], rows[2:3]):
            raise ShapeError(
                "two pages in a row hold the same runs; set page_start to the first page's number",
                request=f"GET {self.runs.path}",
            )

    def _start(self) -> _Page:
        """The first page, sorted if the server can sort: it may refuse or ignore the order."""
        sort = self.runs.paging.sort if self.may_sort else False
        self.runs.sorted = False
        if not self.filters:
            self.runs.first = self.runs.paging.first
        self.first = self.runs.first or 0
        if sort is False:
            return self._first()
        self.sorting = NEWEST_FIRST
        try:
            page = self._first()
        except InvalidError:
            if sort:
                raise
            self.sorting = ()
            return self._first()
        self.runs.sorted = bool(sort) or self._is_sorted(page)
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
        is_short = len(page.rows) < self.size and page.total is None
        if not page.rows or is_short or page.total == len(page.rows):
            # the only page: its order does not matter
            return False
        opposite = self.ask(self.first, OLDEST_FIRST, 1)
        if not opposite.rows:
            return False
        oldest, newest = opposite.rows[0], page.rows[0]
        return oldest.id != newest.id and oldest.changed <= newest.changed

    def ask(self, number: int, sorting: Params | None = None, size: int | None = None) -> _Page:
        """One page by its number."""
        params = (
            ("page", number),
            ("size", size or self.size),
            *(self.sorting if sorting is None else sorting),
            *self.filters,
            *self.runs.paging.extra,
        )
        reply = self.client.get(Request(self.runs.path, params, subject=self.runs.name))
        answer = Payload(clean(reply.body))
        raws = answer.raws("data")
        if raws is None:
            raise ShapeError("the answer has no list 'data'", request=f"GET {self.runs.path}")
        info = answer.object("pageInfo") or Payload(b"{}")
        rows = [_listed(raw, self.runs) for raw in raws]
        keys = [row.id or str((row.summary or {})["row"]) for row in rows]
        return _Page(rows, keys, info.integer("totalItems"), info.integer("totalPages"))


def _listed(raw: Raw, runs: ListEndpoint) -> ListedRun:
    row = inspect_entry(raw)
    id_ = row.text("id", "runId", "extractionId") or ""
    id_ = id_ if is_usable(id_) else ""
    status = row.text("status")
    created, updated = row.time("createdAt"), row.time("updatedAt")
    summary = None if id_ else {"row": bytes(raw).decode(errors="replace")}
    return ListedRun(id_, status, created, updated, status in runs.final, summary)
