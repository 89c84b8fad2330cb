"""The controls of the sandbox's Extend organisation, outside its API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ..chance import dice
from ..moments import milliseconds, stamp
from ..review import leaves_of_review
from .catalog import WORKFLOWS, Workflow
from .errors import RefusedError
from .runs import FAILURES, Run, child_id, choose, settle, source_of
from .state import State, Verbatim

Target = int | str | Sequence[str] | None
"""The runs a control changes: a number (drawn at random), one id, several ids, or None for all that
qualify."""

ENDLESS = 1 << 60


class Extend(State):
    """The controls; each method is thread-safe, and equal calls in equal order have equal effects.

    Every change takes its time from the sandbox's clock, so `updatedAt` only increases.
    """

    def add(
        self,
        n: int = 1,
        *,
        kind: str | None = None,
        size: str | None = None,
        status: str = "PROCESSED",
        reviewed: bool = False,
    ) -> list[str]:
        """Start `n` more workflow runs; returns their ids, oldest first.

        `kind` is a document kind or a workflow's name (None: the sandbox's usual mix), `size` "light",
        "normal" or "heavy", `status` any status of the API. A person has also reviewed a `reviewed` run.
        """
        with self.lock:
            return [self.run_id(self._start(kind, size, status, reviewed)) for _ in range(n)]

    def _start(self, kind: str | None, size: str | None, status: str, reviewed: bool) -> Run:
        index = len(self._records)
        workflow = choose(self.seed, index, self.size) if kind is None else _workflow(kind)
        usual = "normal" if self.size == "mixed" else self.size
        run = Run(index, workflow, "", size or usual, "PROCESSING", self.clock.tick())
        settle(run, self.seed, index, ENDLESS, self.looks)
        if status in ("PENDING", "PROCESSING"):
            run.status = status
            run.started = None if status == "PENDING" else run.started
            run.updated = run.created if status == "PENDING" else run.updated
        else:
            self._conclude(run, status)
        if reviewed and status in ("PROCESSED", "REJECTED"):
            self._look_at(run, self.clock.tick(), round=1)
        self._records.append(run)
        self._shelve(run, put=True)
        return run

    def review(self, runs: Target = 1, *, together: bool = False) -> list[str]:
        """Review runs once more: values change, rows are added and removed, `updatedAt` increases.

        It takes runs that are PROCESSED or NEEDS_REVIEW; with `together` they all get the same `updatedAt`.
        Returns the ids. Such a review may come days after the run ended.
        """
        with self.lock:
            chosen = self._choose(runs, lambda run: run.status in ("PROCESSED", "NEEDS_REVIEW"))
            moment = self.clock.tick()
            for place, run in enumerate(chosen):
                with self.changing(run):
                    run.status = "PROCESSED"
                    later = moment if together or place == 0 else self.clock.tick()
                    self._look_at(run, later, round=max(run.round, 1) + 1)
            return [self.run_id(run) for run in chosen]

    @staticmethod
    def _look_at(run: Run, moment: int, *, round: int) -> None:
        run.round = round
        run.reviewed_at = moment - 2_300
        run.updated = run.ended = moment

    def finish(self, runs: Target = None) -> list[str]:
        """End unfinished runs as PROCESSED; returns their ids."""
        with self.lock:
            chosen = self._choose(runs, lambda run: run.status in ("PENDING", "PROCESSING"))
            for run in chosen:
                with self.changing(run):
                    self._conclude(run, "PROCESSED")
            return [self.run_id(run) for run in chosen]

    def _conclude(self, run: Run, status: str) -> None:
        run.worked = self.clock.tick()
        run.started = run.started or run.worked - 900
        run.status = status
        # long enough for every child run to end before its workflow run does
        run.updated = run.ended = self.clock.advance(25_000)
        run.failure = FAILURES[run.index % len(FAILURES)] if status == "FAILED" else None
        if status == "REJECTED":
            self._look_at(run, self.clock.tick(), round=1)

    def fail(self, id: str) -> None:
        """End a run as FAILED, whatever its status was before."""
        with self.lock, self.changing(self._known(id)) as run:
            run.round, run.reviewed_at = 0, None
            self._conclude(run, "FAILED")

    def delete(self, id: str) -> None:
        """Delete a run: its id answers 404 and no list contains it."""
        with self.lock:
            given = next((known for known in self._verbatim.values() if known.id == id), None)
            self.remove(given or self._known(id))

    def rename(self, id: str, *, name: str | None = None, metadata: dict[str, Any] | None = None) -> None:
        """Do the same as `POST /workflow_runs/{id}`; raises ValueError where the API answers 400."""
        with self.lock:
            try:
                self.update(self._known(id), name=name, metadata=metadata)
            except RefusedError as refused:
                raise ValueError(refused.message) from None

    def switch(self, **settings: Any) -> dict[str, Any]:
        """Set any of the `Switches`; returns them all."""
        with self.lock:
            for name, value in settings.items():
                if name not in self.switches.__slots__:
                    raise ValueError(f"unknown switch {name!r}; known: {', '.join(self.switches.__slots__)}")
                setattr(self.switches, name, value)
            return {name: getattr(self.switches, name) for name in self.switches.__slots__}

    def put(
        self,
        detail: bytes | str | dict[str, Any],
        summary: dict[str, Any] | None = None,
        *,
        resource: str = "workflow_runs",
    ) -> str:
        """Serve a payload exactly as given: `detail` for GET by id, `summary` as the row of the list.

        `resource` is "workflow_runs" or one of "extract_runs", "classify_runs", "split_runs", "parse_runs";
        every API version returns the same payload. Without a summary the row is made from the detail's id and
        times. A payload replaces an earlier one with the same id.
        """
        raw = (
            detail
            if isinstance(detail, bytes)
            else detail.encode()
            if isinstance(detail, str)
            else msgspec.json.encode(detail)
        )
        row = dict(summary) if summary is not None else _row(raw)
        with self.lock:
            known = self._verbatim.get((resource, row["id"]))
            if known is not None:
                self.remove(known)
            moment = self.clock.tick()
            if known is None:
                # the list shows the change that the detail states
                row = {**_dates(raw), **row}
            row.setdefault("createdAt", stamp(moment))
            row.setdefault("updatedAt", stamp(moment))
            given = Verbatim(
                index=len(self._records), resource=resource, id=row["id"], created=milliseconds(row["createdAt"]),
                updated=milliseconds(row["updatedAt"]), detail=raw, summary=msgspec.Raw(msgspec.json.encode(row)), row=row,
            )  # fmt: skip
            self._records.append(given)
            self._verbatim[resource, given.id] = given
            self._shelve(given, put=True)
            return given.id

    def truth(self) -> Iterator[dict[str, Any]]:
        """The current state of every run, by internal number, to compare a loaded database with.

        {"resource": "workflow_runs", "id", "status", "created_at", "updated_at", "name",
         "metadata", "reviewed_at" or None, "values": {extract run id: final value},
         "corrections": {extract run id: {path: {"original", "edited"}}},
         "mistakes": {extract run id: [paths that the machine read wrong]}}

        Ids are those of 2026-02-09.
        """
        with self.lock:
            runs = list(self.runs())
        for run in runs:
            with self.lock:
                yield self._truth(run)

    def _truth(self, run: Run) -> dict[str, Any]:
        values: dict[str, Any] = {}
        corrections: dict[str, Any] = {}
        mistakes: dict[str, list[str]] = {}
        children = self.children(run)
        for child in children:
            if child.type != "extract" or child.status != "PROCESSED":
                continue
            id = child_id(self.seed, run, child, old=False)
            sample = self.outputs(child).sample
            mistakes[id] = list(sample.reading.wrong)
            if run.reviewed_at is None:
                values[id] = sample.reading.value
                continue
            done = sample.reviewed(run.round)
            values[id] = done.value
            corrections[id] = {
                path: {"original": edit.original, "edited": edit.edited}
                for path, edit in done.edits.items()
                if edit
            }
        return {
            "resource": "workflow_runs" if run.workflow else f"{run.solo}_runs",
            "id": self.run_id(run) if run.workflow else child_id(self.seed, run, children[0], old=False),
            "status": run.status,
            "created_at": stamp(run.created),
            "updated_at": stamp(run.updated),
            "name": run.name,
            "metadata": self.metadata(run),
            "reviewed_at": None if run.reviewed_at is None else stamp(run.reviewed_at),
            "values": values,
            "corrections": corrections,
            "mistakes": mistakes,
        }

    def leaf_truth(self) -> Iterator[dict[str, Any]]:
        """What became of each leaf of each extraction: {"id": …, "older_id": …, "source": …, "reviewed": …, "leaves":
        [{"path": …, "initial_path": …, "edit_kind": …, "right": …}]}. `older_id` is the id up to 2025-04-21."""
        with self.lock:
            runs = list(self.runs())
        for run in runs:
            with self.lock:
                for child in self.children(run):
                    if child.type != "extract" or child.status != "PROCESSED":
                        continue
                    sample = self.outputs(child).sample
                    done = None if run.reviewed_at is None else sample.reviewed(run.round)
                    found = leaves_of_review(sample.kind, sample.reading, done)
                    yield {
                        "id": child_id(self.seed, run, child, old=False),
                        "older_id": child_id(self.seed, run, child, old=True),
                        "source": source_of(self.seed, run, child),
                        "reviewed": done is not None,
                        "leaves": [leaf._asdict() for leaf in found],
                    }

    def _known(self, id: str) -> Run:
        run = self.find_run(id)
        if run is None:
            raise ValueError(f"no workflow run {id!r}")
        return run

    def _choose(self, runs: Target, fits: Any) -> list[Run]:
        if isinstance(runs, str):
            return [self._known(runs)]
        if isinstance(runs, int | None):
            fitting = [run for run in self.workflow_runs() if fits(run)]
            if runs is None:
                return fitting
            self._changes += 1
            return dice(self.seed, self._changes, 41).sample(fitting, min(runs, len(fitting)))
        return [self._known(id) for id in runs]


def _workflow(kind: str) -> Workflow:
    for workflow in WORKFLOWS:
        documents = [processor.documents for _, _, processor in workflow.steps if processor]
        if workflow.name == kind or documents[:1] == [kind]:
            return workflow
    raise ValueError(f"no workflow or document kind {kind!r}")


def _dates(raw: bytes) -> dict[str, Any]:
    """The dates that a detail states; none where it is no object."""
    try:
        return {key: at for key, at in _row(raw).items() if key.endswith("At")}
    except (AttributeError, msgspec.DecodeError):
        return {}


def _row(raw: bytes) -> dict[str, Any]:
    """A list row made from a detail in any of the envelopes."""
    shown = msgspec.json.decode(raw)
    for key in ("workflowRun", "processorRun"):
        shown = shown.get(key, shown)
    return {
        key: shown[key]
        for key in (
            "object",
            "id",
            "status",
            "workflow",
            "workflowVersion",
            "createdAt",
            "updatedAt",
        )
        if key in shown
    }
