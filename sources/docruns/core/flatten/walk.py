"""PURE. One walk over the final, the initial and the reviewed value together: a row for every path.

There are two ways through a node. The fast one (`add_equal_node`, `walk_equal_children`) is for a value that
is the very same object in all outputs: nearly all nodes. The plain one (`add_node`, `walk_children`) compares
three values. They must write the same rows: `test_both_ways_write_the_same_rows` in
tests/core/test_flatten.py walks the same outputs once as shared objects and once as copies, and compares all
rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from msgspec.structs import replace

from ..codec import JSON, encode, number_text
from ..tables import CITATIONS, FIELDS, INSIGHTS, Row
from .matching import match_items
from .metadata import RunMetadata
from .node import Node, Values, node_at
from .output import Citation, Edit, FieldMetadata, Insight, Output, Review, Schema, extra_of
from .paths import PathBudget, child_path, is_path
from .values import MISSING, is_container, is_equal, json_or_marker, type_of, typed_cells

MAX_DEPTH: Final = 200
"""Levels that become rows of their own; what is nested deeper is kept as one leaf's JSON text."""

Cells = tuple[str | None, float | None, bool | None, date | None, str | None]
"""value, value_number, value_boolean, value_date, currency_code."""

Outcome = tuple[str | None, str | None, str | None, bool | None, str | None, str | None]
"""value_json, initial_json, reviewed_json, edited, edit_kind, edit_note."""

_NO_CELLS: Cells = (None, None, None, None, None)
_NO_METADATA = FieldMetadata()
_PATH = 2


