"""The configuration of an organisation: extractors, classifiers, splitters and workflows, with their versions
and ids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from ..chance import tag
from ..kinds import KINDS, Field, schema
from ..moments import DAY, stamp

REGION: Final = 1 << 40
"""The first index of catalogue objects; runs are numbered from 0."""

PREFIX: Final = {"extract": "ex", "classify": "cl", "split": "spl"}
OLD_TYPE: Final = {"extract": "EXTRACT", "classify": "CLASSIFY", "split": "SPLITTER"}
NOUN: Final = {"extract": "extractor", "classify": "classifier", "split": "splitter"}


@dataclass(frozen=True, slots=True)
class Processor:
    """A configured model.

    `documents` names the document kind of an extractor and is empty for others. A `legacy` processor returns
    a fields array.
    """

    number: int
    type: str
    name: str
    documents: str = ""
    legacy: bool = False


PROCESSORS: Final = (
    *(Processor(position, "extract", kind.title, kind.name) for position, kind in enumerate(KINDS.values())),
    Processor(5, "extract", "Receipt archive", "receipt", legacy=True),
    Processor(6, "classify", "Mailroom sorter"),
    Processor(7, "split", "Batch scanner"),
    Processor(8, "extract", "Invoice archive", "invoice", legacy=True),
)
SORTER: Final = PROCESSORS[6]
SCANNER: Final = PROCESSORS[7]
VERSIONS: Final = (
    ("draft", None),
    ("1.0", "First release"),
    ("1.1", None),
    ("2.0", "Adds the signature block"),
)


@dataclass(frozen=True, slots=True)
class Workflow:
    """A configured workflow.

    `steps` are (step type, step name, processor) in order; `weight` is its share of the runs of a mixed
    sandbox.
    """

    number: int
    name: str
    steps: tuple[tuple[str, str, Processor | None], ...]
    weight: int
    sizes: tuple[str, ...]


def _single(number: int, processor: Processor, weight: int) -> Workflow:
    steps = (
        ("PARSE", "read", None),
        ("EXTRACT", "fields", processor),
        ("RULE_VALIDATION", "checks", None),
        ("EXTERNAL_DATA_VALIDATION", "lookup", None),
    )
    return Workflow(number, f"{processor.name} intake", steps, weight, ("normal",))


INVOICE, RECEIPT, CLAIM, LADING, STATEMENT, RECEIPT_ARCHIVE, _, _, INVOICE_ARCHIVE = PROCESSORS

WORKFLOWS: Final = (
    _single(0, INVOICE, 24),
    _single(1, RECEIPT, 14),
    _single(2, CLAIM, 12),
    _single(3, LADING, 10),
    _single(4, STATEMENT, 8),
    Workflow(5, "Mailroom", (("PARSE", "read", None), ("SPLIT", "cut", SCANNER), ("CLASSIFY", "sort", SORTER), ("EXTRACT", "fields", None)), 12, ("normal",)),
    Workflow(6, "Receipt archive", (("EXTRACT", "fields", RECEIPT_ARCHIVE), ("RULE_VALIDATION", "checks", None)), 6, ("normal",)),
    Workflow(7, "Claims desk", (
        ("MERGE_EXTRACT", "merge", CLAIM), ("CONDITIONAL_EXTRACT", "choose", INVOICE), ("VALIDATION", "reasons", None), ("ROUTER", "route", None),
    ), 6, ("normal",)),
    Workflow(8, "Shipping package", (("EXTRACT", "fields", LADING), ("RULE_VALIDATION", "checks", None)), 5, ("normal",)),
    Workflow(9, "Invoice archive", (("CLASSIFY", "sort", SORTER), ("EXTRACT", "fields", INVOICE_ARCHIVE)), 3, ("normal",)),
    Workflow(10, "Receipt desk", (("EXTRACT", "fields", RECEIPT), ("RULE_VALIDATION", "checks", None)), 0, ("light",)),
    Workflow(11, "Claim files", (
        ("PARSE", "read", None), ("EXTRACT", "fields", CLAIM), ("EXTRACT", "bills", INVOICE), ("RULE_VALIDATION", "checks", None),
    ), 0, ("heavy",)),
    Workflow(12, "Freight files", (
        ("PARSE", "read", None), ("EXTRACT", "fields", LADING), ("EXTRACT", "bills", INVOICE), ("RULE_VALIDATION", "checks", None),
    ), 0, ("heavy",)),
)  # fmt: skip
MAILROOM: Final = WORKFLOWS[5]
PACKAGE: Final = WORKFLOWS[8]
WORKFLOW_VERSIONS: Final = (
    ("draft", None),
    ("1", "First rollout"),
    ("2", None),
    ("3", "May rollout"),
)
PUBLISHER: Final = {"type": "api_key", "name": "ci-publisher"}
OWNER: Final = {"type": "user", "email": "dana@harborpine.example"}


class Catalog:
    """Ids and times of the configured objects of one sandbox; a pure function of (seed, now)."""

    def __init__(self, seed: int, now: int) -> None:
        self.seed = seed
        self.start = now - 300 * DAY

    def suffix(self, family: int, number: int, version: int) -> str:
        return tag(self.seed, REGION + family * 1000 + number, version)

    def processor_id(self, processor: Processor, *, old: bool) -> str:
        return f"{'dp' if old else PREFIX[processor.type]}_{self.suffix(0, processor.number, 0)}"

    def processor_version_id(self, processor: Processor, version: int, *, old: bool) -> str:
        return f"{'dpv' if old else PREFIX[processor.type] + 'v'}_{self.suffix(0, processor.number, 1 + version)}"

    def workflow_id(self, workflow: Workflow) -> str:
        return f"workflow_{self.suffix(1, workflow.number, 0)}"

    def workflow_version_id(self, workflow: Workflow, version: int) -> str:
        return f"workflow_version_{self.suffix(1, workflow.number, 1 + version)}"

    def created(self, number: int, version: int = 0) -> str:
        return stamp(self.start + number * 3 * DAY + version * 7 * DAY)

    def changed(self, number: int) -> str:
        return self.created(number, len(VERSIONS))

    def find_processor(self, text: str) -> Processor | None:
        """The processor with that id; the prefix of the id does not matter."""
        ending = text.rsplit("_", 1)[-1]
        return next((known for known in PROCESSORS if self.suffix(0, known.number, 0) == ending), None)

    def find_workflow(self, text: str) -> Workflow | None:
        return next((known for known in WORKFLOWS if self.workflow_id(known) == text), None)

    def version_number(
        self, family: int, number: int, text: str, versions: tuple[tuple[str, str | None], ...]
    ) -> int | None:
        """The position of a version, by id or by its name ("draft", "1.0")."""
        ending = text.rsplit("_", 1)[-1]
        for position, (name, _) in enumerate(versions):
            if text == name or ending == self.suffix(family, number, 1 + position):
                return position
        return None


@lru_cache(maxsize=64)
def config(processor: Processor, newer: bool, old: bool) -> dict[str, Any]:
    """The configuration of a processor; old versions add a `type` and have no `parseConfig`.

    {"baseProcessor": "extraction_performance", "baseVersion": "4.6.0", "schema": {...},
     "advancedOptions": {...}}
    """
    head: dict[str, Any] = {"type": OLD_TYPE[processor.type]} if old else {}
    match processor.type:
        case "classify":
            classes = [
                {"id": kind.name, "type": kind.name, "description": kind.description}
                for kind in KINDS.values()
            ]
            classes.append({"id": "other", "type": "other", "description": "Anything else"})
            return {
                **head,
                "baseProcessor": "classification_light",
                "baseVersion": "3.3.0",
                "classifications": classes,
            }
        case "split":
            cuts: list[dict[str, Any]] = [
                {"id": kind.name, "type": kind.name, "description": kind.description}
                for kind in KINDS.values()
            ]
            if not old:
                cuts = [{**cut, "identifierKey": f"The {KINDS[cut['id']].key}"} for cut in cuts]
            return {
                **head,
                "baseProcessor": "splitting_performance",
                "baseVersion": "1.5.0",
                "splitClassifications": cuts,
            }
    kind = KINDS[processor.documents]
    if processor.legacy:
        return {
            **head,
            "baseProcessor": "extraction_light",
            "baseVersion": "2.1.0",
            "fields": [definition(field, f"fld_{n:02d}") for n, field in enumerate(kind.fields, 1)],
        }
    return {
        **head,
        "baseProcessor": "extraction_performance",
        "baseVersion": "4.6.0" if newer else "4.4.0",
        **({} if old else {"extractionRules": "Read amounts with a decimal comma."}),
        "schema": schema(kind),
        "advancedOptions": {
            "citationsEnabled": True,
            "arrayCitationStrategy": "property",
            "modelReasoningInsightsEnabled": True,
            "reviewAgent": {"enabled": True},
        },
        **({} if old else {"parseConfig": {"engine": "parse_performance", "engineVersion": "latest"}}),
    }


def definition(field: Field, number: str) -> dict[str, Any]:
    """A field in the form of the fields-array configuration."""
    found: dict[str, Any] = {
        "id": number,
        "name": field.name,
        "type": "number" if field.type == "integer" else field.type,
        "description": field.description,
    }
    if field.fields:
        found["schema"] = [definition(part, f"{number}_{n:02d}") for n, part in enumerate(field.fields, 1)]
    if field.options:
        found["enum"] = [
            {"value": option, "description": option.replace("_", " ").lower()} for option in field.options
        ]
    return found
