"""Runs and extractions as small records; their content is computed from the record on request."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..chance import even, mix
from ..moments import DAY, HOUR, MINUTE, SECOND
from .workflows import EXTRA, Step, Workflow

RUN_STATUSES: Final = ("PROCESSING", "COMPLETED", "FAILED", "CLOSED")
EXTRACTION_STATUSES: Final = ("QUEUED", "PROCESSING", "COMPLETED", "FAILED", "REJECTED")
ENDED: Final = frozenset({"COMPLETED", "FAILED", "CLOSED", "REJECTED"})
SHARES: Final = {
    "runs": (("COMPLETED", 0.84), ("FAILED", 0.06), ("CLOSED", 0.05), ("PROCESSING", 0.05)),
    "extractions": (
        ("COMPLETED", 0.8),
        ("FAILED", 0.06),
        ("REJECTED", 0.06),
        ("PROCESSING", 0.04),
        ("QUEUED", 0.04),
    ),
}
GOLDEN: Final = 0.6180339887498949
SPREAD: Final = 60 * DAY


class Run:
    """One workflow run, nested or not. Times are milliseconds since 1970, in whole seconds.

    `reached` counts the finished steps, `total` all steps of the run. By the position of a step, `nested` has
    the runs that it started, `extractions` the number of its extraction, and `echoes` an ancestor that the
    step lists again.
    """

    __slots__ = (
        "created",
        "echoes",
        "ended",
        "extractions",
        "failure",
        "nested",
        "number",
        "parent",
        "place",
        "reached",
        "size",
        "started",
        "status",
        "total",
        "updated",
        "workflow",
    )

    def __init__(
        self,
        number: int,
        workflow: Workflow,
        size: str,
        status: str,
        created: int,
        parent: Run | None = None,
        place: int = 0,
        total: int | None = None,
    ) -> None:
        self.number = number
        self.workflow = workflow
        self.size = size
        self.status = status
        self.created = created
        self.updated = created
        self.started: int | None = None
        self.ended: int | None = None
        self.failure: tuple[str, str] | None = None
        self.parent = parent
        self.place = place
        self.total = len(workflow.steps) if total is None else total
        self.reached = 0
        self.nested: dict[int, list[Run]] = {}
        self.extractions: dict[int, int] = {}
        self.echoes: dict[int, Run] = {}

    @property
    def listed(self) -> int:
        """The number of steps shown: the finished ones, and one that failed or is in progress."""
        if self.reached == self.total:
            return self.total
        begun = self.reached in self.nested or self.reached in self.extractions
        return self.reached + (self.status in ("FAILED", "PROCESSING") or begun)

    def step(self, position: int) -> Step:
        known = self.workflow.steps
        return known[position] if position < len(known) else EXTRA[position % len(EXTRA)]

    def step_status(self, position: int) -> str:
        if position < self.reached:
            return "COMPLETED"
        if self.status in ENDED:
            return self.status
        step = self.step(position)
        return "PROCESSING" if step.documents or step.type == "sub_workflow" else "QUEUED"


class Extraction:
    """One extraction; `variant` selects its pooled document, `round` counts its reprocessings."""

    __slots__ = (
        "completed",
        "created",
        "failure",
        "kind",
        "number",
        "round",
        "size",
        "status",
        "updated",
        "variant",
    )

    def __init__(self, number: int, kind: str, size: str, variant: int, status: str, created: int) -> None:
        self.number = number
        self.kind = kind
        self.size = size
        self.variant = variant
        self.status = status
        self.created = created
        self.updated = created
        self.completed: int | None = None
        self.failure: tuple[str, str] | None = None
        self.round = 0


class Verbatim:
    """A payload that is served exactly as given.

    `item` is its row in the list; without a given one it is made from the detail.
    """

    __slots__ = (
        "completed",
        "created",
        "detail",
        "id",
        "item",
        "made",
        "number",
        "resource",
        "status",
        "updated",
    )

    def __init__(self, resource: str, number: int, id: str, status: str, detail: bytes) -> None:
        self.resource = resource
        self.number = number
        self.id = id
        self.status = status
        self.detail = detail
        self.created = 0
        self.updated = 0
        self.completed: int | None = None
        self.item: dict[str, Any] = {}
        self.made = False

    @property
    def raw(self) -> msgspec.Raw:
        return msgspec.Raw(self.detail)


def draw_status(resource: str, seed: int, index: int) -> str:
    """A status, drawn by its share and spread evenly over neighbouring indexes."""
    draw = even(seed, index, GOLDEN)
    for status, part in SHARES[resource]:
        draw -= part
        if draw < 0:
            return status
    return "COMPLETED"


def draw_moment(seed: int, index: int, status: str, now: int) -> int:
    """The creation time, within the sixty days before `now`; an unfinished record is at most a few hours
    old."""
    age = mix(seed, index, 1)
    back = HOUR + age % SPREAD if status in ENDED else MINUTE + age % (6 * HOUR)
    return (now - back) // SECOND * SECOND


def step_id(place: int) -> str:
    """The id of a step, `step_01` for the first one; it is unique within its run only."""
    return f"step_{place + 1:02d}"
