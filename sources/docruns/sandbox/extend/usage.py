"""Credits: the cost of a run, in the detail that the platform recorded at the time of the run.

{"credits": 6, "totalCredits": 10, "breakdown": [{"object": "extract_run", "id": "exr_...",
 "credits": 6, "charges": [{"product": "extraction_performance", "unit": "page", "quantity": 2,
 "credits": 6}]}]}
"""

from __future__ import annotations

from typing import Any, Final

from ..moments import DAY
from .runs import Child, Run, child_id
from .state import State

RATE: Final = {"parse": 2, "classify": 1, "split": 1, "extract": 3}
PRODUCT: Final = {
    "parse": "parse_performance",
    "classify": "classification_light",
    "split": "splitting_performance",
    "extract": "extraction_performance",
}
CREDITS_SINCE, TOTALS_SINCE, CHARGES_SINCE = 48 * DAY, 40 * DAY, 30 * DAY
"""How long before the sandbox's "now" the platform introduced each level of detail."""


def pages_of(child: Child) -> int:
    return sum(file.pages for file in child.files)


def credits_of(child: Child) -> int:
    """Credits of the run alone, without the parse run that it started."""
    if child.status != "PROCESSED":
        return 0
    return RATE[child.type] * (1 if child.type == "classify" else pages_of(child))


def has_usage(platform: State, run: Run) -> bool:
    return run.created >= platform.started - CREDITS_SINCE and run.status not in (
        "PENDING",
        "PROCESSING",
    )


def _entry(platform: State, run: Run, child: Child) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "object": f"{child.type}_run",
        "id": child_id(platform.seed, run, child, old=False),
        "credits": credits_of(child),
    }
    if run.created >= platform.started - CHARGES_SINCE:
        quantity = 1 if child.type == "classify" else pages_of(child)
        entry["charges"] = [
            {
                "product": PRODUCT[child.type],
                "unit": "page",
                "quantity": quantity,
                "credits": credits_of(child),
            }
        ]
    return entry


def usage(
    platform: State, run: Run, own: list[Child], extra: list[Child], *, full: bool
) -> dict[str, Any] | None:
    """Usage of a run.

    `own` child runs count for the credits and the total, `extra` ones for the total only; `full` adds the
    breakdown.
    """
    if not has_usage(platform, run):
        return None
    credits = sum(map(credits_of, own))
    shown: dict[str, Any] = {"credits": credits}
    if run.created >= platform.started - TOTALS_SINCE:
        shown["totalCredits"] = credits + sum(map(credits_of, extra))
        if full:
            shown["breakdown"] = [_entry(platform, run, child) for child in (*own, *extra)]
    return shown
