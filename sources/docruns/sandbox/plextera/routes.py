"""The endpoints: GET of two lists and three single resources; every other request is answered with an error.

GET /workflow-runs?page=0&size=50&status=COMPLETED -> {"data": [...],
    "pageInfo": {"page": 0, "size": 50, "totalItems": 123, "totalPages": 3}}
"""

from __future__ import annotations

import re
from math import ceil
from typing import Any, Final

from ..wire import Request, encode
from .errors import RefusedError
from .order import Order
from .platform import Plextera
from .records import EXTRACTION_STATUSES, RUN_STATUSES, Run
from .render import Renderer

SORTS: Final = ("createdAt", "updatedAt", "completedAt")
DIRECTIONS: Final = ("asc", "desc")
SIZE: Final = 50
LARGEST: Final = 100


class Routes:
    """Answers requests from one state; the caller holds its lock."""

    def __init__(self, platform: Plextera) -> None:
        self._platform = platform
        self._show = Renderer(platform)
        self._swapped: set[str] = set()

    @staticmethod
    def match(method: str, path: str) -> tuple[str, str] | int:
        """(template, id) of a request, or 404 or 405."""
        known = False
        for pattern, template, verb in PATTERNS:
            found = pattern.fullmatch(path)
            if found is not None:
                if verb == method:
                    return template, found.group(1) if found.groups() else ""
                known = True
        return 405 if known else 404

    def answer(self, request: Request, template: str, id: str, twist: str) -> bytes:
        if not id:
            return encode(self._list(request, template, twist))
        return encode(self._one(template, id))

    def _one(self, template: str, id: str) -> Any:
        state = self._platform
        self._check_right(template)
        if template == "/workflow-runs/{runId}":
            run = state.find_run(id)
            hidden = isinstance(run, Run) and run.parent is not None and not state.switches.readable
            if run is None or hidden:
                raise RefusedError(404, "No such run.")
            return self._show.run(run)
        if template == "/document-insights/extractions/{extractionId}":
            one = state.find_extraction(id)
            if one is None:
                raise RefusedError(404, "No such extraction.")
            return self._show.extraction(one)
        owner = state.find_file(id)
        if owner is None:
            raise RefusedError(404, "No such file.")
        return self._show.file(owner)

    def _check_right(self, template: str) -> None:
        if template.startswith("/document-insights") and not self._platform.switches.extractions_readable:
            raise RefusedError(403, "The key may not read extractions.")

    def _list(self, request: Request, template: str, twist: str) -> Any:
        switches = self._platform.switches
        self._check_right(template)
        runs = template == "/workflow-runs"
        resource = "workflow_runs" if runs else "extractions"
        sort, descending = _sorting(request, switches.runs_sort if runs else switches.extractions_sort)
        statuses = RUN_STATUSES if runs else EXTRACTION_STATUSES
        status = None if switches.status_filter == "ignored" else request.param("status")
        if status is not None and status not in statuses:
            raise RefusedError(400, f"Parameter status must be one of {', '.join(statuses)}.")
        base = switches.page_base
        page = _number(request, "page", base, base if switches.page_zero == "refused" else 0, None)
        asked = _number(request, "size", SIZE, 1, LARGEST)
        size = min(asked, switches.page_cap or asked)
        order = self._platform.order(resource, sort, status)
        index = page - base
        if twist == "repeat_token":
            index = max(index - 1, 0)
        elif twist == "token_cycle":
            index = 0
        start = max(index, 0) * (size if switches.page_offset == "capped" else asked)
        total = len(order.rows)
        if start >= total:
            start = self._past_end(start, total, size)
        numbers = self._cut(resource, order, start, size, descending)
        rows = self._rows(resource, numbers)
        if twist == "empty_page" or (index < 0 and switches.page_zero == "empty"):
            rows = []
        elif twist == "shuffle":
            rows = [*rows[1::2], *rows[::2]]
        elif twist == "duplicate":
            rows = [*rows, *rows[:1]]
        total -= switches.rows_swap and total > 0
        return {"data": rows, "pageInfo": self._page_info(page, size, total, len(rows))}

    def _past_end(self, start: int, total: int, size: int) -> int:
        """Where the page begins that is answered behind the last one."""
        kind = self._platform.switches.past_end
        if start == 0 or kind == "empty":
            return start
        if kind != "last":
            raise RefusedError(400 if kind == "refused" else 404, "No such page.")
        return (total - 1) // size * size if total else 0

    def _cut(self, resource: str, order: Order, start: int, size: int, descending: bool) -> list[int]:
        """One page. With `rows_swap` the list lacks its last row at first, and its first row later."""
        if not self._platform.switches.rows_swap:
            self._swapped.clear()
            return order.slice(start, size, descending=descending)
        if start > 0 and size > 1:
            self._swapped.add(resource)
        if resource in self._swapped:
            return order.slice(start + 1, size, descending=descending)
        return order.slice(start, min(size, len(order.rows) - 1 - start), descending=descending)

    def _rows(self, resource: str, numbers: list[int]) -> list[Any]:
        state, show = self._platform, self._show
        if resource == "workflow_runs":
            runs = (state.runs[number] for number in numbers)
            return [show.run_item(run) for run in runs if run is not None]
        found = (state.extractions[number] for number in numbers)
        return [show.extraction_item(one) for one in found if one is not None]

    def _page_info(self, page: int, size: int, total: int, shown: int) -> dict[str, int]:
        match self._platform.switches.page_info:
            case "no_totals":
                totals = {}
            case "no_total_pages":
                totals = {"totalItems": total}
            case "ones":
                totals = {"totalItems": 1, "totalPages": 1}
            case "own":
                totals = {"totalItems": shown, "totalPages": 1}
            case kind:
                pages = ceil(total / size) - (kind == "one_page_short")
                totals = {"totalItems": total, "totalPages": pages}
        return {"page": page, "size": size, **totals}


_ID: Final = "([^/]+)"
PATTERNS: Final = tuple(
    (re.compile(re.sub(r"\{\w+\}", _ID, template)), template, method)
    for method, template in (
        ("GET", "/workflow-runs"),
        ("GET", "/workflow-runs/{runId}"),
        ("GET", "/document-insights/extractions"),
        ("GET", "/document-insights/extractions/{extractionId}"),
        ("GET", "/files/{fileId}"),
        ("POST", "/document-insights/extractions/{extractionId}/feedback"),
    )
)


def _sorting(request: Request, allowed: str) -> tuple[str, bool]:
    """(key, descending) of a request, as far as the switch allows sorting."""
    by, direction = request.param("sortBy"), request.param("sort")
    if allowed == "ignored" or (by is None and direction is None):
        return "createdAt", True
    if allowed == "refused":
        raise RefusedError(400, f"Parameter {'sort' if by is None else 'sortBy'} is not known.")
    if by is not None and by not in SORTS:
        raise RefusedError(400, f"Parameter sortBy must be one of {', '.join(SORTS)}.")
    if direction is not None and direction not in DIRECTIONS:
        raise RefusedError(400, f"Parameter sort must be one of {', '.join(DIRECTIONS)}.")
    return by or "createdAt", direction != "asc"


def _number(request: Request, name: str, usual: int, low: int, high: int | None) -> int:
    text = request.param(name)
    if text is None:
        return usual
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise RefusedError(400, f"Parameter {name} is not a number.")
    if int(text) < low or (high is not None and int(text) > high):
        raise RefusedError(400, f"Parameter {name} is out of range.")
    return int(text)
