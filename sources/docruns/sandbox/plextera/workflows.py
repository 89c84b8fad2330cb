"""The workflows of the sandbox's workspace, and the outputs of their finished steps."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec


class Step(NamedTuple):
    """One step of a workflow.

    `documents` is the document kind that a `document_insights` step reads. `calls` is the workflow that a
    `sub_workflow` step runs between `calls_from` and `calls_to` times, "" for a step whose nested runs are
    created on request.
    """

    name: str
    type: str
    documents: str = ""
    calls: str = ""
    calls_from: int = 0
    calls_to: int = 0


class Workflow(NamedTuple):
    """One workflow.

    `id` is a slug, as in the vendor's API. `weight` is its share of the seeded runs, 0 for workflows that
    only run nested or on request.
    """

    id: str
    name: str
    weight: int
    steps: tuple[Step, ...]


WORKFLOWS: Final = {
    workflow.id: workflow
    for workflow in (
        Workflow("invoice-intake", "Invoice Intake", 30, (
            Step("Read invoice", "document_insights", "invoice"),
            Step("Check supplier", "web_function"),
            Step("Set flag", "data_transformation"),
            Step("Archive", "file_handling"),
        )),
        Workflow("receipt-capture", "Receipt Capture", 20, (
            Step("Read receipt", "document_insights", "receipt"),
            Step("Post to ledger", "web_function"),
        )),
        Workflow("claims-desk", "Claims Desk", 14, (
            Step("Read claim", "document_insights", "claim"),
            Step("Check policy", "web_function"),
            Step("Assess", "data_transformation"),
        )),
        Workflow("cargo-papers", "Cargo Papers", 12, (
            Step("Read bill of lading", "document_insights", "bill_of_lading"),
            Step("Read invoice", "document_insights", "invoice"),
            Step("Match", "data_transformation"),
        )),
        Workflow("statement-import", "Statement Import", 10, (
            Step("Fetch statement", "file_handling"),
            Step("Read statement", "document_insights", "bank_statement"),
            Step("Book", "web_function"),
        )),
        Workflow("mailbox-sweep", "Mailbox Sweep", 14, (
            Step("Read attachments", "sub_workflow", calls="attachment-reader", calls_from=1, calls_to=3),
            Step("Notify", "web_function"),
        )),
        Workflow("attachment-reader", "Attachment Reader", 0, (
            Step("Split attachment", "sub_workflow", calls="page-splitter", calls_from=0, calls_to=1),
            Step("Read attachment", "document_insights", "invoice"),
            Step("Collect text", "data_transformation"),
        )),
        Workflow("page-splitter", "Page Splitter", 0, (
            Step("Split pages", "document_insights", "receipt"),
        )),
        Workflow("relay", "Relay", 0, (
            Step("Hand over", "sub_workflow"),
            Step("Confirm", "web_function"),
        )),
    )
}  # fmt: skip

SEEDED: Final = tuple(workflow for workflow in WORKFLOWS.values() for _ in range(workflow.weight))
RELAY: Final = WORKFLOWS["relay"]

EXTRA: Final = (
    Step("Look up", "web_function"),
    Step("Convert", "data_transformation"),
    Step("Store", "file_handling"),
)
"""The additional steps of runs that are created with more steps than their workflow has."""

_ABSENT: Final = None


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


OUTPUTS: Final[dict[str, tuple[msgspec.Raw | None, ...]]] = {
    "web_function": (
        _raw(["known-supplier", "amount-ok"]), _raw({"httpStatus": 200, "body": {"accepted": True, "queue": None}}), _raw({"sent": True}),
        _raw("accepted"), _raw([]), _raw([{"rule": "iban", "ok": True}, None, 3]), _ABSENT,
    ),
    "data_transformation": (_raw(True), _raw(17), _raw("42 words"), _raw({"score": 0.71, "band": {"low": 0.5, "high": 0.9}}), _raw(None), _raw(2.5)),
    "file_handling": (_raw(None), _raw({"stored": "archive/2026"}), _ABSENT),
    "sub_workflow": (_raw({"attempted": 1}), _raw({}), _raw(None)),
}  # fmt: skip
"""The outputs of finished steps, by type; None stands for a step without the key."""

MESSAGES: Final = ("Archived", "Done in one attempt", "Nothing to do")
FAILURES: Final = (
    ("WORKFLOW_RUN_FAILED", "Ledger service answered 403."),
    ("WORKFLOW_RUN_FAILED", "Step ended without an answer."),
    ("WORKFLOW_RUN_TIMEOUT", "The run took longer than allowed."),
)
UNREADABLE: Final = ("PROCESSING_FAILED", "Page images could not be read.")
UNSUPPORTED: Final = ("UNSUPPORTED_DOCUMENT", "This kind of document is not supported.")


def find(kind: str) -> Workflow:
    """The workflow with that id, or the first one that reads documents of that kind."""
    for workflow in WORKFLOWS.values():
        if workflow.id == kind or any(step.documents == kind for step in workflow.steps):
            return workflow
    raise ValueError(f"no workflow or document kind {kind!r}")
