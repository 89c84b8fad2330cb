"""Entries of lists that are no runs: read a list, send requests ahead, and note what cannot be read.

    list ──► entries that changed ──► their details ──► rows ──► dlt ──► state

The lists of the catalogue and of the evaluation sets share this. A list's state changes only when dlt has taken
the rows. An entry that cannot be read goes to quarantine, is tried again in each load, and stops no other entry.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from msgspec import Raw

from ...core.batch import Batch
from ...core.codec import clean
from ...core.errors import ApiError, BusyError, MissingError, RefusedError, ShapeError, UnreachableError
from ...core.payload import Payload, is_usable
from ...net.messages import Reply, Request
from ...store.arrow import Tables, to_tables
from ...sync import quarantine
from ...sync.listed import ListedRun
from ...sync.plan import Failure
from ...sync.sync import Sync
from ..answers import inspect_entry
from . import api
from .processor_runs import Context

AT_ONCE = 32
"""Requests that are sent ahead while dlt takes items of other resources."""


class Failures:
    """What could not be read of one list, as rows of quarantine."""

    def __init__(self, sync: Sync, name: str, saved: MutableMapping[str, Any]) -> None:
        self._sync, self._name = sync, name
        # id: [first seen, loads]
        self._before: dict[str, tuple[str, int]] = saved.setdefault("failed", {}).pop(name, {})
        self._open: dict[str, tuple[str, int]] = dict(self._before)
        self._good: set[str] = set()
        self._saved = saved["failed"]
        self.batch = Batch()
        self.ids: set[str] = set()
        """Entries that failed in this load, and owners of versions that failed."""

    @contextmanager
    def recording(self, id_: str, owner: str = "", text: bytes = b"") -> Iterator[None]:
        """Record an error about an entry, or about a version of `owner`, in place of raising it.

        Errors that concern the whole list are raised.
        """
        try:
            yield
        except (RefusedError, BusyError, UnreachableError, MissingError):
            raise
        except (ApiError, ValueError, RecursionError) as error:
            self.ids |= {id_, owner}
            now = self._sync.clock()
            first, loads = self._before.get(id_, (now.isoformat(), 0))
            self._open[id_] = (first, loads + 1)
            self._sync.metrics.counts.quarantined += 1
            message = quarantine.redacted_message(error, self._sync.settings.privacy)
            failure = self._failure(id_, type(error).__name__, message)
            self.batch.update(quarantine.failed_row(self._name, failure, text, now))
        else:
            self._good.add(id_)

    def is_open(self, id_: str) -> bool:
        """The entry could not be read in an earlier load, and was not read since."""
        return id_ in self._before

    def _failure(self, id_: str, error: str, message: str) -> Failure:
        first, loads = self._open[id_]
        run = ListedRun(id_, None, None, None)
        return Failure(run, datetime.fromisoformat(first), loads, error, message[:500])

    def finish(self) -> Batch:
        """The rows, with those of failures that are resolved. Writes the open failures to the state."""
        for id_ in (self._good - self.ids) & self._open.keys():
            failure = self._failure(id_, "", "")
            self.batch.update(quarantine.resolved_row(self._name, failure, self._sync.clock()))
            del self._open[id_]
        self._saved[self._name] = self._open
        return self.batch


class Detail(NamedTuple):
    """A request for an entry or for a version of the entry `owner`."""

    id: str
    owner: str
    request: Request


class EntryList(ABC):
    """One list of entries in one load: `load` gives its rows, or None while answers are on their way."""

    def __init__(
        self,
        sync: Sync,
        pager: api.Pager,
        context: Context,
        name: str,
        saved: MutableMapping[str, Any],
    ) -> None:
        self.sync, self.pager, self.context, self.name = sync, pager, context, name
        self.failures = Failures(sync, name, saved)
        self.batch, self.stored = Batch(), Batch()
        """Rows from the platform, and rows that the destination has, with new cells in public columns."""

    def load(self) -> Iterator[Tables | None]:
        """All rows of the list. A list that the server does not have, or the key may not read, is left out."""
        try:
            yield from self.read()
        except (MissingError, RefusedError) as error:
            self.sync.plans.leave_out(self.name, error)
            self.failures.finish()
            return
        yield from self.finish()

    @abstractmethod
    def read(self) -> Iterator[None]:
        """Read the list and add its rows to `batch`."""

    @abstractmethod
    def update_state(self) -> None:
        """Remember what was read."""

    def walk(self, path: str, envelope: str, see: Callable[[str, str, Payload], None]) -> Iterator[None]:
        """Give `see` the id, the `updatedAt` and the entry of each row of a list. None while a page is on its way."""
        pages = self.pager.pages(path, api.OLDEST_FIRST, envelope)
        with self.failures.recording("(list)"):
            for page in pages:
                if not page:
                    yield None
                for raw in page:
                    id_, updated_at = identify(raw)
                    with self.failures.recording(id_, text=bytes(raw)):
                        see(id_, updated_at, read_entry(raw))

    def common_cells(self, row: Payload) -> dict[str, object]:
        """The cells that all entries have. ShapeError where there is no id."""
        id_ = row.text("id")
        if not id_:
            raise ShapeError("the answer has no id")
        row.ignore("object")
        return {
            "id": id_,
            "workspace": self.context.workspace,
            "api_version": self.context.api_version,
            "created_at": row.time("createdAt"),
            "created_by": row.json("createdBy"),
        }

    def finish(self) -> Iterator[Tables]:
        """The rows. The state follows once dlt has them, or at once where there are none."""
        self.batch.update(self.failures.finish())
        parts = [to_tables(self.batch), to_tables(self.stored, is_stored=True)]
        parts = [tables for tables in parts if len(tables)]
        if not parts:
            self.update_state()
            return
        for batch in (self.batch, self.stored):
            self.sync.metrics.rows.update(batch.counts())
        parts[-1].on_taken = self.update_state
        for tables in parts:
            yield tables
            tables.taken()

    def send_ahead(self, due: Sequence[Detail]) -> Iterator[None]:
        """Send the first requests, and let other resources go on."""
        if due:
            self.pager.client.begin(detail.request for detail in due[:AT_ONCE])
            yield None

    def bodies(self, due: Sequence[Detail]) -> Iterator[tuple[Detail, bytes]]:
        """Good answers. Entries that no longer exist are left out; a refused key is raised."""
        outcomes = self.pager.client.get_many(detail.request for detail in due)
        for detail, (_, outcome) in zip(due, outcomes, strict=True):
            if isinstance(outcome, Reply):
                yield detail, clean(outcome.body)
            elif not isinstance(outcome, MissingError):
                with self.failures.recording(detail.id, detail.owner):
                    raise outcome


def identify(raw: Raw) -> tuple[str, str]:
    """An entry's id, or a label for one without an id, and its `updatedAt`."""
    row = inspect_entry(raw)
    id_, updated_at = row.peek("id"), row.peek("updatedAt") or ""
    if is_usable(id_):
        return id_, updated_at
    return f"(no id) {hashlib.sha256(bytes(raw)).hexdigest()[:12]}", updated_at


def read_entry(raw: Raw) -> Payload:
    """A list's entry. ShapeError where it has no id that can be requested."""
    row = Payload(raw)
    if not is_usable(row.peek("id")):
        raise ShapeError("an entry without an id that can be asked for")
    return row
