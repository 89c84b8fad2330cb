"""The controls of the sandbox's Plextera workspace, outside its API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ..chance import dice
from ..kinds import KINDS, ROWS
from ..moments import SECOND, milliseconds
from .changes import Changes
from .records import ENDED, EXTRACTION_STATUSES, RUN_STATUSES, Extraction, Run, Verbatim
from .state import Record
from .truth import extraction_truth, run_truth
from .workflows import RELAY, SEEDED, find

Target = int | str | Sequence[str] | None
"""The records a control changes: a number (drawn at random), one id, several ids, or None for all that
qualify."""

ENDLESS = 1 << 60


class Plextera(Changes):
    """The controls; each method is thread-safe, and equal calls in equal order have equal effects.

    Every change takes its time from the sandbox's clock, so `updatedAt` only increases. A change of a nested
    run also changes the `updatedAt` of the runs around it.
    """

    def add(
        self,
        n: int = 1,
        *,
        kind: str | None = None,
        size: str | None = None,
        status: str = "COMPLETED",
        steps: int | None = None,
        depth: int = 0,
        cycle: bool = False,
    ) -> list[str]:
        """Start `n` more top-level runs; returns their ids, oldest first.

        `kind` is a document kind or a workflow's id (None: the sandbox's usual mix), `size` "light", "normal"
        or "heavy", `status` any status of the API. `steps` is the number of steps of each run. `depth` is the
        number of levels of runs nested below it, one in the other. With `cycle` the innermost of them (at
        least one) lists the top-level run as nested in itself.
        """
        _check(size, status, RUN_STATUSES)
        if (steps is not None and steps < 1) or depth < 0:
            raise ValueError("steps begin at 1, depth at 0")
        if kind is not None:
            find(kind)
        with self.changing():
            chained = depth or cycle
            return [
                self.id_of(
                    self._chain(kind, size, status, steps, max(depth, 1), cycle)
                    if chained
                    else self._start(kind, size, status, steps)
                )
                for _ in range(n)
            ]

    def _start(self, kind: str | None, size: str | None, status: str, steps: int | None) -> Run:
        number = len(self.runs)
        workflow = SEEDED[number * 37 % len(SEEDED)] if kind is None else find(kind)
        run = self.new_run(workflow, size or self.size, status, self.clock.tick(), total=steps)
        self.settle(run, ENDLESS)
        self.clock.advance(run.updated - self.clock.now)
        return run

    def _chain(
        self,
        kind: str | None,
        size: str | None,
        status: str,
        steps: int | None,
        depth: int,
        cycle: bool,
    ) -> Run:
        run = root = self._start("relay", size, status, steps)
        for level in range(1, depth + 1):
            innermost = level == depth and not cycle
            workflow = find(kind or "invoice-intake") if innermost else RELAY
            created = min((run.started or run.created) + SECOND, run.updated)
            nested = self.new_run(workflow, run.size, status, created, run)
            run.nested[0] = [nested]
            self.settle(nested, root.updated)
            run = nested
        if cycle:
            run.echoes[0] = root
        return root

    def add_extractions(
        self,
        n: int = 1,
        *,
        kind: str | None = None,
        size: str | None = None,
        status: str = "COMPLETED",
    ) -> list[str]:
        """Start `n` more extractions outside any run; returns their ids, oldest first."""
        _check(size, status, EXTRACTION_STATUSES)
        if kind is not None and kind not in KINDS:
            raise ValueError(f"no document kind {kind!r}; known: {', '.join(KINDS)}")
        with self.changing():
            made = []
            for _ in range(n):
                chosen = kind or list(KINDS)[len(self.extractions) % len(KINDS)]
                one = self.new_extraction(chosen, size or self.size, self.clock.tick())
                self.end_extraction(one, status, self.clock.tick())
                made.append(self.id_of(one))
            return made

    def finish(self, target: Target = None) -> list[str]:
        """End unfinished runs (with the runs and extractions in them) and extractions as COMPLETED; returns
        their ids.

        A number draws among top-level runs; None takes all of them and all other unfinished extractions.
        """
        with self.lock:
            chosen = self._pick(target, self._unfinished())
            for record in chosen:
                self.conclude(record)
            if target is None:
                for one in self._extractions():
                    if one.status not in ENDED:
                        self.conclude(one)
                        chosen.append(one)
            return [self.id_of(record) for record in chosen]

    def fail(self, id: str, *, status: str = "FAILED") -> None:
        """End a run or an extraction as FAILED, whatever its status was before; an extraction may also end as
        REJECTED."""
        with self.lock:
            record = self._known(id)
            if isinstance(record, Extraction):
                if status not in ("FAILED", "REJECTED"):
                    raise ValueError(f"an extraction cannot fail as {status!r}")
                with self.changing(record):
                    self.end_extraction(record, status, self.clock.tick())
            elif status != "FAILED":
                raise ValueError(f"a run cannot fail as {status!r}")
            else:
                self.end_run(record, "FAILED")

    def close(self, target: Target = 1) -> list[str]:
        """Close unfinished runs, as people do in the application; returns their ids.

        The platform sends no event when a run is closed. An id closes a run whatever its status was before.
        """
        with self.lock:
            chosen = self._pick(target, self._unfinished())
            for record in chosen:
                if not isinstance(record, Run):
                    raise ValueError("only runs can be closed")
                self.end_run(record, "CLOSED")
            return [self.id_of(record) for record in chosen]

    def reprocess(self, target: Target = 1, *, finish: bool = True) -> list[str]:
        """Process ended extractions again: new output, later `updatedAt`; returns their ids.

        With `finish` False they stay PROCESSING, without output, until `finish()` ends them.
        """
        with self.lock:
            fitting: list[Record] = [one for one in self._extractions() if one.status in ENDED]
            chosen = self._pick(target, fitting)
            for one in chosen:
                if not isinstance(one, Extraction):
                    raise ValueError("only extractions can be processed again")
                with self.changing(one):
                    one.round += 1
                    self.end_extraction(one, "PROCESSING", self.clock.tick())
                    if finish:
                        self.end_extraction(one, "COMPLETED", self.clock.tick())
            return [self.id_of(one) for one in chosen]

    def delete(self, id: str) -> None:
        """Delete a run (with the runs nested in it) or an extraction: its id answers 404 and no list contains
        it."""
        with self.lock:
            found = self.find_run(id) or self.find_extraction(id)
            if found is None:
                raise ValueError(f"no run or extraction {id!r}")
            self.remove(found)

    def switch(self, **settings: Any) -> dict[str, Any]:
        """Set any of the `Switches`; returns them all."""
        with self.lock:
            # the switches may change which runs are listed
            self._filtered.clear()
            return self.switches.turn(**settings)

    def put(
        self,
        detail: bytes | str | dict[str, Any],
        summary: dict[str, Any] | None = None,
        *,
        resource: str = "workflow_runs",
    ) -> str:
        """Serve a payload exactly as given: `detail` for GET by id, `summary` as the item of the list;
        returns the id.

        `resource` is "workflow_runs" or "extractions". Without a summary the item is the detail, without its
        `steps` or `output` where the switches say so; with a summary the detail need not be JSON. A payload
        replaces any record with the same id.
        """
        if resource not in ("workflow_runs", "extractions"):
            raise ValueError(f"no resource {resource!r}; known: workflow_runs, extractions")
        raw = (
            detail
            if isinstance(detail, bytes)
            else detail.encode()
            if isinstance(detail, str)
            else msgspec.json.encode(detail)
        )
        item: dict[str, Any] = msgspec.json.decode(raw) if summary is None else dict(summary)
        with self.lock:
            runs = resource == "workflow_runs"
            known = self.find_run(item["id"]) if runs else self.find_extraction(item["id"])
            if known is not None:
                self.remove(known)
            with self.changing():
                number = len(self.runs if runs else self.extractions)
                given = Verbatim(resource, number, item["id"], str(item.get("status")), raw)
                now = self.clock.tick()
                given.created = milliseconds(item.get("createdAt") or now)
                given.updated = milliseconds(item.get("updatedAt") or now)
                ended = item.get("completedAt")
                given.completed = None if ended is None else milliseconds(ended)
                given.item, given.made = item, summary is None
                self.keep(given)
            return given.id

    def truth(self) -> Iterator[dict[str, Any]]:
        """The current state of every run, then of every extraction, to compare a loaded database with.

        See the truth module for the keys. Nested runs are included whatever the switches say; payloads of
        `put()` are left out.
        """
        with self.lock:
            runs = [run for run in self.runs if isinstance(run, Run)]
            extractions = self._extractions()
        for run in runs:
            with self.lock:
                yield run_truth(self, run)
        for one in extractions:
            with self.lock:
                yield extraction_truth(self, one)

    def _unfinished(self) -> list[Record]:
        return [run for run in self._top_runs() if run.status not in ENDED]

    def _top_runs(self) -> list[Run]:
        return [run for run in self.runs if isinstance(run, Run) and run.parent is None]

    def _extractions(self) -> list[Extraction]:
        return [one for one in self.extractions if isinstance(one, Extraction)]

    def _known(self, id: str) -> Run | Extraction:
        found = self.find_run(id) or self.find_extraction(id)
        if not isinstance(found, Run | Extraction):
            raise ValueError(f"no run or extraction {id!r}")
        return found

    def _pick(self, target: Target, fitting: list[Record]) -> list[Record]:
        if target is None:
            return fitting
        if isinstance(target, int):
            self._draws += 1
            return dice(self.seed, self._draws, 41).sample(fitting, min(target, len(fitting)))
        return [self._known(id) for id in ([target] if isinstance(target, str) else target)]


def _check(size: str | None, status: str, statuses: tuple[str, ...]) -> None:
    if size is not None and size not in ROWS:
        raise ValueError(f"no size {size!r}; known: {', '.join(ROWS)}")
    if status not in statuses:
        raise ValueError(f"no status {status!r}; known: {', '.join(statuses)}")
