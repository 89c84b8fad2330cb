"""The state of the sandbox's Extend organisation: its runs, their ordered lists, and their changes."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from ..chance import mix, share, tag, untag
from ..moments import Clock
from ..pool import USUAL, Corpus, Pool
from ..reading import has_low_scores
from .catalog import Catalog
from .errors import RefusedError
from .evaluation import EvaluationSets
from .outputs import Outputs
from .runs import FINAL, REVIEWED, Child, Run, children_of, choose, past
from .shelf import Shelf

SLOTS = 256


@dataclass(slots=True)
class Switches:
    """Behaviours that the vendor's documentation leaves open; each can be changed while the sandbox runs.

    `merge`: how metadata updates are merged. `update_finished`: whether finished runs accept updates (else
    400). `update_moves`: whether an update changes `updatedAt`. `last_page`: whether the token of a last page
    is missing, null or "". `list_processor_runs_2024`: whether `GET /processor_runs` answers under 2024-12-23
    (else 404). `parse_page_size`: the name of the page size of `/parse_runs`; another name is ignored.
    `strict`: a parameter that is not documented is answered with 400. `max_page_size`: a larger page is answered
    with 400. `oldest_first`: lists come oldest first, whatever order was asked for. `updates`: what becomes of an
    update that is answered 200 with the values that were sent: the run keeps all of them, none, the first key of
    the metadata, those of every second update, those that somebody else sends right after the answer, or capital
    letters with blanks around them. `reviewed_metadata`: whether the metadata of a reviewed output still has the paths
    of the machine result, or those of the reviewed value. `source_filter`: whether lists of processor runs are
    filtered by `source`, ignore it, or answer it with 400. `risk_levels`: whether verify runs still have them; a
    purge changes the runs.
    """

    merge: Literal["shallow", "deep"] = "shallow"
    update_finished: bool = True
    update_moves: bool = False
    last_page: Literal["missing", "null", "empty"] = "missing"
    list_processor_runs_2024: bool = False
    parse_page_size: Literal["either", "limit", "maxPageSize"] = "either"
    strict: bool = False
    max_page_size: int = 1000
    oldest_first: bool = False
    updates: Literal["kept", "ignored", "first_key", "every_second", "overwritten", "respelled"] = "kept"
    reviewed_metadata: Literal["initial_paths", "final_paths"] = "initial_paths"
    source_filter: Literal["kept", "ignored", "refused"] = "kept"
    risk_levels: Literal["kept", "purged"] = "kept"
    list_evaluation_sets: bool = True
    items_move_sets: bool = True


@dataclass(slots=True)
class Verbatim:
    """A row and a detail that are served exactly as given, for payloads that the sandbox does not
    generate."""

    index: int
    resource: str
    id: str
    created: int
    updated: int
    detail: bytes
    summary: msgspec.Raw
    row: dict[str, Any]


class State:
    """A seeded organisation with runs.

    `size` is the document size of generated runs: "mixed" (all workflows), "light" (about 10 KB) or "heavy"
    (about 130 KB). While a thread holds `lock`, no other thread changes the state.
    """

    def __init__(
        self,
        runs: int,
        seed: int,
        now: int,
        size: str = "mixed",
        standalone: int | None = None,
        corpus: Corpus = USUAL,
    ) -> None:
        self.seed = seed
        self.size = size
        self.clock = Clock(now)
        self.catalog = Catalog(seed, now)
        self.corpus = corpus
        self.pool = Pool(seed, corpus)
        self.switches = Switches()
        self.lock = threading.RLock()
        self.started = now
        self._outputs: dict[tuple[str, str, int], Outputs] = {}
        self._records: list[Run | Verbatim | None] = []
        self._verbatim: dict[tuple[str, str], Verbatim] = {}
        self._changes = 0
        self._updates = 0
        document_size = "normal" if size == "mixed" else size
        for index in range(runs):
            workflow = choose(seed, index, size)
            self._records.append(past(seed, index, workflow, "", document_size, now, self.looks))
        solos = runs // 10 if standalone is None else standalone
        for index in range(runs, runs + solos):
            solo = ("extract", "extract", "classify", "split", "parse")[index % 5]
            self._records.append(past(seed, index, None, solo, document_size, now, self.looks))
        self.shelves = {
            "updatedAt": Shelf(
                (run.updated, index * SLOTS)
                for index, run in enumerate(self._records)
                if isinstance(run, Run) and run.workflow
            ),
            "createdAt": Shelf(
                (run.created, index * SLOTS)
                for index, run in enumerate(self._records)
                if isinstance(run, Run) and run.workflow
            ),
        }
        self._child_shelves: dict[tuple[str, str], Shelf] = {}
        self.evaluation = EvaluationSets(self)

    def looks(self, run: Run, origin: int) -> bool:
        """Whether a person reviews a run that has ended well."""
        if self.corpus.reviews == "low_scores":
            samples = (self.outputs(child).sample for child in self.children(run) if child.type == "extract")
            return any(has_low_scores(sample.reading) for sample in samples)
        return self.corpus.reviews == "all" or share(self.seed, origin, 4) < REVIEWED

    def outputs(self, child: Child) -> Outputs:
        key = (child.documents, child.size, child.variant % self.corpus.variants)
        found = self._outputs.get(key)
        if found is None:
            found = self._outputs[key] = Outputs(
                self.pool.sample(child.documents, child.size, child.variant),
                lambda: self.switches.reviewed_metadata == "final_paths",
            )
        return found

    def record(self, key: int) -> Run | Verbatim:
        found = self._records[key // SLOTS]
        assert found is not None
        return found

    def child(self, key: int) -> tuple[Run, Child]:
        run = self.record(key)
        assert isinstance(run, Run)
        return run, next(child for child in children_of(self.seed, run) if child.slot == key % SLOTS)

    def find(self, id: str) -> tuple[Run, int] | None:
        """The run and slot of an id; the prefix does not matter, because it differs between versions."""
        place = untag(self.seed, id.rsplit("_", 1)[-1])
        if place is None or place[0] >= len(self._records):
            return None
        run = self._records[place[0]]
        return (run, place[1]) if isinstance(run, Run) else None

    def find_run(self, id: str) -> Run | None:
        found = self.find(id)
        return found[0] if found and found[1] == 0 and found[0].workflow is not None else None

    def find_child(self, id: str) -> tuple[Run, Child] | None:
        found = self.find(id)
        if found is None:
            return None
        run, slot = found
        return next(((run, child) for child in children_of(self.seed, run) if child.slot == slot), None)

    def find_verbatim(self, resource: str, id: str) -> Verbatim | None:
        return self._verbatim.get((resource, id))

    def run_id(self, run: Run) -> str:
        return f"workflow_run_{tag(self.seed, run.index, 0)}"

    def metadata(self, run: Run) -> dict[str, Any]:
        return self.given_metadata(run) if run.metadata is None else run.metadata

    def given_metadata(self, run: Run) -> dict[str, Any]:
        """The metadata that the run was started with."""
        return {} if run.index % 7 == 3 else {"internal_id": f"ap-{run.index:06d}"}

    def batch_id(self, run: Run) -> str | None:
        return None if run.batch is None else f"batch_{mix(self.seed, run.batch, 11) % 16**8:08x}"

    def child_shelf(self, type: str, sort: str) -> Shelf:
        """The processor runs of one type, built on first use: "extract", ...; "processor" for all three."""
        found = self._child_shelves.get((type, sort))
        if found is None:
            rows = (
                (_time(child, sort), run.index * SLOTS + child.slot)
                for run in self.runs()
                for child in children_of(self.seed, run)
                if _is(child, type)
            )
            found = self._child_shelves[type, sort] = Shelf(rows)
            for known in self._verbatim.values():
                if known.resource == f"{type}_runs":
                    found.add(_time(known, sort), known.index * SLOTS)
        return found

    def runs(self) -> Iterator[Run]:
        return (run for run in self._records if isinstance(run, Run))

    def workflow_runs(self) -> Iterator[Run]:
        return (run for run in self.runs() if run.workflow is not None)

    @contextmanager
    def changing(self, run: Run) -> Iterator[Run]:
        """Change a run inside the block; afterwards the lists are up to date."""
        with self.lock:
            self._shelve(run, put=False)
            yield run
            self._shelve(run, put=True)

    def _shelve(self, record: Run | Verbatim, *, put: bool) -> None:
        key = record.index * SLOTS
        if isinstance(record, Verbatim) or record.workflow is not None:
            kept = self.shelves if isinstance(record, Run) or record.resource == "workflow_runs" else {}
            for sort, shelf in kept.items():
                (shelf.add if put else shelf.remove)(_time(record, sort), key)
        if isinstance(record, Verbatim):
            for (type, sort), shelf in self._child_shelves.items():
                if record.resource == f"{type}_runs":
                    (shelf.add if put else shelf.remove)(_time(record, sort), key)
            return
        for (type, sort), shelf in self._child_shelves.items():
            for child in children_of(self.seed, record):
                if _is(child, type):
                    (shelf.add if put else shelf.remove)(_time(child, sort), key + child.slot)

    def children(self, run: Run) -> tuple[Child, ...]:
        return children_of(self.seed, run)

    def update(self, run: Run, *, name: str | None = None, metadata: dict[str, Any] | None = None) -> None:
        """Change the name or the metadata of a run as `POST /workflow_runs/{id}` does, under the current
        switches."""
        if run.status in FINAL and not self.switches.update_finished:
            raise RefusedError(400, "The run is finished and can no longer be changed.")
        merged = _merge(self.metadata(run), metadata or {}, deep=self.switches.merge == "deep")
        tags = merged.get("extend:usage_tags")
        if isinstance(tags, list):
            merged["extend:usage_tags"] = [
                re.sub(r"[^A-Za-z0-9_-]", "", tag) if isinstance(tag, str) else tag for tag in tags
            ]
        if len(msgspec.json.encode(merged)) > METADATA_LIMIT:
            raise RefusedError(400, "Metadata is larger than 10 KB.; Path: metadata")
        with self.changing(run):
            if name is not None:
                run.name = name
            if metadata is not None:
                run.metadata = merged
            if self.switches.update_moves:
                run.updated = self.clock.tick()

    def settle(self, run: Run, old: tuple[str | None, dict[str, Any]], sent: dict[str, Any]) -> None:
        """After an update was answered: leave of it what the switch `updates` says. `old` are name and metadata
        before it, `sent` is the metadata that was sent."""
        self._updates += 1
        kind = self.switches.updates
        if kind == "kept" or (kind == "every_second" and self._updates % 2):
            return
        metadata = dict(old[1])
        if kind == "first_key":
            metadata |= dict([*sent.items()][:1])
        if kind == "overwritten":
            metadata |= dict.fromkeys(sent, "somebody else's")
        if kind == "respelled":
            metadata |= {key: _respelled(value) for key, value in sent.items()}
        with self.changing(run):
            run.name = _respelled(run.name) if kind == "respelled" else old[0]
            run.metadata = metadata

    def remove(self, run: Run | Verbatim) -> None:
        """Delete a run: no list contains it, and its details answer 404."""
        with self.lock:
            self._shelve(run, put=False)
            self._records[run.index] = None
            self._verbatim = {key: known for key, known in self._verbatim.items() if known is not run}


METADATA_LIMIT = 10_000


def _merge(old: dict[str, Any], new: dict[str, Any], *, deep: bool) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        known = merged.get(key)
        merged[key] = (
            _merge(known, value, deep=True)
            if deep and isinstance(known, dict) and isinstance(value, dict)
            else value
        )
    return merged


def _respelled(value: Any) -> Any:
    return f" {value.upper()} " if isinstance(value, str) else value


def _is(child: Child, type: str) -> bool:
    return child.type == type or (type == "processor" and child.type != "parse")


def _time(record: Run | Child | Verbatim, sort: str) -> int:
    return record.created if sort == "createdAt" else record.updated
