"""Extend's catalogue: workflows, processors and their versions.

    GET /extractors                     [{"id": "ex_1", "name": "…", "updatedAt": "…"}]
    GET /extractors/{id}/versions       [{"id": "exv_1", "version": "2.1", …}]     without config
    GET /extractors/{id}/versions/{v}   {"id": "exv_1", "config": {"schema": {…}}}
    GET /extractors/{id}                {…, "draftVersion": {…, "config": {…}}}

An entry is read again only when its `updatedAt` moved, and a published version only once: it never
changes. Lists that a server does not have are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from msgspec import Raw

from ..arrow import Batch, Tables, to_tables
from ..errors import ApiError, MissingError
from ..http import Client, Reply, Request
from ..model import PROCESSOR_VERSIONS, PROCESSORS, WORKFLOW_VERSIONS, WORKFLOWS
from ..payload import Payload, clean, json_text
from . import api
from .processors import Context, processor_type


def workflows(
    client: Client, context: Context, saved: MutableMapping[str, Any]
) -> Iterator[Tables]:
    """Rows of `workflows` and `workflow_versions`; `saved` remembers what was read."""
    for entries in api.catalogue(context.api_version):
        if entries.name == "workflows":
            yield from _changed(client, context, entries, saved, _workflow, _workflow_version)


def processors(
    client: Client, context: Context, saved: MutableMapping[str, Any]
) -> Iterator[Tables]:
    """Rows of `processors` and `processor_versions`; `saved` remembers what was read."""
    for entries in api.catalogue(context.api_version):
        if entries.name != "workflows":
            yield from _changed(client, context, entries, saved, _processor, _processor_version)


def _changed(
    client: Client,
    context: Context,
    entries: api.CatalogueList,
    saved: MutableMapping[str, Any],
    entry_row: Any,
    version_row: Any,
) -> Iterator[Tables]:
    read_at: dict[str, str] = saved.setdefault(entries.name, {})
    versions: dict[str, int] = saved.setdefault("versions", {})
    params = (("maxPageSize", api.PAGE_SIZE), ("sortBy", "createdAt"), ("sortDir", "asc"))
    batch = Batch()
    moved: dict[str, str] = {}
    try:
        for page in api.pages(client, f"/{entries.name}", params, entries.envelope):
            for raw in page:
                row = Payload(raw)
                id_, at = row.text("id"), row.peek("updatedAt") or ""
                if id_ is None or read_at.get(id_) == at:
                    continue
                row.keep("id", f'"{id_}"')
                entry_row(batch, row, context, entries.type)
                moved[id_] = at
    except MissingError:
        return
    drafts = {id_: Request(f"/{entries.name}/{id_}", subject=id_) for id_ in moved}
    if entries.name != "processors":
        for request, body in _bodies(client, list(drafts.values())):
            draft = Payload(body).object("draftVersion")
            if draft is not None:
                version_row(batch, draft, context, entries.type, request.subject)
    wanted: list[Request] = []
    for id_ in moved:
        path = f"/{entries.name}/{id_}/versions"
        try:
            for page in api.pages(client, path, params[:1], entries.version_envelope):
                wanted += filter(None, (_unread(raw, path, id_, versions) for raw in page))
        except MissingError:
            continue
    for request, body in _bodies(client, wanted):
        version = Payload(body)
        version = version.object("version") or version.object("processorVersion") or version
        version_id = request.path.rpartition("/")[2]
        version_row(batch, version, context, entries.type, request.subject)
        versions[version_id] = 1
    read_at.update(moved)
    if moved:
        yield to_tables(batch)


def _unread(raw: Raw, path: str, owner: str, known: MutableMapping[str, int]) -> Request | None:
    row = Payload(raw)
    id_, version = row.text("id"), row.text("version")
    if id_ is None or version == "draft" or id_ in known:
        return None
    return Request(f"{path}/{id_}", subject=owner)


def _bodies(client: Client, requests: list[Request]) -> Iterator[tuple[Request, bytes]]:
    """Good answers only: what is gone by now is left out, what is refused stops the load."""
    for request, outcome in client.get_many(requests):
        if isinstance(outcome, Reply):
            yield request, clean(outcome.body)
        elif not isinstance(outcome, MissingError):
            error: ApiError = outcome
            raise error


def _seen(row: Payload, context: Context) -> dict[str, Any]:
    return {
        "id": row.text("id"),
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
    if cells["id"]:
        batch.add(WORKFLOW_VERSIONS, WORKFLOW_VERSIONS.row(**cells, extra=row.extra()))


def _processor(batch: Batch, row: Payload, context: Context, type_: str | None) -> None:
    cells = _seen(row, context)
    cells |= {
        "type": type_ or processor_type(row.text("type")),
        "name": row.text("name"),
        "updated_at": row.time("updatedAt"),
    }
    # the version rows say it
    row.ignore("object", "versions", "draftVersion")
    batch.add(PROCESSORS, PROCESSORS.row(**cells, extra=row.extra()))


def _processor_version(
    batch: Batch, row: Payload, context: Context, type_: str | None, processor_id: str
) -> None:
    cells = _seen(row, context)
    config = row.raw("config")
    parts = Payload(config) if config is not None else Payload(b"{}")
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
    if cells["id"]:
        batch.add(PROCESSOR_VERSIONS, PROCESSOR_VERSIONS.row(**cells, extra=row.extra()))
