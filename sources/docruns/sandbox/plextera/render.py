"""Records as the API returns them, built from encoded fragments that many records share."""

from __future__ import annotations

from typing import Any

import msgspec

from ..chance import mix
from ..moments import SECOND, stamp
from ..wire import encode
from .fields import output
from .records import Extraction, Run, Verbatim, step_id
from .state import State, subtree
from .workflows import MESSAGES, OUTPUTS

Shown = dict[str, Any]


def moment(ms: int) -> str:
    """`1779085800000` -> `2026-05-18T06:30:00Z`: the API has whole seconds."""
    text = stamp(ms)
    return text[:19] + "Z" if ms % SECOND == 0 else text


class Renderer:
    """Renders the records of one state; the caller holds its lock."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._outputs: dict[tuple[str, str, int, int, str], msgspec.Raw] = {}

    # runs

    def run(self, run: Run | Verbatim) -> Any:
        """A run as GET by id returns it."""
        if isinstance(run, Verbatim):
            return run.raw
        return self._tree(run)

    def run_item(self, run: Run | Verbatim) -> Any:
        """A run as the list returns it."""
        switches = self._state.switches
        if isinstance(run, Verbatim):
            shown = run.item
            if run.made and switches.steps_in_list != "full" and "steps" in shown:
                shown = {key: value for key, value in shown.items() if key != "steps"}
                if switches.steps_in_list == "null":
                    shown["steps"] = None
            return shown
        if switches.steps_in_list == "full":
            shown = self._tree(run)
            if switches.detail_differs:
                for step in shown["steps"]:
                    step.pop("output", None)
        else:
            shown = self._head(run)
            if switches.steps_in_list == "null":
                shown["steps"] = None
        if switches.detail_differs:
            shown.pop("error", None)
            shown.pop("computedDurationMs", None)
        return shown

    def _tree(self, root: Run) -> Shown:
        """A run with its steps and all runs nested in it.

        It is built from the innermost run outwards, because nesting has no limit.
        """
        if not root.nested and not root.echoes:
            return self._whole(root, {})
        if self._state.switches.nested_detail == "summaries":
            return self._whole(root, None)
        encoded: dict[int, msgspec.Raw] = {}
        for run in reversed(list(subtree(root))):
            if run is not root:
                encoded[run.number] = msgspec.Raw(encode(self._whole(run, encoded)))
        return self._whole(root, encoded)

    def _whole(self, run: Run, encoded: dict[int, msgspec.Raw] | None) -> Shown:
        shown = self._head(run)
        shown["steps"] = [self._step(run, place, encoded) for place in range(run.listed)]
        return shown

    def _head(self, run: Run) -> Shown:
        shown: Shown = {
            "id": self._state.id_of(run),
            "status": run.status,
            "createdAt": moment(run.created),
            "updatedAt": moment(run.updated),
        }
        if run.started is not None:
            shown["startedAt"] = moment(run.started)
        if run.ended is not None:
            shown["completedAt"] = moment(run.ended)
        if run.failure is not None:
            shown["error"] = {"code": run.failure[0], "message": run.failure[1]}
        shown["workflow"] = {"id": run.workflow.id, "name": run.workflow.name}
        draw = mix(self._state.seed, run.number, 12)
        # a step of a branch that was not taken counts in the total but is never listed
        shown["progress"] = {
            "stepsCompleted": run.reached,
            "stepsTotal": run.total + (draw % 9 == 4),
        }
        began = run.created if draw % 13 == 5 or run.started is None else run.started
        if run.ended is not None:
            shown["durationMs"] = run.ended - began
        last = run.updated if run.ended is None else run.ended
        short = 0 if draw % 4 == 0 else draw // 16 % 700
        shown["computedDurationMs"] = max(last - (run.started or last) - short, 0)
        return shown

    def _step(self, run: Run, place: int, encoded: dict[int, msgspec.Raw] | None) -> Shown:
        step = run.step(place)
        status = run.step_status(place)
        shown: Shown = {
            "id": step_id(place),
            "name": step.name,
            "type": step.type,
            "status": status,
        }
        draw = run.number * 11 + place * 3
        if status == "FAILED":
            shown["message"] = run.failure[1] if run.failure else "Failed."
        elif status == "COMPLETED":
            if draw % 5 == 1:
                shown["message"] = MESSAGES[draw % len(MESSAGES)]
            said = self._said(run, place, step.type, draw)
            if said is not None:
                shown["output"] = said
        shown["nestedRuns"] = self._nested(run, place, encoded)
        return shown

    def _said(self, run: Run, place: int, type: str, draw: int) -> Any:
        """The output of a finished step, None for no such key.

        A step that reads a document outputs the id of its extraction, in one of several shapes.
        """
        number = run.extractions.get(place)
        if number is None:
            known = OUTPUTS.get(type, (None,))
            return known[draw % len(known)]
        kind = run.step(place).documents.replace("_", "-")
        id = self._state.extraction_id(number)
        match draw % 10:
            case 7:
                return {"documentType": kind, "result": {"extraction": {"extractionId": id}}}
            case 8:
                return {"id": id, "documentType": kind}
            case 9:
                return {"documents": [{"documentType": kind, "extractionId": id}]}
        return {"extractionId": id, "documentType": kind, "pages": 1 + draw % 3}

    def _nested(self, run: Run, place: int, encoded: dict[int, msgspec.Raw] | None) -> Shown:
        rows: list[Any] = [
            self._summary(call) if encoded is None else encoded[call.number]
            for call in run.nested.get(place, ())
        ]
        echo = run.echoes.get(place)
        if echo is not None:
            rows.append(self._summary(echo) if encoded is None else self._echo(echo))
        return {"count": len(rows), "data": rows}

    def _summary(self, run: Run) -> Shown:
        head = self._head(run)
        kept = ("id", "status", "createdAt", "updatedAt", "completedAt", "workflow")
        return {key: head[key] for key in kept if key in head}

    def _echo(self, run: Run) -> Shown:
        """An ancestor, repeated: its steps have the number of the runs they started, not the runs."""
        shown = self._head(run)
        shown["steps"] = steps = [self._step(run, place, None) for place in range(run.listed)]
        for step in steps:
            step["nestedRuns"]["data"] = []
        return shown

    # extractions

    def extraction(self, one: Extraction | Verbatim) -> Any:
        """An extraction as GET by id returns it."""
        if isinstance(one, Verbatim):
            return one.raw
        shown = self._extraction(one)
        if one.status == "COMPLETED":
            shown["output"] = self._output(one)
        return shown

    def extraction_item(self, one: Extraction | Verbatim) -> Any:
        """An extraction as the list returns it."""
        switches = self._state.switches
        if isinstance(one, Verbatim):
            if one.made and not switches.output_in_list:
                return {key: value for key, value in one.item.items() if key != "output"}
            return one.item
        shown = self.extraction(one) if switches.output_in_list else self._extraction(one)
        if switches.detail_differs:
            shown.pop("error", None)
            for key in ("sizeBytes", "pageCount"):
                shown["document"].pop(key, None)
        return shown

    def _extraction(self, one: Extraction) -> Shown:
        shown: Shown = {
            "id": self._state.id_of(one),
            "status": one.status,
            "outputAvailable": one.status == "COMPLETED",
            "createdAt": moment(one.created),
            "updatedAt": moment(one.updated),
        }
        if one.completed is not None:
            shown["completedAt"] = moment(one.completed)
        tags = tags_of(one)
        if tags:
            shown["tags"] = tags
        file = self.file(one)
        document = {"fileId": file["id"], "fileName": file["name"], "mimeType": file["mimeType"]}
        if one.status in ("COMPLETED", "FAILED"):
            document["sizeBytes"] = file["sizeBytes"]
            if one.status == "COMPLETED" and one.number % 3 == 0:
                document["pageCount"] = self._sample(one).pages
        shown["document"] = document
        if one.failure is not None:
            shown["error"] = {"code": one.failure[0], "message": one.failure[1]}
        return shown

    def file(self, one: Extraction) -> Shown:
        """The document of an extraction as GET /files/{fileId} returns it."""
        photo = one.status == "REJECTED"
        stem = f"{one.kind.replace('_', '-')}-{one.number:06d}"
        return {
            "id": self._state.file_of(one),
            "name": f"{stem}.heic" if photo else f"{stem}.pdf",
            "mimeType": "image/heic" if photo else "application/pdf",
            "sizeBytes": 20_000 + mix(self._state.seed, one.number, 14) % 900_000,
        }

    def _sample(self, one: Extraction) -> Any:
        return self._state.pool.sample(one.kind, one.size, one.variant)

    def _output(self, one: Extraction) -> msgspec.Raw:
        shape = self._state.switches.field_shape
        key = (one.kind, one.size, one.variant, one.round, shape)
        found = self._outputs.get(key)
        if found is None:
            found = msgspec.Raw(encode(output(self._sample(one), one.round, shape)))
            self._outputs[key] = found
        return found


def tags_of(one: Extraction) -> dict[str, str]:
    """The tags that the client sent with a document; some clients send none."""
    if one.number % 11 == 5:
        return {}
    case = {"caseId": f"case-{one.number % 997:04d}"}
    return case if one.status == "REJECTED" else {**case, "docType": one.kind.replace("_", "-")}
