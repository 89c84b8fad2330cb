"""The state of the sandbox's Plextera workspace: its records, their ordered lists, and their creation."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..chance import mix
from ..moments import SECOND, Clock
from ..pool import VARIANTS, Pool
from .ids import EXTRACTIONS, RUNS, file_id, file_number, hex_id, number_of
from .order import Order
from .records import ENDED, Extraction, Run, Verbatim, draw_moment, draw_status
from .switches import Switches
from .workflows import FAILURES, SEEDED, UNREADABLE, UNSUPPORTED, WORKFLOWS, Workflow

Record = Run | Extraction | Verbatim


class State:
    """A seeded workspace with `runs` top-level runs.

    It has their nested runs and extractions, and a tenth as many extractions outside runs. `size` is the size
    of generated documents: "mixed" (as "normal"), "light" or "heavy". While a thread holds `lock`, no other
    thread changes the state.
    """

    def __init__(self, runs: int, seed: int, now: int, size: str = "mixed") -> None:
        self.seed = seed
        self.size = "normal" if size == "mixed" else size
        self.clock = Clock(now // SECOND * SECOND, 5 * SECOND)
        self.pool = Pool(seed)
        self.switches = Switches()
        self.lock = threading.RLock()
        self.runs: list[Run | Verbatim | None] = []
        self.extractions: list[Extraction | Verbatim | None] = []
        self._verbatim: dict[tuple[str, str], Verbatim] = {}
        self._orders: dict[tuple[str, str, bool], Order] = {}
        self._filtered: dict[tuple[str, str, bool, str], Order] = {}
        self._draws = 0
        limit = self.clock.now
        for index in range(runs):
            status = draw_status("runs", seed, index)
            workflow = SEEDED[mix(seed, index, 5) % len(SEEDED)]
            run = self.new_run(workflow, self.size, status, draw_moment(seed, index, status, limit))
            self.settle(run, limit)
        for index in range(runs // 10):
            status = draw_status("extractions", seed, index)
            kind = ("invoice", "receipt", "claim", "bill_of_lading", "bank_statement")[index % 5]
            created = draw_moment(seed, runs + index, status, limit)
            one = self.new_extraction(kind, self.size, created)
            self.end_extraction(one, status, created + 4 * SECOND)

    # creation of records

    def new_run(
        self,
        workflow: Workflow,
        size: str,
        status: str,
        created: int,
        parent: Run | None = None,
        place: int = 0,
        total: int | None = None,
    ) -> Run:
        run = Run(len(self.runs), workflow, size, status, created, parent, place, total)
        self.runs.append(run)
        return run

    def new_extraction(self, kind: str, size: str, created: int) -> Extraction:
        number = len(self.extractions)
        one = Extraction(number, kind, size, mix(self.seed, number, 6) % VARIANTS, "QUEUED", created)
        self.extractions.append(one)
        return one

    def settle(self, run: Run, limit: int) -> None:
        """Give a new run the times, steps, nested runs and extractions that its status implies.

        Nothing happens after `limit`.
        """
        draw = mix(self.seed, run.number, 3)
        run.started = min(run.created + SECOND * (1 + draw % 2), limit)
        worked = SECOND * (20 + draw % 70)
        run.reached = run.total if run.status == "COMPLETED" else draw // 128 % run.total
        if run.status == "PROCESSING":
            run.updated = min(run.started + 8 * SECOND, limit)
        else:
            waited = SECOND * (draw % 72_000) if run.status == "CLOSED" else 0
            run.updated = run.ended = min(run.started + worked + waited, limit)
        if run.status == "FAILED":
            run.failure = FAILURES[draw % len(FAILURES)]
        self.grow(run, run.started)

    def grow(self, run: Run, since: int) -> None:
        """Create the nested runs and extractions of the steps that were reached, none older than `since`."""
        for place in range(run.listed):
            step = run.step(place)
            if step.documents and place not in run.extractions:
                self._read(run, place, step.documents, since)
            elif step.calls and place not in run.nested:
                draw = mix(self.seed, run.number, 8, place)
                times = step.calls_from + draw % (step.calls_to - step.calls_from + 1)
                status = run.step_status(place)
                calls = run.nested[place] = []
                for turn in range(times):
                    # the run that a step waits for, or failed over, is the last one that it started
                    own = status if turn == times - 1 else "COMPLETED"
                    if own == "COMPLETED" and draw // 64 % 8 == turn:
                        own = "FAILED"
                    started = min(since + SECOND * (turn + 1), run.updated)
                    calls.append(self.new_run(WORKFLOWS[step.calls], run.size, own, started, run, place))
                    self.settle(calls[-1], run.updated)

    def _read(self, run: Run, place: int, documents: str, since: int) -> None:
        created = min(since + SECOND * (place + 1), run.updated)
        one = self.new_extraction(documents, run.size, created)
        run.extractions[place] = one.number
        status = run.step_status(place)
        odd = mix(self.seed, one.number, 9)
        if status == "FAILED":
            status = "REJECTED" if odd % 2 else "FAILED"
        elif status == "PROCESSING" and odd % 3 == 0:
            status = "QUEUED"
        self.end_extraction(one, status, min(created + SECOND * (3 + odd % 12), run.updated))
        if one.failure:
            run.failure = one.failure

    def end_extraction(self, one: Extraction, status: str, moment: int) -> None:
        """Set the status of an extraction, terminal or not, with its times and failure."""
        one.status = status
        one.updated = one.created if status == "QUEUED" else moment
        one.completed = moment if status in ENDED else None
        one.failure = {"FAILED": UNREADABLE, "REJECTED": UNSUPPORTED}.get(status)

    # ids

    def id_of(self, record: Record) -> str:
        if isinstance(record, Verbatim):
            return record.id
        return hex_id(self.seed, RUNS if isinstance(record, Run) else EXTRACTIONS, record.number)

    def extraction_id(self, number: int) -> str:
        """The id of an extraction, even of a deleted one."""
        return hex_id(self.seed, EXTRACTIONS, number)

    def file_of(self, one: Extraction) -> str:
        return file_id(self.seed, one.number)

    def find_run(self, id: str) -> Run | Verbatim | None:
        given = self._verbatim.get(("workflow_runs", id))
        number = number_of(self.seed, RUNS, id)
        if given or number is None or number >= len(self.runs):
            return given
        found = self.runs[number]
        return found if isinstance(found, Run) else None

    def find_extraction(self, id: str) -> Extraction | Verbatim | None:
        given = self._verbatim.get(("extractions", id))
        number = number_of(self.seed, EXTRACTIONS, id)
        if given or number is None or number >= len(self.extractions):
            return given
        found = self.extractions[number]
        return found if isinstance(found, Extraction) else None

    def find_file(self, id: str) -> Extraction | None:
        number = file_number(self.seed, id)
        if number is None or number >= len(self.extractions):
            return None
        found = self.extractions[number]
        return found if isinstance(found, Extraction) else None

    # lists

    def order(self, resource: str, sort: str, status: str | None) -> Order:
        """The list of "workflow_runs" or "extractions" by `createdAt`, `updatedAt` or `completedAt`.

        With `status` it has the records of that status only. An unfinished record sorts as if it had ended in
        1970.
        """
        nested = self.switches.nested_listed
        whole = self._orders.get((resource, sort, nested))
        if whole is None:
            whole = self._orders[resource, sort, nested] = Order(
                (_time(record, sort), record.number)
                for record in self._records(resource)
                if record is not None and (nested or _top(record))
            )
        if status is None:
            return whole
        key = (resource, sort, nested, status)
        if key not in self._filtered:
            records = self._records(resource)
            self._filtered[key] = Order(
                row for row in whole.rows if (known := records[row[1]]) is not None and known.status == status
            )
        return self._filtered[key]

    def _records(self, resource: str) -> list[Run | Verbatim | None] | list[Extraction | Verbatim | None]:
        return self.runs if resource == "workflow_runs" else self.extractions

    @contextmanager
    def changing(self, *records: Record) -> Iterator[None]:
        """Change records inside the block; afterwards the lists are up to date.

        The lists then also contain the records that were created in the block.
        """
        with self.lock:
            marks = len(self.runs), len(self.extractions)
            for record in records:
                self._shelve(record, put=False)
            yield
            for record in records:
                self._shelve(record, put=True)
            for made in (*self.runs[marks[0] :], *self.extractions[marks[1] :]):
                if made is not None:
                    self._shelve(made, put=True)
            self._filtered.clear()

    def _shelve(self, record: Record, *, put: bool) -> None:
        mine = _resource(record)
        for (resource, sort, nested), order in self._orders.items():
            if resource == mine and (nested or _top(record)):
                (order.add if put else order.remove)(_time(record, sort), record.number)

    def keep(self, given: Verbatim) -> None:
        """Store a verbatim record; call this inside `changing()`."""
        self._verbatim[given.resource, given.id] = given
        (self.runs if given.resource == "workflow_runs" else self.extractions).append(given)

    def remove(self, record: Record) -> None:
        """Remove a record; a run goes together with the runs nested in it, but its extractions stay."""
        with self.lock:
            gone: list[Record] = list(subtree(record)) if isinstance(record, Run) else [record]
            for each in gone:
                self._shelve(each, put=False)
                self._records(_resource(each))[each.number] = None
                if isinstance(each, Verbatim):
                    del self._verbatim[each.resource, each.id]
            if isinstance(record, Run) and record.parent is not None:
                record.parent.nested[record.place].remove(record)
            self._filtered.clear()


def subtree(run: Run) -> Iterator[Run]:
    """A run and all runs nested in it, parents first; without recursion, because nesting has no limit."""
    waiting = [run]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += [each for calls in one.nested.values() for each in calls]


def ancestors(run: Run) -> Iterator[Run]:
    """The runs around a run, from its parent up to the root."""
    while run.parent is not None:
        run = run.parent
        yield run


def _resource(record: Record) -> str:
    if isinstance(record, Verbatim):
        return record.resource
    return "workflow_runs" if isinstance(record, Run) else "extractions"


def _top(record: Record) -> bool:
    return not isinstance(record, Run) or record.parent is None


def _time(record: Record, sort: str) -> int:
    if sort == "createdAt":
        return record.created
    if sort == "updatedAt":
        return record.updated
    return (record.ended if isinstance(record, Run) else record.completed) or 0