class Walk:
    """The state of one walk: rows so far, and which metadata and edits found their node."""

    def __init__(
        self,
        run_id: str,
        workflow_run_id: str | None,
        final: Output,
        initial: Output,
        reviewed: Output,
        review: Review,
    ) -> None:
        self.run_id = run_id
        self.workflow_run_id = workflow_run_id
        self.has_initial = initial.value is not MISSING
        self.has_reviewed = reviewed.value is not MISSING
        self.metadata = RunMetadata(final, initial, reviewed, review.edits or {})
        # equal values are unedited only where somebody has reviewed and the initial value is known
        is_known = bool(review.is_reviewed) and (self.has_initial or review.edits is not None)
        self.unedited = False if is_known else None
        self.fields: list[Row] = []
        self.insights: list[Row] = []
        self.citations: list[Row] = []
        self.leaves = 0
        self.edited = 0
        self.budget = PathBudget()
        self.row_chars = 64 + len(run_id) + len(workflow_run_id or "")

    def has_one_value(self, values: Values) -> bool:
        """All outputs that there are have the very same value."""
        final, initial, reviewed = values
        return (initial is final or not self.has_initial) and (reviewed is final or not self.has_reviewed)

    def walk_equal_children(self, node: Node, container: JSON, schema: Schema | None) -> None:
        """The rows below a container that is the same object in all outputs."""
        self.budget.spend(len(container) * (len(node.path) + self.row_chars))
        if type(container) is list:
            items = schema.items if schema else None
            for child, value in zip(node.items(len(container)), container, strict=True):
                self.add_equal_node(child, value, items)
        else:
            known = schema.children if schema else {}
            for child, (key, value) in zip(node.children(container), container.items(), strict=True):
                self.add_equal_node(child, value, known.get(key))

    def add_equal_node(self, node: Node, value: JSON, schema: Schema | None) -> None:
        """`add_node` for a value that is the same object in all outputs."""
        path, edit = node.path, None
        if self.is_plain(node):
            metadata = self.final_metadata(path)
        else:
            values = Values(
                value, value if self.has_initial else MISSING, value if self.has_reviewed else MISSING
            )
            metadata, edit = self.merge_metadata(node, values)
        type_ = (schema.type if schema else None) or metadata.type
        json_type = type(value)
        has_rows = (
            (json_type is dict or json_type is list) and node.depth < MAX_DEPTH and is_container(value, type_)
        )
        cells = _NO_CELLS
        if has_rows:
            kind, type_ = _kind_and_type(value, node, type_)
            text = "[]" if type(value) is list else "{}"
        else:
            kind = "leaf"
            if type_ is None or (type_ == "object" and json_type is dict):
                type_ = type_of(value)
            if value is not None:
                cells = typed_cells(value, type_)
            text = number_text(value)
            self.leaves += 1
        initial = text if self.has_initial else None
        reviewed = text if self.has_reviewed else None
        outcome: Outcome = (text, initial, reviewed, self.unedited, None, None)
        if edit is not None:
            # the record of a change whose initial value nobody has
            is_changed = not self.has_initial
            self.edited += is_changed and not has_rows
            outcome = (
                *outcome[:3],
                is_changed or self.unedited,
                "changed" if is_changed else None,
                edit.note,
            )
        self.add_row(node, kind, type_, cells, outcome, metadata)
        if has_rows:
            self.walk_equal_children(node, value, schema)

    def is_plain(self, node: Node) -> bool:
        """Only the final output says anything of the node, at the same path as in the initial one."""
        path = node.path
        return path not in self.metadata.disputed and node.plain == path and node.initial_path is None

    def final_metadata(self, path: str) -> FieldMetadata:
        """What the final output says of a path of which no other output says anything else."""
        known = self.metadata
        metadata = known.final.get(path)
        if metadata is None or path in known.used:
            return _NO_METADATA
        known.used.add(path)
        if metadata.citations or metadata.insights:
            self.add_lists(path, "final", metadata, _NO_METADATA)
        return metadata

    def walk_children(self, node: Node, values: Values, schema: Schema | None) -> None:
        """The rows below a container of any output; values that are no containers are MISSING."""
        if self.has_one_value(values):
            self.walk_equal_children(node, values.final, schema)
            return
        kinds = [type(value) for value in values]
        if dict in kinds:
            self.walk_objects(node, Values(*[_as(dict, value) for value in values]), schema)
        if list in kinds:
            arrays = Values(*[_as(list, value) for value in values])
            self.walk_arrays(node, arrays, schema, is_matched=kinds[0] is kinds[1] is list)

    def walk_objects(self, node: Node, objects: Values, schema: Schema | None) -> None:
        """The rows below three objects: of each key that any of them has."""
        final, initial, reviewed = objects
        keys: Mapping[str, JSON] = final
        if any(other.keys() != final.keys() for other in (initial, reviewed)):
            keys = {**final, **reviewed, **initial}
        known = schema.children if schema else {}
        self.budget.spend(len(keys) * (len(node.path) + self.row_chars))
        for child, key in zip(node.children(keys), keys, strict=True):
            values = Values(final.get(key, MISSING), initial.get(key, MISSING), reviewed.get(key, MISSING))
            self.add_node(child, values, known.get(key))

    def walk_arrays(self, node: Node, arrays: Values, schema: Schema | None, is_matched: bool) -> None:
        """The rows below three arrays: of each item that any of them has. `is_matched`: the items of the initial array
        are those of the final one that they equal most; else, and in the reviewed array, those at the same index."""
        items = schema.items if schema else None
        longest = max(map(len, arrays))
        if not is_matched or arrays.initial is arrays.final:
            self.budget.spend(longest * (len(node.path) + self.row_chars))
            for at, child in enumerate(node.items(longest)):
                values = Values(*[_at(found, at) for found in arrays])
                self.add_node(child, values, items)
            return
        final, initial, reviewed = arrays
        self.budget.spend((longest + len(initial)) * (len(node.path) + self.row_chars))
        pairs = match_items(final, initial, self.metadata.decisions(node, final, initial))
        partners = set(pairs)
        removed = deque(i for i in range(len(initial)) if i not in partners)
        # a removed item comes before the items that came after it
        for f, i in enumerate(pairs):
            while removed and i is not None and removed[0] < i:
                gone = removed.popleft()
                self.add_node(node.item(None, gone), Values(MISSING, initial[gone]), items)
            values = Values(final[f], MISSING if i is None else initial[i], _at(reviewed, f))
            self.add_node(node.item(f, i), values, items)
        for gone in removed:
            self.add_node(node.item(None, gone), Values(MISSING, initial[gone]), items)
        for f in range(len(final), len(reviewed)):
            self.add_node(node.item(f, None), Values(reviewed=reviewed[f]), items)

    def add_node(self, node: Node, values: Values, schema: Schema | None) -> None:
        """The row of one path with what belongs to it, then the rows below it."""
        if values.final is not MISSING and self.has_one_value(values):
            self.add_equal_node(node, values.final, schema)
            return
        edit = None
        if self.is_plain(node):
            metadata = self.final_metadata(node.path)
        else:
            metadata, edit = self.merge_metadata(node, values)
        type_ = (schema.type if schema else None) or metadata.type
        containers = Values()
        if node.depth < MAX_DEPTH:
            containers = Values(*[v if is_container(v, type_) else MISSING for v in values])
        final, initial, reviewed = values
        outer = _first(containers.final, containers.reviewed, containers.initial)
        edit_kind = self.edit_kind(values, outer is not MISSING)
        if edit is not None and not self.has_initial:
            edit_kind = "changed"
        cells = _NO_CELLS
        if outer is not MISSING:
            kind, type_ = _kind_and_type(outer, node, type_)
        else:
            kind = "leaf"
            shown = _first(final, reviewed, initial)
            if type_ is None or (type_ == "object" and type(shown) is dict):
                type_ = type_of(shown)
            if final is not MISSING and final is not None:
                cells = typed_cells(final, type_)
            self.leaves += 1
            self.edited += edit_kind is not None
        text = json_or_marker(final, containers.final is not MISSING)
        before = json_or_marker(initial, containers.initial is not MISSING)
        # nearly always the reviewer's output is the final one
        after = text if reviewed is final else json_or_marker(reviewed, containers.reviewed is not MISSING)
        # a path that no output has is only named, by metadata: it is neither right nor wrong
        edited = True if edit_kind else self.unedited if text or before or after else None
        outcome = (text, before, after, edited, edit_kind, edit.note if edit else None)
        self.add_row(node, kind, type_, cells, outcome, metadata)
        if outer is not MISSING:
            self.walk_children(node, containers, schema)

    def merge_metadata(self, node: Node, values: Values) -> tuple[FieldMetadata, Edit | None]:
        """What all outputs say of a path: the model's scores, the final output's lists, and the reviewer's
        edit; in `extra` the scores of the other outputs and the edit as it came."""
        final, initial, reviewed, edit = self.metadata.find(node, values)
        if final is None and initial is None and reviewed is None and edit is None:
            return _NO_METADATA, None
        lists, scores = final or _NO_METADATA, initial or final or reviewed or _NO_METADATA
        if final is not None:
            self.add_lists(node.path, "final", final, _NO_METADATA)
        if initial is not None:
            self.add_lists(node.path, "initial", initial, lists)
        if reviewed is not None:
            self.add_lists(node.path, "reviewed", reviewed, lists)
        if scores is final and reviewed is None and edit is None:
            return final, None
        extra = extra_of(scores, final, reviewed, edit)
        type_ = scores.type or lists.type
        merged = replace(scores, citations=lists.citations, insights=lists.insights, type=type_, extra=extra)
        return merged, edit

    def edit_kind(self, values: Values, has_rows: bool) -> str | None:
        """How review changed this node, by the values; what changed inside a container is not counted for
        it."""
        final, initial, _ = values
        if not self.has_initial or initial is final:
            return None
        if initial is MISSING:
            return "added"
        if final is MISSING:
            return "removed"
        is_kept = type(final) is type(initial) if has_rows else is_equal(final, initial)
        return None if is_kept else "changed"

    def add_row(
        self,
        node: Node,
        kind: str,
        type_: str | None,
        cells: Cells,
        outcome: Outcome,
        metadata: FieldMetadata,
    ) -> None:
        """The row of `fields`, in the order of the table's columns."""
        value, number, boolean, day, currency = cells
        value_json, initial_json, reviewed_json, edited, edit_kind, edit_note = outcome
        citations = metadata.citations
        fields = self.fields
        fields.append(
            (
                self.run_id,
                self.workflow_run_id,
                node.path,
                node.initial_path or None,
                node.field,
                node.name,
                node.parent,
                len(fields),
                node.index,
                kind,
                type_,
                value,
                number,
                boolean,
                day,
                currency,
                value_json,
                initial_json,
                reviewed_json,
                edited,
                edit_kind,
                edit_note,
                metadata.confidence,
                metadata.ocr_confidence,
                metadata.logprobs_confidence,
                metadata.review_agent_score,
                citations[0].page if citations else None,
                len(citations),
                len(metadata.insights),
                metadata.extra,
                None,
            )
        )

    def add_lists(self, path: str, output: str, metadata: FieldMetadata, final: FieldMetadata) -> None:
        """Insights and citations of one output, where they differ from the final one's."""
        insights = metadata.insights if metadata.insights != final.insights else ()
        citations = metadata.citations if metadata.citations != final.citations else ()
        self.budget.spend((len(insights) + len(citations)) * (len(path) + self.row_chars))
        run_id = self.run_id
        # an entry has the tables' columns in their order; most lists have one entry or two, and for
        # these a loop takes half the time of a comprehension
        for i, insight in enumerate(insights):
            self.insights.append((run_id, output, path, i, *insight, None))
        for i, citation in enumerate(citations):
            self.citations.append((run_id, output, path, i, *citation, None))

    def add_unplaced_metadata(self) -> None:
        """Rows for metadata and edits whose path no value has, so that no score is lost."""
        keys = self.metadata.unplaced()
        if not keys:
            return
        paths = {row[_PATH] for row in self.fields}
        for key in keys:
            path = key if key and is_path(key) else child_path("", key)
            while path in paths or (path != key and path in keys):
                path = "[" + encode(path).decode() + "]"
            self.add_node(node_at(path, key), Values(), None)
            paths.add(path)


def _kind_and_type(container: JSON, node: Node, type_: str | None) -> tuple[str, str]:
    """kind and type of a container's row."""
    if type(container) is list:
        return "array", type_ or "array"
    return "item" if node.is_item else "object", type_ or "object"


def _first(*values: JSON) -> JSON:
    """The first value that is there."""
    for value in values:
        if value is not MISSING:
            return value
    return MISSING


def _as(kind: type, value: JSON) -> Any:
    return value if type(value) is kind else kind()


def _at(array: Sequence[JSON], index: int) -> JSON:
    return array[index] if 0 <= index < len(array) else MISSING


# the walk writes plain tuples: this is where they meet the tables' columns
assert len(FIELDS.columns) == 31
assert FIELDS.names[_PATH] == "path"
assert INSIGHTS.names[4:7] == Insight._fields
assert CITATIONS.names[4:16] == Citation._fields
