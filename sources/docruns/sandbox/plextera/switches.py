"""Switches for what the API's documentation leaves open; each can be set while the sandbox runs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

Sorting = Literal["accepted", "ignored", "refused"]


@dataclass(slots=True)
class Switches:
    """The defaults are the documented behaviour, or the simplest one where nothing is documented.

    `runs_sort`, `extractions_sort`: whether `sortBy` and `sort` are obeyed, ignored (then the order is
    createdAt desc), or answered with 400. `steps_in_list`: listed runs have `steps`, lack the key, or have
    null there. `nested_listed`: nested runs are listed at top level too, and GET by id finds them.
    `nested_readable`: GET by id finds nested runs although no list contains them. `nested_detail`: nested
    entries are runs with steps, or summaries without steps. `field_shape`: the shape of a field, A (`id`,
    `name`, `value`) or B (`fieldId`, `label`, `normalizedValue`); see the fields module. `output_in_list`:
    listed extractions have `output`. `status_filter`: whether `status` filters a list. `detail_differs`: list
    items lack keys of the details: runs lack `error`, `computedDurationMs` and the outputs of steps,
    extractions lack `error` and the size of the document. `extractions_readable`: whether the key may read
    extractions; without, their list and details answer 403.

    Pages: `page_base` is the number of the first page; where it is 1, page 0 is refused, empty, or the first
    page too (`page_zero`). `page_cap`: the most rows of a page, whatever size was asked for; 0 is no limit of its
    own. `page_offset`: whether pages count in the size that they have, or in the one that was asked for.
    `past_end`: what is answered behind the last page: no rows, 400, 404, or the last page again. `page_info`:
    complete, without `totalPages`, with `page` and `size` only; `totalPages` one too small; totals of 1; totals
    that count the page instead of the list. `rows_swap`: when the second page of a list is asked for, the first
    row of the list goes from it and one comes at its end, which the first page did not count.
    """

    runs_sort: Sorting = "ignored"
    extractions_sort: Sorting = "accepted"
    steps_in_list: Literal["full", "absent", "null"] = "full"
    nested_listed: bool = False
    nested_readable: bool = False
    nested_detail: Literal["full", "summaries"] = "full"
    field_shape: Literal["A", "B"] = "A"
    output_in_list: bool = False
    page_base: Literal[0, 1] = 0
    page_zero: Literal["refused", "empty", "first"] = "refused"
    page_cap: Literal[0, 3, 20] = 0
    page_offset: Literal["capped", "asked"] = "capped"
    past_end: Literal["empty", "refused", "missing", "last"] = "empty"
    page_info: Literal["full", "no_total_pages", "no_totals", "one_page_short", "ones", "own"] = "full"
    rows_swap: bool = False
    extractions_readable: bool = True
    status_filter: Literal["works", "ignored"] = "works"
    detail_differs: bool = False

    @property
    def readable(self) -> bool:
        """Whether GET by id finds nested runs."""
        return self.nested_listed or self.nested_readable

    def turn(self, **settings: Any) -> dict[str, Any]:
        """Set any of the switches, all or none; returns them all.

        Raises ValueError for an unknown switch or value.
        """
        known = _positions()
        for name, value in settings.items():
            if name not in known:
                raise ValueError(f"unknown switch {name!r}; known: {', '.join(known)}")
            # True == 1, so the types are compared as well
            if not any(value == choice and type(value) is type(choice) for choice in known[name]):
                choices = ", ".join(repr(choice) for choice in known[name])
                raise ValueError(f"{name} cannot be {value!r}; choose from {choices}")
        for name, value in settings.items():
            setattr(self, name, value)
        return {name: getattr(self, name) for name in known}


def _positions() -> dict[str, tuple[Any, ...]]:
    """Each switch and the values it can take."""
    hints = get_type_hints(Switches)
    return {
        field.name: (False, True) if hints[field.name] is bool else get_args(hints[field.name])
        for field in fields(Switches)
    }
