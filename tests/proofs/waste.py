"""Zero waste: the requests that a load may send, counted by the platform."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any

from .compare import doubled_keys, missing_runs
from .stage import (
    CATALOGUE,
    EVALUATION,
    PAGE_SIZE,
    RUN_LISTS,
    UNORDERED,
    Figure,
    Figures,
    Platform,
    at_most,
    exactly,
)

NAME = "zero waste"
OVERLAP = timedelta(hours=1)


NOT_BY_SOURCE = ("workflow_runs", "verify_runs")
SOURCES = 7


def prove(platform: Platform, load: Callable[[], dict[str, Any]], database: Path, changes: int) -> Figures:
    """Load a settled platform, load again, change some runs, and load again; `load` returns its summary."""
    platform.settle()
    lists = {name: platform.rows(f"/{name}") for name in RUN_LISTS}
    alone = _outside(platform, lists)
    catalogue = _catalogue(platform)
    evaluation, extractors = _evaluation(platform)
    # the schema of each extractor that is evaluated is read beside the catalogue's own requests
    catalogue += extractors
    figures: Figures = []

    platform.reset()
    load()
    first = platform.stats()
    runs = len(lists["workflow_runs"])
    pages = sum(_pages(len(rows)) for rows in lists.values())
    # each list of stand-alone runs is also read by source, once for each of seven
    pages += sum(_pages(len(rows)) + SOURCES for name, rows in lists.items() if name not in NOT_BY_SOURCE)
    terms = {
        "workflow runs": (first.details["workflow_runs"], runs),
        "processor runs outside": (first.run_details - first.details["workflow_runs"], alone),
        "pages of lists": (first.run_lists, pages),
        "catalogue": (first.catalogue, catalogue),
        "evaluation sets": (first.evaluation, evaluation),
    }
    figures += [at_most(NAME, f"first load, {what}", *term) for what, term in terms.items()]
    bound = runs + alone + pages + catalogue + evaluation
    figures.append(at_most(NAME, "first load, all requests", first.requests, bound))
    figures.append(exactly(NAME, "first load, verify runs read", first.details["verify_runs"], 0))

    again = sum(_pages(_in_overlap(name, rows)) + 1 for name, rows in lists.items())
    platform.reset()
    load()
    second = platform.stats()
    figures.append(exactly(NAME, "second load, run details", second.run_details, 0))
    figures.append(at_most(NAME, "second load, pages of lists", second.run_lists, again))
    figures.append(at_most(NAME, "second load, catalogue", second.catalogue, len(CATALOGUE)))
    figures.append(at_most(NAME, "second load, evaluation sets", second.evaluation, 1))

    platform.change(changes)
    platform.reset()
    load()
    third = platform.stats()
    inside = third.run_details - third.details["workflow_runs"]
    what = f"after {changes} reviews"
    figures.append(exactly(NAME, f"{what}, workflow runs read", third.details["workflow_runs"], changes))
    figures.append(exactly(NAME, f"{what}, processor runs read", inside, 0))
    figures.append(at_most(NAME, f"{what}, pages of lists", third.run_lists, again))
    figures += agrees(NAME, what, platform, database)
    return figures


def agrees(proof: str, what: str, platform: Platform, database: Path) -> Iterator[Figure]:
    """The database has the current version of every run of the platform exactly once."""
    yield exactly(proof, f"{what}, runs that differ", missing_runs(database, platform), 0)
    yield exactly(proof, f"{what}, doubled keys", doubled_keys(database), 0)


def _pages(rows: int) -> int:
    # an empty list needs a request too
    return max(1, ceil(rows / PAGE_SIZE))


def _in_overlap(name: str, rows: list[dict[str, Any]]) -> int:
    """The number of rows that an immediate second load must read again."""
    if name in UNORDERED or not rows:
        return len(rows)
    times = [datetime.fromisoformat(row["updatedAt"]) for row in rows]
    return sum(time >= max(times) - OVERLAP for time in times)


def _outside(platform: Platform, lists: dict[str, list[dict[str, Any]]]) -> int:
    """The number of processor runs outside all workflow runs, counted from the platform's own answers."""
    listed = {
        row["id"]
        for name, rows in lists.items()
        if name not in ("workflow_runs", "verify_runs")
        for row in rows
    }
    for row in lists["workflow_runs"]:
        for step in platform.detail(f"/workflow_runs/{row['id']}")["stepRuns"]:
            listed -= set(_ids(step.get("result")))
    return len(listed)


def _ids(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(id_ := value.get("id"), str):
            yield id_
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _ids(item)


def _catalogue(platform: Platform) -> int:
    """The number of requests for the whole catalogue: lists, entries, their lists of versions, their
    versions."""
    requests = 0
    for name in CATALOGUE:
        entries = platform.rows(f"/{name}")
        requests += _pages(len(entries))
        for entry in entries:
            versions = platform.rows(f"/{name}/{entry['id']}/versions")
            requests += 1 + _pages(len(versions)) + len(versions)
    return requests


def _evaluation(platform: Platform) -> tuple[int, int]:
    """The number of requests for all evaluation sets: their list, their lists of items, the items; and the number of
    extractors that they evaluate."""
    sets = platform.rows(f"/{EVALUATION}")
    requests = _pages(len(sets))
    for each in sets:
        items = platform.rows(f"/{EVALUATION}/{each['id']}/items")
        requests += _pages(len(items)) + len(items)
    return requests, len({each["entity"]["id"] for each in sets if each["entity"]["object"] == "extractor"})
