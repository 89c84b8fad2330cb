"""The state as the versions before 2026-02-09 return it.

These versions have envelopes and one kind of processor run, and leave out keys instead of sending null.

{"success": true, "workflowRun": {"object": "workflow_run", "id": ..., "outputs": [
 {"object": "document_processor_run", ...}]}}
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..chance import tag
from ..moments import stamp
from .catalog import OLD_TYPE, VERSIONS, WORKFLOW_VERSIONS, Processor, config
from .children import FAILED, inline_processor
from .modern import REJECTION, Modern
from .parts import DASHBOARD, maybe
from .runs import (
    REVIEWERS,
    STEP_SLOT,
    Child,
    FileRef,
    Run,
    child_id,
    children_of,
    file_id,
    files_of,
)
from .state import State
from .usage import credits_of, has_usage

OLD_STEPS: Final = ("RULE_VALIDATION", "EXTERNAL_DATA_VALIDATION")


class Classic:
    """Renders one platform for edition 2025 (2025-04-21), 2024 (2024-12-23) or 2023 (anything older)."""

    def __init__(self, platform: State, modern: Modern) -> None:
        self.platform = platform
        self.modern = modern

    def file(self, run: Run, file: FileRef, edition: int) -> dict[str, Any]:
        """A file.

        {"object": "file", "id": ..., "name": ..., "type": "PDF", "metadata": {...}, "usage": {...}}

        Before 2025 a file has `object`, `id` and `name` only.
        """
        shown = self.modern.file(run, file)
        if edition < 2025:
            return {key: shown[key] for key in ("object", "id", "name")}
        if shown["parentFileId"] is None:
            del shown["parentFileId"]
        if (
            has_usage(self.platform, run)
            and file.parent is None
            and any(child.type == "parse" for child in children_of(self.platform.seed, run))
        ):
            shown["usage"] = {"credits": 2 * file.pages}
        return shown

    def run_summary(self, run: Run, edition: int) -> dict[str, Any]:
        """{"id": ..., "status": "PROCESSED", "workflowId": ..., "reviewedByUser": "dana@...",
        "createdAt": ..., "updatedAt": ...}"""
        platform, workflow = self.platform, run.workflow
        assert workflow is not None
        return _present({
            "id": platform.run_id(run),
            "status": status_in(run.status, edition),
            "initialRunAt": maybe(run.started and run.started - 600),
            "reviewedByUser": REVIEWERS[run.reviewer] if run.reviewed_at else None,
            "reviewedAt": maybe(run.reviewed_at),
            "startTime": maybe(run.started),
            "endTime": maybe(run.ended),
            "workflowId": platform.catalog.workflow_id(workflow),
            "workflowName": workflow.name,
            "workflowVersionId": platform.catalog.workflow_version_id(workflow, self.modern.version_of(run)),
            "batchId": platform.batch_id(run),
            "rejectionNote": REJECTION if run.status == "REJECTED" else None,
            "createdAt": stamp(run.created),
            "updatedAt": stamp(run.updated),
            "usage": self._usage(run, list(children_of(platform.seed, run))) if edition >= 2025 else None,
        })  # fmt: skip

    def run(self, run: Run, edition: int) -> dict[str, Any]:
        platform, workflow = self.platform, run.workflow
        assert workflow is not None
        children = children_of(platform.seed, run)
        id, version = platform.run_id(run), self.modern.version_of(run)
        workflow_id = platform.catalog.workflow_id(workflow)
        files = [file for file in files_of(platform.seed, run) if file.parent is None]
        shown: dict[str, Any] = {
            "object": "workflow_run",
            "id": id,
            "name": run.name or files[0].name,
            "url": f"{DASHBOARD if edition >= 2025 else OLD_DASHBOARD}/workflows/{workflow_id}?workflowRunId={id}",
            "status": status_in(run.status, edition),
            "metadata": platform.metadata(run),
            "batchId": platform.batch_id(run),
            "files": [self.file(run, file, edition) for file in files],
            "failureReason": run.failure and run.failure[0],
            "failureMessage": run.failure and run.failure[1],
            # the documentation says that `initialRunAt` is always present; a run that has not
            # started yet has its creation time there
            "initialRunAt": stamp(run.started - 600 if run.started else run.created),
            "reviewed": run.reviewed_at is not None,
            "reviewedBy": self._reviewer(run, edition),
            "reviewedAt": maybe(run.reviewed_at),
            "rejectionNote": REJECTION if run.status == "REJECTED" else None,
            "startTime": maybe(run.started),
            "endTime": maybe(run.ended),
            "outputs": [
                self.child(run, child, edition, nested=True)
                for child in children
                if child.type != "parse" and child.status == "PROCESSED"
            ],
            "stepRuns": self._steps(run),
            "workflow": {
                "object": "workflow",
                "id": workflow_id,
                "version": WORKFLOW_VERSIONS[version][0],
                "name": workflow.name,
            },
            "usage": self._usage(run, list(children)),
        }
        for key in () if edition >= 2025 else ("failureReason", "rejectionNote", "usage"):
            del shown[key]
        for key in () if edition >= 2024 else ("name", "url", "batchId", "reviewed", "stepRuns"):
            del shown[key]
        return _present(shown)

    def _reviewer(self, run: Run, edition: int) -> str | None:
        if run.reviewed_at is None:
            return None
        return (
            REVIEWERS[run.reviewer]
            if edition >= 2025
            else f"user_{tag(self.platform.seed, run.reviewer, 255)[:8]}"
        )

    def _usage(self, run: Run, children: list[Child]) -> dict[str, Any] | None:
        return {"credits": sum(map(credits_of, children))} if has_usage(self.platform, run) else None

    def _steps(self, run: Run) -> list[dict[str, Any]]:
        """The steps that validate: {"output": {"rules": [...]}}, or the response of the customer's own
        endpoint."""
        if run.ended is None or run.failure or run.status == "CANCELLED" or run.workflow is None:
            return []
        shown: list[dict[str, Any]] = []
        children = len(children_of(self.platform.seed, run))
        for type, name, _ in run.workflow.steps:
            if type not in OLD_STEPS:
                continue
            result = self.modern.check(run, type)
            assert result is not None
            shown.append({
                "object": "workflow_step_run",
                "id": f"workflow_step_run_{tag(self.platform.seed, run.index, STEP_SLOT + children + len(shown))}",
                "status": "PROCESSED",
                "step": {"object": "workflow_step", "id": self.modern.step_id(run, name), "name": name, "type": type},
                "output": {"rules": result["rules"]} if type == "RULE_VALIDATION" else result["response"]["data"],
            })  # fmt: skip
        return shown

    def child_summary(self, run: Run, child: Child, *, old: bool) -> dict[str, Any]:
        """{"id": "dpr_...", "status": "PROCESSED", "processorId": "dp_...", "type": "EXTRACT",
        "createdAt": ..., "usage": {"credits": 6}}"""
        return _present({
            "id": child_id(self.platform.seed, run, child, old=old),
            "status": child.status,
            **self._processor(run, child, old=old),
            "type": OLD_TYPE[child.type],
            "createdAt": stamp(child.created),
            "updatedAt": stamp(child.updated),
            "usage": self._usage(run, [child]),
        })  # fmt: skip

    def _processor(self, run: Run, child: Child, *, old: bool) -> dict[str, Any]:
        catalog, processor = self.platform.catalog, child.processor
        if processor is None:
            # these versions have no inline configuration: such a run gets the id of a processor
            # that is not configured anywhere
            suffix = tag(self.platform.seed, run.index, 254)
            return {
                "processorId": f"dp_{suffix}",
                "processorName": "Untitled",
                "processorVersionId": f"dpv_{suffix}",
            }
        return {
            "processorId": catalog.processor_id(processor, old=old),
            "processorName": processor.name,
            "processorVersionId": catalog.processor_version_id(
                processor, self.modern.version_of(run), old=old
            ),
        }

    def child(self, run: Run, child: Child, edition: int, *, nested: bool = False) -> dict[str, Any]:
        """A processor run.

        `edition` 2026 is the legacy path of the current version: new ids and files in the old shape.
        """
        platform, type = self.platform, child.type
        outputs = platform.outputs(child)
        legacy = child.processor is not None and child.processor.legacy
        done = child.status == "PROCESSED"
        reviewed = done and run.reviewed_at is not None and type == "extract"
        edited = reviewed and outputs.edited(run.round)
        made, final = self._outputs(run, child, min(edition, 2025), legacy, reviewed)
        none_yet = {"output": None} if edition < 2025 else {}
        id = child_id(platform.seed, run, child, old=edition < 2026)
        shown: dict[str, Any] = {
            "object": "document_processor_run",
            "id": id,
            **self._processor(run, child, old=edition < 2026),
            "status": child.status,
            "failureReason": FAILED[0] if child.status == "FAILED" else None,
            "failureMessage": FAILED[1] if child.status == "FAILED" else None,
            "metadata": (platform.given_metadata(run) or None) if type == "extract" else None,
            "reviewed": reviewed,
            "edited": edited,
            "type": OLD_TYPE[type],
            "config": self._config(child, outputs.sample.newer),
            "initialOutput": made if type != "split" else None,
            "reviewedOutput": final if reviewed else None,
            "output": final,
            "files": self._files(run, child, edition),
            "mergedProcessors": self._merged(child, old=edition < 2026),
            "url": f"{DASHBOARD if edition >= 2025 else OLD_DASHBOARD}/runs/{id}",
            "usage": self._usage(run, [child]) if edition >= 2025 else None,
        }
        if nested and edition < 2025:
            shown = {
                key: shown[key]
                for key in (
                    "object",
                    "id",
                    "edited",
                    "type",
                    "initialOutput",
                    "reviewedOutput",
                    "output",
                )
            }
            return _present(shown)
        shown["edits"] = outputs.edits(run.round, 2025) if edited else {} if edition >= 2025 else None
        if edition < 2025:
            del shown["failureReason"]
        no_edits = {"edits": None} if edition < 2025 and not edited else {}
        return {**_present(shown), **({} if done else none_yet), **no_edits}

    def _outputs(self, run: Run, child: Child, edition: int, legacy: bool, reviewed: bool) -> tuple[Any, Any]:
        if child.status != "PROCESSED":
            return None, None
        if child.type == "classify":
            shown: Any = self.modern.classification(run, child)
            return shown, shown
        if child.type == "split":
            shown = self.modern.splits(run, child)
            return shown, shown
        outputs = self.platform.outputs(child)
        made = outputs.machine(edition, legacy)
        return made, outputs.reviewed(edition, run.round, legacy) if reviewed else made

    def _config(self, child: Child, newer: bool) -> msgspec.Raw:
        processor = child.processor or inline_processor(child)
        return self.modern.fixed(
            ("old config", processor.number, newer), lambda: config(processor, newer, True)
        )

    def _files(self, run: Run, child: Child, edition: int) -> list[dict[str, Any]]:
        if edition < 2025:
            return [{"name": file.name} for file in child.files]
        if edition < 2026:
            return [self.file(run, file, edition) for file in child.files]
        return [
            {**self.modern.file(run, file), "presignedUrl": None, "contents": None} for file in child.files
        ]

    def _merged(self, child: Child, *, old: bool) -> list[dict[str, Any]]:
        if child.step is None or child.step[0] != "MERGE_EXTRACT" or child.processor is None:
            return []
        catalog, processor = self.platform.catalog, child.processor
        ids = {
            "processorId": catalog.processor_id(processor, old=old),
            "processorName": processor.name,
        }
        return [
            {**ids, "processorVersionId": catalog.processor_version_id(processor, number, old=old)}
            for number in (1, 2)
        ]

    def parser_run(self, run: Run, child: Child) -> dict[str, Any]:
        """{"object": "parser_run", "id": ..., "fileId": ..., "chunks": [...], "status": ...,
        "metrics": {...}, "config": {...}}"""
        shown = self.modern.child(run, child)
        output = shown["output"]
        return _present({
            "object": "parser_run",
            "id": shown["id"],
            "fileId": file_id(self.platform.seed, run, child.files[0]),
            "chunks": msgspec.json.decode(output)["chunks"] if output is not None else [],
            "status": shown["status"],
            "failureReason": shown["failureReason"],
            "metrics": shown["metrics"] or {"processingTimeMs": 0, "pageCount": 0},
            "config": shown["config"],
            "usage": self._usage(run, [child]),
        })  # fmt: skip

    def processor(self, processor: Processor) -> dict[str, Any]:
        """{"object": "document_processor", "id": "dp_...", "name": ..., "type": "EXTRACT",
        "versions": [{"id": ..., "version": "1.0"}]}"""
        catalog = self.platform.catalog
        return {
            "object": "document_processor",
            "id": catalog.processor_id(processor, old=True),
            "name": processor.name,
            "type": OLD_TYPE[processor.type],
            "versions": [
                {"id": catalog.processor_version_id(processor, n, old=True), "version": text}
                for n, (text, _) in enumerate(VERSIONS)
            ],
            "createdAt": catalog.created(processor.number),
            "updatedAt": catalog.changed(processor.number),
        }

    def processor_version(self, processor: Processor, version: int) -> dict[str, Any]:
        catalog = self.platform.catalog
        return _present({
            "object": "document_processor_version",
            "id": catalog.processor_version_id(processor, version, old=True),
            "processorId": catalog.processor_id(processor, old=True),
            "processorName": processor.name,
            "processorType": OLD_TYPE[processor.type],
            "description": VERSIONS[version][1],
            "version": VERSIONS[version][0],
            "config": config(processor, True, True),
            "createdAt": catalog.created(processor.number, version),
            "updatedAt": catalog.created(processor.number, version),
        })  # fmt: skip


OLD_DASHBOARD: Final = "https://dashboard.extend.app"


def status_in(status: str, edition: int) -> str:
    """The status in an edition; the oldest versions report a run in progress as PENDING too."""
    return "PENDING" if edition < 2024 and status == "PROCESSING" else status


def _present(shown: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in shown.items() if value is not None}
