"""Writes names and metadata back to Extend's workflow runs: only what differs, and nothing twice.

    rows ──► desired runs ──► compared with the platform ──► changes ──► journal ──► POST ──► journal ──► … 1,000 of them
     └──► problems: all of them are named, and nothing is sent                                                │
         runs fetched again, and merged with the rows of `pushes` in one package ◄───────────────────────────┘

The journal is a file beside the target's lock. It holds a change before the change is sent. It holds the
answer before the lane that got it sends its next change. A killed push leaves the journal: the next push
fetches those runs again, merges what the journal holds, and continues. It continues the same push, under the
same `push_id`, if its rows ask for the same; in any case it compares them with what the runs have by then. So
a call is made again only if the run, fetched again, lacks the change. A name that the API version does not
return cannot be checked: it is sent again if no answer came.

A change is confirmed when the run, fetched again, has it. An answer 200 alone confirms nothing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from ...core.codec import rfc3339
from ...core.errors import ApiError, ConfigError, RowsError
from ...core.settings import CHUNK_RUNS, is_loopback
from ...core.tables import Row
from ...providers import changes
from ...providers.changes import Change, Comparison, DesiredRun, Problem, RemoteRun, Stored
from ...providers.extend import updates
from ...providers.identity import check_stored_identity, require_runs
from ...store.destinations import traits_of
from ...store.failures import translate_errors
from ...store.lookup import Pipeline
from ...store.pipeline import load_package, open_for_reading, open_pipeline
from ...store.process.environment import private_files
from ...store.target import Target, exclusive, refuse_views, require_database, working_folder
from ...sync import quarantine
from ...sync.inventory import check_stored_privacy
from ...sync.lists import Platform
from ...sync.metrics import Progress
from .journal import Journal, JournalState, read_records
from .records import Record, private_text, recorded_change, to_rows
from .refresh import refresh_source
from .remote import RemoteRuns
from .rows import KEY, read_rows

_NO_ANSWER = "no answer came"
_READ_BACK = "no answer came; the run, read again, has it"
_NOT_KEPT = "it was answered, but the run, read again, does not have it"
_KEPT_OTHERWISE = "the platform keeps it in its own way"


@dataclass
class PushResult:
    """What a push did. All counts are of rows, over the whole push: `before` were confirmed before a kill."""

    push_id: str | None = None
    rows: int = 0
    changes: int = 0
    confirmed: int = 0
    before: int = 0
    unchanged: int = 0
    refused: int = 0
    unconfirmed: int = 0
    read_again: int = 0
    requests: int = 0
    retries: int = 0
    throttled_s: float = 0.0
    seconds: float = 0.0
    differences: list[Change] = field(default_factory=list)
    """Of a dry run."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {name: value for name, value in vars(self).items() if name != "differences"}


@private_files()
def push_rows(
    platform: Platform,
    target: Target,
    source: str | Iterable[Mapping[str, Any]],
    progress: Progress | None = None,
    *,
    dry_run: bool = False,
    on_wait: Callable[[str], None] | None = None,
) -> PushResult:
    """Push rows: given ones, or those of a query or a file, see `rows`. A dry run only compares.

    Raises RowsError with all that is wrong with the rows, and then nothing was sent. Any other DocrunsError
    stops the push where it is; the next push continues there.
    """
    if platform.name != "extend":
        raise ConfigError("push", f"{platform.name} has no call that changes a run.")
    require_database(target)
    started = time.monotonic()
    lock = nullcontext() if dry_run else exclusive(target, "docruns push extend")
    open_target = open_for_reading if dry_run else open_pipeline
    with translate_errors(target, working_folder(target)), lock:
        if isinstance(source, str):
            source = read_rows(source, target, platform.name, on_wait)
        rows = list(source)
        desired, problems = changes.read(rows)
        with open_target(platform.name, target, on_wait) as running:
            if not traits_of(running).takes_updates:
                reason = f"{target.destination} keeps files, and `pushes` must be a table."
                raise ConfigError("--destination", reason)
            refuse_views(running, target)
            require_runs(platform.name, running, str(target))
            check_stored_identity(platform, running, only_reads=dry_run)
            check_stored_privacy(platform, running)
            if dry_run:
                result = _dry_run(platform, target, running, desired, problems)
            else:
                with _open_journal(journal_file(platform, target)) as journal:
                    push = _Push(platform, target, running, journal, progress)
                    push.run(desired, problems)
                result = push.result
    used = platform.client.usage
    result.rows = len(rows)
    result.requests, result.retries = used.requests, used.retries
    result.throttled_s = round(used.throttled_s, 3)
    result.seconds = round(time.monotonic() - started, 3)
    return result


