"""What the platform has of some workflow runs: as they are loaded where that is still true, else read over the API.

    loaded row ──► in a whole package, not deleted, not in quarantine, read after the last push, not listed as changed
                    since? ──► yes: no request
                          └──► no, or stored hashed: GET

The list tells what has changed since the load, down to the watermark, in one request for 1,000 runs. What somebody else
changed in a run whose last change did not move by it is not seen; a load would not see it either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from ...core.codec import decode_whole, utc
from ...core.tables import PUSHES, WORKFLOW_RUNS
from ...providers.changes import LastPush, RemoteRun
from ...providers.extend import updates
from ...store import lookup
from ...store.lookup import Pipeline
from ...sync import plan
from ...sync.plan import ListedRun
from ...sync.sync import Sync

_CELLS = (
    "id", "status", "created_at", "updated_at", "name", "metadata", "deleted_at", "workflow_version_id",
    "reviewed_by", "rejection_note",
)  # fmt: skip
_SENT = ("push_id", "id", "outcome", "name", "wish", "after", "done_at", "read_at")

CUT = "?…"
"""Stands in a database for what a URL with a signature lost."""


class Knowledge:
    """Of the runs `ids`. `earlier` are rows of `pushes` that the database does not hold yet."""

    def __init__(
        self,
        sync: Sync,
        running: Pipeline,
        ids: Sequence[str],
        earlier: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self._sync, self._ids = sync, ids
        rows = lookup.rows_of(running, WORKFLOW_RUNS, "id", ids, _CELLS)
        self._rows = {row["id"]: row for row in rows}
        self._whole = {
            id_
            for id_, run in lookup.workflow_runs(running, list(self._rows)).items()
            if run.is_whole
        }
        self._quarantined = {
            id_
            for resource, id_, resolved in lookup.columns_of(
                running, "quarantine", ("resource", "id", "resolved_at")
            )
            if resource == "workflow_runs" and resolved is None
        }
        self.sent: dict[str, LastPush] = {}
        self._unread: set[str] = set()
        past = lookup.rows_of(running, PUSHES, "id", ids, _SENT, ("outcome", "unchanged"))
        for row in sorted(past, key=lambda row: row["done_at"]):
            self._note(row)
        for record in earlier:
            self._note(record)
        marks = (mark for (mark,) in lookup.columns_of(running, "syncs", ("watermark",)))
        self._watermark = max((at for mark in marks if (at := utc(mark))), default=None)
        self._listed: dict[str, ListedRun] = {}
        self._top: datetime | None = None

    def _note(self, row: Mapping[str, Any]) -> None:
        """A row of `pushes`, later than those before."""
        id_, before = row["id"], self.sent.get(row["id"], LastPush())
        if row["outcome"] == "confirmed":
            name = before.name if row.get("name") is None else row["name"]
            self.sent[id_] = LastPush(name, row.get("wish"), row.get("after"))
        if row["outcome"] in ("confirmed", "unconfirmed"):
            (self._unread.add if row.get("read_at") is None else self._unread.discard)(id_)

    def is_loaded(self, id_: str) -> bool:
        """The database holds the run, and it is not known to be gone."""
        return id_ in self._rows and self._rows[id_]["deleted_at"] is None

    def look(self) -> Iterator[tuple[str, updates.Outcome]]:
        """Each run and what the platform has of it, or the error it answers. Raises what stops all."""
        rest = []
        if self._rows:
            with self._sync.client:
                self._walk(self._floor())
        for id_ in self._ids:
            if self._is_current(id_):
                row = self._rows[id_]
                metadata = decode_whole((row["metadata"] or "{}").encode())
                yield id_, RemoteRun(row["name"], metadata if isinstance(metadata, dict) else {})
            else:
                rest.append(id_)
        if rest:
            with self._sync.client as client:
                for number, found in enumerate(updates.has(client, rest), start=1):
                    if self._sync.progress is not None:
                        self._sync.progress("fetching", "workflow_runs", number, len(rest))
                    yield found

    def look_again(self) -> None:
        """Note what the list shows as changed since the last look, or the load."""
        if self._rows:
            with self._sync.client:
                self._walk(self._top or self._floor())

    def as_listed(self, id_: str) -> ListedRun:
        """A loaded run as the list shows it, or would."""
        if id_ in self._listed:
            return self._listed[id_]
        row = self._rows[id_]
        summary = {"workflowVersionId": row["workflow_version_id"]}
        if self._sync.settings.privacy.keeps:
            # elsewhere these are hashed, and would be hashed again
            summary |= {
                "reviewedByUser": row["reviewed_by"],
                "rejectionNote": row["rejection_note"],
            }
        said = {key: text for key, text in summary.items() if text is not None}
        times = utc(row["created_at"]), utc(row["updated_at"])
        return ListedRun(id_, row["status"], *times, summary=said)

    def _walk(self, down_to: datetime | None) -> None:
        list_ = self._sync.feeds[0]
        wanted = self._rows.keys()
        pages = plan.scan(list_.pages(None), down_to, list_.ordered)
        for run in chain.from_iterable(pages):
            if self._top is None or run.changed > self._top:
                self._top = run.changed
            if run.id in wanted:
                self._listed[run.id] = run

    def _floor(self) -> datetime | None:
        """Down to where the list may show a change of one of the runs that is not loaded."""
        dates = {id_: utc(row["updated_at"]) or plan.OLDEST for id_, row in self._rows.items()}
        floor = min(dates.values())
        if self._watermark is not None:
            floor = max(floor, self._watermark - self._sync.settings.overlap)
        if not self._sync.settings.privacy.keeps:
            # only the list says it in old versions, and what is stored of it cannot be stored again
            noted = [dates[id_] for id_, row in self._rows.items() if row["rejection_note"]]
            floor = min([floor, *noted])
        return floor

    def _is_current(self, id_: str) -> bool:
        row = self._rows.get(id_)
        if row is None or row["deleted_at"] is not None or row["updated_at"] is None:
            return False
        if self._sync.settings.privacy.rewrites(WORKFLOW_RUNS).keys() & {"name", "metadata"}:
            return False
        if id_ in self._unread or id_ in self._quarantined or id_ not in self._whole:
            return False
        if CUT in (row["metadata"] or ""):
            return False
        listed = self._listed.get(id_)
        return listed is None or listed.updated_at == utc(row["updated_at"])
