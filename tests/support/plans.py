"""The plan of a list of which all rows are there at once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from docruns.sync.plan import ListedRun, Plan, Planner, State


def plan_runs(
    state: State,
    rows: Iterable[ListedRun],
    overlap: timedelta,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Plan:
    """The plan of these rows as one page; see `Planner`."""
    planner = Planner(state, overlap, since, until)
    planner.see(rows)
    return planner.plan()
