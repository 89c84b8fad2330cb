"""PURE. A run's extracted value, with its scores, as rows of fields, insights and citations; and back.

    {"value": {"total": {"amount": 9.5, …}, "lines": [{"sku": "A1"}]},
     "metadata": {"lines[0].sku": {"ocrConfidence": 0.98, "citations": […]}}}

    path            kind    type      value   value_json          ocr_confidence
    total           leaf    currency  9.5     {"amount":9.5,…}
    lines           array   array             []
    lines[0]        item    object            {}
    lines[0].sku    leaf    string    A1      "A1"                0.98

One walk over the final, the initial and the reviewed value together gives a row for every path that
any of them has, in document order. `rebuild` turns the rows of one run back into each of the three.
This module knows no platform: a provider turns its payload into `Answer`s first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from .cells import MISSING, is_container, json_or_marker, same, type_of, typed_cells
from .model import CITATIONS, FIELDS, INSIGHTS, Row
from .paths import ODD_KEY, Spent, below, is_path, join, split, without_indexes
from .payload import JSON, encode

MAX_DEPTH: Final = 200
"""Levels that become rows of their own; what is nested deeper is kept as one leaf's JSON text."""


class Schema(NamedTuple):
    """What a processor's configuration says of one node: its type, and its children's."""

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


class Entry(NamedTuple):
    """What the platform says of one path. Scores keep the platform's scale."""

    ocr_confidence: float | None = None
    logprobs_confidence: float | None = None
    review_agent_score: int | None = None
    confidence: float | None = None
    citations: tuple[Citation, ...] = ()
    insights: tuple[Insight, ...] = ()
    type: str | None = None
    extra: str | None = None


class Edit(NamedTuple):
    """A reviewer's change: the note, and JSON text of all that the platform says of it."""

    note: str | None = None
    text: str | None = None


class Answer(NamedTuple):
    """One of a run's outputs: the value, and what is said of its paths (keyed as `fields.path`)."""

    value: JSON = MISSING
    metadata: Mapping[str, Entry] = {}


class Flat(NamedTuple):
    """Rows in the order of the model's columns; of `fields`, how many are leaves and edited ones."""

    fields: list[Row]
    insights: list[Row]
    citations: list[Row]
    leaves: int
    edited: int


NOTHING = Answer()
_NO_ENTRY = Entry()


def flatten(
    run_id: str,
    workflow_run_id: str | None,
    final: Answer,
    initial: Answer = NOTHING,
    reviewed: Answer = NOTHING,
    schema: Schema | None = None,
    edits: Mapping[str, Edit] | None = None,
) -> Flat:
    """All rows of one processor run. Pass the same object twice where two outputs are equal:
    what is identical is walked and compared once. ShapeError where its paths would take too much."""
    walk = _Walk(run_id, workflow_run_id, final, initial, reviewed, edits or {})
    values = (final.value, initial.value, reviewed.value)
    present = [value for value in values if value is not MISSING]
    if any(type(value) is not dict or not value for value in present):
        walk.node("", "", None, None, None, 0, *values, schema, "")
    elif present:
        walk.children("", "", None, None, 0, *values, schema, "")
    walk.left_over()
    return Flat(walk.fields, walk.insights, walk.citations, walk.leaves, walk.edited)


