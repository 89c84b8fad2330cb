"""The endpoints of the configuration: workflows, extractors, classifiers, splitters, and the processors of
old versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..moments import DAY
from .call import Call, Route, encode, shelf_page
from .catalog import (
    NOUN,
    OLD_TYPE,
    PROCESSORS,
    VERSIONS,
    WORKFLOW_VERSIONS,
    WORKFLOWS,
    Processor,
    Workflow,
    config,
)
from .classic import Classic
from .errors import RefusedError
from .listing import parse_query
from .modern import Modern
from .platform import Extend
from .shelf import Shelf

Thing = TypeVar("Thing")


class CatalogRoutes:
    """Answers requests for one platform's catalogue, which never changes."""

    def __init__(self, platform: Extend, modern: Modern, classic: Classic) -> None:
        self.platform = platform
        self.modern = modern
        self.classic = classic

    def table(self) -> list[Route]:
        routes = [
            Route("GET", "/workflows", 2026, 2026, self.workflows),
            Route("GET", "/workflows/{id}", 2026, 2026, self.workflow),
            Route("GET", "/workflows/{id}/versions", 2026, 2026, self.workflow_versions),
            Route("GET", "/workflows/{id}/versions/{version}", 2026, 2026, self.workflow_version),
            Route("GET", "/processors", 2025, 2026, self.processors),
            Route("GET", "/processors/{id}/versions", 2023, 2026, self.old_versions),
            Route("GET", "/processors/{id}/versions/{version}", 2023, 2026, self.old_version),
        ]
        for type, noun in NOUN.items():
            routes += [
                Route("GET", f"/{noun}s", 2026, 2026, self._typed(self.typed_list, type)),
                Route("GET", f"/{noun}s/{{id}}", 2026, 2026, self._typed(self.typed_one, type)),
                Route(
                    "GET",
                    f"/{noun}s/{{id}}/versions",
                    2026,
                    2026,
                    self._typed(self.typed_versions, type),
                ),
                Route(
                    "GET",
                    f"/{noun}s/{{id}}/versions/{{version}}",
                    2026,
                    2026,
                    self._typed(self.typed_version, type),
                ),
            ]
        return routes

    @staticmethod
    def _typed(answer: Callable[[Call, str], bytes], type: str) -> Callable[[Call], bytes]:
        return lambda call: answer(call, type)

    def _list(
        self,
        call: Call,
        things: Sequence[Thing],
        render: Callable[[Thing], Any],
        name: str,
        *,
        allowed: dict[str, tuple[str, ...]] | None = None,
    ) -> bytes:
        """A page of a short list, in the order in which the objects were configured."""
        query = parse_query(call.request, allowed or {})
        shelf = Shelf(
            (self.platform.catalog.start + position * DAY, position) for position in range(len(things))
        )
        return shelf_page(self.platform, call, query, shelf, None, lambda key: render(things[key]), name)

    def _listed(self, things: Sequence[Thing]) -> Sequence[Thing]:
        return things[: self.platform.corpus.listed]

    def workflows(self, call: Call) -> bytes:
        return self._list(call, self._listed(WORKFLOWS), self.modern.workflow, "workflows")

    def _workflow(self, call: Call) -> Workflow:
        found = self.platform.catalog.find_workflow(call.args[0])
        if found is None:
            raise RefusedError(404, "No workflow with that id.")
        return found

    def workflow(self, call: Call) -> bytes:
        workflow = self._workflow(call)
        return encode({**self.modern.workflow(workflow), "draftVersion": self._steps(workflow, 0)})

    def _steps(self, workflow: Workflow, version: int) -> dict[str, Any]:
        """{"object": "workflow_version", ..., "steps": [{"type": "TRIGGER", "name": "trigger",
        "next": [{"step": "read"}]}, ...]}"""
        steps: list[dict[str, Any]] = [
            {"type": "TRIGGER", "name": "trigger", "next": [{"step": workflow.steps[0][1]}]}
        ]
        for position, (type, name, processor) in enumerate(workflow.steps):
            step: dict[str, Any] = {"type": type, "name": name}
            if processor is not None and type == "EXTRACT":
                step["config"] = {
                    "extractor": {
                        "id": self.platform.catalog.processor_id(processor, old=False),
                        "version": "2.0",
                    }
                }
            if position + 1 < len(workflow.steps) and type in (
                "PARSE",
                "EXTRACT",
                "MERGE_EXTRACT",
                "CONDITIONAL_EXTRACT",
            ):
                step["next"] = [{"step": workflow.steps[position + 1][1]}]
            steps.append(step)
        return {**self.modern.workflow_version(workflow, version), "steps": steps}

    def workflow_versions(self, call: Call) -> bytes:
        workflow = self._workflow(call)
        return self._list(
            call,
            range(len(WORKFLOW_VERSIONS)),
            lambda n: self.modern.workflow_version(workflow, n),
            "versions",
        )

    def workflow_version(self, call: Call) -> bytes:
        workflow = self._workflow(call)
        return encode(
            self._steps(workflow, self._number(1, workflow.number, call.args[1], WORKFLOW_VERSIONS))
        )

    def _number(
        self, family: int, number: int, text: str, versions: tuple[tuple[str, str | None], ...]
    ) -> int:
        found = self.platform.catalog.version_number(family, number, text, versions)
        if found is None:
            raise RefusedError(404, "No version with that id.")
        return found

    def typed_list(self, call: Call, type: str) -> bytes:
        things = [known for known in PROCESSORS if known.type == type]
        return self._list(call, self._listed(things), self.modern.processor, "")

    def _processor(self, call: Call, type: str = "") -> Processor:
        found = self.platform.catalog.find_processor(call.args[0])
        if found is None or type not in ("", found.type):
            raise RefusedError(404, "Not found.")
        return found

    def typed_one(self, call: Call, type: str) -> bytes:
        processor = self._processor(call, type)
        return encode({**self.modern.processor(processor), "draftVersion": self._configured(processor, 0)})

    def _configured(self, processor: Processor, version: int) -> dict[str, Any]:
        return {
            **self.modern.processor_version(processor, version),
            "config": config(processor, True, False),
        }

    def typed_versions(self, call: Call, type: str) -> bytes:
        processor = self._processor(call, type)
        return self._list(
            call, range(len(VERSIONS)), lambda n: self.modern.processor_version(processor, n), ""
        )

    def typed_version(self, call: Call, type: str) -> bytes:
        processor = self._processor(call, type)
        return encode(self._configured(processor, self._number(0, processor.number, call.args[1], VERSIONS)))

    def processors(self, call: Call) -> bytes:
        wanted = call.request.param("type")
        things = [known for known in PROCESSORS if wanted in (None, OLD_TYPE[known.type])]
        old = call._replace(edition=min(call.edition, 2025))
        return self._list(
            old,
            self._listed(things),
            self.classic.processor,
            "processors",
            allowed={"type": tuple(OLD_TYPE.values())},
        )

    def old_versions(self, call: Call) -> bytes:
        processor = self._processor(call)
        return encode(
            {
                "success": True,
                "versions": [self.classic.processor_version(processor, n) for n in range(len(VERSIONS))],
            }
        )

    def old_version(self, call: Call) -> bytes:
        processor = self._processor(call)
        return encode(
            {
                "success": True,
                "version": self.classic.processor_version(
                    processor, self._number(0, processor.number, call.args[1], VERSIONS)
                ),
            }
        )
