"""Some workflow runs as the platform has them: the stored row where it is still true, else an answer.

    stored row ──► loaded by a whole package, not deleted, not in quarantine, fetched after the last push, not listed as
                   changed since? ──► yes: no request
                                 └──► no, or stored hashed: GET

The list shows what has changed since the load, down to the watermark, with one request for 1,000 runs. If
somebody else changed a run and the platform did not move its last change, that is not seen here, nor by a
load.
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
from ...sync.inventory import quarantined_runs
from ...sync.listed import OLDEST, ListedRun
from ...sync.lists import Platform

_RUN_COLUMNS = (
    "id", "status", "created_at", "updated_at", "name", "metadata", "deleted_at", "workflow_version_id",
    "reviewed_by", "rejection_note",
)  # fmt: skip
_PUSH_COLUMNS = ("push_id", "id", "outcome", "name", "wish", "after", "done_at", "read_at")

CUT = "?…"
"""Ends a signed URL in a database, in place of its query."""


class RemoteRuns:
    """The runs `ids` on the platform.

    `earlier` are records of pushes that the database does not have yet; `unread` are runs whose stored row is not
    to be trusted.
    """

    def __init__(
        self,
        platform: Platform,
        running: Pipeline,
        ids: Sequence[str],
        earlier: Iterable[Mapping[str, Any]] = (),
        unread: Iterable[str] = (),
    ) -> None:
        self._platform, self._ids = platform, ids
        rows = lookup.rows_of(running, WORKFLOW_RUNS, "id", ids, _RUN_COLUMNS)
        self._rows = {row["id"]: row for row in rows}
        stored = lookup.runs_by_id(running, "workflow_runs", list(self._rows))
        self._whole = {id_ for id_, run in stored.items() if run.is_whole}
        self._quarantined = {id_ for name, id_ in quarantined_runs(running) if name == "workflow_runs"}
        self.last_pushes: dict[str, LastPush] = {}
        self._not_read_since: set[str] = set()
        """Runs that were not fetched after they were last pushed, or did not have the change then."""
        past = lookup.rows_of(running, PUSHES, "id", ids, _PUSH_COLUMNS, ("outcome", "unchanged"))
        for row in (*sorted(past, key=lambda row: row["done_at"]), *earlier):
            self._add_push(row)
        self._not_read_since.update(unread)
        marks = (mark for (mark,) in lookup.columns_of(running, "syncs", ("watermark",)))
        self._watermark = max((at for mark in marks if (at := utc(mark))), default=None)
        self._listed: dict[str, ListedRun] = {}
        self._newest_listed: datetime | None = None

    def _add_push(self, row: Mapping[str, Any]) -> None:
        """Add a row of `pushes`. Rows come in the order in which they were sent."""
        id_, before = row["id"], self.last_pushes.get(row["id"], LastPush())
        if row["outcome"] == "confirmed":
            name = before.name if row.get("name") is None else row["name"]
            self.last_pushes[id_] = LastPush(name, row.get("wish"), row.get("after"))
        if row["outcome"] in ("confirmed", "unconfirmed"):
            is_read = row["outcome"] == "confirmed" and row.get("read_at") is not None
            (self._not_read_since.discard if is_read else self._not_read_since.add)(id_)

    def is_loaded(self, id_: str) -> bool:
        """The database has the run, and it is not marked as deleted."""
        return id_ in self._rows and self._rows[id_]["deleted_at"] is None

    def read(self) -> Iterator[tuple[str, updates.Outcome]]:
        """Each run as the platform has it, or its error. Raises errors that concern all runs."""
        rest = []
        self.read_list()
        for id_ in self._ids:
            if self._is_current(id_):
                row = self._rows[id_]
                metadata = decode_whole((row["metadata"] or "{}").encode())
                yield id_, RemoteRun(row["name"], metadata if isinstance(metadata, dict) else {})
            else:
                rest.append(id_)
        if rest:
            with self._platform.client as client:
                yield from updates.has(client, rest)

    def read_list(self) -> None:
        """Read what the list shows as changed since it was last read, or since the load."""
        if not self._rows:
            return
        run_list = self._platform.workflow_runs
        pages = plan.scan(run_list.pages(None), self._newest_listed or self._floor(), run_list.is_ordered)
        with self._platform.client:
            for run in chain.from_iterable(pages):
                if self._newest_listed is None or run.changed > self._newest_listed:
                    self._newest_listed = run.changed
                if run.id in self._rows:
                    self._listed[run.id] = run

    def listed_run(self, id_: str) -> ListedRun:
        """A loaded run as the list shows it, or would show it."""
        if id_ in self._listed:
            return self._listed[id_]
        row = self._rows[id_]
        summary = {"workflowVersionId": row["workflow_version_id"]}
        if self._platform.settings.privacy.keeps:
            # otherwise the stored values are hashes, and would be hashed again
            summary |= {"reviewedByUser": row["reviewed_by"], "rejectionNote": row["rejection_note"]}
        summary = {key: text for key, text in summary.items() if text is not None}
        times = utc(row["created_at"]), utc(row["updated_at"])
        return ListedRun(id_, row["status"], *times, summary=summary)

    def _floor(self) -> datetime | None:
        """How far back the list may show changes of these runs that are not loaded."""
        dates = {id_: utc(row["updated_at"]) or OLDEST for id_, row in self._rows.items()}
        floor = min(dates.values())
        if self._watermark is not None:
            floor = max(floor, self._watermark - self._platform.settings.overlap)
        if not self._platform.settings.privacy.keeps:
            # in old versions only the list has the rejection note, and a stored hash cannot be stored again
            rejected = [dates[id_] for id_, row in self._rows.items() if row["rejection_note"]]
            floor = min([floor, *rejected])
        return floor

    def _is_current(self, id_: str) -> bool:
        """The stored row is what the platform has."""
        row = self._rows.get(id_)
        if row is None or row["deleted_at"] is not None or row["updated_at"] is None:
            return False
        if self._platform.settings.privacy.rewrites(WORKFLOW_RUNS).keys() & {"name", "metadata"}:
            return False
        if id_ in self._not_read_since or id_ in self._quarantined or id_ not in self._whole:
            return False
        if CUT in (row["metadata"] or ""):
            return False
        listed = self._listed.get(id_)
        return listed is None or listed.updated_at == utc(row["updated_at"])
