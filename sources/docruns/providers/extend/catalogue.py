"""Extend's catalogue: workflows, processors and their versions.

    GET /extractors                     [{"id": "ex_1", "name": "…", "updatedAt": "…"}]
    GET /extractors/{id}/versions       [{"id": "exv_1", "version": "2.1", …}]     without config
    GET /extractors/{id}/versions/{v}   {"id": "exv_1", "config": {"schema": {…}}}
    GET /extractors/{id}                {…, "draftVersion": {…, "config": {…}}}

An entry is read again only when its `updatedAt` moved, and a published version only once: it never
changes. Lists that a server does not have are left out; what cannot be read goes to quarantine, is tried
again in each load, and stops nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any

from msgspec import Raw

from ...core.batch import Batch
from ...core.codec import clean, is_object, json_text
from ...core.errors import (
    ApiError,
    BusyError,
    MissingError,
    RefusedError,
    ShapeError,
    UnreachableError,
)
from ...core.payload import Payload, is_usable
from ...core.tables import PROCESSOR_VERSIONS, PROCESSORS, WORKFLOW_VERSIONS, WORKFLOWS
from ...net.messages import Reply, Request, segment
from ...store.arrow import Tables, to_tables
from ...sync import quarantine
from ...sync.plan import Failure, ListedRun
from ...sync.sync import Sync
from . import api
from .processor_runs import Context, processor_type


def workflows(
    sync: Sync, context: Context, saved: MutableMapping[str, Any]
) -> Iterator[Tables | None]:
    """Rows of `workflows` and `workflow_versions`, None while answers come; `saved` remembers what was read."""
    for entries in api.catalogue(context.api_version):
        if entries.name == "workflows":
            yield from _changed(sync, context, entries, saved, _workflow, _workflow_version)


def processors(
    sync: Sync, context: Context, saved: MutableMapping[str, Any]
) -> Iterator[Tables | None]:
    """Rows of `processors` and `processor_versions`, None while answers come; `saved` remembers what was read."""
    for entries in api.catalogue(context.api_version):
        if entries.name != "workflows":
            yield from _changed(sync, context, entries, saved, _processor, _processor_version)


_AT_ONCE = 32
"""Requests that are on their way while others have their turns."""


class _Failures:
    """What of one list could not be read, as rows of quarantine."""

    def __init__(self, sync: Sync, name: str, saved: MutableMapping[str, Any]) -> None:
        self._sync, self._name = sync, name
        # id: [first seen, loads]
        self._before: dict[str, tuple[str, int]] = saved.setdefault("failed", {}).pop(name, {})
        self._left: dict[str, tuple[str, int]] = dict(self._before)
        self._fine: set[str] = set()
        self._saved = saved["failed"]
        self.batch = Batch()
        self.ids: set[str] = set()

    @contextmanager
    def noted(self, id_: str, owner: str = "", text: bytes = b"") -> Iterator[None]:
        """Keep what goes wrong with an entry, or with a version of `owner`, instead of raising it."""
        try:
            yield
        except (RefusedError, BusyError, UnreachableError, MissingError):
            raise
        except (ApiError, ValueError, RecursionError) as error:
            self.ids |= {id_, owner}
            now = self._sync.clock()
            first, loads = self._before.get(id_, (now.isoformat(), 0))
            self._left[id_] = (first, loads + 1)
            self._sync.metrics.counts.quarantined += 1
            message = quarantine.redacted_message(error, self._sync.settings.privacy)
            failure = self._failure(id_, type(error).__name__, message)
            self.batch.update(quarantine.failed_row(self._name, failure, text, now))
        else:
            self._fine.add(id_)

    def _failure(self, id_: str, error: str, message: str) -> Failure:
        first, loads = self._left[id_]
        run = ListedRun(id_, None, None, None)
        return Failure(run, datetime.fromisoformat(first), loads, error, message[:500])

    def finish(self) -> Batch:
        """The rows, also of what was read after all; from here on the state knows what failed."""
        for id_ in (self._fine - self.ids) & self._left.keys():
            failure = self._failure(id_, "", "")
            self.batch.update(quarantine.resolved_row(self._name, failure, self._sync.clock()))
            del self._left[id_]
        self._saved[self._name] = self._left
        return self.batch


def _changed(
    sync: Sync,
    context: Context,
    entries: api.CatalogueEndpoint,
    saved: MutableMapping[str, Any],
    entry_row: Any,
    version_row: Any,
) -> Iterator[Tables | None]:
    read_at: dict[str, str] = saved.setdefault(entries.name, {})
    versions: dict[str, int] = saved.setdefault("versions", {})
    failures = _Failures(sync, entries.name, saved)
    batch = Batch()
    moved: dict[str, str] = {}
    list_path = f"/{entries.name}"
    try:
        with failures.noted("(list)"):
            for page in api.pages(sync.client, list_path, api.OLDEST_FIRST, entries.envelope):
                if not page:
                    yield None
                for raw in page:
                    id_, at = _named(raw)
                    with failures.noted(id_, text=bytes(raw)):
                        row = _entry(raw)
                        if id_ not in moved and read_at.get(id_) != at:
                            entry_row(batch, row, context, entries.type)
                            moved[id_] = at
    except (MissingError, RefusedError) as error:
        sync.plans.leave_out(entries.name, error)
        failures.finish()
        return
    if entries.name != "processors":
        drafts = [(id_, id_, Request(f"{list_path}/{segment(id_)}", subject=id_)) for id_ in moved]
        if drafts:
            sync.client.begin(request for _, _, request in drafts[:_AT_ONCE])
            yield None
        for id_, body in _bodies(sync, failures, drafts):
            with failures.noted(id_, text=body):
                draft = Payload(body).object("draftVersion")
                if draft is not None:
                    version_row(batch, draft, context, entries.type, id_)
    wanted: list[tuple[str, str, Request]] = []
    paths = {owner: f"{list_path}/{segment(owner)}/versions" for owner in moved}
    lists: dict[str, Iterator[list[Raw]]] = {}
    owners_left = iter(paths)
    for owner, path in paths.items():
        if owner not in lists:
            for some in islice(owners_left, _AT_ONCE):
                shape = entries.version_envelope
                lists[some] = api.pages(sync.client, paths[some], (), shape)
                next(lists[some])  # it is on its way
            yield None
        try:
            with failures.noted(owner):
                for page in lists.pop(owner):
                    for raw in page:
                        id_, _ = _named(raw)
                        with failures.noted(id_, owner, bytes(raw)):
                            if _entry(raw).text("version") != "draft" and id_ not in versions:
                                request = Request(f"{path}/{segment(id_)}", subject=owner)
                                wanted.append((id_, owner, request))
        except MissingError:
            continue
    if wanted:
        sync.client.begin(request for _, _, request in wanted[:_AT_ONCE])
        yield None
    owners = {id_: owner for id_, owner, _ in wanted}
    read: dict[str, int] = {}
    for id_, body in _bodies(sync, failures, wanted):
        with failures.noted(id_, owners[id_], body):
            version = Payload(body)
            version = version.object("version") or version.object("processorVersion") or version
            version_row(batch, version, context, entries.type, owners[id_])
            read[id_] = 1

    def move() -> None:
        versions.update(read)
        read_at.update({id_: at for id_, at in moved.items() if id_ not in failures.ids})

    batch.update(failures.finish())
    if len(batch):
        sync.metrics.rows.update(batch.counts())
        tables = to_tables(batch, move)
        yield tables
        tables.taken()
    else:
        move()


def _named(raw: Raw) -> tuple[str, str]:
    """An entry's id, or a name for one that has none; and when it changed."""
    try:
        row = Payload(raw, glance=True)
        id_, at = row.peek("id"), row.peek("updatedAt") or ""
    except ShapeError:
        id_, at = None, ""
    if id_ is not None and is_usable(id_):
        return id_, at
    return f"(no id) {hashlib.sha256(bytes(raw)).hexdigest()[:12]}", at


