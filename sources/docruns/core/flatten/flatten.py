"""PURE. A run's extracted value, with its scores, as rows of fields, insights and citations; and back.

    {"value": {"total": {"amount": 9.5, …}, "lines": [{"sku": "A1"}]},
     "metadata": {"lines[0].sku": {"ocrConfidence": 0.98, "citations": […]}}}

    path            kind    type      value   value_json          ocr_confidence
    total           leaf    currency  9.5     {"amount":9.5,…}
    lines           array   array             []
    lines[0]        item    object            {}
    lines[0].sku    leaf    string    A1      "A1"                0.98

One walk over the final, the initial and the reviewed value together gives a row for every path that any of
them has, in document order. `rebuild` turns the rows of one run back into each of the three. This module
knows no platform: a provider turns its payload into `Output`s first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..tables import Row
from .node import ROOT, Values
from .output import NO_OUTPUT, NO_REVIEW, Output, Review, Schema
from .paths import split
from .values import MISSING
from .walk import Walk


class FlatRows(NamedTuple):
    """Rows in the order of the tables' columns; how many rows of `fields` are leaves and edited leaves, None where the
    outputs do not tell."""

    fields: list[Row]
    insights: list[Row]
    citations: list[Row]
    leaves: int
    edited: int | None


def flatten_outputs(
    run_id: str,
    workflow_run_id: str | None,
    final: Output,
    initial: Output = NO_OUTPUT,
    reviewed: Output = NO_OUTPUT,
    schema: Schema | None = None,
    review: Review = NO_REVIEW,
) -> FlatRows:
    """All rows of one processor run. Pass the same object twice where two outputs are equal: one object is
    walked and compared once. ShapeError where the paths would take more than 200 MB."""
    walk = Walk(run_id, workflow_run_id, final, initial, reviewed, review)
    values = Values(final.value, initial.value, reviewed.value)
    present = [value for value in values if value is not MISSING]
    if any(type(value) is not dict or not value for value in present):
        walk.add_node(ROOT, values, schema)
    elif present:
        walk.walk_children(ROOT, values, schema)
    walk.add_unplaced_metadata()
    edited = walk.edited if walk.edited or walk.unedited is False else None
    return FlatRows(walk.fields, walk.insights, walk.citations, walk.leaves, edited)


def rebuild(rows: Iterable[tuple[str, str | None]]) -> Any:
    """The JSON value that (path, JSON text) rows of one run came from, in the order of `position`.

    Give `path` with `value_json` or `reviewed_json`, and `coalesce(initial_path, path)` with `initial_json`. None where
    no row has a text: the platform sent no such output (or null in its place).
    """
    nodes: dict[tuple[str | int, ...], Any] = {}
    for path, text in rows:
        if text is None:
            continue
        steps = tuple(split(path))
        value = json.loads(text)
        if steps:
            parent = nodes.setdefault(steps[:-1], {} if type(steps[-1]) is str else [])
            if type(steps[-1]) is int:
                # items that were moved come in another order
                parent.extend([None] * (steps[-1] + 1 - len(parent)))
            parent[steps[-1]] = value
        nodes[steps] = value
    return nodes.get(())