def journal_file(platform: Platform, target: Target) -> Path:
    """The journal of a target's pushes to a platform, beside the target's lock.

    The target is a dataset at a place, the platform an address and a workspace. What one of them has confirmed says
    nothing about another one.
    """
    url, origin = platform.client.base_url, platform.settings.origin
    # all addresses of this machine have one name, and each may be another platform
    host = url if is_loopback(url) else origin.get("base_url")
    owner = f"{host}\n{origin.get('workspace_id') or ''}"
    folder = working_folder(target)
    return folder.with_name(f"{folder.name}-{sha256(owner.encode()).hexdigest()[:16]}.push")


@contextmanager
def _open_journal(path: Path) -> Iterator[Journal]:
    """The journal. Its file stays only if it has records that the database lacks."""
    journal = Journal(path)
    try:
        yield journal
    finally:
        if journal.is_empty:
            journal.remove()
        journal.close()


def _compare(
    remote: RemoteRuns, desired: Sequence[DesiredRun], problems: Sequence[Problem], stored: Stored
) -> Comparison:
    """Compare the desired runs with the platform's. RowsError if there is any problem."""
    comparison = changes.compare(remote.read(), desired, problems, remote.last_pushes, stored)
    if comparison.problems:
        raise RowsError(KEY, [str(problem) for problem in comparison.problems])
    return comparison


def _dry_run(
    platform: Platform, target: Target, running: Pipeline, desired: list[DesiredRun], problems: list[Problem]
) -> PushResult:
    state = JournalState(read_records(journal_file(platform, target)))
    remote = RemoteRuns(platform, running, [run.id for run in desired], state.uncommitted())
    stored = private_text(platform.settings.privacy)
    comparison = _compare(remote, desired, problems, stored)
    return PushResult(
        changes=len(comparison.changes),
        unchanged=len(comparison.unchanged),
        refused=len(comparison.unreadable),
        differences=comparison.changes,
    )


