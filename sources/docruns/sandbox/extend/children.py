"""Processor and parse runs as version 2026-02-09 returns them, inside a workflow run or stand-alone."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..chance import mix, tag
from ..kinds import KINDS
from ..moments import stamp
from ..reading import PAGE
from .catalog import NOUN, PROCESSORS, Processor, config
from .parts import DASHBOARD, Parts
from .runs import SPLIT_SLOT, Child, Run, child_id, children_of, file_id, files_of
from .usage import pages_of, usage

NULL: Final = msgspec.Raw(b"null")
FAILED: Final = ("FAILED_TO_PROCESS_FILE", "The file could not be read.")


class ChildRuns(Parts):
    """Renders processor and parse runs, from the building blocks."""

    def parse_of(self, run: Run, child: Child) -> Child | None:
        """The parse run whose text a processor run used."""
        return next(
            (
                known
                for known in children_of(self.platform.seed, run)
                if known.type == "parse" and known.slot < child.slot
            ),
            None,
        )

    def child_summary(self, run: Run, child: Child) -> dict[str, Any]:
        """{"object": "extract_run", "id": "exr_...", "extractor": {...}, "status": ..., "file":
        {...}, "usage": {...}, "updatedAt": ...}"""
        return (
            self._parse(run, child, full=False)
            if child.type == "parse"
            else self._processed(run, child, full=False)
        )

    def child(self, run: Run, child: Child) -> dict[str, Any]:
        """The full object of a processor or parse run; an extract run contains the pooled output bytes."""
        return (
            self._parse(run, child, full=True)
            if child.type == "parse"
            else self._processed(run, child, full=True)
        )

    def _processed(self, run: Run, child: Child, *, full: bool) -> dict[str, Any]:
        platform, type, processor = self.platform, child.type, child.processor
        id = child_id(platform.seed, run, child, old=False)
        parse = self.parse_of(run, child)
        outputs = platform.outputs(child)
        legacy = processor is not None and processor.legacy
        reviewed = run.reviewed_at is not None and type == "extract" and child.status == "PROCESSED"
        edited = reviewed and outputs.edited(run.round)
        reason, message = FAILED if child.status == "FAILED" else (None, None)
        noun, version = NOUN[type], self.version_of(run)
        shown: dict[str, Any] = {
            "object": f"{type}_run",
            "id": id,
            "status": child.status,
            noun: processor and self.fixed((noun, processor.number), lambda: self.processor(processor)),
            f"{noun}Version": processor
            and self.fixed(
                (noun, processor.number, version),
                lambda: self.processor_version(processor, version),
            ),
            "failureReason": reason,
            "failureMessage": message,
            "metadata": (platform.given_metadata(run) or None) if type == "extract" else None,
            "reviewed": reviewed,
            "edited": edited,
            "file": self.file(run, child.files[0]) if len(child.files) == 1 else None,
            "parseRunId": parse and child_id(platform.seed, run, parse, old=False),
            "dashboardUrl": f"{DASHBOARD}/runs/{id}",
            "usage": usage(
                platform,
                run,
                [child],
                [parse._replace(files=child.files)] if parse and type == "extract" else [],
                full=full,
            ),
            "createdAt": stamp(child.created),
            "updatedAt": stamp(child.updated),
        }
        if type == "extract":
            shown["files"] = [self.file(run, file) for file in child.files] if len(child.files) > 1 else None
        if full:
            shown |= self._content(run, child, reviewed, edited, legacy)
        return shown

    def _content(self, run: Run, child: Child, reviewed: bool, edited: bool, legacy: bool) -> dict[str, Any]:
        outputs = self.platform.outputs(child)
        if child.type != "extract":
            done = child.status == "PROCESSED"
            output = (
                None
                if not done
                else self.splits(run, child)
                if child.type == "split"
                else self.classification(run, child)
            )
            setup = child.processor
            assert setup is not None
            return {
                "output": output,
                "initialOutput": None,
                "reviewedOutput": None,
                "config": self.fixed(("config", setup.number, True), lambda: config(setup, True, False)),
            }
        newer = outputs.sample.newer
        processor = child.processor or inline_processor(child)
        made = NULL if child.status != "PROCESSED" else outputs.machine(2026, legacy)
        final = outputs.reviewed(2026, run.round, legacy) if reviewed else made
        return {
            "output": final,
            "initialOutput": made if reviewed else None,
            "reviewedOutput": final if reviewed else None,
            "edits": outputs.edits(run.round, 2026) if edited else None,
            "config": self.fixed(
                ("config", processor.number, newer), lambda: config(processor, newer, False)
            ),
        }

    def classification(self, run: Run, child: Child) -> dict[str, Any]:
        """{"id": "invoice", "type": "invoice", "confidence": 0.96, "insights": [{"type":
        "reasoning", "content": "..."}]}"""
        draw = mix(self.platform.seed, run.index, 14, child.slot)
        insights = (
            [
                {
                    "type": "reasoning",
                    "content": f"Laid out like a {KINDS[child.documents].title.lower()}.",
                }
            ]
            if draw % 3
            else []
        )
        return {
            "id": child.documents,
            "type": child.documents,
            "confidence": round(0.7 + draw % 300 / 1000, 3),
            "insights": insights,
        }

    def splits(self, run: Run, child: Child) -> dict[str, Any]:
        """{"splits": [{"id": "splt_...", "type": "invoice", "startPage": 1, "endPage": 2, "fileId":
        "file_..."}], "isExternal": false}"""
        seed = self.platform.seed
        shown: list[dict[str, Any]] = []
        for file in files_of(seed, run):
            slot, kind, identifier, first, last = file.split or (
                0,
                child.documents,
                "",
                1,
                file.pages,
            )
            if file.split is None and (run.workflow is not None or len(files_of(seed, run)) > 1):
                continue
            split: dict[str, Any] = {
                "id": f"splt_{tag(seed, run.index, slot or SPLIT_SLOT)}",
                "classificationId": kind,
                "type": kind,
                "startPage": first,
                "endPage": last,
                "identifier": identifier,
                "observation": f"Pages {first} to {last} carry the {kind} layout.",
                "fileId": file_id(seed, run, file),
            }
            if identifier:
                split["name"] = identifier
            shown.append(split)
        return {"splits": shown, "isExternal": False}

    def _parsed(self, child: Child) -> Any:
        sample = self.platform.outputs(child).sample
        key = ("parsed", child.documents, child.size, sample.variant)
        return self.fixed(key, lambda: parsed(sample.text))

    def _parse(self, run: Run, child: Child, *, full: bool) -> dict[str, Any]:
        platform = self.platform
        done = child.status == "PROCESSED"
        reason, message = (
            ("OCR_ERROR", "No text could be read.") if child.status == "FAILED" else (None, None)
        )
        shown: dict[str, Any] = {
            "object": "parse_run",
            "id": child_id(platform.seed, run, child, old=False),
            "batchId": None,
            "file": self.file(run, child.files[0]),
            "status": "PROCESSING" if child.status == "CANCELLED" else child.status,
            "failureReason": reason,
            "failureMessage": message,
            "metadata": None,
            "metrics": {
                "processingTimeMs": 1_300 + 10 * pages_of(child),
                "pageCount": pages_of(child),
            }
            if done
            else None,
            "usage": usage(platform, run, [child], [], full=full),
        }
        if not full:
            return {**shown, "createdAt": stamp(child.created), "updatedAt": stamp(child.updated)}
        return {
            **shown,
            "output": self._parsed(child) if done else None,
            "outputUrl": None,
            "config": {
                "target": "markdown",
                "chunkingStrategy": {"type": "page"},
                "engine": "parse_performance",
                "engineVersion": "2.0.0",
            },
        }


def inline_processor(child: Child) -> Processor:
    """The extractor whose configuration was passed inline to a run without an extractor."""
    return next(known for known in PROCESSORS if known.documents == child.documents)


def parsed(pages: tuple[str, ...]) -> dict[str, Any]:
    """{"chunks": [{"object": "chunk", "type": "page", "content": "# Invoice ...", "blocks":
    [...]}], "metadata": {"pages": [...]}}"""
    width, height = PAGE
    origin = [
        {
            "number": n,
            "rotationApplied": 0,
            "originalPageWidth": 612,
            "originalPageHeight": 792,
            "dpi": 150,
        }
        for n in range(1, len(pages) + 1)
    ]
    return {
        "chunks": [_chunk(number, text, width, height) for number, text in enumerate(pages, 1)],
        "metadata": {
            "originalMimeType": "application/pdf",
            "finalMimeType": "application/pdf",
            "pages": origin,
        },
    }


def _chunk(number: int, text: str, width: int, height: int) -> dict[str, Any]:
    sure = {"minOcrConfidence": 0.93, "avgOcrConfidence": 0.985}
    blocks = []
    for position, part in enumerate(text.split("\n\n")):
        table = part.startswith("|")
        top = 149 + 400 * position
        box = {"left": 120, "top": top, "right": 920, "bottom": top + 30}
        blocks.append({
            "object": "block",
            "id": f"block_{number}_{position + 1}",
            "type": "table" if table else "heading" if position == 0 else "text",
            "content": part,
            "details": {"type": "table_details", "rowCount": part.count("\n"), "columnCount": 2} if table else {},
            "metadata": {"page": {"number": number, "width": width, "height": height}, **sure},
            "polygon": [{"x": x, "y": y} for x, y in ((120, top), (920, top), (920, top + 30), (120, top + 30))],
            "boundingBox": box,
        })  # fmt: skip
    return {
        "object": "chunk",
        "type": "page",
        "content": text,
        "metadata": {"pageRange": {"start": number, "end": number}, **sure},
        "blocks": blocks,
    }
