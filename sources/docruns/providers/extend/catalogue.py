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

from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from typing import Any

from msgspec import Raw

from ...core.codec import json_text
from ...core.errors import MissingError
from ...core.payload import Payload
from ...core.tables import PROCESSOR_VERSIONS, PROCESSORS, WORKFLOW_VERSIONS, WORKFLOWS
from ...net.messages import Request, segment
from ...store.arrow import Tables
from ...sync.sync import Sync
from ..answers import inspect_entry
from . import api, entries
from .entries import Detail, EntryList, identify, read_entry
from .processor_runs import Context
from .shapes.parts import processor_type


def load(
    sync: Sync, pager: api.Pager, context: Context, saved: MutableMapping[str, Any], of_workflows: bool
) -> Iterator[Tables | None]:
    """Rows of workflows, or of processors, and of their versions; None while answers are on their way.

    `saved` is the resource's state: what was read before.
    """
    for endpoint in api.catalogue(context.api_version):
        if (endpoint.name == "workflows") is of_workflows:
            yield from _List(sync, pager, context, endpoint, saved).load()


class _List(EntryList):
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
        super().__init__(sync, pager, context, endpoint.name, saved)
        self._endpoint = endpoint
        self._path = f"/{endpoint.name}"
        self._of_workflows = endpoint.name == "workflows"
        # the state: `updatedAt` of each entry when it was read, and the versions that were read
        self._read_at: dict[str, str] = saved.setdefault(endpoint.name, {})
        self._read_versions: dict[str, int] = saved.setdefault("versions", {})
        self._changed: dict[str, str] = {}
        self._new_versions: dict[str, int] = {}

    def read(self) -> Iterator[None]:
        """Add all rows of the list; None while answers are on their way."""
        yield from self._load_entries()
        if self._endpoint.name != "processors":
            yield from self._load_drafts()
        due: list[Detail] = []
        yield from self._list_versions(due)
        yield from self._load_versions(due)

    def _load_entries(self) -> Iterator[None]:
        """Walk the list and add the rows of entries that changed since they were read."""
        yield from self.walk(self._path, self._endpoint.envelope, self._see_entry)

    def _see_entry(self, id_: str, updated_at: str, entry: Payload) -> None:
        if id_ not in self._changed and self._read_at.get(id_) != updated_at:
            self._add_entry(entry)
            self._changed[id_] = updated_at

    def _load_drafts(self) -> Iterator[None]:
        """Read the changed entries and add the rows of their draft versions."""
        due = [
            Detail(id_, id_, Request(f"{self._path}/{segment(id_)}", subject=id_)) for id_ in self._changed
        ]
        yield from self.send_ahead(due)
        for detail, body in self.bodies(due):
            with self.failures.recording(detail.id, text=body):
                draft = Payload(body).object("draftVersion")
                if draft is not None:
                    self._add_version(draft, detail.id)

    def _list_versions(self, due: list[Detail]) -> Iterator[None]:
        """Walk the changed entries' lists of versions, 32 at once; new versions are added to `due`."""
        owners = list(self._changed)
        for start in range(0, len(owners), entries.AT_ONCE):
            envelope = self._endpoint.version_envelope
            lists = {
                owner: self.pager.pages(self._versions_path(owner), (), envelope)
                for owner in owners[start : start + entries.AT_ONCE]
            }
            for pages in lists.values():
                next(pages)  # sends the request for the first page
            yield None
            for owner, pages in lists.items():
                # an entry without versions answers 404
                with suppress(MissingError), self.failures.recording(owner):
                    for raw in (raw for page in pages for raw in page):
                        self._add_new_version(owner, raw, due)

    def _versions_path(self, owner: str) -> str:
        return f"{self._path}/{segment(owner)}/versions"

    def _add_new_version(self, owner: str, raw: Raw, due: list[Detail]) -> None:
        """Add a published version to `due` unless it was read before."""
        id_, _ = identify(raw)
        with self.failures.recording(id_, owner, bytes(raw)):
            if read_entry(raw).text("version") != "draft" and id_ not in self._read_versions:
                path = f"{self._versions_path(owner)}/{segment(id_)}"
                due.append(Detail(id_, owner, Request(path, subject=owner)))

    def _load_versions(self, due: list[Detail]) -> Iterator[None]:
        """Read versions and add their rows."""
        yield from self.send_ahead(due)
        for detail, body in self.bodies(due):
            with self.failures.recording(detail.id, detail.owner, body):
                answer = Payload(body)
                version = answer.object("version") or answer.object("processorVersion") or answer
                self._add_version(version, detail.owner)
                self._new_versions[detail.id] = 1

    def _add_entry(self, row: Payload) -> None:
        """Add the row of a workflow or a processor."""
        cells = self.common_cells(row)
        cells |= {"name": row.text("name"), "updated_at": row.time("updatedAt")}
        table = WORKFLOWS if self._of_workflows else PROCESSORS
        if not self._of_workflows:
            cells["type"] = self._endpoint.type or processor_type(row.text("type"))
            # they have rows of their own
            row.drop("versions", "draftVersion")
        self.batch.add(table, table.row(**cells, extra=row.extra()))

    def _add_version(self, row: Payload, owner: str) -> None:
        """Add the row of a version of the entry `owner`."""
        cells = self.common_cells(row)
        cells["version"] = row.label("version")
        if self._of_workflows:
            cells |= {"workflow_id": owner, "name": row.text("name"), "steps": row.json("steps")}
        else:
            cells |= {"processor_id": owner, **self._processor_version_cells(row)}
        table = WORKFLOW_VERSIONS if self._of_workflows else PROCESSOR_VERSIONS
        self.batch.add(table, table.row(**cells, extra=row.extra()))

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

    def update_state(self) -> None:
        """Remember what was read; entries that failed are read again in the next load."""
        failed = self.failures.ids
        self._read_versions.update(self._new_versions)
        self._read_at.update({id_: at for id_, at in self._changed.items() if id_ not in failed})
