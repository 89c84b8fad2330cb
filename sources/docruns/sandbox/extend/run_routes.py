"""The endpoints of runs: workflow runs, processor and parse runs inside and outside them, and the old names
of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from .call import Call, Route, encode, row_matches, shelf_page
from .catalog import NOUN, OLD_TYPE
from .classic import Classic, status_in
from .errors import RefusedError
from .listing import (
    PARSE_SOURCES,
    RUN_STATUSES,
    SOURCES,
    WORKFLOW_STATUSES,
    Query,
    parse_query,
)
from .modern import Modern
from .platform import Extend
from .runs import Child, Run, files_of, source_of
from .shelf import Shelf
from .state import SLOTS, Verbatim


class RunRoutes:
    """Answers from one platform's state; the caller holds its lock."""

    def __init__(self, platform: Extend, modern: Modern, classic: Classic) -> None:
        self.platform = platform
        self.modern = modern
        self.classic = classic

    def table(self) -> list[Route]:
        runs = [
            Route("GET", "/workflow_runs", 2023, 2026, self.list_workflow_runs),
            Route("GET", "/workflow_runs/{id}", 2023, 2026, self.workflow_run),
            Route("POST", "/workflow_runs/{id}", 2023, 2026, self.update_workflow_run),
            Route("DELETE", "/workflow_runs/{id}", 2025, 2026, self.delete_workflow_run),
            Route("GET", "/processor_runs", 2024, 2026, self.list_processor_runs),
            Route("GET", "/processor_runs/{id}", 2023, 2026, self.processor_run),
            Route("GET", "/parser_runs/{id}", 2025, 2026, self.parser_run),
        ]
        for type in ("extract", "classify", "split", "parse"):
            runs.append(Route("GET", f"/{type}_runs", 2026, 2026, self._typed(self.list_children, type)))
            runs.append(Route("GET", f"/{type}_runs/{{id}}", 2026, 2026, self._typed(self.child_run, type)))
        return runs

    @staticmethod
    def _typed(answer: Callable[[Call, str], bytes], type: str) -> Callable[[Call], bytes]:
        return lambda call: answer(call, type)

    def list_workflow_runs(self, call: Call) -> bytes:
        allowed: dict[str, tuple[str, ...]] = {"status": WORKFLOW_STATUSES, "workflowId": ()}
        if call.edition >= 2024:
            allowed["batchId"] = ()
        if call.edition >= 2025:
            allowed["fileNameContains"] = ()
        query = parse_query(call.request, allowed)
        keep = self._keeps(query.filters, call.edition) if query.filters else None
        render: Callable[[Run], Any] = (
            self.modern.run_summary
            if call.edition >= 2026
            else lambda run: self.classic.run_summary(run, call.edition)
        )

        def row(key: int) -> Any:
            found = self.platform.record(key)
            return found.summary if isinstance(found, Verbatim) else render(found)

        return shelf_page(
            self.platform, call, query, self.platform.shelves[query.sort], keep, row, "workflowRuns"
        )

    def _keeps(self, filters: dict[str, str], edition: int) -> Callable[[int], bool]:
        platform = self.platform

        def keep(key: int) -> bool:
            record = platform.record(key)
            if isinstance(record, Verbatim):
                return row_matches(record.row, filters)
            for name, value in filters.items():
                if name == "status" and status_in(record.status, edition) != value:
                    return False
                if name == "workflowId" and (
                    record.workflow is None or platform.catalog.workflow_id(record.workflow) != value
                ):
                    return False
                if name == "batchId" and platform.batch_id(record) != value:
                    return False
                if name == "fileNameContains" and not any(
                    value in file.name for file in files_of(platform.seed, record)
                ):
                    return False
            return True

        return keep

    def workflow_run(self, call: Call) -> bytes:
        given = self.platform.find_verbatim("workflow_runs", call.args[0])
        return given.detail if given else self._render_run(self._run(call.args[0]), call.edition)

    def _run(self, id: str) -> Run:
        run = self.platform.find_run(id)
        if run is None:
            raise RefusedError(404, "No workflow run with that id.")
        return run

    def _render_run(self, run: Run, edition: int) -> bytes:
        if edition >= 2026:
            return self.modern.body(self.modern.run(run), run)
        return self.modern.body({"success": True, "workflowRun": self.classic.run(run, edition)}, run)

    def list_processor_runs(self, call: Call) -> bytes:
        if call.edition == 2024 and not self.platform.switches.list_processor_runs_2024:
            raise RefusedError(404, "Not found.")
        allowed: dict[str, tuple[str, ...]] = {
            "status": RUN_STATUSES, "processorId": (), "processorType": ("EXTRACT", "CLASSIFY", "SPLITTER"), "sourceId": (), "source": SOURCES,
            "fileNameContains": (),
        }  # fmt: skip
        query = parse_query(call.request, allowed)
        old = call.edition < 2026
        return self._children(
            call._replace(edition=min(call.edition, 2025)),
            query,
            "processor",
            lambda run, child: self.classic.child_summary(run, child, old=old),
        )

    def list_children(self, call: Call, type: str) -> bytes:
        allowed: dict[str, tuple[str, ...]] = {
            "status": RUN_STATUSES,
            "batchId": (),
            "sourceId": (),
            "source": SOURCES,
            "fileNameContains": (),
        }
        if type == "parse":
            allowed["source"] = PARSE_SOURCES
            size: str = self.platform.switches.parse_page_size
            if size == "either":
                size = "limit" if call.request.param("limit") else "maxPageSize"
            query = parse_query(call.request, allowed, size=size, sortable=False)
        else:
            query = parse_query(call.request, {**allowed, f"{NOUN[type]}Id": ()})
        return self._children(call, query, type, self.modern.child_summary)

    def _children(self, call: Call, query: Query, type: str, render: Callable[[Run, Child], Any]) -> bytes:
        platform = self.platform
        if "source" in query.filters and platform.switches.source_filter != "kept":
            if platform.switches.source_filter == "refused":
                raise RefusedError(400, "Unknown parameter.; Path: source", docs=True)
            del query.filters["source"]
        shelf = platform.child_shelf(type, query.sort)
        if "sourceId" in query.filters:
            # the children of one run: there is no need to search the children of all runs
            run = platform.find_run(query.filters["sourceId"])
            mine = (
                {}
                if run is None
                else {run.index * SLOTS + child.slot: child for child in platform.children(run)}
            )
            shelf = Shelf(
                (child.created if query.sort == "createdAt" else child.updated, key)
                for key, child in mine.items()
                if type in (child.type, "processor")
            )
            if type == "processor":
                shelf.rows = [place for place in shelf.rows if mine[place[1]].type != "parse"]

        def row(key: int) -> Any:
            found = platform.record(key)
            return found.summary if isinstance(found, Verbatim) else render(*platform.child(key))

        keep = (lambda key: self._child_matches(key, query.filters)) if query.filters else None
        return shelf_page(self.platform, call, query, shelf, keep, row, "processorRuns")

    def _child_matches(self, key: int, filters: dict[str, str]) -> bool:
        record = self.platform.record(key)
        if isinstance(record, Verbatim):
            return row_matches(record.row, filters)
        run, child = self.platform.child(key)
        catalog = self.platform.catalog
        for name, value in filters.items():
            match name:
                case "status" if child.status != value:
                    return False
                case "source" if value != source_of(self.platform.seed, run, child):
                    return False
                case "batchId":
                    # only batches of processor runs count here, and the sandbox names none
                    return False
                case "processorType" if value != OLD_TYPE[child.type]:
                    return False
                case "fileNameContains" if not any(value in file.name for file in child.files):
                    return False
                case "processorId" | "extractorId" | "classifierId" | "splitterId" if (
                    child.processor is None or catalog.find_processor(value) != child.processor
                ):
                    return False
        return True

    def child_run(self, call: Call, type: str) -> bytes:
        given = self.platform.find_verbatim(f"{type}_runs", call.args[0])
        if given is not None:
            return given.detail
        found = self.platform.find_child(call.args[0])
        if found is None or found[1].type != type:
            raise RefusedError(404, f"No {type} run with that id.")
        run, child = found
        shown = self.modern.child(run, child)
        if type == "parse" and call.request.param("responseType") == "url":
            shown |= {
                "output": None,
                "outputUrl": f"https://files.invalid/{shown['id']}.json?sig=example"
                if shown["output"] is not None
                else None,
            }
        return self.modern.body(shown, run)

    def processor_run(self, call: Call) -> bytes:
        found = self.platform.find_child(call.args[0])
        if found is None or found[1].type == "parse":
            raise RefusedError(404, "ProcessorRun not found")
        run, child = found
        return self.modern.body(
            {"success": True, "processorRun": self.classic.child(run, child, call.edition)}, run
        )

    def parser_run(self, call: Call) -> bytes:
        if call.edition >= 2026:
            raise RefusedError(410, "Use GET /parse_runs/:id instead.")
        found = self.platform.find_child(call.args[0])
        if found is None or found[1].type != "parse":
            raise RefusedError(404, "ParserRun not found")
        return encode({"success": True, "parserRun": self.classic.parser_run(*found)})

    def update_workflow_run(self, call: Call) -> bytes:
        """{"name": "HP-20417 (March)", "metadata": {"warehouse_row": "ap-000417",
        "extend:usage_tags": ["finance"]}}"""
        run = self._run(call.args[0])
        try:
            change = msgspec.json.decode(call.request.body or b"{}")
        except msgspec.DecodeError:
            raise RefusedError(400, "The body is not JSON.", docs=True) from None
        name, metadata = (change.get("name"), change.get("metadata")) if isinstance(change, dict) else (0, 0)
        if not isinstance(name, str | None):
            raise RefusedError(400, "Expected a string.; Path: name", docs=True)
        if not isinstance(metadata, dict | None):
            raise RefusedError(400, "Expected an object.; Path: metadata", docs=True)
        tags = (metadata or {}).get("extend:usage_tags", [])
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise RefusedError(
                400, "Expected an array of strings.; Path: metadata.extend:usage_tags", docs=True
            )
        old = (run.name, self.platform.metadata(run))
        self.platform.update(run, name=name, metadata=metadata)
        answer = self._render_run(run, call.edition)
        self.platform.settle(run, old, metadata or {})
        return answer

    def delete_workflow_run(self, call: Call) -> bytes:
        run = self._run(call.args[0])
        id = self.platform.run_id(run)
        self.platform.remove(run)
        return encode(
            {"id": id}
            if call.edition >= 2026
            else {"success": True, "workflowRunId": id, "message": "Deleted."}
        )
