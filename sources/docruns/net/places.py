"""Places for as many requests as may be under way at once, with two queues for the others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
    """`number` places, in one event loop. Of those that wait, the requests that are sent ahead come last."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._queues: tuple[deque[asyncio.Future[None]], deque[asyncio.Future[None]]] = deque(), deque()

    @asynccontextmanager
    async def take(self, is_ahead: bool) -> AsyncIterator[None]:
        """A place for as long as the context lasts. `is_ahead`: nothing waits for this request yet."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(self._queues[is_ahead])
        try:
            yield
        finally:
            self._give_back()

    async def _wait(self, queue: deque[asyncio.Future[None]]) -> None:
        place = asyncio.get_running_loop().create_future()
        queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._give_back()
            raise

    def _give_back(self) -> None:
        for queue in self._queues:
            while queue:
                place = queue.popleft()
                if not place.done():
                    place.set_result(None)
                    return
        self._free += 1
