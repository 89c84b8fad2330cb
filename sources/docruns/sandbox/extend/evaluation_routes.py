"""The endpoints of evaluation sets and their items."""

from __future__ import annotations

from typing import Any

from ..moments import stamp
from .call import Call, Route, encode, shelf_page
from .catalog import OWNER, PUBLISHER
from .errors import RefusedError
from .evaluation import EvaluationSet, File, Item
from .listing import parse_query
from .modern import Modern
from .platform import Extend
from .runs import FileRef, Run
from .shelf import Shelf


class EvaluationRoutes:
    """Answers requests for one platform's evaluation sets."""

    def __init__(self, platform: Extend, modern: Modern) -> None:
        self.platform = platform
        self.modern = modern

    def table(self) -> list[Route]:
        return [
            Route("GET", "/evaluation_sets", 2025, 2026, self.sets),
            Route("GET", "/evaluation_sets/{id}", 2025, 2026, self.one),
            Route("GET", "/evaluation_sets/{id}/items", 2025, 2026, self.items),
            Route("GET", "/evaluation_sets/{id}/items/{item}", 2025, 2026, self.item),
        ]

    def sets(self, call: Call) -> bytes:
        self._check()
        name = "entityId" if call.edition >= 2026 else "processorId"
        query = parse_query(call.request, {name: ()})
        known = {each.number: each for each in self.platform.evaluation.sets[: self.platform.corpus.listed]}
        shelf = Shelf(
            (each.created if query.sort == "createdAt" else each.updated, number)
            for number, each in known.items()
        )
        wanted = query.filters.get(name)

        def keep(key: int) -> bool:
            return wanted in (None, self._processor_id(known[key], old=call.edition < 2026))

        def row(key: int) -> dict[str, Any]:
            return self._set(known[key], call.edition)

        return shelf_page(self.platform, call, query, shelf, keep, row, "evaluationSets")

    def one(self, call: Call) -> bytes:
        shown = self._set(self._known(call), call.edition)
        return encode(shown if call.edition >= 2026 else {"success": True, "evaluationSet": shown})

    def items(self, call: Call) -> bytes:
        known = self._known(call)
        query = parse_query(call.request, {})
        shelf = Shelf((item.created, place) for place, item in enumerate(known.items))

        def row(key: int) -> dict[str, Any]:
            return self._item(known.items[key], call.edition)

        return shelf_page(self.platform, call, query, shelf, None, row, "evaluationSetItems")

    def item(self, call: Call) -> bytes:
        known = self._known(call)
        item = next((each for each in known.items if each.id == call.args[1]), None)
        if item is None:
            raise RefusedError(404, "No item with that id.")
        shown = {
            **self._item(item, call.edition),
            "evaluationSetId": known.id,
            "expectedOutput": self.platform.evaluation.expected(known, item),
        }
        return encode(shown if call.edition >= 2026 else {"success": True, "evaluationSetItem": shown})

    def _check(self) -> None:
        if not self.platform.switches.list_evaluation_sets:
            raise RefusedError(404, "No such path.")

    def _known(self, call: Call) -> EvaluationSet:
        self._check()
        found = self.platform.evaluation.find(call.args[0])
        if found is None:
            raise RefusedError(404, "No evaluation set with that id.")
        return found

    def _processor_id(self, known: EvaluationSet, *, old: bool) -> str:
        return self.platform.catalog.processor_id(known.processor, old=old)

    def _set(self, known: EvaluationSet, edition: int) -> dict[str, Any]:
        """{"object": "evaluation_set", "id": "ev_...", "name": ..., "entity": {"object": "extractor", ...}};
        before 2026-02-09 `processorId` instead of `entity`."""
        entity = (
            {"entity": self.modern.processor(known.processor)}
            if edition >= 2026
            else {"processorId": self._processor_id(known, old=True)}
        )
        return {
            "object": "evaluation_set",
            "id": known.id,
            "name": known.name,
            "description": known.description,
            **entity,
            "createdAt": stamp(known.created),
            "updatedAt": stamp(known.updated),
            **({"createdBy": OWNER if known.number else None} if edition >= 2026 else {}),
        }

    def _item(self, item: Item, edition: int) -> dict[str, Any]:
        """{"object": "evaluation_set_item", "id": "evi_...", "file": {...}, "files": null}; several files are in
        `files`, and before 2026-02-09 only their ids are sent."""
        shown: dict[str, Any] = {"object": "evaluation_set_item", "id": item.id}
        if edition < 2026:
            ids = self.platform.evaluation.file_ids(item)
            return {**shown, **({"fileId": ids[0]} if len(ids) == 1 else {"fileIds": ids})}
        files = [self._file(item, file) for file in item.files]
        return {
            **shown,
            "file": files[0] if len(files) == 1 else None,
            "files": files if len(files) > 1 else None,
            "createdBy": PUBLISHER,
        }

    def _file(self, item: Item, file: File) -> dict[str, Any]:
        first, second = file
        if isinstance(first, Run) and isinstance(second, FileRef):
            return self.modern.file(first, second)
        assert isinstance(first, int)
        assert isinstance(second, int)
        return self.platform.evaluation.own_file(item, (first, second))
