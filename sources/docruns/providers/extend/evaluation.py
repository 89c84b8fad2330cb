"""Extend's evaluation sets: documents with the output that people expect, which is the truth to measure against.

    GET /evaluation_sets                     [{"id": "ev_1", "entity": {"object": "extractor", …}, "updatedAt": "…"}]
    GET /evaluation_sets/{id}/items          [{"id": "evi_1", "file": {…}, "files": null}]     without the output
    GET /evaluation_sets/{id}/items/{item}   {…, "expectedOutput": {"value": {"total": 9.5}}}
    GET /extractors/{id}                     the types of the fields; once for each extractor with items to read

Each load reads the list of sets. It reads the items of a set that is new, that has changed (`updatedAt`), or whose
last change is less than `recheck_for` ago: Extend does not document whether a change of an item changes the set.
The output of an item is read when the item is new or has changed. Where a row of the list has no date of its own, an
item counts as changed when the row or the set's `updatedAt` differs. A full load reads all sets and items again.

An item that a list no longer shows, read to its end, gets `deleted_at`, and loses it when the list shows it again.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from msgspec import Raw

from ...core.codec import clean, json_text, timestamp, utc
from ...core.errors import MissingError, RefusedError, ShapeError
from ...core.payload import Payload
from ...core.tables import EVALUATION_ITEMS, EVALUATION_SETS, EXPECTED_FIELDS, Table
from ...net.messages import Reply, Request, segment
from ...net.redaction import strip_signed_urls
from ...store import lookup
from ...store.arrow import Tables
from ...store.destinations import active_pipeline, traits_of
from ...sync.sync import Sync
from ..answers import inspect_entry
from . import api, entries
from .entries import Detail, EntryList, identify, read_entry
from .processor_runs import Context
from .shapes import expected
from .shapes.parts import processor_type

_TYPES = {"extractor": "EXTRACT", "classifier": "CLASSIFY", "splitter": "SPLIT"}


def load(
    sync: Sync, pager: api.Pager, context: Context, saved: MutableMapping[str, Any]
) -> Iterator[Tables | None]:
    """Rows of evaluation sets, of their items and of the expected fields; None while answers are on their way.

    `saved` is the resource's state: what was read before.
    """
    endpoint = api.evaluation(context.api_version)
    if endpoint is not None:
        yield from _EvaluationSets(sync, pager, context, endpoint, saved).load()


@dataclass(slots=True)
class _Set:
    """A set whose items this load walks. `marks`: by item, what differs when the item has changed.

    `unread`: items that are due and of which no output was read yet. `is_whole`: the list was read to its end.
    `is_typed`: false where the request for the processor, whose schema has the types of the fields, has failed: the
    items wait for the next load.
    """

    id: str
    updated_at: str
    row: Payload
    is_changed: bool
    processor_id: str | None
    processor_name: str | None
    type: str | None
    config: Raw | None = None
    marks: dict[str, str] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)
    is_whole: bool = False
    is_typed: bool = True


class _Item(NamedTuple):
    """An item that is due, as its list shows it."""

    id: str
    of: _Set
    position: int
    listed: Raw


class _EvaluationSets(EntryList):
    """The evaluation sets in one load.

    sets ──► items of those that are due, listed ──► their processors ──► items that are due, read
    """

    def __init__(
        self,
        sync: Sync,
        pager: api.Pager,
        context: Context,
        endpoint: api.EvaluationEndpoint,
        saved: MutableMapping[str, Any],
    ) -> None:
        super().__init__(sync, pager, context, "evaluation_sets", saved)
        self._endpoint = endpoint
        # the state: `updatedAt` of each set when it was read, and a mark of each item by set
        self._read_at: dict[str, str] = saved.setdefault("read_at", {})
        self._known: dict[str, dict[str, str]] = saved.setdefault("items", {})
        self._listed: set[str] = set()
        self._sets: dict[str, _Set] = {}
        self._due: list[_Item] = []
        self._gone_sets: list[str] = []

    def read(self) -> Iterator[None]:
        """Add all rows; None while answers are on their way."""
        yield from self._walk_sets()
        yield from self._walk_items()
        yield from self._load_processors()
        for each in self._sets.values():
            if each.is_changed:
                with self.failures.recording(each.id):
                    self._add_set(each)
        yield from self._load_items()
        self._mark_gone()

    def _walk_sets(self) -> Iterator[None]:
        yield from self.walk("/evaluation_sets", self._endpoint.sets, self._see_set)
        if not self.failures.ids:
            self._gone_sets = sorted((self._read_at.keys() | self._known.keys()) - self._listed)

    def _see_set(self, id_: str, updated_at: str, row: Payload) -> None:
        """Note a listed set, and whether its items are due."""
        is_changed = self.sync.settings.full or self._read_at.get(id_) != updated_at
        if id_ not in self._listed and (is_changed or self._is_recent(updated_at)):
            entity = row.object("entity") or Payload(b"{}")
            self._sets[id_] = _Set(
                id_,
                updated_at,
                row,
                is_changed,
                row.text("processorId") or entity.text("id"),
                row.text("processorName") or entity.text("name"),
                processor_type(row.text("processorType")) or _TYPES.get(entity.peek("object") or ""),
            )
            # rows of the catalogue have the dates
            entity.ignore("createdAt", "updatedAt")
            if self._sets[id_].type:
                entity.ignore("object")
        self._listed.add(id_)

    def _is_recent(self, updated_at: str) -> bool:
        at = timestamp(updated_at)
        return at is None or self.sync.clock() - at <= self.sync.settings.recheck_for

    def _walk_items(self) -> Iterator[None]:
        """Walk the lists of items, 32 at once, and find the items that are due."""
        due = list(self._sets.values())
        for start in range(0, len(due), entries.AT_ONCE):
            walks = [
                (
                    each,
                    self.pager.pages(self._endpoint.of_set(each.id), api.OLDEST_FIRST, self._endpoint.items),
                )
                for each in due[start : start + entries.AT_ONCE]
            ]
            for _, pages in walks:
                next(pages)  # sends the request for the first page
            yield None
            for each, pages in walks:
                # the set may be deleted meanwhile
                with suppress(MissingError), self.failures.recording(each.id):
                    for raw in (raw for page in pages for raw in page):
                        self._see_item(each, raw)
                    each.is_whole = each.id not in self.failures.ids

    def _see_item(self, each: _Set, raw: Raw) -> None:
        id_, updated_at = identify(raw)
        with self.failures.recording(id_, each.id, bytes(raw)):
            read_entry(raw)
            if id_ in each.marks:
                return
            mark = updated_at or _fingerprint(each.updated_at, raw)
            known = self._known.get(each.id, {}).get(id_)
            if self.sync.settings.full or known != mark or self.failures.is_open(id_):
                self._due.append(_Item(id_, each, len(each.marks), raw))
                each.unread.add(id_)
            each.marks[id_] = mark

    def _load_processors(self) -> Iterator[None]:
        """Read the processors of sets with items to read: their schemas have the types of the fields."""
        by_path: defaultdict[str, list[_Set]] = defaultdict(list)
        for each in self._sets.values():
            is_wanted = each.unread or (each.is_changed and each.type is None)
            if each.processor_id and is_wanted and each.type in ("EXTRACT", None):
                by_path[self._processor_path(each.processor_id)].append(each)
        due = [Detail(path, path, Request(path, subject=path)) for path in by_path]
        yield from self.send_ahead(due)
        outcomes = self.pager.client.get_many(detail.request for detail in due)
        for sets, (_, outcome) in zip(by_path.values(), outcomes, strict=True):
            if isinstance(outcome, MissingError | RefusedError):
                # the values have types too
                continue
            for each in sets:
                each.is_typed = False
                with self.failures.recording(each.id):
                    if not isinstance(outcome, Reply):
                        raise outcome
                    _describe(each, Payload(clean(outcome.body)))
                    each.is_typed = True

    def _processor_path(self, processor_id: str) -> str:
        if self.context.api_version == api.VERSIONS[0]:
            return f"/extractors/{segment(processor_id)}"
        return f"/processors/{segment(processor_id)}/versions"

    def _load_items(self) -> Iterator[None]:
        """Read the items that are due, and add their rows."""
        due = {(item.of.id, item.id): item for item in self._due if item.of.is_typed}
        details = []
        for item in due.values():
            if "expectedOutput" in inspect_entry(item.listed):
                with self.failures.recording(item.id, item.of.id, bytes(item.listed)):
                    self._add_item(item, Payload(item.listed))
            else:
                details.append(Detail(item.id, item.of.id, self._endpoint.item(item.of.id, item.id)))
        yield from self.send_ahead(details)
        for detail, body in self.bodies(details):
            with self.failures.recording(detail.id, detail.owner, body):
                answer = Payload(body)
                row = answer.object("evaluationSetItem") or answer
                if row.peek("id") != detail.id:
                    raise ShapeError("the answer is about another item")
                self._add_item(due[detail.owner, detail.id], row)
        for item in due.values():
            is_new = item.id not in self._known.get(item.of.id, {})
            if item.id in item.of.unread and item.id not in self.failures.ids and is_new:
                # the list shows it and its details answer 404: they are read when the list is walked again
                with self.failures.recording(item.id, item.of.id, bytes(item.listed)):
                    self._add_row(item, Payload(item.listed), None)

    def _add_set(self, each: _Set) -> None:
        row = each.row
        cells = self.common_cells(row) | {
            "name": row.text("name"),
            "description": row.text("description"),
            "updated_at": row.time("updatedAt"),
            "processor_id": each.processor_id,
            "processor_name": each.processor_name,
            "processor_type": each.type,
        }
        self.batch.add(EVALUATION_SETS, EVALUATION_SETS.row(**cells, extra=row.extra()))

    def _add_item(self, item: _Item, row: Payload) -> None:
        """Add the rows of an item and of its expected output."""
        class_, fields = expected.read_expected(row, item.id, item.of.type, item.of.config)
        self._add_row(item, row, class_)
        self.batch.clear_run([EXPECTED_FIELDS], item.id)
        self.batch.extend(EXPECTED_FIELDS, fields)
        item.of.unread.discard(item.id)

    def _add_row(self, item: _Item, row: Payload, class_: str | None) -> None:
        listed = inspect_entry(item.listed)
        row.ignore("object", "id", "evaluationSetId")
        cells: dict[str, object] = {
            "id": item.id,
            "evaluation_set_id": item.of.id,
            "position": item.position,
            "file_ids": expected.file_ids(row),
            "classification": class_,
            "created_at": row.time("createdAt") or listed.time("createdAt"),
            "updated_at": row.time("updatedAt") or listed.time("updatedAt"),
            "created_by": row.json("createdBy") or listed.json("createdBy"),
        }
        self.batch.add(EVALUATION_ITEMS, EVALUATION_ITEMS.row(**cells, extra=row.extra()))

    def _mark_gone(self) -> None:
        """Add the stored rows of what the lists no longer show, with the time at which that was found."""
        items = [id_ for set_id in self._gone_sets for id_ in self._known.get(set_id, {})]
        for each in self._sets.values():
            if each.is_whole:
                items += self._known.get(each.id, {}).keys() - each.marks.keys()
        now = self.sync.clock()
        for table, ids in ((EVALUATION_SETS, self._gone_sets), (EVALUATION_ITEMS, sorted(items))):
            for cells in _stored(table, ids):
                self.stored.add(table, table.row(**{**cells, "deleted_at": now}))

    def update_state(self) -> None:
        """Remember what was read; sets with a failure are walked again in the next load."""
        for each in self._sets.values():
            known = self._known.get(each.id, {})
            marks = {
                id_: known.get(id_, "") if id_ in each.unread else mark for id_, mark in each.marks.items()
            }
            self._known[each.id] = marks if each.is_whole else {**known, **marks}
            if each.id in self.failures.ids:
                self._read_at.pop(each.id, None)
            else:
                self._read_at[each.id] = each.updated_at
        for id_ in self._gone_sets:
            self._read_at.pop(id_, None)
            self._known.pop(id_, None)


def _fingerprint(updated_at: str, raw: Raw) -> str:
    """A mark of a listed item without a date: of its row, and of the set's last change."""
    text = strip_signed_urls(json_text(raw))
    return hashlib.sha256(f"{updated_at} {text}".encode()).hexdigest()[:16]


def _describe(each: _Set, answer: Payload) -> None:
    """Take the draft's configuration, in older versions also name and type, from a processor's answer."""
    # 2026-02-09   {"id": "ex_1", "draftVersion": {"config": {…}}}
    # and older    {"versions": [{"version": "draft", "processorName": "…", "processorType": "EXTRACT", "config": {…}}]}
    draft = answer.object("draftVersion")
    if draft is None:
        versions = answer.objects("versions") or []
        drafts = [version for version in versions if version.peek("version") == "draft"]
        draft = next(iter(drafts or versions), None)
    if draft is not None:
        each.config = draft.raw("config")
        each.type = each.type or processor_type(draft.text("processorType"))
        each.processor_name = each.processor_name or draft.text("processorName")


def _stored(table: Table, ids: list[str]) -> Iterator[Mapping[str, Any]]:
    """The rows that the destination has; none in a destination that keeps files."""
    pipeline = active_pipeline()
    if not ids or not traits_of(pipeline).takes_updates:
        return
    for cells in lookup.rows_of(pipeline, table, "id", ids):
        yield {name: utc(cell) if isinstance(cell, datetime) else cell for name, cell in cells.items()}
