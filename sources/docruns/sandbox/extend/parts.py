"""The building blocks of version 2026-02-09: files, and summaries of workflows, processors and their
versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from ..chance import mix, tag
from ..moments import stamp
from ..wire import encode
from .catalog import (
    NOUN,
    OWNER,
    PUBLISHER,
    VERSIONS,
    WORKFLOW_VERSIONS,
    Processor,
    Workflow,
)
from .runs import FileRef, Run, file_id
from .state import State

DASHBOARD: Final = "https://dashboard.extend.ai"


class Parts:
    """Renders one platform; constant parts are encoded once."""

    def __init__(self, platform: State) -> None:
        self.platform = platform
        self._fixed: dict[tuple[object, ...], msgspec.Raw] = {}

    def fixed(self, key: tuple[object, ...], make: Callable[[], Any]) -> msgspec.Raw:
        found = self._fixed.get(key)
        if found is None:
            found = self._fixed[key] = msgspec.Raw(encode(make()))
        return found

    def workflow(self, workflow: Workflow) -> dict[str, Any]:
        """{"object": "workflow", "id": "workflow_N4m...", "name": "Accounts payable intake",
        "createdAt": ..., "createdBy": {...}}"""
        catalog = self.platform.catalog
        return {
            "object": "workflow",
            "id": catalog.workflow_id(workflow),
            "name": workflow.name,
            "createdAt": catalog.created(workflow.number),
            "updatedAt": catalog.changed(workflow.number),
            "createdBy": OWNER if workflow.number % 3 else None,
        }

    def workflow_version(self, workflow: Workflow, version: int) -> dict[str, Any]:
        catalog = self.platform.catalog
        text, name = WORKFLOW_VERSIONS[version]
        return {
            "object": "workflow_version",
            "id": catalog.workflow_version_id(workflow, version),
            "version": text,
            "name": name,
            "createdAt": catalog.created(workflow.number, version),
            "createdBy": PUBLISHER if version == 2 else None,
        }

    def processor(self, processor: Processor) -> dict[str, Any]:
        catalog = self.platform.catalog
        return {
            "object": NOUN[processor.type],
            "id": catalog.processor_id(processor, old=False),
            "name": processor.name,
            "createdAt": catalog.created(processor.number),
            "updatedAt": catalog.changed(processor.number),
        }

    def processor_version(self, processor: Processor, version: int) -> dict[str, Any]:
        catalog = self.platform.catalog
        text, description = VERSIONS[version]
        return {
            "object": f"{NOUN[processor.type]}_version",
            "id": catalog.processor_version_id(processor, version, old=False),
            "description": description,
            "version": text,
            f"{NOUN[processor.type]}Id": catalog.processor_id(processor, old=False),
            "createdAt": catalog.created(processor.number, version),
            "createdBy": PUBLISHER if version == 3 else None,
        }

    def file(self, run: Run, file: FileRef) -> dict[str, Any]:
        """{"object": "file", "id": "file_w3E...", "name": "...", "type": "PDF", "parentFileId":
        null, "metadata": {"pageCount": 3}, ...}"""
        platform = self.platform
        metadata: dict[str, Any] = {} if run.status == "PENDING" else {"pageCount": file.pages}
        if file.split is not None:
            slot, kind, identifier, first, last = file.split
            split_id = f"splt_{tag(platform.seed, run.index, slot)}"
            metadata["parentSplit"] = {
                "id": split_id,
                "type": kind,
                "identifier": identifier,
                "startPage": first,
                "endPage": last,
            }
        return {
            "object": "file",
            "id": file_id(platform.seed, run, file),
            "name": file.name,
            "type": "PDF",
            "parentFileId": None
            if file.parent is None
            else f"file_{tag(platform.seed, run.index, file.parent)}",
            "metadata": metadata,
            "createdAt": stamp(run.created - 900),
            "updatedAt": stamp(run.created + (0 if run.status == "PENDING" else 3_100)),
        }

    def version_of(self, run: Run) -> int:
        """The workflow or processor version a run used; fixed per run."""
        return mix(self.platform.seed, run.index, 12) % 3 + 1


def maybe(ms: int | None) -> str | None:
    """A time as text, or None for one that has not come yet."""
    return None if ms is None else stamp(ms)
