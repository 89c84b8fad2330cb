"""Evaluation sets: documents with their true values, and the controls that change them.

An item takes a document of an early run, so its files are those of the run, and what the model read of them can be
compared with the truth. Where a sandbox has too few such runs, an item has a document of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ..chance import mix, tag
from ..kinds import KINDS
from ..moments import DAY, MINUTE, stamp
from ..pool import USUAL, VARIANTS
from .catalog import INVOICE, LADING, REGION, SORTER, Processor
from .runs import FileRef, Run, children_of, file_id

if TYPE_CHECKING:
    from .state import State

EARLY: Final = 200
"""Runs among which a set looks for its documents; more where it has more items than usual."""

PLACES: Final = 300
"""The numbers that a set has for its items; more where it has more items than usual."""

_SETS, _ITEMS = 8, 9
_CONFIGURED: Final = (
    (INVOICE, "Invoices, spring", "Supplier bills of the second quarter"),
    (LADING, "Bills of lading", "Some with a packing list"),
    (SORTER, "Mailroom mix", "One document of each kind"),
)

OwnFile = tuple[int, int]
"""A file that no run has: the number of its item and its place."""

File = tuple[Run, FileRef] | OwnFile


@dataclass(slots=True)
class Item:
    """A document of a set; `given` replaces its true values where somebody has changed them."""

    id: str
    created: int
    kind: str
    size: str
    variant: int
    files: tuple[File, ...]
    given: dict[str, Any] | None = None


@dataclass(slots=True)
class EvaluationSet:
    id: str
    number: int
    processor: Processor
    name: str
    description: str
    created: int
    updated: int
    items: list[Item] = field(default_factory=list)
    made: int = 0
    """Items that it has ever had."""


class EvaluationSets:
    """All evaluation sets of one organisation; each method is thread-safe."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.sets = [self._configured(number, *row) for number, row in enumerate(_CONFIGURED)]

    def _configured(self, number: int, processor: Processor, name: str, description: str) -> EvaluationSet:
        created = self._state.catalog.start + (100 + number) * DAY
        known = EvaluationSet(
            f"ev_{self._tag(_SETS, number, 0)}",
            number,
            processor,
            name,
            description,
            created,
            created + 7 * DAY,
        )
        wanted = self._state.corpus.evaluated
        for run, kind, size, variant, files in islice(self._documents(processor.documents), wanted - 1):
            self._append(known, kind, size, variant, tuple((run, file) for file in files))
        while len(known.items) < wanted:
            self._invent(known)
        return known

    def _documents(self, kind: str) -> Any:
        """(run, kind, size, variant, files) of early extractions that have succeeded; '' is any kind."""
        for run in islice(self._state.runs(), self._scaled(EARLY)):
            for child in children_of(self._state.seed, run):
                if child.type == "extract" and child.status == "PROCESSED" and kind in ("", child.documents):
                    yield run, child.documents, child.size, child.variant, child.files
                    break

    def _scaled(self, number: int) -> int:
        return number * self._state.corpus.evaluated // USUAL.evaluated

    def _invent(self, known: EvaluationSet) -> Item:
        """Append an item with a document of its own; extractions of bills of lading have two files."""
        place = known.number * self._scaled(PLACES) + known.made
        kind = known.processor.documents or list(KINDS)[place % len(KINDS)]
        variant = mix(self._state.seed, place, 61) % VARIANTS
        files = tuple((place, n) for n in range(2 if known.processor is LADING else 1))
        return self._append(known, kind, "normal", variant, files)

    def _append(
        self, known: EvaluationSet, kind: str, size: str, variant: int, files: tuple[File, ...]
    ) -> Item:
        known.made += 1
        id = f"evi_{self._tag(_ITEMS, known.number * self._scaled(PLACES) + known.made, 0)}"
        known.items.append(Item(id, known.created + known.made * MINUTE, kind, size, variant, files))
        return known.items[-1]

    def _tag(self, family: int, number: int, version: int) -> str:
        return tag(self._state.seed, REGION + family * 1000 + number, version)

    def find(self, id: str) -> EvaluationSet | None:
        return next((known for known in self.sets if known.id == id), None)

    def _owner(self, item_id: str) -> tuple[EvaluationSet, Item]:
        for known in self.sets:
            for item in known.items:
                if item.id == item_id:
                    return known, item
        raise ValueError(f"no item {item_id!r}")

    def expected(self, known: EvaluationSet, item: Item) -> dict[str, Any]:
        """{"value": {"invoice_number": "HP-20417", ...}}, or {"id": "invoice", "type": "invoice"}."""
        if item.given is not None:
            return item.given
        if known.processor.type == "classify":
            return {"id": item.kind, "type": item.kind}
        return {"value": self._state.pool.sample(item.kind, item.size, item.variant).true}

    def file_ids(self, item: Item) -> list[str]:
        return [self._file_id(file) for file in item.files]

    def _file_id(self, file: File) -> str:
        first, second = file
        if isinstance(first, Run) and isinstance(second, FileRef):
            return file_id(self._state.seed, first, second)
        assert isinstance(first, int)
        assert isinstance(second, int)
        return f"file_{self._tag(_ITEMS, first, 1 + second)}"

    def own_file(self, item: Item, file: OwnFile) -> dict[str, Any]:
        """A file of 2026-02-09 that no run has."""
        return {
            "object": "file",
            "id": self._file_id(file),
            "name": f"{item.kind.replace('_', '-')}-sample-{file[0]:03d}-{file[1] + 1}.pdf",
            "type": "PDF",
            "parentFileId": None,
            "metadata": {"pageCount": 1 + item.variant % 3},
            "createdAt": stamp(item.created - 900),
            "updatedAt": stamp(item.created),
        }

    def change(self, id: str, expected: dict[str, Any]) -> None:
        """Replace the expected output of an item."""
        with self._state.lock:
            known, item = self._owner(id)
            item.given = expected
            self._touch(known)

    def add(self, set_id: str) -> str:
        """Add an item with a new document; returns its id."""
        with self._state.lock:
            known = self.find(set_id)
            if known is None:
                raise ValueError(f"no evaluation set {set_id!r}")
            item = self._invent(known)
            self._touch(known)
            return item.id

    def remove(self, id: str) -> None:
        """Remove an item, or a whole set."""
        with self._state.lock:
            known = self.find(id)
            if known is not None:
                self.sets.remove(known)
                return
            known, item = self._owner(id)
            known.items.remove(item)
            self._touch(known)

    def _touch(self, known: EvaluationSet) -> None:
        if self._state.switches.items_move_sets:
            known.updated = self._state.clock.tick()

    def truth(self) -> list[dict[str, Any]]:
        """[{"id": ..., "processor_id": ..., "type": "extract", "items": [{"id": ..., "file_ids": [...],
        "expected": {...}}]}], oldest first."""
        with self._state.lock:
            return [
                {
                    "id": known.id,
                    "name": known.name,
                    "processor_id": self._state.catalog.processor_id(known.processor, old=False),
                    "type": known.processor.type,
                    "items": [
                        {
                            "id": item.id,
                            "file_ids": self.file_ids(item),
                            "expected": self.expected(known, item),
                        }
                        for item in known.items
                    ],
                }
                for known in self.sets
            ]