class _Push:
    """One push at work."""

    def __init__(
        self,
        platform: Platform,
        target: Target,
        running: Pipeline,
        journal: Journal,
        progress: Progress | None,
    ) -> None:
        self._platform, self._target, self._running = platform, target, running
        self._progress = progress
        self._journal = journal
        self._stored = private_text(platform.settings.privacy)
        self._push_id = f"{platform.clock():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        self._records: dict[str, Record] = {}
        self._changes: dict[str, Change] = {}
        self._read: set[str] = set()
        """Runs that this process has read again after they were sent."""
        self.result = PushResult()

    def run(self, desired: Sequence[DesiredRun], problems: Sequence[Problem]) -> None:
        """Settle what a killed push left, compare, then send and commit the changes chunk by chunk."""
        fingerprint = self._stored("wish", changes.fingerprint_all(desired))
        self._resume(fingerprint)
        # what was confirmed before the kill counts only if the run, read again, has it
        confirmed = [rec for rec in self._records.values() if rec["outcome"] == "confirmed"]
        unread = [rec["id"] for rec in confirmed if rec["id"] not in self._read]
        remote = RemoteRuns(self._platform, self._running, [run.id for run in desired], unread=unread)
        comparison = _compare(remote, desired, problems, self._stored)
        unsent = [*self._unsent_records(comparison)]
        if comparison.changes and self._journal.is_empty:
            self._journal.write({"push_id": self._push_id, "wishes": fingerprint})
        for start in range(0, len(comparison.changes), CHUNK_RUNS):
            chunk = comparison.changes[start : start + CHUNK_RUNS]
            self._send(chunk, start, len(comparison.changes))
            self._commit([self._records[change.wish.id] for change in chunk], remote, unsent)
            unsent = []
        if unsent:
            self._commit([], remote, unsent)
        self._journal.restart()
        self._count()

    def _resume(self, fingerprint: str | None) -> None:
        """Commit what a killed push left. If it asked for the same rows, this push continues it."""
        state = JournalState(self._journal.records)
        if state.push_id is None:
            return
        if uncommitted := state.uncommitted():
            ids = [record["id"] for record in uncommitted]
            self._commit(uncommitted, RemoteRuns(self._platform, self._running, ids), [])
        if fingerprint is not None and state.fingerprint == fingerprint:
            self._push_id, self._records = state.push_id, state.records
        else:
            self._journal.restart()

    def _unsent_records(self, comparison: Comparison) -> Iterator[Record]:
        """The records of runs that need no call, or that cannot be fetched."""
        for unchanged in comparison.unchanged:
            before = self._records.get(unchanged.wish.id)
            if before is not None and before["outcome"] == "confirmed":
                self.result.before += 1
            elif before is not None and before["outcome"] == "unconfirmed":
                # sent before the kill, and fetched again since
                yield self._update(before, outcome="confirmed", reason=_READ_BACK)
            else:
                self._records.pop(unchanged.wish.id, None)
                self.result.unchanged += 1
                yield self._new_record(unchanged.wish, outcome="unchanged", reason=unchanged.reason)
        for run, error in comparison.unreadable:
            before = self._records.get(run.id)
            if before is not None and before["outcome"] != "refused":
                reason = f"it was sent, but the run cannot be read again: {self._redacted(error)}"
                yield self._update(before, outcome="unconfirmed", reason=reason)
                continue
            self._records.pop(run.id, None)
            self.result.refused += 1
            reason = f"not sent: the run cannot be read: {self._redacted(error)}"
            yield self._new_record(run, outcome="refused", reason=reason)

    def _send(self, chunk: Sequence[Change], before: int, total: int) -> None:
        answers = updates.send(self._platform.client, chunk, self._on_send, self._on_answer)
        try:
            for number, _ in enumerate(answers, start=before + 1):
                if self._progress is not None:
                    self._progress("fetching", "answers", number, total)
        except ApiError:
            # `pushes` gets what happened so far; the next push fetches these runs again
            records = [rec for change in chunk if (rec := self._records.get(change.wish.id))]
            source = refresh_source(
                self._platform, self._running, [], lambda *_: None, lambda: to_rows(records)
            )
            load_package(self._running, source, self._target)
            raise

    def _on_send(self, change: Change) -> None:
        """Write a change into the journal before it is sent."""
        cells = {"before": change.undo()}
        if change.name is not None:
            cells["name"] = change.name
        if change.metadata:
            cells["metadata"] = changes.canonical(change.metadata)
        record = self._new_record(change.wish, outcome="unconfirmed", reason=_NO_ANSWER)
        record |= {name: self._stored(name, text) for name, text in cells.items()}
        self._journal.write(record)
        self._records[change.wish.id], self._changes[change.wish.id] = record, change

    def _on_answer(self, change: Change, outcome: updates.Outcome) -> None:
        """Write the answer to a change into the journal."""
        record = self._records[change.wish.id]
        if isinstance(outcome, RemoteRun):
            after = self._stored("after", outcome.text())
            self._update(record, outcome="confirmed", reason=None, after=after)
        elif updates.is_refusal(outcome):
            self._update(record, outcome="refused", reason=self._redacted(outcome))
        else:
            self._update(record, reason=f"{_NO_ANSWER}: {self._redacted(outcome)}")

    def _new_record(self, run: DesiredRun, **cells: str) -> Record:
        return {
            "push_id": self._push_id,
            "id": run.id,
            "source_row": run.row,
            "wish": self._stored("wish", changes.fingerprint(run)),
            "done_at": rfc3339(self._platform.clock()),
            "read_at": None,
            **cells,
        }

    def _update(self, record: Record, **cells: str | None) -> Record:
        """Change a record, in the journal first."""
        cells["done_at"] = rfc3339(self._platform.clock())
        self._journal.write({"id": record["id"], **cells})
        record.update(cells)
        return record

    def _redacted(self, error: ApiError) -> str:
        return quarantine.redacted_message(error, self._platform.settings.privacy)

    def _commit(self, sent: Sequence[Record], remote: RemoteRuns, unsent: Sequence[Record]) -> None:
        """Fetch the sent runs again, and merge them with all these records in one package."""
        by_id = {record["id"]: record for record in sent}
        changed = [id_ for id_, record in by_id.items() if record["outcome"] != "refused"]
        ids = list(filter(remote.is_loaded, changed))
        if ids:
            remote.read_list()

        rest = dict.fromkeys(changed)

        def on_run(id_: str, body: bytes) -> None:
            self._read_back(by_id[id_], updates.known(body, id_))
            by_id[id_]["read_at"] = rfc3339(self._platform.clock())
            self.result.read_again += 1
            del rest[id_]

        def rows() -> list[Row]:
            self._read_rest([by_id[id_] for id_ in rest])
            return to_rows([*sent, *unsent])

        runs = [remote.listed_run(id_) for id_ in ids]
        source = refresh_source(self._platform, self._running, runs, on_run, rows)
        load_package(self._running, source, self._target)
        if by_id:
            names = ("outcome", "reason", "read_at")
            cells = {id_: {name: record[name] for name in names} for id_, record in by_id.items()}
            self._journal.write({"committed": cells})

    def _read_rest(self, records: Sequence[Record]) -> None:
        """Read sent runs that were not merged: those that are not loaded, and those that cannot be parsed."""
        by_id = {record["id"]: record for record in records}
        with self._platform.client as client:
            for id_, outcome in updates.has(client, by_id):
                if isinstance(outcome, RemoteRun):
                    self._read_back(by_id[id_], outcome)
                elif by_id[id_]["outcome"] == "confirmed":
                    reason = f"it was answered, but the run cannot be read again: {self._redacted(outcome)}"
                    by_id[id_] |= {"outcome": "unconfirmed", "reason": reason}

    def _read_back(self, record: Record, run: RemoteRun) -> None:
        """Compare a run that was fetched again with what was sent."""
        self._read.add(record["id"])
        after, answered = self._stored("after", run.text()), record.get("after")
        record["after"] = after
        is_confirmed = record["outcome"] == "confirmed"
        change = self._changes.get(record["id"]) or recorded_change(record, self._platform.settings.privacy)
        if change is None:
            # of a push before a kill, whose values are not kept: all that is known is what the answer had
            if is_confirmed and answered != after:
                record |= {"outcome": "unconfirmed", "reason": _NOT_KEPT}
            return
        found = changes.read_back(change, run)
        if found.missing and is_confirmed:
            cells = f": {', '.join(found.missing)}" if self._platform.settings.privacy.keeps else ""
            record |= {"outcome": "unconfirmed", "reason": f"{_NOT_KEPT}{cells}"}
        elif found.missing or not (is_confirmed or found.is_certain):
            return
        elif not is_confirmed:
            record |= {"outcome": "confirmed", "reason": _READ_BACK}
        elif found.otherwise:
            record["reason"] = _KEPT_OTHERWISE

    def _count(self) -> None:
        outcomes = [record["outcome"] for record in self._records.values()]
        result = self.result
        result.push_id = self._push_id
        result.changes = len(outcomes)
        result.confirmed = outcomes.count("confirmed")
        result.unconfirmed = outcomes.count("unconfirmed")
        result.refused += outcomes.count("refused")
