"""Where nested workflow runs and extractions hang, by a rule that does not depend on the order of loads.

    workflow_steps: nested_run_ids, processor_run_id ──► of all steps that name a run, the first ──► its links

A step names the runs that it started. A run can be named by several steps, by another one than before, or by
none any more. It hangs in the run that was created first; of runs that were created at the same moment, in
the one with the smaller id; there in the step with the smaller position. A run that no step names is an
outermost one. Of runs that are nested in each other the one with the smallest id is the outermost.

Like the marks of a sweep, the links are set with plain UPDATEs in one transaction.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ...core.codec import utc
from ...core.parsed import NestedLink
from ...core.tables import FIELDS, PROCESSOR_RUNS, WORKFLOW_RUNS, WORKFLOW_STEPS
from ...store import lookup
from ...store.lookup import Pipeline
from ...store.merges import updates

LATEST = datetime.max.replace(tzinfo=UTC)


class Claim(NamedTuple):
    """A step that names a run. The smallest of several counts."""

    created_at: datetime
    """When the step's workflow run was created."""
    workflow_run_id: str
    position: int
    step_id: str


Claims = defaultdict[str, list[Claim]]
"""By the run that is named."""


def mend_links(running: Pipeline) -> int:
    """Set the links of all runs that hang elsewhere than the steps say. Returns how many."""
    if not lookup.has_column(running, WORKFLOW_STEPS, "nested_run_ids"):
        # an earlier version of docruns has made the table: what it says of nested runs is not enough
        return 0
    changes = [*_nested_changes(running), *_extraction_changes(running)]
    updates.update_rows(running, changes)
    return len(changes)


def _nested_changes(running: Pipeline) -> Iterable[updates.Change]:
    names = ("workflow_run_id", "position", "step_id", "nested_run_ids")
    steps = list(lookup.rows_where(running, WORKFLOW_STEPS, names, "nested_run_count > 0"))
    columns = ("id", "created_at", *NestedLink._fields)
    stored = {
        row[0]: row for row in lookup.rows_where(running, WORKFLOW_RUNS, columns, "parent_run_id IS NOT NULL")
    }
    named = {id_ for *_, ids in steps for id_ in json.loads(ids or "[]")} | {run_id for run_id, *_ in steps}
    missing = sorted(named - stored.keys())
    stored |= {row[0]: row for row in lookup.rows_by_id(running, WORKFLOW_RUNS, columns, missing)}
    created = {id_: row[1] for id_, row in stored.items()}
    inside = defaultdict[tuple[str, str | None], list[str]](list)
    for id_, _, parent, step_id, *_ in stored.values():
        inside[parent, step_id].append(id_)
    claims: Claims = defaultdict(list)
    for run_id, position, step_id, ids in steps:
        # a step from an earlier version of docruns has no list: its runs stay where they are
        for id_ in inside[run_id, step_id] if ids is None else json.loads(ids):
            claims[id_].append(_claim(created, run_id, position, step_id))
    links = nested_links({id_: min(found) for id_, found in claims.items()})
    for id_, (_, _, *now) in stored.items():
        link = links.get(id_) or (None, None, id_, 0)
        if tuple(now) != tuple(link):
            yield updates.Change(WORKFLOW_RUNS, "id", id_, dict(zip(NestedLink._fields, link, strict=True)))


def nested_links(parents: dict[str, Claim]) -> dict[str, NestedLink]:
    """The place of each nested run, from its parent."""
    above = dict(parents)
    for id_ in sorted(parents):
        way = [id_]
        while (claim := above.get(way[-1])) is not None and claim.workflow_run_id not in way:
            way.append(claim.workflow_run_id)
        if claim is not None:
            del above[min(way[way.index(claim.workflow_run_id) :])]
    links: dict[str, NestedLink] = {}
    for id_, claim in above.items():
        root, depth = claim.workflow_run_id, 1
        while (upper := above.get(root)) is not None:
            root, depth = upper.workflow_run_id, depth + 1
        links[id_] = NestedLink(claim.workflow_run_id, claim.step_id or None, root, depth)
    return links


def _extraction_changes(running: Pipeline) -> Iterable[updates.Change]:
    several: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    names = ("workflow_run_id", "position", "processor_run_ids")
    for run_id, position, ids in lookup.rows_where(
        running, WORKFLOW_STEPS, names, "processor_run_ids IS NOT NULL"
    ):
        for id_ in json.loads(ids):
            several[id_].append((run_id, position))
    doubtful = sorted({*lookup.doubtful_links(running), *several})
    for made in lookup.produced_runs(running, doubtful):
        several[made.id].append((made.workflow_run_id, made.position))
    run_ids = sorted({run_id for found in several.values() for run_id, _ in found})
    created = dict(lookup.rows_by_id(running, WORKFLOW_RUNS, ("id", "created_at"), run_ids))
    has_fields = lookup.has_column(running, FIELDS, "workflow_run_id")
    for id_, stored in lookup.runs_by_id(running, PROCESSOR_RUNS.name, doubtful).items():
        claim = min((_claim(created, *found, None) for found in several[id_]), default=None)
        run_id, position = (claim.workflow_run_id, claim.position) if claim else (None, None)
        if (stored.workflow_run_id, stored.workflow_step_position) == (run_id, position):
            continue
        cells: dict[str, Any] = {
            "workflow_run_id": run_id,
            "workflow_step_position": position,
            "source": claim and "WORKFLOW_RUN",
            "source_id": run_id,
        }
        yield updates.Change(PROCESSOR_RUNS, "id", id_, cells)
        if has_fields:
            yield updates.Change(FIELDS, "processor_run_id", id_, {"workflow_run_id": run_id})


def _claim(created: dict[str, datetime | None], run_id: str, position: int, step_id: str | None) -> Claim:
    at = created.get(run_id)
    return Claim(LATEST if at is None else utc(at), run_id, position, step_id or "")
