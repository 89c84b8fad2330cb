"""A run as a small record; its content is a pure function of the record.

Only values that can change are stored; files, steps and child runs are computed from (seed, index) on
request. The child runs are cached until their run changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ..chance import even, mix, tag
from ..kinds import KINDS
from ..moments import DAY, HOUR, MINUTE
from ..pool import VARIANT_NUMBERS, VARIANTS
from .catalog import (
    MAILROOM,
    PACKAGE,
    PROCESSORS,
    SCANNER,
    SORTER,
    WORKFLOWS,
    Processor,
    Workflow,
)

FINAL: Final = frozenset({"PROCESSED", "FAILED", "CANCELLED", "REJECTED"})
STATUSES: Final = (
    ("PROCESSED", 0.79), ("NEEDS_REVIEW", 0.08), ("REJECTED", 0.03), ("FAILED", 0.045), ("CANCELLED", 0.015), ("PROCESSING", 0.02), ("PENDING", 0.02),
)  # fmt: skip
REVIEWERS: Final = (
    "dana@harborpine.example",
    "mina@harborpine.example",
    "tomas@harborpine.example",
)
REVIEWED: Final = 0.6
GOLDEN, ROOT_TWO = 0.6180339887498949, 0.41421356237309515
SPREAD: Final = 60 * DAY
HISTORY_STARTS: Final = HOUR
FILE_SLOT, CHILD_SLOT, STEP_SLOT, SPLIT_SLOT = 1, 40, 100, 160


class Run:
    """One workflow run, or one stand-alone processor run.

    A stand-alone run has no `workflow`; `solo` names its processor type. Times are milliseconds since 1970;
    `round` counts reviews (0: none); `name` and `metadata` are None until they are changed; `worked` is the
    time when its processors started, None for directly after the start.
    """

    __slots__ = (
        "batch",
        "created",
        "ended",
        "failure",
        "index",
        "made",
        "metadata",
        "name",
        "reviewed_at",
        "reviewer",
        "round",
        "size",
        "solo",
        "started",
        "status",
        "updated",
        "worked",
        "workflow",
    )  # fmt: skip

    def __init__(
        self, index: int, workflow: Workflow | None, solo: str, size: str, status: str, created: int
    ) -> None:
        self.index = index
        self.workflow = workflow
        self.solo = solo
        self.size = size
        self.status = status
        self.created = created
        self.started: int | None = None
        self.ended: int | None = None
        self.updated = created
        self.reviewed_at: int | None = None
        self.reviewer = 0
        self.made: tuple[tuple[object, ...], tuple[Child, ...]] | None = None
        self.round = 0
        self.name: str | None = None
        self.metadata: dict[str, Any] | None = None
        self.batch: int | None = None
        self.failure: tuple[str, str] | None = None
        self.worked: int | None = None


class FileRef(NamedTuple):
    """A file of a run.

    A part of another file has `split`: (split slot, document kind, identifier, first page, last page).
    """

    slot: int
    name: str
    pages: int
    parent: int | None = None
    split: tuple[int, str, str, int, int] | None = None


class Child(NamedTuple):
    """A processor or parse run.

    `variant` selects its pooled document, `files` are its input, `step` is the workflow step that started it.
    """

    slot: int
    type: str
    processor: Processor | None
    documents: str
    size: str
    variant: int
    files: tuple[FileRef, ...]
    status: str
    created: int
    updated: int
    step: tuple[str, str] | None = None


def status_of(seed: int, index: int) -> str:
    draw = even(seed, index, GOLDEN)
    for status, part in STATUSES:
        draw -= part
        if draw < 0:
            return status
    return "PROCESSED"


def anchor(index: int) -> int:
    """The first index of the group that a run was started with, or its own index.

    Every seventeenth run and the two after it start together: they have the same times, status and batch.
    """
    return index - index % 17 if index % 17 < 3 else index


Looks = Callable[[Run, int], bool]
"""Whether a person reviews a run that has ended well; the arguments are the run and its `anchor`."""


def past(
    seed: int, index: int, workflow: Workflow | None, solo: str, size: str, now: int, looks: Looks
) -> Run:
    """A run from the sixty days before `now`; an unfinished one is at most a few hours old."""
    origin = anchor(index)
    status = status_of(seed, origin)
    if solo and status in ("NEEDS_REVIEW", "REJECTED"):
        status = "PROCESSED"
    age = mix(seed, origin, 1)
    created = now - (
        HISTORY_STARTS + age % SPREAD
        if status not in ("PENDING", "PROCESSING")
        else age % (6 * HOUR) + MINUTE
    )
    run = Run(index, workflow, solo, size, status, created)
    if origin != index or index % 17 == 0:
        run.batch = origin
    settle(run, seed, origin, now, looks)
    return run


def settle(run: Run, seed: int, origin: int, limit: int, looks: Looks) -> None:
    """Give a new run the times, review and failure that its status implies; nothing happens after `limit`."""
    draw = mix(seed, origin, 3)
    if run.status == "PENDING":
        return
    run.started = run.created + 1_500
    machine = run.started + 4_000 + draw % 50_000
    run.updated = run.started + 700
    if run.status == "PROCESSING":
        return
    run.updated = run.ended = min(machine, limit)
    if run.status == "FAILED":
        run.failure = FAILURES[draw % len(FAILURES)]
    if run.solo not in ("", "extract"):
        return
    if run.status == "REJECTED" or (run.status == "PROCESSED" and looks(run, origin)):
        run.round = 1
        run.reviewer = draw % len(REVIEWERS)
        run.reviewed_at = min(run.ended + 20 * MINUTE + draw % (3 * DAY), limit - 3_000)
        run.updated = run.ended = run.reviewed_at + 2_300


FAILURES: Final = (
    ("DOCUMENT_PROCESSOR_ERROR", "Extraction step failed after retries."),
    ("FAILED_TO_PROCESS_FILE", "The file could not be read."),
    ("INTERNAL_ERROR", "Unexpected error while running the workflow."),
)


def choose(seed: int, index: int, size: str) -> Workflow:
    """The workflow of a run; runs that start together have the same one."""
    if size == "light":
        return WORKFLOWS[10]
    if size == "heavy":
        return WORKFLOWS[11 + mix(seed, anchor(index), 5) % 2]
    draw = even(seed, anchor(index), ROOT_TWO) * sum(workflow.weight for workflow in WORKFLOWS)
    for workflow in WORKFLOWS:
        draw -= workflow.weight
        if draw < 0:
            return workflow
    raise AssertionError("weights are positive")


def variant_of(seed: int, run: Run, position: int) -> int:
    return mix(seed, run.index, 6, position) % VARIANT_NUMBERS


def files_of(seed: int, run: Run) -> tuple[FileRef, ...]:
    """The input files, then the parts that a splitter cut (mailroom only)."""
    serial = f"{run.index:06d}"
    if run.workflow is PACKAGE:
        return (
            FileRef(1, f"bill-of-lading-{serial}.pdf", 2),
            FileRef(2, f"packing-list-{serial}.pdf", 1),
        )
    if run.workflow is not MAILROOM:
        pages = 1 + variant_of(seed, run, 0) % VARIANTS % 6
        return (FileRef(1, f"{documents_of(seed, run, 0).replace('_', '-')}-{serial}.pdf", pages),)
    parts: list[FileRef] = []
    page = 1
    for position in range(1 + mix(seed, run.index, 7) % 4):
        pages = 1 + mix(seed, run.index, 8, position) % 2
        split = (
            SPLIT_SLOT + position,
            documents_of(seed, run, position),
            f"{serial}-{position + 1}",
            page,
            page + pages - 1,
        )
        name = f"scan-{serial}.pdf (pages {page}-{page + pages - 1})"
        parts.append(FileRef(2 + position, name, pages, 1, split))
        page += pages
    return (FileRef(1, f"scan-{serial}.pdf", page - 1), *parts)


def documents_of(seed: int, run: Run, position: int) -> str:
    """The document kind at a position of a run."""
    if run.workflow is None or run.workflow is MAILROOM:
        return list(KINDS)[mix(seed, run.index, 9, position) % len(KINDS)]
    return next(
        (
            processor.documents
            for _, _, processor in run.workflow.steps
            if processor is not None and processor.documents
        ),
        "invoice",
    )


def children_of(seed: int, run: Run) -> tuple[Child, ...]:
    """The processor and parse runs of a run, oldest first.

    A waiting run has none; a run in progress or a failed one has some.
    """
    # lists call this once per child
    state = (run.status, run.worked, run.started, run.updated, run.reviewed_at)
    if run.made is None or run.made[0] != state:
        run.made = state, _children(seed, run)
    return run.made[1]


def _children(seed: int, run: Run) -> tuple[Child, ...]:
    if run.status == "PENDING" and not run.solo:
        return ()
    files = files_of(seed, run)
    if run.solo:
        return _solo(seed, run, files)
    assert run.workflow is not None
    made: list[Child] = []
    begun = run.worked or run.started or run.created
    for type, name, processor in run.workflow.steps:
        for part in files[1:] if run.workflow is MAILROOM and type in ("CLASSIFY", "EXTRACT") else files[:1]:
            child = _child(seed, run, (type, name), processor, part, len(made), begun)
            if child is not None:
                made.append(child)
    if run.workflow is PACKAGE:
        made = [child._replace(files=files) for child in made]
    return _cut_short(run, made)


def _child(
    seed: int, run: Run, step: tuple[str, str], processor: Processor | None, part: FileRef, position: int, begun: int
) -> Child | None:  # fmt: skip
    type = CHILD_OF_STEP.get(step[0])
    if type is None:
        return None
    documents = part.split[1] if part.split else documents_of(seed, run, 0)
    if type == "extract":
        processor = processor or next(known for known in PROCESSORS if known.documents == documents)
        documents = processor.documents
    created = begun + 500 + 1_700 * position
    updated = (
        created + 1_300
        if run.reviewed_at is None or type != "extract"
        else max(created + 1_300, run.reviewed_at + 1_000)
    )
    return Child(
        CHILD_SLOT + position,
        type,
        processor,
        documents,
        run.size,
        variant_of(seed, run, position),
        (part,),
        "PROCESSED",
        created,
        updated,
        step,
    )


CHILD_OF_STEP: Final = {
    "PARSE": "parse", "SPLIT": "split", "CLASSIFY": "classify", "EXTRACT": "extract", "MERGE_EXTRACT": "extract", "CONDITIONAL_EXTRACT": "extract",
}  # fmt: skip


def _cut_short(run: Run, made: list[Child]) -> tuple[Child, ...]:
    """The child runs up to the first extraction, for a run that is unfinished or failed."""
    if run.status in ("PROCESSING", "FAILED", "CANCELLED") and made:
        reached = next((n for n, child in enumerate(made) if child.type == "extract"), len(made) - 1)
        last = made[reached]._replace(status=run.status, updated=max(run.updated, made[reached].created))
        return (*made[:reached], last)
    return tuple(made)


def _solo(seed: int, run: Run, files: tuple[FileRef, ...]) -> tuple[Child, ...]:
    documents = documents_of(seed, run, 0)
    processor: Processor | None = {"classify": SORTER, "split": SCANNER}.get(run.solo)
    if run.solo == "extract" and run.index % 5:
        # every fifth stand-alone extraction has an inline configuration
        processor = next(known for known in PROCESSORS if known.documents == documents)
    updated = run.updated
    return (
        Child(
            CHILD_SLOT,
            run.solo,
            processor,
            documents,
            run.size,
            variant_of(seed, run, 0),
            files,
            run.status,
            run.created,
            updated,
        ),
    )


def source_of(seed: int, run: Run, child: Child) -> str:
    """What made a processor run. No answer says it; the lists can be filtered by it."""
    if run.workflow is not None:
        return "WORKFLOW_RUN"
    draw = mix(seed, run.index, 15) % 100
    source = next(name for name, below in SOLO_SOURCES if draw < below)
    return "BATCH_PARSER_RUN" if child.type == "parse" and source == "BATCH_PROCESSOR_RUN" else source


SOLO_SOURCES: Final = (("API", 55), ("STUDIO", 75), ("BATCH_PROCESSOR_RUN", 95), ("ADMIN", 100))
"""What makes stand-alone runs, with cumulative per cent. An evaluation makes its runs as a batch."""


def file_id(seed: int, run: Run, file: FileRef) -> str:
    return f"file_{tag(seed, run.index, file.slot)}"


def child_id(seed: int, run: Run, child: Child, *, old: bool) -> str:
    return f"{'dpr' if old and child.type != 'parse' else RUN_PREFIX[child.type]}_{tag(seed, run.index, child.slot)}"


RUN_PREFIX: Final = {"extract": "exr", "classify": "clr", "split": "splr", "parse": "pr"}