class _Walk:
    """The state of one walk: rows so far, and which metadata and edits found their node."""

    def __init__(
        self,
        run_id: str,
        workflow_run_id: str | None,
        final: Answer,
        initial: Answer,
        reviewed: Answer,
        edits: Mapping[str, Edit],
    ) -> None:
        self.run_id = run_id
        self.workflow_run_id = workflow_run_id
        self.final = final.metadata
        # identical metadata need no comparison, path by path
        self.initial = {} if initial.metadata is final.metadata else initial.metadata
        self.reviewed = {} if reviewed.metadata is final.metadata else reviewed.metadata
        self.reviewable = initial.value is not MISSING
        self.edits = edits
        self.said = (self.final, self.initial, self.reviewed, self.edits)
        self.used: set[str] = set()
        self.paths: set[str] = set()
        self.fields: list[Row] = []
        self.insights: list[Row] = []
        self.citations: list[Row] = []
        self.leaves = 0
        self.edited = 0
        self.spent = Spent()
        self.each = 64 + len(run_id) + len(workflow_run_id or "")

    def children(
        self,
        path: str,
        field: str,
        name: str | None,
        index: int | None,
        depth: int,
        final: JSON,
        initial: JSON,
        reviewed: JSON,
        schema: Schema | None,
        plain: str,
    ) -> None:
        """The rows below a container. `plain` is the path as the platform writes it."""
        if type(final) is dict or type(initial) is dict or type(reviewed) is dict:
            a, b, c = _as(dict, final), _as(dict, initial), _as(dict, reviewed)
            keys: Mapping[str, JSON] = a
            if (b is not a and b.keys() != a.keys()) or (c is not a and c.keys() != a.keys()):
                keys = {**a, **c, **b}
            known = schema.children if schema else {}
            self.spent.add(len(keys) * (len(path) + self.each))
            for key in keys:
                if key and not ODD_KEY.search(key):
                    step = f"{path}.{key}" if path else key
                    below = f"{field}.{key}" if field else key
                    said = step if plain == path else f"{plain}.{key}" if plain else key
                else:
                    quoted = "[" + encode(key).decode() + "]"
                    step, below = path + quoted, field + quoted
                    said = f"{plain}.{key}" if plain else key
                self.node(
                    step,
                    below,
                    key,
                    path,
                    index,
                    depth + 1,
                    a.get(key, MISSING),
                    b.get(key, MISSING),
                    c.get(key, MISSING),
                    known.get(key),
                    said,
                )
        if type(final) is list or type(initial) is list or type(reviewed) is list:
            x, y, z = _as(list, final), _as(list, initial), _as(list, reviewed)
            items = schema.items if schema else None
            longest = max(len(x), len(y), len(z))
            self.spent.add(longest * (len(path) + self.each))
            for i in range(longest):
                self.node(
                    f"{path}[{i}]",
                    f"{field}[]",
                    name,
                    path,
                    i,
                    depth + 1,
                    x[i] if i < len(x) else MISSING,
                    y[i] if i < len(y) else MISSING,
                    z[i] if i < len(z) else MISSING,
                    items,
                    f"{plain}[{i}]",
                    is_item=True,
                )

    def node(
        self,
        path: str,
        field: str,
        name: str | None,
        parent: str | None,
        index: int | None,
        depth: int,
        final: JSON,
        initial: JSON,
        reviewed: JSON,
        schema: Schema | None,
        plain: str,
        is_item: bool = False,
    ) -> None:
        """The row of one path with what hangs on it, then the rows below it."""
        self.paths.add(path)
        found = path
        if plain != path and not any(path in said for said in self.said):
            found = plain
        entry, model = self.final.get(found), self.initial.get(found)
        again = self.reviewed.get(found)
        edit = self.edits.get(found)
        if entry is not None or model is not None or again is not None or edit is not None:
            if found in self.used:
                # the platform writes two nodes alike, a.b: the first one has what it says
                entry = model = again = edit = None
            self.used.add(found)
        scores = model or entry or again or _NO_ENTRY
        told = entry or _NO_ENTRY
        if entry is not None:
            self.lists(path, "final", entry, _NO_ENTRY)
        if model is not None:
            self.lists(path, "initial", model, told)
        if again is not None:
            self.lists(path, "reviewed", again, told)

        type_ = (schema.type if schema else None) or scores.type or told.type
        a = depth < MAX_DEPTH and is_container(final, type_)
        b = a if initial is final else depth < MAX_DEPTH and is_container(initial, type_)
        c = a if reviewed is final else depth < MAX_DEPTH and is_container(reviewed, type_)
        below = a or b or c
        value = number = boolean = day = currency = None
        edit_kind = None
        if self.reviewable and initial is not final:
            edit_kind = self.edit_kind(final, initial, below)
        if edit is not None:
            edit_kind = edit_kind or "changed"
        if below:
            shape = type(final if a else reviewed if c else initial)
            kind = "array" if shape is list else "item" if is_item else "object"
            type_ = type_ or ("array" if shape is list else "object")
        else:
            kind = "leaf"
            if type_ is None:
                shown = final if final is not MISSING else reviewed
                type_ = type_of(shown if shown is not MISSING else initial)
            if final is not MISSING and final is not None:
                value, number, boolean, day, currency = typed_cells(final, type_)
            self.leaves += 1
            self.edited += edit_kind is not None
        value_json = json_or_marker(final, a)
        self.fields.append(
            (
                self.run_id,
                self.workflow_run_id,
                path,
                field,
                name,
                parent,
                len(self.fields),
                index,
                kind,
                type_,
                value,
                number,
                boolean,
                day,
                currency,
                value_json,
                value_json if initial is final else json_or_marker(initial, b),
                value_json if reviewed is final else json_or_marker(reviewed, c),
                edit_kind is not None,
                edit_kind,
                edit.note if edit else None,
                scores.confidence,
                scores.ocr_confidence,
                scores.logprobs_confidence,
                scores.review_agent_score,
                told.citations[0].page if told.citations else None,
                len(told.citations),
                len(told.insights),
                _extra(scores, entry, again, edit) if model or again or edit else scores.extra,
                None,
            )
        )
        if below:
            self.children(
                path,
                field,
                name,
                index,
                depth,
                final if a else MISSING,
                initial if b else MISSING,
                reviewed if c else MISSING,
                schema,
                plain,
            )

    def edit_kind(self, final: JSON, initial: JSON, below: bool) -> str | None:
        """How review changed this node, told from the values; a container's own change is none."""
        if initial is MISSING:
            return "added"
        if final is MISSING:
            return "removed"
        if below:
            return None if type(final) is type(initial) else "changed"
        return None if same(final, initial) else "changed"

    def lists(self, path: str, output: str, entry: Entry, final: Entry) -> None:
        """Insights and citations of one output, where they differ from the final one's."""
        if entry.insights and entry.insights != final.insights:
            self.spent.add(len(entry.insights) * (len(path) + self.each))
            self.insights += [
                (self.run_id, output, path, i, *insight, None)
                for i, insight in enumerate(entry.insights)
            ]
        if entry.citations and entry.citations != final.citations:
            self.spent.add(len(entry.citations) * (len(path) + self.each))
            self.citations += [
                (self.run_id, output, path, i, *citation, None)
                for i, citation in enumerate(entry.citations)
            ]

    def left_over(self) -> None:
        """Rows for metadata and edits whose path no value has, so that no score is lost."""
        keys = {**self.final, **self.initial, **self.reviewed, **self.edits}
        for key in keys:
            if key in self.used:
                continue
            path = key if key and is_path(key) else below("", key)
            while path in self.paths or (path != key and path in keys):
                path = "[" + encode(path).decode() + "]"
            steps = split(path)
            field = without_indexes(path)
            name = next((step for step in reversed(steps) if type(step) is str), None)
            index = next((step for step in reversed(steps) if type(step) is int), None)
            parent = join(steps[:-1])
            self.node(path, field, name, parent, index, 0, MISSING, MISSING, MISSING, None, key)


