"""How runs end, together with the runs nested in them and around them."""

from __future__ import annotations

from ..moments import SECOND
from .records import ENDED, Extraction, Run
from .state import Record, State, ancestors, subtree
from .workflows import FAILURES, UNREADABLE


class Changes(State):
    """Changes of one record that affect other records; callers hold the lock."""

    def conclude(self, record: Record) -> None:
        """End a record as COMPLETED; a run ends together with the runs and extractions in it."""
        if isinstance(record, Extraction):
            with self.changing(record):
                self.end_extraction(record, "COMPLETED", self.clock.tick())
            return
        assert isinstance(record, Run)
        inner, outer = list(subtree(record)), list(ancestors(record))
        waiting = [one for one in self._read_by(inner) if one.status not in ENDED]
        with self.changing(*inner, *outer, *waiting):
            since = self.clock.tick()
            end = self.clock.advance(25 * SECOND)
            for one in waiting:
                self.end_extraction(one, "COMPLETED", end)
            for run in inner:
                if run.status not in ENDED:
                    run.status, run.reached, run.failure = "COMPLETED", run.total, None
                    run.updated = run.ended = end
                    self.grow(run, since)
            for run in outer:
                run.updated = end

    def end_run(self, run: Run, status: str) -> None:
        """End a run as FAILED or CLOSED.

        Unfinished runs inside it get the same status, unfinished extractions inside it end as FAILED.
        """
        inner, outer = list(subtree(run)), list(ancestors(run))
        waiting = [one for one in self._read_by(inner) if one.status not in ENDED]
        with self.changing(*inner, *outer, *waiting):
            end = self.clock.tick()
            for one in waiting:
                self.end_extraction(one, "FAILED", end)
            for each in inner:
                if each is run or each.status not in ENDED:
                    each.status = status
                    each.reached = min(each.reached, each.total - 1)
                    each.failure = FAILURES[each.number % len(FAILURES)]
                    if status == "CLOSED":
                        each.failure = None
                    elif any(one in waiting for one in self._read_by([each])):
                        each.failure = UNREADABLE
                    each.updated = each.ended = end
            for each in outer:
                each.updated = end

    def _read_by(self, runs: list[Run]) -> list[Extraction]:
        """The extractions of these runs that still exist."""
        found = (self.extractions[number] for run in runs for number in run.extractions.values())
        return [one for one in found if isinstance(one, Extraction)]
