"""PURE. The input of `flatten`: values, metadata of their paths, and schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from ..codec import JSON
from .values import MISSING, is_equal


class Schema(msgspec.Struct, frozen=True, gc=False):
    """A node in a processor's configuration: its type, and the schemas of its children."""

    type: str | None = None
    children: Mapping[str, Schema] = {}
    items: Schema | None = None


class Citation(NamedTuple):
    """A place on a page, in the order of the table's own columns."""

    page: int | None = None
    page_width: float | None = None
    page_height: float | None = None
    file_id: str | None = None
    reference_text: str | None = None
    cell_range: str | None = None
    left: float | None = None
    top: float | None = None
    right: float | None = None
    bottom: float | None = None
    polygon: str | None = None
    extra: str | None = None


class Insight(NamedTuple):
    """The model's remark, in the order of the table's own columns."""

    type: str | None = None
    content: str | None = None
    extra: str | None = None


class FieldMetadata(msgspec.Struct, frozen=True, gc=False):
    """The platform's metadata of one path. Scores keep the platform's scale."""

    ocr_confidence: float | None = None
    logprobs_confidence: float | None = None
    review_agent_score: int | None = None
    confidence: float | None = None
    citations: tuple[Citation, ...] = ()
    insights: tuple[Insight, ...] = ()
    type: str | None = None
    extra: str | None = None

    def scores(self) -> dict[str, float]:
        """The scores that are there, by the platform's names."""
        found = {
            "ocrConfidence": self.ocr_confidence,
            "logprobsConfidence": self.logprobs_confidence,
            "reviewAgentScore": self.review_agent_score,
            "confidence": self.confidence,
        }
        return {name: score for name, score in found.items() if score is not None}


class Edit(NamedTuple):
    """A reviewer's change: the note, JSON text of the platform's whole record of it, and the values that the record
    has before and after the change."""

    note: str | None = None
    text: str | None = None
    original: JSON = None
    edited: JSON = None

    def is_about(self, initial: JSON, final: JSON) -> bool:
        """The record has these two values, or none at all. What is not there is null in a record."""
        if self.original is None and self.edited is None:
            return True
        before, after = (None if value is MISSING else value for value in (initial, final))
        return is_equal(self.original, before) and is_equal(self.edited, after)


class Review(NamedTuple):
    """What the platform says of a run's review: its record of the edits by path, None where it has none, and whether
    a person has reviewed, None where nothing says it."""

    edits: Mapping[str, Edit] | None = None
    is_reviewed: bool | None = None


class Output(NamedTuple):
    """One of a run's outputs: the value, and the metadata of its paths (keyed as `fields.path`)."""

    value: JSON = MISSING
    metadata: Mapping[str, FieldMetadata] = {}


NO_OUTPUT = Output()
"""An output that the platform did not send."""

NO_REVIEW = Review()
"""The platform says nothing of a review."""


def differing(
    final: Mapping[str, FieldMetadata],
    other: Mapping[str, FieldMetadata],
    disputed: Mapping[str, FieldMetadata] = {},
) -> Mapping[str, FieldMetadata]:
    """The metadata of another output where it differs from the final one's, or the path is `disputed`."""
    if other is final:
        return {}
    get = final.get
    return {path: own for path, own in other.items() if get(path) != own or path in disputed}


def extra_of(
    scores: FieldMetadata, final: FieldMetadata | None, reviewed: FieldMetadata | None, edit: Edit | None
) -> str | None:
    """The cell `extra`: unknown keys, the scores of the other outputs, the edit as it came."""
    parts = [scores.extra[1:-1]] if scores.extra else []
    for name, other in (("output", final), ("reviewedOutput", reviewed)):
        if other is None or other is scores:
            continue
        if other.scores() != scores.scores() or other.extra != scores.extra:
            inner = [f'"{key}":{score}' for key, score in other.scores().items()]
            inner += [other.extra[1:-1]] if other.extra else []
            parts.append(f'"{name}":{{{",".join(inner)}}}')
    if edit is not None and edit.text:
        parts.append(f'"edit":{edit.text}')
    return "{" + ",".join(parts) + "}" if parts else None
