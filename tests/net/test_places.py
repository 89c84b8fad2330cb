"""Places: who gets the next one, and that none is lost."""

from __future__ import annotations

import asyncio

from docruns.net.places import Places


def test_what_is_sent_ahead_comes_last() -> None:
    """Places go to the longest waiting, but to what is sent ahead only where nothing else waits."""

    async def run() -> list[str]:
        places, order = Places(1), list[str]()

        async def take(name: str, is_ahead: bool) -> None:
            async with places.take(is_ahead):
                order.append(name)
                await asyncio.sleep(0)

        names = (
            ("first", False),
            ("ahead 1", True),
            ("ahead 2", True),
            ("awaited 1", False),
            ("awaited 2", False),
        )
        await asyncio.gather(*(take(name, is_ahead) for name, is_ahead in names))
        return order

    assert asyncio.run(run()) == ["first", "awaited 1", "awaited 2", "ahead 1", "ahead 2"]


def test_no_more_than_the_number_at_once() -> None:
    """Three places hold three of ten, also after errors."""

    async def run() -> int:
        places, inside, most = Places(3), 0, 0

        async def take(number: int) -> None:
            nonlocal inside, most
            async with places.take(number % 2 == 0):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1
                if number % 3 == 0:
                    raise ValueError

        await asyncio.gather(*map(take, range(10)), return_exceptions=True)
        return most

    assert asyncio.run(run()) == 3


def test_a_waiter_that_is_cancelled_loses_no_place() -> None:
    """One is cancelled while it waits, one after it has got the place: the last one gets it."""

    async def run() -> bool:
        places = Places(1)

        async def take() -> None:
            async with places.take(is_ahead=False):
                pass

        async with places.take(is_ahead=False):
            waiting, granted = asyncio.create_task(take()), asyncio.create_task(take())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.sleep(0)
        # it has the place and has not run yet
        granted.cancel()
        await asyncio.gather(waiting, granted, return_exceptions=True)
        await asyncio.wait_for(take(), 1)
        return waiting.cancelled() and granted.cancelled()

    assert asyncio.run(run())
