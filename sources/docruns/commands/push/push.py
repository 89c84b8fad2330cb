"""Names and metadata written back to Extend's workflow runs: what differs, and nothing twice.

    rows ──► wishes ──► beside what the platform has ──► changes ──► journal ──► POST ──► journal ──► … 1,000 of them
                └──────► problems: all named, nothing sent                                                  │
         runs read again, and merged with the rows of `pushes` in one package ◄──────────────────────────────┘

The journal is a file beside the target's lock. A change is in it before it is sent, and its answer before the lane that
got it sends another one. A killed push leaves the journal: the next push reads those runs again, merges what the
journal says, and goes on. It is the same push, under the same `push_id`, if its rows ask for the same; in any case
it compares with what the runs have by then. So a call that was answered is never made again. One that was sent and
not answered is made again only if the run, read again, lacks it; a name that the API version does not return
cannot be read again, and is.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core.codec import rfc3339, timestamp
from ...core.errors import ApiError, ConfigError, MissingError, RowsError
from ...core.privacy import Privacy, storage_mode_error
from ...core.tables import PUSHES, Row
from ...net.redaction import strip_signed_urls
from ...providers import changes
from ...providers.changes import Change, DesiredRun, Problem, RemoteRun, Stored, Unchanged
from ...providers.extend import updates
from ...store import destinations, lookup
from ...store.environment import private_files
from ...store.failures import translate_errors
from ...store.lookup import Pipeline
from ...store.pipeline import load_package, open_for_reading, open_pipeline
from ...store.target import Target, exclusive, require_database, working_folder
from ...sync import quarantine
from ...sync.sync import Sync
from ..load import CHUNK_RUNS
from .journal import Journal, records
from .refresh import package
from .remote import Knowledge
from .rows import KEY, read_rows

Record = dict[str, Any]
"""A row of `pushes` as JSON, private columns as they are stored."""

_JSON = {column.name for column in PUSHES.columns if column.type == "json"}
_TIMES = {column.name for column in PUSHES.columns if column.type == "timestamp"}


@dataclass
class Pushed:
    """What a push did. All counts are of rows, and of the whole push: `before` are those confirmed before a kill."""

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
    sync: Sync,
    target: Target,
    source: str | Iterable[Mapping[str, Any]],
    *,
    dry_run: bool = False,
    on_wait: Callable[[str], None] | None = None,
) -> Pushed:
    """Push rows: those of a query or a file, see `origin`, or given ones. A dry run only compares, and tells.

    Raises RowsError with all that is wrong with the rows, and then nothing was sent. Other DocrunsErrors end a push
    where it is; the next one goes on from there.
    """
    if sync.provider != "extend":
        raise ConfigError("push", f"{sync.provider} has no call that changes a run.")
    require_database(target)
    started = time.monotonic()
    held = nullcontext() if dry_run else exclusive(target, "docruns push extend")
    opened = open_for_reading if dry_run else open_pipeline
    with translate_errors(target, working_folder(target)), held:
        if isinstance(source, str):
            source = read_rows(source, target, sync.provider, on_wait)
        rows = list(source)
        wishes, problems = changes.read(rows)
        with opened(sync.provider, target, on_wait) as running:
            _check(sync, target, running)
            if dry_run:
                pushed = _compared(sync, target, running, wishes, problems)
            else:
                with _opened(journal_file(target)) as journal:
                    work = _Push(sync, target, running, journal)
                    work.push(wishes, problems)
                pushed = work.pushed
    used = sync.client.usage
    pushed.rows = len(rows)
    pushed.requests, pushed.retries = used.requests, used.retries
    pushed.throttled_s = round(used.throttled_s, 3)
    pushed.seconds = round(time.monotonic() - started, 3)
    return pushed


def journal_file(target: Target) -> Path:
    """Where a push of the target notes what it does."""
    return working_folder(target).with_suffix(".push")


def _check(sync: Sync, target: Target, running: Pipeline) -> None:
    if not destinations.takes_updates(running):
        raise ConfigError(
            "--destination", f"{target.destination} keeps files, and `pushes` must be a table."
        )
    now = sync.settings.privacy.mark
    if (then := lookup.stored_privacy(running) or now) != now:
        raise storage_mode_error(then, now, f"sources.{sync.provider}")


@contextmanager
def _opened(path: Path) -> Iterator[Journal]:
    """The journal; it stays only where it says something that is known nowhere else."""
    journal = Journal(path)
    try:
        yield journal
    finally:
        if journal.is_empty:
            journal.remove()
        journal.close()


@dataclass
class _Compared:
    """What is to be done, in the order of the rows."""

    changes: list[Change] = field(default_factory=list)
    same: list[Unchanged] = field(default_factory=list)
    unread: list[tuple[DesiredRun, ApiError]] = field(default_factory=list)
    """Runs that nobody can read now."""


def _compare(
    knowledge: Knowledge, wishes: Iterable[DesiredRun], problems: Sequence[Problem], stored: Stored
) -> _Compared:
    """What each wish needs. RowsError where there is any problem."""
    by_id, compared, found = {wish.id: wish for wish in wishes}, _Compared(), list(problems)
    for id_, outcome in knowledge.look():
        wish = by_id[id_]
        if isinstance(outcome, MissingError):
            found.append(Problem(wish.row, id_, "the platform has no such run"))
            continue
        if isinstance(outcome, ApiError):
            compared.unread.append((wish, outcome))
            continue
        decided = changes.diff(wish, outcome, knowledge.sent.get(id_, changes.LastPush()), stored)
        if isinstance(decided, Problem):
            found.append(decided)
        elif isinstance(decided, Unchanged):
            compared.same.append(decided)
        else:
            compared.changes.append(decided)
    if found:
        raise RowsError(KEY, [str(one) for one in sorted(found)])
    compared.changes.sort(key=lambda change: change.wish.row)
    return compared


def _compared(
    sync: Sync, target: Target, running: Pipeline, wishes: list[DesiredRun], problems: list[Problem]
) -> Pushed:
    """A dry run."""
    told = _Told(records(journal_file(target)))
    knowledge = Knowledge(sync, running, [wish.id for wish in wishes], told.left())
    compared = _compare(knowledge, wishes, problems, stored(sync.settings.privacy))
    return Pushed(
        changes=len(compared.changes),
        unchanged=len(compared.same),
        refused=len(compared.unread),
        differences=compared.changes,
    )


def stored(privacy: Privacy) -> Stored:
    """How a text is written into a column of `pushes`, in the journal as well."""
    rewrites = privacy.rewrites(PUSHES)

    def rewritten(column: str, text: str) -> str | None:
        text = strip_signed_urls(text) if column in _JSON else text
        if column not in rewrites:
            return text
        rewrite = rewrites[column]
        return None if rewrite is None else rewrite(text)

    return rewritten


class _Told:
    """What a journal says: the push it is of, what has become of each run, and which are in the database."""

    def __init__(self, lines: Iterable[Record]) -> None:
        self.push_id: str | None = None
        self.wishes: str | None = None
        self.of: dict[str, Record] = {}
        self.committed: set[str] = set()
        for line in lines:
            if "wishes" in line:
                self.push_id, self.wishes = line["push_id"], line["wishes"]
            elif "committed" in line:
                self.committed.update(line["committed"])
            else:
                self.of.setdefault(line["id"], {}).update(line)
                self.committed.discard(line["id"])

    def left(self) -> list[Record]:
        """Rows that the database does not hold yet."""
        return [record for id_, record in self.of.items() if id_ not in self.committed]


class _Push:
    """One push at work."""

    def __init__(self, sync: Sync, target: Target, running: Pipeline, journal: Journal) -> None:
        self._sync, self._target, self._running = sync, target, running
        self._journal = journal
        self._stored = stored(sync.settings.privacy)
        self._push_id = f"{sync.clock():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        self._records: dict[str, Record] = {}
        self._changes: dict[str, Change] = {}
        self.pushed = Pushed()

    def push(self, wishes: Sequence[DesiredRun], problems: Sequence[Problem]) -> None:
        """All of it."""
        mark = self._stored("wish", changes.fingerprint_all(wishes))
        self._go_on(mark)
        done = {id_ for id_, one in self._records.items() if one["outcome"] == "confirmed"}
        left = [wish for wish in wishes if wish.id not in done]
        knowledge = Knowledge(self._sync, self._running, [wish.id for wish in left])
        compared = _compare(knowledge, left, problems, self._stored)
        rows = [*self._unsent(compared)]
        if compared.changes and self._journal.is_empty:
            self._journal.write({"push_id": self._push_id, "wishes": mark})
        for start in range(0, len(compared.changes), CHUNK_RUNS):
            some = compared.changes[start : start + CHUNK_RUNS]
            self._send(some, start, len(compared.changes))
            self._commit([self._records[change.wish.id] for change in some], knowledge, rows)
            rows = []
        if rows:
            self._commit([], knowledge, rows)
        self._journal.restart()
        self._count(len(done), compared)

    def _go_on(self, mark: str | None) -> None:
        """Settle what a killed push has left; where it asked for the same, this one is the same."""
        told = _Told(self._journal.records)
        if told.push_id is None:
            return
        if left := told.left():
            knowledge = Knowledge(self._sync, self._running, [one["id"] for one in left])
            self._commit(left, knowledge, [])
        if mark is not None and told.wishes == mark:
            self._push_id, self._records = told.push_id, told.of
        else:
            self._journal.restart()

    def _unsent(self, compared: _Compared) -> Iterator[Record]:
        """Rows of what needs no call, or cannot be compared."""
        for same in compared.same:
            before = self._records.get(same.wish.id)
            if before is not None and before["outcome"] == "unconfirmed":
                # sent before the kill, and read again since
                yield self._note(before, outcome="confirmed", reason=_READ_BACK)
                continue
            self._records.pop(same.wish.id, None)
            yield self._record(same.wish, outcome="unchanged", reason=same.reason)
        for wish, error in compared.unread:
            self._records.pop(wish.id, None)
            reason = f"not sent: the run cannot be read: {self._said(error)}"
            yield self._record(wish, outcome="refused", reason=reason)

    def _send(self, some: Sequence[Change], before: int, total: int) -> None:
        sent = updates.send(self._sync.client, some, self._begins, self._ended)
        try:
            for number, _ in enumerate(sent, start=before + 1):
                if self._sync.progress is not None:
                    self._sync.progress("fetching", "answers", number, total)
        except ApiError:
            # `pushes` tells what happened so far; the next push reads these runs again
            begun = [one for change in some if (one := self._records.get(change.wish.id))]
            load_package(
                self._running,
                package(self._sync, self._running, [], _nothing, _rows(begun)),
                self._target,
            )
            raise

    def _begins(self, change: Change) -> None:
        cells = {"before": change.undo()}
        if change.name is not None:
            cells["name"] = change.name
        if change.metadata:
            cells["metadata"] = changes.canonical(change.metadata)
        record = self._record(change.wish, outcome="unconfirmed", reason=_NO_ANSWER)
        record |= {name: self._stored(name, text) for name, text in cells.items()}
        self._journal.write(record)
        self._records[change.wish.id], self._changes[change.wish.id] = record, change

    def _ended(self, change: Change, outcome: updates.Outcome) -> None:
        record = self._records[change.wish.id]
        if isinstance(outcome, RemoteRun):
            after = self._stored("after", outcome.text())
            self._note(record, outcome="confirmed", reason=None, after=after)
        elif updates.is_refusal(outcome):
            self._note(record, outcome="refused", reason=self._said(outcome))
        else:
            self._note(record, reason=f"{_NO_ANSWER}: {self._said(outcome)}")

    def _record(self, wish: DesiredRun, **cells: str) -> Record:
        return {
            "push_id": self._push_id,
            "id": wish.id,
            "source_row": wish.row,
            "wish": self._stored("wish", changes.fingerprint(wish)),
            "done_at": rfc3339(self._sync.clock()),
            "read_at": None,
            **cells,
        }

    def _note(self, record: Record, **cells: str | None) -> Record:
        """Change a row, in the journal first."""
        cells["done_at"] = rfc3339(self._sync.clock())
        self._journal.write({"id": record["id"], **cells})
        record.update(cells)
        return record

    def _said(self, error: ApiError) -> str:
        return quarantine.redacted_message(error, self._sync.settings.privacy)

    def _commit(self, sent: Sequence[Record], knowledge: Knowledge, rows: Sequence[Record]) -> None:
        """Read again what was sent, and merge it with its rows; `rows` are those of what was not sent."""
        by_id = {record["id"]: record for record in sent}
        again = [
            id_
            for id_, record in by_id.items()
            if record["outcome"] != "refused" and knowledge.is_loaded(id_)
        ]
        if again:
            knowledge.look_again()

        def done(id_: str, body: bytes) -> None:
            self._read_back(by_id[id_], updates.known(body, id_))

        runs = [knowledge.as_listed(id_) for id_ in again]
        source = package(self._sync, self._running, runs, done, _rows([*sent, *rows]))
        load_package(self._running, source, self._target)
        if by_id:
            self._journal.write({"committed": list(by_id)})

    def _read_back(self, record: Record, known: RemoteRun) -> None:
        record["read_at"] = rfc3339(self._sync.clock())
        record["after"] = self._stored("after", known.text())
        self.pushed.read_again += 1
        change = self._changes.get(record["id"])
        has_it = None if change is None else changes.holds(change, known)
        if record["outcome"] == "unconfirmed" and has_it:
            record |= {"outcome": "confirmed", "reason": _READ_BACK}
        elif record["outcome"] == "confirmed" and has_it is False:
            record["reason"] = "the platform keeps it in its own way"

    def _count(self, before: int, compared: _Compared) -> None:
        outcomes = [record["outcome"] for record in self._records.values()]
        pushed = self.pushed
        pushed.push_id, pushed.before = self._push_id, before
        pushed.changes = len(outcomes)
        pushed.confirmed = outcomes.count("confirmed")
        pushed.unconfirmed = outcomes.count("unconfirmed")
        pushed.refused = outcomes.count("refused") + len(compared.unread)
        pushed.unchanged = len(compared.same)


_NO_ANSWER = "no answer came"
_READ_BACK = "no answer came; the run, read again, has it"


def _nothing(*_: Any) -> None:
    pass


def _rows(some: Sequence[Record]) -> Callable[[], list[Row]]:
    """Their rows, once they are asked for."""
    return lambda: [PUSHES.row(**_cells(record)) for record in some]


def _cells(record: Record) -> dict[str, Any]:
    return {
        name: timestamp(cell) if name in _TIMES and cell is not None else cell
        for name, cell in record.items()
    }
