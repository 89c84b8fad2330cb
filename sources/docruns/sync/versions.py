"""Of several answers about one workflow run, a load stores the newest one.

    own answer, listed row, copies inside other runs, stored row ──► the one with the latest `updated_at`

A nested run can come inside its parent, by its own id and inside another parent, and a copy can be older than
the run. So the order of answers, and of loads, must not decide what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from ..core.batch import Batch
from ..core.codec import utc
from ..core.tables import WORKFLOW_RUNS, WORKFLOW_STEPS
from .listed import OLDEST, Dates, ListedRun

_TABLES = (WORKFLOW_RUNS, WORKFLOW_STEPS)
_ID, _UPDATED = (WORKFLOW_RUNS.names.index(name) for name in ("id", "updated_at"))


class Versions:
    """The last change of each workflow run that this load has read.

    `stored` gives the last change of those runs of `ids` that the destination holds.
    """

    def __init__(self) -> None:
        self.stored: Callable[[Sequence[str]], Mapping[str, datetime]] = lambda _: {}
        self._read = Dates()
        self._held: dict[str, tuple[Batch, datetime]] = {}
        """Runs whose rows dlt does not have yet."""
        self._listed: Dates | None = None
        self._passed = Dates()

    def clear(self) -> None:
        """Forget all: the lists are walked again."""
        self._read, self._held, self._listed, self._passed = Dates(), {}, None, Dates()

    def note_passed(self, run: ListedRun) -> None:
        """A listed run is stored as it is listed, and was taken out of the list."""
        self._passed[run.id] = run.changed

    def admit(self, batch: Batch, own_id: str, listed: Callable[[], Iterable[ListedRun]]) -> set[str]:
        """Leave a run in one batch: the one with its newest version. Gives the ids of runs whose rows were
        removed from this one. `own_id`: the run that was asked for; the others are nested in it."""
        older: set[str] = set()
        for row in batch.rows(WORKFLOW_RUNS):
            id_, at = row[_ID], row[_UPDATED] or OLDEST
            before = self._read.get(id_)
            if before is None and id_ != own_id:
                if self._listed is None:
                    self._listed = Dates((run.id, run.changed) for run in listed())
                # it is stored as it is listed, or due itself
                before = self._listed.get(id_) or self._passed.get(id_, at)
            if before is not None and before > at:
                older.add(id_)
                continue
            self._replace(id_, at, batch)
        batch.drop_runs(_TABLES, older)
        return older

    def _replace(self, id_: str, at: datetime, batch: Batch) -> None:
        held, before = self._held.get(id_), self._read.get(id_)
        if held is not None:
            held[0].drop_runs(_TABLES, {id_})
        elif before == at:
            # dlt has its steps; of the two rows of the run, the deeper one stays
            batch.drop_runs((WORKFLOW_STEPS,), {id_})
        self._read[id_], self._held[id_] = at, (batch, at)

    def drop_stored(self) -> None:
        """Remove rows that are older than the stored ones from what is held, and hold nothing any more."""
        held, self._held = self._held, {}
        for id_, at in self.stored(list(held)).items() if held else ():
            batch, read = held[id_]
            if utc(at) > read:
                batch.drop_runs(_TABLES, {id_})
