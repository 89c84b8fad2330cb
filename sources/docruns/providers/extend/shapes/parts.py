"""What workflow runs and processor runs have in common: their files, their credits and the names of types."""

from __future__ import annotations

from typing import Any

from ....core.batch import Batch
from ....core.codec import number_text
from ....core.payload import Payload
from ....core.tables import CHARGES, RUN_FILES

TYPES = {
    "extract_run": "EXTRACT",
    "classify_run": "CLASSIFY",
    "split_run": "SPLIT",
    "parse_run": "PARSE",
    "parser_run": "PARSE",
    "edit_run": "EDIT",
    "verify_run": "VERIFY",
    "SPLITTER": "SPLIT",
}
"""The types of processor runs in the one vocabulary, by the names that the API's versions have for them."""


def processor_type(type_: str | None) -> str | None:
    """A processor's type in the one vocabulary: SPLITTER is SPLIT."""
    return TYPES.get(type_, type_) if type_ else None


def credit_cells(run: Payload, batch: Batch, run_id: str, kind: str) -> dict[str, object]:
    """The credits of a run. Adds the rows of its charges."""
    # {"credits": 6, "totalCredits": 10, "breakdown": [{"object": "extract_run", "id": "exr_1", "credits": 6,
    #  "charges": [{"product": "extraction_performance", "unit": "page", "quantity": 2, "credits": 6}]}]}
    usage = run.object("usage") or Payload(b"{}")
    entries = usage.objects("breakdown") or ()
    rows = [row for entry in entries for row in _charges(entry)]
    for position, row in enumerate(rows):
        batch.add(CHARGES, CHARGES.row(run_id=run_id, run_kind=kind, position=position, **row))
    unread = [text for entry in entries if (text := entry.extra()) is not None]
    if unread:
        usage.keep("breakdown", f"[{','.join(unread)}]")
    return {"credits": usage.number("credits"), "total_credits": usage.number("totalCredits")}


def _charges(entry: Payload) -> list[dict[str, Any]]:
    """The charges of one run in a breakdown. An entry without any is left as it is."""
    charges = entry.objects("charges")
    if not charges:
        return []
    charged = {
        "charged_run_id": entry.text("id"),
        "charged_run_type": processor_type(entry.text("object")),
    }
    rows: list[dict[str, Any]] = [
        {
            **charged,
            "product": charge.text("product"),
            "unit": charge.text("unit"),
            "quantity": charge.number("quantity"),
            "credits": charge.number("credits"),
            "page_count": charge.integer("pages"),
            "extra": charge.extra(),
        }
        for charge in charges
    ]
    total = entry.number("credits")
    if total is not None and total != sum(charge["credits"] or 0 for charge in rows):
        entry.keep("credits", number_text(total))
    return rows


def add_files(run: Payload, batch: Batch, run_id: str, kind: str) -> int | None:
    """Add the rows of `files[]` or `file`. Gives the sum of their page counts; None where there are none."""
    # {"id": "file_1", "name": "scan.pdf", "type": "PDF",
    #  "metadata": {"pageCount": 3, "parentSplit": {…}}}
    one, many = run.object("file"), run.objects("files")
    pages: int | None = None
    files = many or ([one] if one is not None else [])
    for position, file in enumerate(files):
        metadata = file.object("metadata") or Payload(b"{}")
        count = metadata.integer("pageCount")
        pages = pages if count is None else (pages or 0) + count
        row = RUN_FILES.row(
            run_id=run_id,
            run_kind=kind,
            position=position,
            file_id=file.text("id"),
            name=file.text("name"),
            type=file.text("type"),
            page_count=count,
            parent_file_id=file.text("parentFileId"),
            parent_split=metadata.json("parentSplit"),
            created_at=file.time("createdAt"),
            updated_at=file.time("updatedAt"),
        )
        file.ignore("object")
        file.drop("contents")
        batch.add(RUN_FILES, (*row[: RUN_FILES.names.index("extra")], file.extra(), None))
    if one is not None and not many:
        one.clear()
    return pages
