"""The endpoints of files, edit runs and verify runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..chance import mix, tag
from ..kinds import KINDS
from ..moments import HOUR, stamp
from .call import Call, Route, encode, shelf_page
from .catalog import REGION
from .classic import Classic
from .errors import RefusedError
from .listing import Query, parse_query
from .modern import Modern
from .platform import Extend
from .runs import FILE_SLOT, FileRef, Run, files_of
from .shelf import Shelf
from .state import SLOTS

EDITS, VERIFIES = 4, 6
EDIT_STATUSES = ("PROCESSING", "PROCESSED", "FAILED")


class SideRoutes:
    """Answers requests for one platform's state; records which zero-retention results have been read."""

    def __init__(self, platform: Extend, modern: Modern, classic: Classic) -> None:
        self.platform = platform
        self.modern = modern
        self.classic = classic
        self._consumed: set[int] = set()

    def table(self) -> list[Route]:
        return [
            Route("GET", "/files", 2023, 2026, self.files),
            Route("GET", "/files/{id}", 2023, 2026, self.file),
            Route("GET", "/edit_runs", 2026, 2026, self.edit_runs),
            Route("GET", "/edit_runs/{id}", 2025, 2026, self.edit_run),
            Route("GET", "/verify_runs", 2026, 2026, self.verify_runs),
            Route("GET", "/verify_runs/{id}", 2026, 2026, self.verify_run),
        ]

    def _all_files(self) -> Iterator[tuple[Run, FileRef]]:
        return ((run, file) for run in self.platform.runs() for file in files_of(self.platform.seed, run))

    def files(self, call: Call) -> bytes:
        query = parse_query(call.request, {"nameContains": ()})
        shelf = Shelf((run.created - 900, run.index * SLOTS + file.slot) for run, file in self._all_files())
        wanted = query.filters.get("nameContains")

        def found(key: int) -> tuple[Run, FileRef]:
            run = self.platform.record(key)
            assert isinstance(run, Run)
            return run, files_of(self.platform.seed, run)[key % SLOTS - FILE_SLOT]

        def row(key: int) -> dict[str, Any]:
            run, file = found(key)
            return (
                self.modern.file(run, file)
                if call.edition >= 2026
                else self.classic.file(run, file, call.edition)
            )

        return shelf_page(
            self.platform,
            call,
            query,
            shelf,
            (lambda key: wanted in found(key)[1].name) if wanted else None,
            row,
            "files",
        )

    def file(self, call: Call) -> bytes:
        """{"object": "file", "id": ..., "presignedUrl": "https://files.invalid/...?sig=example",
        "contents": null}"""
        place = self.platform.find(call.args[0])
        files = files_of(self.platform.seed, place[0]) if place else ()
        if place is None or not 0 <= place[1] - FILE_SLOT < len(files):
            raise RefusedError(404, "No file with that id.")
        run, file = place[0], files[place[1] - FILE_SLOT]
        url = f"https://files.invalid/{file.name.replace(' ', '%20')}?sig=example"
        text = f"# {file.name}"
        flags = {name for name in ("rawText", "markdown", "html") if call.request.param(name) == "true"}
        if call.edition >= 2026:
            contents = (
                {"rawText": text}
                if "rawText" in flags
                else {"pages": [{"pageNumber": 1, "markdown": text}]}
                if flags
                else None
            )
            return encode({**self.modern.file(run, file), "presignedUrl": url, "contents": contents})
        page = {"pageNumber": 1, "pageHeight": 792, "pageWidth": 612, "markdown": text}
        shown = {**self.classic.file(run, file, call.edition), "presignedUrl": url}
        if call.edition >= 2025:
            shown["contents"] = {"rawText": text, "pages": [page]}
        return encode({"success": True, "file": shown})

    def _own_file(self, family: int, number: int) -> dict[str, Any]:
        seed, made = self.platform.seed, self._created(family, number)
        kind = list(KINDS.values())[mix(seed, family, number) % len(KINDS)]
        return {
            "object": "file",
            "id": f"file_{tag(seed, REGION + family * 1000 + number, 1)}",
            "name": f"{kind.name.replace('_', '-')}-{family}{number:02d}.pdf",
            "type": "PDF",
            "parentFileId": None,
            "metadata": {"pageCount": 3},
            "createdAt": stamp(made - 900),
            "updatedAt": stamp(made + 3_000),
        }

    def _created(self, family: int, number: int) -> int:
        return self.platform.started - HOUR - mix(self.platform.seed, family, number, 51) % (720 * HOUR)

    def _id(self, prefix: str, family: int, number: int) -> str:
        return f"{prefix}_{tag(self.platform.seed, REGION + family * 1000 + number, 0)}"

    def _number(self, call: Call, prefix: str, family: int, count: int) -> int:
        for number in range(count):
            if self._id(prefix, family, number) == call.args[0]:
                return number
        raise RefusedError(404, "No run with that id.")

    def _filtered(
        self, call: Call, query: Query, family: int, count: int, updated: Callable[[int], int], row: Any
    ) -> bytes:
        """A page of one family's runs; `updated` gives the last change by the time of creation."""

        def keep(key: int) -> bool:
            shown = row(key)
            named = query.filters.get("fileNameContains", "")
            return named in shown["file"]["name"] and all(
                shown.get(name, "API") == value
                for name, value in query.filters.items()
                if name != "fileNameContains"
            )

        times = (self._created(family, number) for number in range(count))
        by_update = query.sort == "updatedAt"
        shelf = Shelf((updated(made) if by_update else made, number) for number, made in enumerate(times))
        return shelf_page(self.platform, call, query, shelf, keep, row, "")

    def edit_runs(self, call: Call) -> bytes:
        query = parse_query(
            call.request,
            {"status": EDIT_STATUSES, "source": ("API", "STUDIO", "ADMIN"), "fileNameContains": ()},
        )
        return self._filtered(
            call, query, 3, EDITS, lambda made: made + 9_000, lambda number: self._edit(number, full=False)
        )

    def edit_run(self, call: Call) -> bytes:
        shown = self._edit(self._number(call, "edr", 3, EDITS), full=True)
        return encode(
            shown
            if call.edition >= 2026
            else {
                "success": True,
                "editRun": {key: value for key, value in shown.items() if value is not None},
            }
        )

    def _edit(self, number: int, *, full: bool) -> dict[str, Any]:
        """{"object": "edit_run", "id": "edr_...", "file": {...}, "status": "PROCESSED", "metrics":
        {...}, "usage": {"credits": 4}}"""
        made = self._created(3, number)
        shown: dict[str, Any] = {
            "object": "edit_run",
            "id": self._id("edr", 3, number),
            "file": self._own_file(3, number),
            "status": "PROCESSED",
            "failureReason": None,
            "failureMessage": None,
            "metrics": {
                "processingTimeMs": 8_100, "pageCount": 3, "fieldCount": 4, "fieldsDetectedCount": 4, "fieldsAnnotatedCount": 4,
                "fieldDetectionTimeMs": 2_100, "fieldAnnotationTimeMs": 900, "fieldFillingTimeMs": 3_000,
            },
            "usage": {"credits": 4},
        }  # fmt: skip
        if not full:
            return {**shown, "createdAt": stamp(made), "updatedAt": stamp(made + 9_000)}
        edited = {
            "id": f"file_{tag(self.platform.seed, REGION + 3000 + number, 2)}",
            "presignedUrl": "https://files.invalid/edited.pdf?sig=example",
        }
        config = {"instructions": "Fill the approver name", "engineVersion": "1.0.0"}
        return {
            **shown,
            "config": config,
            "output": {"editedFile": edited, "filledValues": {"approver": "R. Okafor"}},
        }

    def verify_runs(self, call: Call) -> bytes:
        allowed: dict[str, tuple[str, ...]] = {
            "status": (*EDIT_STATUSES, "CANCELLED"), "source": ("API", "STUDIO"), "sourceId": (), "riskLevel": ("LOW", "MEDIUM", "HIGH"), "fileNameContains": (),
        }  # fmt: skip
        query = parse_query(call.request, allowed)
        return self._filtered(
            call, query, 4, VERIFIES, self._verified, lambda number: self._verify(number, full=False)
        )

    def _verified(self, made: int) -> int:
        """The last change of a verify run: the purge of its risk level, if there was one."""
        return self.platform.started if self.platform.switches.risk_levels == "purged" else made + 12_000

    def verify_run(self, call: Call) -> bytes:
        """A verify run; every second one has zero retention: the first read returns its output, later reads
        null."""
        number = self._number(call, "vr", 4, VERIFIES)
        shown = self._verify(number, full=True)
        if number % 2 == 0:
            if number in self._consumed:
                shown["output"] = None
            self._consumed.add(number)
        return encode(shown)

    def _verify(self, number: int, *, full: bool) -> dict[str, Any]:
        made = self._created(4, number)
        risk = ("LOW", "LOW", "MEDIUM", "HIGH")[mix(self.platform.seed, 4, number, 52) % 4]
        is_purged = self.platform.switches.risk_levels == "purged"
        output: dict[str, Any] = {
            "riskLevel": risk,
            "summary": "No fraud signals were detected."
            if risk == "LOW"
            else "The totals were changed after printing.",
            "signals": [],
        }
        return {
            "object": "verify_run",
            "id": self._id("vr", 4, number),
            "file": self._own_file(4, number),
            "status": "PROCESSED",
            **({"output": output} if full else {"riskLevel": None if is_purged else risk}),
            "failureReason": None,
            "failureMessage": None,
            "metadata": None,
            "metrics": {"processingTimeMs": 12_000, "pageCount": 3},
            "config": {
                "engine": "verify_agentic",
                "engineVersion": "0.1.0",
                "advancedOptions": {"requireParsing": True},
            },
            "usage": {"credits": 5},
            "source": "API",
            "sourceId": f"req_{tag(self.platform.seed, REGION + 4000 + number, 3)[:10]}",
            "createdAt": stamp(made),
            "updatedAt": stamp(self._verified(made)),
        }
