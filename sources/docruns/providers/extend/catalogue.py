"""Extend's catalogue: workflows, processors and their versions.

    GET /extractors                     [{"id": "ex_1", "name": "…", "updatedAt": "…"}]
    GET /extractors/{id}/versions       [{"id": "exv_1", "version": "2.1", …}]     without config
    GET /extractors/{id}/versions/{v}   {"id": "exv_1", "config": {"schema": {…}}}
    GET /extractors/{id}                {…, "draftVersion": {…, "config": {…}}}

An entry is read again only when its `updatedAt` has changed. A published version is read only once, because
it never changes. Lists that a server does not have are left out. An entry that cannot be read goes to
quarantine and is tried again in each load; the others are loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, NamedTuple

from msgspec import Raw

from ...core.batch import Batch
from ...core.codec import clean, json_text
from ...core.errors import ApiError, BusyError, MissingError, RefusedError, ShapeError, UnreachableError
from ...core.payload import Payload, is_usable
from ...core.tables import PROCESSOR_VERSIONS, PROCESSORS, WORKFLOW_VERSIONS, WORKFLOWS
from ...net.messages import Reply, Request, segment
from ...store.arrow import Tables, to_tables
from ...sync import quarantine
from ...sync.plan import Failure, ListedRun
from ...sync.sync import Sync
from ..answers import inspect_entry
from . import api
from .parts import processor_type
from .processor_runs import Context

_AT_ONCE = 32
"""Requests that are sent ahead while dlt takes items of other resources."""


def load(
    sync: Sync, pager: api.Pager, context: Context, saved: MutableMapping[str, Any], of_workflows: bool
) -> Iterator[Tables | None]:
    """Rows of workflows, or of processors, and of their versions; None while answers are on their way.

    `saved` is the resource's state: what was read before.
    """
    for endpoint in api.catalogue(context.api_version):
        if (endpoint.name == "workflows") is of_workflows:
            yield from _List(sync, pager, context, endpoint, saved).load()


class _Failures:
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


class _Detail(NamedTuple):
    """A request for an entry or for a version of the entry `owner`."""

    id: str
    owner: str
    request: Request


class _List:
    """One list of the catalogue in one load, in four steps.

    entries that changed ──► their drafts ──► their new versions, listed ──► those versions, read

    Each step yields None when its requests have been sent, so that other resources go on meanwhile.
    """

    def __init__(
        self,
        sync: Sync,
        pager: api.Pager,
        context: Context,
        endpoint: api.CatalogueEndpoint,
        saved: MutableMapping[str, Any],
    ) -> None:
        self._sync, self._pager, self._context, self._endpoint = sync, pager, context, endpoint
        self._path = f"/{endpoint.name}"
        self._of_workflows = endpoint.name == "workflows"
        # the state: `updatedAt` of each entry when it was read, and the versions that were read
        self._read_at: dict[str, str] = saved.setdefault(endpoint.name, {})
        self._read_versions: dict[str, int] = saved.setdefault("versions", {})
        self._failures = _Failures(sync, endpoint.name, saved)
        self._batch = Batch()
        self._changed: dict[str, str] = {}
        self._new_versions: dict[str, int] = {}

    def load(self) -> Iterator[Tables | None]:
        """All rows of the list as one batch; None while answers are on their way."""
        try:
            yield from self._load_entries()
        except (MissingError, RefusedError) as error:
            self._sync.plans.leave_out(self._endpoint.name, error)
            self._failures.finish()
            return
        if self._endpoint.name != "processors":
            yield from self._load_drafts()
        due: list[_Detail] = []
        yield from self._list_versions(due)
        yield from self._load_versions(due)
        yield from self._finish()

    def _load_entries(self) -> Iterator[None]:
        """Walk the list and add the rows of entries that changed since they were read."""
        pages = self._pager.pages(self._path, api.OLDEST_FIRST, self._endpoint.envelope)
        with self._failures.recording("(list)"):
            for page in pages:
                if not page:
                    yield None
                for raw in page:
                    id_, updated_at = _identify(raw)
                    with self._failures.recording(id_, text=bytes(raw)):
                        entry = _entry(raw)
                        if id_ not in self._changed and self._read_at.get(id_) != updated_at:
                            self._add_entry(entry)
                            self._changed[id_] = updated_at

    def _load_drafts(self) -> Iterator[None]:
        """Read the changed entries and add the rows of their draft versions."""
        due = [
            _Detail(id_, id_, Request(f"{self._path}/{segment(id_)}", subject=id_)) for id_ in self._changed
        ]
        yield from self._send_ahead(due)
        for detail, body in self._bodies(due):
            with self._failures.recording(detail.id, text=body):
                draft = Payload(body).object("draftVersion")
                if draft is not None:
                    self._add_version(draft, detail.id)

    def _list_versions(self, due: list[_Detail]) -> Iterator[None]:
        """Walk the changed entries' lists of versions, 32 at once; new versions are added to `due`."""
        owners = list(self._changed)
        for start in range(0, len(owners), _AT_ONCE):
            envelope = self._endpoint.version_envelope
            lists = {
                owner: self._pager.pages(self._versions_path(owner), (), envelope)
                for owner in owners[start : start + _AT_ONCE]
            }
            for pages in lists.values():
                next(pages)  # sends the request for the first page
            yield None
            for owner, pages in lists.items():
                # an entry without versions answers 404
                with suppress(MissingError), self._failures.recording(owner):
                    for raw in (raw for page in pages for raw in page):
                        self._add_new_version(owner, raw, due)

    def _versions_path(self, owner: str) -> str:
        return f"{self._path}/{segment(owner)}/versions"

    def _add_new_version(self, owner: str, raw: Raw, due: list[_Detail]) -> None:
        """Add a published version to `due` unless it was read before."""
        id_, _ = _identify(raw)
        with self._failures.recording(id_, owner, bytes(raw)):
            if _entry(raw).text("version") != "draft" and id_ not in self._read_versions:
                path = f"{self._versions_path(owner)}/{segment(id_)}"
                due.append(_Detail(id_, owner, Request(path, subject=owner)))

    def _load_versions(self, due: list[_Detail]) -> Iterator[None]:
        """Read versions and add their rows."""
        yield from self._send_ahead(due)
        for detail, body in self._bodies(due):
            with self._failures.recording(detail.id, detail.owner, body):
                answer = Payload(body)
                version = answer.object("version") or answer.object("processorVersion") or answer
                self._add_version(version, detail.owner)
                self._new_versions[detail.id] = 1

    def _add_entry(self, row: Payload) -> None:
        """Add the row of a workflow or a processor."""
        cells = self._common_cells(row)
        cells |= {"name": row.text("name"), "updated_at": row.time("updatedAt")}
        table = WORKFLOWS if self._of_workflows else PROCESSORS
        if not self._of_workflows:
            cells["type"] = self._endpoint.type or processor_type(row.text("type"))
            # they have rows of their own
            row.drop("versions", "draftVersion")
        self._batch.add(table, table.row(**cells, extra=row.extra()))

    def _add_version(self, row: Payload, owner: str) -> None:
        """Add the row of a version of the entry `owner`."""
        cells = self._common_cells(row)
        cells["version"] = row.label("version")
        if self._of_workflows:
            cells |= {"workflow_id": owner, "name": row.text("name"), "steps": row.json("steps")}
        else:
            cells |= {"processor_id": owner, **self._processor_version_cells(row)}
        table = WORKFLOW_VERSIONS if self._of_workflows else PROCESSOR_VERSIONS
        self._batch.add(table, table.row(**cells, extra=row.extra()))

    def _processor_version_cells(self, row: Payload) -> dict[str, object]:
        config = row.raw("config")
        parts = inspect_entry(config or Raw(b"{}"))
        row.ignore("extractorId", "classifierId", "splitterId", "processorId", "processorName")
        cells: dict[str, object] = {
            "type": self._endpoint.type or processor_type(row.text("processorType")),
            "description": row.text("description"),
            "updated_at": row.time("updatedAt"),
            "config": None if config is None else json_text(config),
            "schema": parts.json("schema") or parts.json("fields") or parts.json("fieldsToExtract"),
        }
        row.ignore("processorType")
        return cells

    def _common_cells(self, row: Payload) -> dict[str, object]:
        id_ = row.text("id")
        if not id_:
            raise ShapeError("the answer has no id")
        row.ignore("object")
        return {
            "id": id_,
            "workspace": self._context.workspace,
            "api_version": self._context.api_version,
            "created_at": row.time("createdAt"),
            "created_by": row.json("createdBy"),
        }

    def _finish(self) -> Iterator[Tables]:
        """The rows. The state follows once dlt has them, or at once where there are none."""
        self._batch.update(self._failures.finish())
        if not len(self._batch):
            self._update_state()
            return
        self._sync.metrics.rows.update(self._batch.counts())
        tables = to_tables(self._batch, self._update_state)
        yield tables
        tables.taken()

    def _update_state(self) -> None:
        """Remember what was read; entries that failed are read again in the next load."""
        failed = self._failures.ids
        self._read_versions.update(self._new_versions)
        self._read_at.update({id_: at for id_, at in self._changed.items() if id_ not in failed})

    def _send_ahead(self, due: Sequence[_Detail]) -> Iterator[None]:
        """Send the first requests, and let other resources go on."""
        if due:
            self._sync.client.begin(detail.request for detail in due[:_AT_ONCE])
            yield None

    def _bodies(self, due: Sequence[_Detail]) -> Iterator[tuple[_Detail, bytes]]:
        """Good answers. Entries that no longer exist are left out; a refused key stops the load."""
        outcomes = self._sync.client.get_many(detail.request for detail in due)
        for detail, (_, outcome) in zip(due, outcomes, strict=True):
            if isinstance(outcome, Reply):
                yield detail, clean(outcome.body)
            elif not isinstance(outcome, MissingError):
                with self._failures.recording(detail.id, detail.owner):
                    raise outcome


def _identify(raw: Raw) -> tuple[str, str]:
    """An entry's id, or a label for one without an id, and its `updatedAt`."""
    row = inspect_entry(raw)
    id_, updated_at = row.peek("id"), row.peek("updatedAt") or ""
    if is_usable(id_):
        return id_, updated_at
    return f"(no id) {hashlib.sha256(bytes(raw)).hexdigest()[:12]}", updated_at


def _entry(raw: Raw) -> Payload:
    row = Payload(raw)
    if not is_usable(row.peek("id")):
        raise ShapeError("an entry without an id that can be asked for")
    return row