def _as(kind: type, value: JSON) -> Any:
    return value if type(value) is kind else kind()


def _extra(
    scores: Entry, entry: Entry | None, again: Entry | None, edit: Edit | None
) -> str | None:
    """What no column holds: unknown keys, another output's own scores, the edit as it came."""
    parts = [scores.extra[1:-1]] if scores.extra else []
    for name, other in (("output", entry), ("reviewedOutput", again)):
        if other is None or other is scores:
            continue
        told = {k: v for k, v in zip(_SCORES, other[:4], strict=True) if v is not None}
        if other[:4] != scores[:4] or other.extra != scores.extra:
            inner = [f'"{k}":{v}' for k, v in told.items()]
            inner += [other.extra[1:-1]] if other.extra else []
            parts.append(f'"{name}":{{{",".join(inner)}}}')
    if edit is not None and edit.text:
        parts.append(f'"edit":{edit.text}')
    return "{" + ",".join(parts) + "}" if parts else None


_SCORES = ("ocrConfidence", "logprobsConfidence", "reviewAgentScore", "confidence")


def rebuild(rows: Iterable[tuple[str, str | None]]) -> Any:
    """The JSON value that (path, JSON text) rows of one run came from, in the order of `position`.

    Give `value_json`, `initial_json` or `reviewed_json` as the second cell. None where no row has
    a text: the platform sent no such output (or null in its place).
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
                parent.append(value)
            else:
                parent[steps[-1]] = value
        nodes[steps] = value
    return nodes.get(())


# the walk writes plain tuples: this is where they meet the tables' columns
assert len(FIELDS.columns) == 30
assert INSIGHTS.names[4:7] == Insight._fields
assert CITATIONS.names[4:16] == Citation._fields
