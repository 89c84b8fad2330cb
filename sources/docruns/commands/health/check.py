"""Tests whether the platform answers, whether it accepts the key, and what the key can see."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ...core.errors import ApiError, MissingError
from ...sync.lists import Platform, is_about_list

PATIENCE_S = 3.0
"""Seconds in which a connection must be made; an answer may take five times as long. Somebody waits for it."""


def check_access(platform: Platform) -> Iterator[str]:
    """Yield a line for each list, for one request a list. Errors name the setting to correct.

    Raises ApiError if the list of workflow runs cannot be read: a load would fail. It would leave out any other
    list that cannot be read.
    """
    platform.client.hurry(PATIENCE_S)
    with platform.client as client:
        yield f"address    {client.base_url}"
        for run_list in platform.lists:
            started = time.monotonic()
            try:
                rows = next(filter(None, run_list.pages(None)), [])
            except ApiError as error:
                if not run_list.optional or not is_about_list(error):
                    raise
                why = "not in this API version" if isinstance(error, MissingError) else f"left out: {error}"
                yield f"{run_list.name:<18} {why}"
                continue
            took = (time.monotonic() - started) * 1000
            newest = max((run.changed for run in rows), default=None)
            when = f"newest change {newest:%Y-%m-%d %H:%M} UTC" if newest else "empty"
            yield f"{run_list.name:<18} {len(rows)} on the first page, {when} ({took:.0f} ms)"
    yield "the key is accepted"
