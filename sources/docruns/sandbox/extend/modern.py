"""Workflow runs as version 2026-02-09 returns them: bare objects with typed steps, null instead of absent
keys."""

from __future__ import annotations

from typing import Any, Final

from ..chance import mix, tag
from ..moments import stamp
from ..wire import encode
from .children import ChildRuns
from .outputs import FILE
from .parts import DASHBOARD, maybe
from .runs import (
    REVIEWERS,
    STEP_SLOT,
    Child,
    FileRef,
    Run,
    children_of,
    file_id,
    files_of,
)
from .usage import usage

REJECTION: Final = "Duplicate of last month"


class Modern(ChildRuns):
    """Renders one platform; constant parts are encoded once."""

    def run_summary(self, run: Run) -> dict[str, Any]:
        """{"object": "workflow_run", "id": ..., "status": "PROCESSED", "workflow": {...}, "files":
        [...], "updatedAt": ..., "usage": {...}}"""
        platform = self.platform
        workflow, version = run.workflow, self.version_of(run)
        assert workflow is not None
        id = platform.run_id(run)
        children = list(children_of(platform.seed, run))
        return {
            "object": "workflow_run",
            "id": id,
            "status": run.status,
            "workflow": self.fixed(("workflow", workflow.number), lambda: self.workflow(workflow)),
            "workflowVersion": self.fixed(
                ("wv", workflow.number, version), lambda: self.workflow_version(workflow, version)
            ),
            "dashboardUrl": f"{DASHBOARD}/workflows/{id}",
            "reviewedByUser": REVIEWERS[run.reviewer] if run.reviewed_at else None,
            "reviewedAt": maybe(run.reviewed_at),
            "initialRunAt": maybe(run.started and run.started - 600),
            "startTime": maybe(run.started),
            "endTime": maybe(run.ended),
            "batchId": platform.batch_id(run),
            "rejectionNote": REJECTION if run.status == "REJECTED" else None,
            "files": [self.file(run, file) for file in files_of(platform.seed, run) if file.parent is None],
            "createdAt": stamp(run.created),
            "updatedAt": stamp(run.updated),
            "usage": usage(platform, run, children, [], full=False),
        }

    def run(self, run: Run) -> dict[str, Any]:
        """{"object": "workflow_run", "id": ..., "stepRuns": [{"stepType": "EXTRACT", "result":
        {"extractRun": {...}}}], "usage": {...}}"""
        platform = self.platform
        summary = self.run_summary(run)
        children = children_of(platform.seed, run)
        reason, message = run.failure or (None, None)
        keys = ("object", "id", "workflow", "workflowVersion", "dashboardUrl", "status")
        return {
            **{key: summary[key] for key in keys},
            "metadata": platform.metadata(run),
            "batchId": summary["batchId"],
            "files": summary["files"],
            "failureReason": reason,
            "failureMessage": message,
            "initialRunAt": summary["initialRunAt"],
            "reviewedByUser": summary["reviewedByUser"],
            "reviewed": run.reviewed_at is not None,
            "rejectionNote": summary["rejectionNote"],
            "reviewedAt": summary["reviewedAt"],
            "startTime": summary["startTime"],
            "endTime": summary["endTime"],
            "stepRuns": self._steps(run, children),
            "usage": usage(platform, run, list(children), [], full=True),
        }

    def _steps(self, run: Run, children: tuple[Child, ...]) -> list[dict[str, Any]]:
        done = [child for child in children if child.status == "PROCESSED"]
        steps = [
            self._step(run, position, *child.step, child.files, self._result(run, child))
            for position, child in enumerate(done)
            if child.step
        ]
        if run.ended is None or run.failure or run.status == "CANCELLED" or run.workflow is None:
            return steps
        inputs = tuple(file for file in files_of(self.platform.seed, run) if file.parent is None)
        for type, name, _ in run.workflow.steps:
            result = self.check(run, type)
            if result is not None:
                steps.append(self._step(run, len(steps), type, name, inputs, result))
        return steps

    def _step(
        self,
        run: Run,
        position: int,
        type: str,
        name: str,
        files: tuple[FileRef, ...],
        result: dict[str, Any],
    ) -> dict[str, Any]:
        platform = self.platform
        return {
            "stepType": type,
            "object": "workflow_step_run",
            "id": f"workflow_step_run_{tag(platform.seed, run.index, STEP_SLOT + position)}",
            "workflowRunId": platform.run_id(run),
            "status": "PROCESSED",
            "files": [self.file(run, file) for file in files],
            "step": {
                "object": "workflow_step",
                "id": self.step_id(run, name),
                "name": name,
                "type": type,
            },
            "result": result,
        }

    def step_id(self, run: Run, name: str) -> str:
        """The id of a step; it belongs to a workflow version, so it differs between versions."""
        assert run.workflow is not None
        steps = [known for _, known, _ in run.workflow.steps]
        return f"step_{self.platform.catalog.suffix(2, run.workflow.number, 16 * self.version_of(run) + steps.index(name))}"

    def _result(self, run: Run, child: Child) -> dict[str, Any]:
        shown: dict[str, Any] = {f"{child.type}Run": self.child(run, child)}
        if child.step and child.step[0] == "MERGE_EXTRACT" and child.processor:
            catalog, processor = self.platform.catalog, child.processor
            merged = [
                {
                    "id": catalog.processor_id(processor, old=False),
                    "versionId": catalog.processor_version_id(processor, n, old=False),
                    "name": processor.name,
                }
                for n in (1, 2)
            ]
            return {"mergedExtractors": merged, **shown}
        return shown

    def check(self, run: Run, type: str) -> dict[str, Any] | None:
        """The result of a step that validates instead of reading."""
        draw = mix(self.platform.seed, run.index, 13)
        match type:
            case "RULE_VALIDATION":
                rules: list[dict[str, Any]] = [
                    {"name": "total_positive", "valid": True},
                    {
                        "name": "lines_add_up",
                        "valid": draw % 4 > 0,
                        "validArray": [True, draw % 4 > 0],
                    },
                    {"name": "number_known", "valid": draw % 5 > 0},
                ]
                for rule in rules:
                    if not rule["valid"]:
                        rule["failureReason"] = ("RULE_FAILED", "VALUE_ERROR")[draw % 2]
                        if draw % 2:
                            rule["error"] = "value is null"
                return {"rules": rules, "allPassed": all(rule["valid"] for rule in rules)}
            case "EXTERNAL_DATA_VALIDATION":
                known = draw % 6 > 0
                return {
                    "response": {
                        "status": 200 if known else 404,
                        "data": {"supplierKnown": known, "riskBand": ("low", "high")[draw % 2]},
                    }
                }
            case "VALIDATION":
                valid = draw % 3 > 0
                blocks = [
                    {"id": "vb_1", "name": "iban", "valid": True, "error": None, "reasoning": None},
                    {
                        "id": "vb_2",
                        "name": "tone",
                        "valid": valid,
                        "error": None,
                        "reasoning": None if valid else "Amount in words differs.",
                    },
                ]
                return {"valid": valid, "blocks": blocks}
            case "ROUTER":
                big = draw % 2 == 0
                branch = {"id": "br_1", "name": "big"}
                return {
                    "matchedBranch": branch if big else None,
                    "branches": [
                        {
                            **branch,
                            "matched": big,
                            "reasoning": "Compared with the limit.",
                            "error": None,
                        }
                    ],
                }
        return None

    def body(self, shown: dict[str, Any], run: Run) -> bytes:
        """The finished JSON, with the run's own file id in place of the placeholder."""
        file = files_of(self.platform.seed, run)[0]
        return encode(shown).replace(FILE, file_id(self.platform.seed, run, file).encode())
