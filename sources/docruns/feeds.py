"""What a provider says of each of its lists of runs, for `sync` to walk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .feed import Listed
from .http import Request
from .reading import Reading


@dataclass(frozen=True)
class Feed:
    """One list of runs, as a provider describes it.

    `pages(status)` lists all runs, or those of one status where `by_status`. `read` turns an answer
    into rows. A feed without `detail` has no more to say than its rows: `read` gets the row.
    `ordered()`: the pages come newest change first, asked once they have begun. `optional`: the
    server may not know the list.
    """

    name: str
    pages: Callable[[str | None], Iterator[list[Listed]]]
    read: Callable[[bytes, Listed], Reading]
    detail: Callable[[str], Request] | None
    ordered: Callable[[], bool] = lambda: True
    by_status: bool = True
    optional: bool = False