def _entry(raw: Raw) -> Payload:
    row = Payload(raw)
    if not is_usable(row.peek("id")):
        raise ShapeError("an entry without an id that can be asked for")
    return row


def _bodies(
    sync: Sync, failures: _Failures, asked: list[tuple[str, str, Request]]
) -> Iterator[tuple[str, bytes]]:
    """Good answers by id: what is gone by now is left out, what is refused stops the load."""
    outcomes = sync.client.get_many(request for _, _, request in asked)
    for (id_, owner, _), (_, outcome) in zip(asked, outcomes, strict=True):
        if isinstance(outcome, Reply):
            yield id_, clean(outcome.body)
        elif not isinstance(outcome, MissingError):
            with failures.noted(id_, owner):
                raise outcome


def _seen(row: Payload, context: Context) -> dict[str, Any]:
    id_ = row.text("id")
    if not id_:
        raise ShapeError("the answer has no id")
    return {
        "id": id_,
        "workspace": context.workspace,
        "api_version": context.api_version,
        "created_at": row.time("createdAt"),
        "created_by": row.json("createdBy"),
    }


def _workflow(batch: Batch, row: Payload, context: Context, _: str | None) -> None:
    cells = _seen(row, context)
    cells |= {"name": row.text("name"), "updated_at": row.time("updatedAt")}
    row.ignore("object")
    batch.add(WORKFLOWS, WORKFLOWS.row(**cells, extra=row.extra()))


def _workflow_version(
    batch: Batch, row: Payload, context: Context, _: str | None, workflow_id: str
) -> None:
    cells = _seen(row, context)
    cells |= {
        "workflow_id": workflow_id,
        "version": row.label("version"),
        "name": row.text("name"),
        "steps": row.json("steps"),
    }
    row.ignore("object")
    batch.add(WORKFLOW_VERSIONS, WORKFLOW_VERSIONS.row(**cells, extra=row.extra()))


def _processor(batch: Batch, row: Payload, context: Context, type_: str | None) -> None:
    cells = _seen(row, context)
    cells |= {
        "type": type_ or processor_type(row.text("type")),
        "name": row.text("name"),
        "updated_at": row.time("updatedAt"),
    }
    # the version rows say it
    row.ignore("object")
    row.drop("versions", "draftVersion")
    batch.add(PROCESSORS, PROCESSORS.row(**cells, extra=row.extra()))


def _processor_version(
    batch: Batch, row: Payload, context: Context, type_: str | None, processor_id: str
) -> None:
    cells = _seen(row, context)
    config = row.raw("config")
    parts = Payload(config if config and is_object(config) else b"{}", glance=True)
    cells |= {
        "processor_id": processor_id,
        "type": type_ or processor_type(row.text("processorType")),
        "version": row.label("version"),
        "description": row.text("description"),
        "updated_at": row.time("updatedAt"),
        "config": None if config is None else json_text(config),
        "schema": parts.json("schema") or parts.json("fields") or parts.json("fieldsToExtract"),
    }
    row.ignore("object", "extractorId", "classifierId", "splitterId", "processorId")
    row.ignore("processorName", "processorType")
    batch.add(PROCESSOR_VERSIONS, PROCESSOR_VERSIONS.row(**cells, extra=row.extra()))
