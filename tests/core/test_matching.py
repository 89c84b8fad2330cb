"""Items of arrays are matched by what they hold."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stickler.algorithms.hungarian import HungarianMatcher

from docruns.core.codec import decode
from docruns.core.flatten.flatten import flatten_outputs, rebuild
from docruns.core.flatten.matching import best_pairs, leaves_of, likeness, match_items
from docruns.core.flatten.output import NO_OUTPUT, Citation, Edit, FieldMetadata, Insight, Output, Review
from docruns.core.tables import FIELDS

Row = dict[str, Any]
JSON = Any

A, B, C, D = (
    {"sku": f"SKU-{n}", "quantity": n, "price": 10 * n, "tags": [f"t{n}", "x"]} for n in range(1, 5)
)
X = {"sku": "SKU-9", "quantity": 90, "price": 91, "tags": ["t9", "y"]}


def rows_of(
    final: JSON,
    initial: JSON,
    edits: dict[str, Edit] | None = None,
    metadata: Sequence[dict[str, FieldMetadata]] = ({}, {}),
) -> dict[str, Row]:
    """The rows of two values, which a reviewer has seen, by path."""
    outputs = [
        Output(decode(json.dumps(value)), known)
        for value, known in zip((final, initial), metadata, strict=True)
    ]
    flat = flatten_outputs("r", None, *outputs, review=Review(edits, True))
    rows = [FIELDS.as_dict(row) for row in flat.fields]
    assert len({row["path"] for row in rows}) == len(rows)
    return {row["path"]: row for row in rows}


def edits_of(rows: dict[str, Row]) -> dict[str, str]:
    """The edited leaves, by path, and the leaves that became an array or an object, or the other way round."""
    return {
        path: row["edit_kind"]
        for path, row in rows.items()
        if row["edited"] and (row["kind"] == "leaf" or row["edit_kind"] == "changed")
    }


def leaf_paths(rows: dict[str, Row], item: str) -> set[str]:
    return {path for path, row in rows.items() if path.startswith(item) and row["kind"] == "leaf"}


# examples


def test_a_deleted_item_is_one_edit() -> None:
    """The reviewer deleted the first of four items: its leaves are removed, and all others keep their own scores."""
    scores = {f"lines[{i}].sku": FieldMetadata(0.1 * i) for i in range(4)}
    rows = rows_of({"lines": [B, C, D]}, {"lines": [A, B, C, D]}, metadata=(scores, scores))
    assert edits_of(rows) == dict.fromkeys(leaf_paths(rows, "lines[~0]"), "removed")
    assert len(edits_of(rows)) == 5
    for i in range(3):
        row = rows[f"lines[{i}].sku"]
        assert (row["initial_path"], row["edited"]) == (f"lines[{i + 1}].sku", False)
        assert row["ocr_confidence"] == 0.1 * (i + 1)
        assert row["field"] == "lines[].sku"
    assert rows["lines[~0].sku"]["initial_path"] == "lines[0].sku"
    assert rows["lines[~0].sku"]["ocr_confidence"] == 0.0


@pytest.mark.parametrize(
    ("final", "initial", "pairs"),
    [
        ([A, C, D], [A, B, C, D], [0, 2, 3]),
        ([A, X, B], [A, B], [0, None, 1]),
        ([D, A, C, B], [A, B, C, D], [3, 0, 2, 1]),
        # as many between the same neighbours: written over
        ([A, X, C], [A, B, C], [0, 1, 2]),
        ([A, X, C], [D, A, B, C], [1, 2, 3]),
        ([A, {**B, "price": 0}, D], [A, B, C, D], [0, 1, 3]),
        ([{**D, "price": 0}, {**A, "price": 0}], [A, B, C, D], [3, 0]),
        # equal items: their neighbours say which one is gone
        ([B, A], [A, B, A], [1, 2]),
        ([A, A], [A, A, A], [0, 1]),
        ([A, B, A, C], [A, B, A, B, A, C], [0, 1, 2, 5]),
        # scalars
        (["a", "c"], ["a", "b"], [0, 1]),
        (["b"], ["a", "b"], [1]),
        ([1.0, 2], [2, 1], [1, 0]),
        ([None, 1], [1], [None, 0]),
        ([[1, 2], [3]], [[0], [1, 2], [3]], [1, 2]),
        # a comparison by place has fewer edits
        ([X], [A, B], [0]),
        ([], [A], []),
        ([A], [], [None]),
    ],
)
def test_pairs(final: list[JSON], initial: list[JSON], pairs: list[int | None]) -> None:
    """Equal items first, then the most alike ones, then those between the same neighbours."""
    decoded = [decode(json.dumps(value)) for value in (final, initial)]
    assert match_items(*decoded) == pairs


def test_arrays_within_items() -> None:
    """A removed item of an array in an item that moved has its place in both outputs."""
    nested = {**B, "tags": ["a", "b", "c"]}
    rows = rows_of({"lines": [A, {**nested, "tags": ["a", "b"]}]}, {"lines": [A, C, nested]})
    assert rows["lines[1].tags[~2]"]["initial_path"] == "lines[2].tags[2]"
    assert rows["lines[1].tags[0]"]["initial_path"] == "lines[2].tags[0]"
    assert rows["lines[~1].tags[1]"]["initial_path"] == "lines[1].tags[1]"
    assert rows["lines[~1].tags[1]"]["field"] == "lines[].tags[]"
    assert [row["item_index"] for path, row in rows.items() if path.endswith("[~2]")] == [2]
    assert edits_of(rows) == {
        "lines[1].tags[~2]": "removed",
        **dict.fromkeys(leaf_paths(rows, "lines[~1]"), "removed"),
    }


def test_metadata_that_was_not_keyed_anew() -> None:
    """The final metadata equals the initial one: an item that moved has its own entry, a new item has none."""
    same = {
        f"lines[{i}].sku": FieldMetadata(
            i / 10, citations=(Citation(page=i + 1),), insights=(Insight("i", str(i)),)
        )
        for i in range(2)
    }
    rows = rows_of({"lines": [X, A, B]}, {"lines": [A, B]}, metadata=(same, dict(same)))
    assert [rows[f"lines[{i}].sku"]["ocr_confidence"] for i in range(3)] == [None, 0.0, 0.1]
    assert [rows[f"lines[{i}].sku"]["page"] for i in range(3)] == [None, 1, 2]
    assert len(rows) == 3 * 7 + 1


def test_metadata_that_was_keyed_anew() -> None:
    """The final metadata follows the final paths: the scores are those that the model gave the same item."""
    before = {f"lines[{i}].sku": FieldMetadata(i / 10, citations=(Citation(page=i + 1),)) for i in range(3)}
    after = {f"lines[{i}].sku": before[f"lines[{i + 1}].sku"] for i in range(2)}
    rows = rows_of({"lines": [B, C]}, {"lines": [A, B, C]}, metadata=(after, before))
    assert [rows[f"lines[{i}].sku"]["ocr_confidence"] for i in range(2)] == [0.1, 0.2]
    assert [rows[f"lines[{i}].sku"]["page"] for i in range(2)] == [2, 3]
    assert rows["lines[~0].sku"]["ocr_confidence"] == 0.0


def test_edits_decide() -> None:
    """Two items look as if they were swapped; the platform's record says that a cell of each was changed."""
    one, two = {"sku": "a", "quantity": 1}, {"sku": "a", "quantity": 2}
    swapped = rows_of({"lines": [two, one]}, {"lines": [one, two]})
    assert edits_of(swapped) == {}
    record = {
        "lines[0].quantity": Edit("first", "{}", original=1, edited=2),
        "lines[1].quantity": Edit("second", "{}", original=2, edited=1),
    }
    rows = rows_of({"lines": [two, one]}, {"lines": [one, two]}, edits=record)
    assert edits_of(rows) == {"lines[0].quantity": "changed", "lines[1].quantity": "changed"}
    assert rows["lines[1].quantity"]["edit_note"] == "second"


@pytest.mark.parametrize("gone", range(3))
def test_edits_say_which_of_equal_items_was_removed(gone: int) -> None:
    """Of three equal items, that is removed which the record names."""
    record = {f"lines[{gone}]": Edit("doubled", "{}", original=A, edited=None)}
    rows = rows_of({"lines": [A, A]}, {"lines": [A, A, A]}, edits=record)
    assert rows[f"lines[~{gone}]"]["edit_note"] == "doubled"
    assert edits_of(rows) == dict.fromkeys(leaf_paths(rows, f"lines[~{gone}]"), "removed")


def test_an_edit_follows_its_item() -> None:
    """A record keyed by either path belongs to the item with its values."""
    changed = {**C, "price": 1}
    for path in ("lines[2].price", "lines[1].price"):
        record = {path: Edit("typed", "{}", original=30, edited=1)}
        rows = rows_of({"lines": [B, changed, D]}, {"lines": [A, B, C, D]}, edits=record)
        assert [path for path, row in rows.items() if row["edit_note"]] == ["lines[1].price"]


# properties

cells = st.sampled_from([None, 0, 1, 2, True, "a", "b", "2026-02-09"])
items = st.recursive(
    cells | st.dictionaries(st.sampled_from("abcd"), cells, max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=8,
)
arrays = st.lists(items, max_size=6)
trees = st.dictionaries(st.sampled_from(["lines", "rows", "a.b"]), arrays | items, min_size=1, max_size=3)


@st.composite
def reviewed(draw: Any) -> tuple[JSON, JSON, JSON]:
    """A value, and what a reviewer made of it: items deleted, inserted, moved, replaced, doubled and changed."""
    initial = draw(trees)
    final = json.loads(json.dumps(initial))
    for value in final.values():
        for _ in range(draw(st.integers(0, 3)) if isinstance(value, list) else 0):
            place = draw(st.integers(0, len(value)))
            kind = draw(st.sampled_from(["delete", "insert", "move", "replace", "double"]))
            if kind == "insert" or not value:
                value.insert(place, draw(items))
            elif kind == "delete":
                value.pop(place % len(value))
            elif kind == "move":
                value.insert(place, value.pop(draw(st.integers(0, len(value) - 1))))
            elif kind == "replace":
                value[place % len(value)] = draw(items)
            else:
                value.insert(place, value[place % len(value)])
    return initial, final, draw(st.sampled_from([final, initial, None]) | trees)


@settings(max_examples=1000, deadline=None)
@given(reviewed())
def test_rows_give_back_each_output_after_any_review(case: tuple[JSON, JSON, JSON]) -> None:
    """rebuild is exact for the final, the initial and the reviewed output."""
    initial, final, reviewed_value = case
    given_outputs = [final, initial, reviewed_value]
    outputs = [NO_OUTPUT if value is None else Output(decode(json.dumps(value))) for value in given_outputs]
    rows = [FIELDS.as_dict(row) for row in flatten_outputs("r", None, *outputs).fields]
    assert len({row["path"] for row in rows}) == len(rows)
    for column, value in zip(("value_json", "initial_json", "reviewed_json"), given_outputs, strict=True):
        is_initial = column == "initial_json"
        back = rebuild(((is_initial and row["initial_path"]) or row["path"], row[column]) for row in rows)
        assert json.dumps(back, sort_keys=True) == json.dumps(value, sort_keys=True)


@settings(max_examples=1000, deadline=None)
@given(reviewed())
def test_no_more_edits_than_by_place(case: tuple[JSON, JSON, JSON]) -> None:
    """Matching never finds more edited leaves than a comparison by place; equal values have none."""
    initial, final, _ = case
    assert len(edits_of(rows_of(final, initial))) <= edits_by_place(final, initial)
    assert edits_of(rows_of(final, json.loads(json.dumps(final)))) == {}


NOWHERE = object()


def edits_by_place(final: JSON, initial: JSON) -> int:
    """The leaves that differ where index i is compared with index i."""
    if NOWHERE in (final, initial):
        there = initial if final is NOWHERE else final
        if isinstance(there, dict | list):
            parts = there.values() if isinstance(there, dict) else there
            return sum(edits_by_place(part, NOWHERE) for part in parts)
        return 1
    if isinstance(final, dict) and isinstance(initial, dict):
        keys = final.keys() | initial.keys()
        return sum(edits_by_place(final.get(key, NOWHERE), initial.get(key, NOWHERE)) for key in keys)
    if isinstance(final, list) and isinstance(initial, list):
        longest = max(len(final), len(initial))
        pairs = [
            [array[i] if i < len(array) else NOWHERE for array in (final, initial)] for i in range(longest)
        ]
        return sum(edits_by_place(*pair) for pair in pairs)
    if isinstance(final, dict | list) or isinstance(initial, dict | list):
        return 1 + sum(edits_by_place(v, NOWHERE) for v in (final, initial) if isinstance(v, dict | list))
    return 0 if (final == initial and isinstance(final, bool) == isinstance(initial, bool)) else 1


@settings(max_examples=300, deadline=None)
@given(arrays.filter(bool), st.data())
def test_one_deleted_or_inserted_item(array: list[JSON], data: Any) -> None:
    """Exactly its leaves are removed or added, whatever its neighbours look like."""
    place = data.draw(st.integers(0, len(array) - 1))
    fewer = array[:place] + array[place + 1 :]
    leaves = edits_by_place(array[place], NOWHERE)
    for final, initial, kind in ((fewer, array, "removed"), (array, fewer, "added")):
        found = edits_of(rows_of({"lines": final}, {"lines": initial}))
        assert list(found.values()) == [kind] * leaves


@settings(max_examples=300, deadline=None)
@given(arrays, st.randoms())
def test_a_permutation_is_no_edit(array: list[JSON], rng: random.Random) -> None:
    """Items that only moved are not edited."""
    moved = array.copy()
    rng.shuffle(moved)
    assert edits_of(rows_of({"lines": moved}, {"lines": array})) == {}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.randoms())
def test_the_best_assignment(finals: int, initials: int, rng: random.Random) -> None:
    """The likeness of all pairs adds up to that of an optimal assignment by another program."""
    both = [
        [{key: rng.randrange(4) for key in "abcdef"[: rng.randrange(2, 7)]} for _ in range(count)]
        for count in (finals, initials)
    ]
    own, theirs = ({at: leaves_of(item) for at, item in enumerate(array)} for array in both)
    found = best_pairs(own, theirs)
    assert len({f for f, _ in found}) == len({i for _, i in found}) == len(found)
    total = sum(likeness(own[f], theirs[i]) for f, i in found)

    matcher = HungarianMatcher(lambda a, b: likeness(leaves_of(a), leaves_of(b)), normalize_values=False)
    pairs, shares = matcher.match(*both)
    assert total == pytest.approx(sum(float(shares[f, i]) for f, i in pairs), abs=1e-3)


def test_likeness_is_the_share_of_equal_leaves() -> None:
    """Below a third it counts as none; the place in an inner array does not matter."""
    one = {"a": 1, "b": 2, "c": [1, 2]}
    assert likeness(leaves_of(one), leaves_of({**one, "c": [2, 1]})) == 1
    assert likeness(leaves_of(one), leaves_of({**one, "a": 9})) == 0.75
    assert likeness(
        leaves_of({"a": 1, "b": 2, "c": 3}), leaves_of({"a": 1, "b": 0, "c": 0})
    ) == pytest.approx(1 / 3)
    assert likeness(leaves_of(one), leaves_of({"a": 1, "b": 0, "c": [8, 9]})) == 0


# time


def timed(final: list[JSON], initial: list[JSON]) -> float:
    started = time.process_time()
    match_items(final, initial)
    return time.process_time() - started


def items_like(kind: str, count: int) -> tuple[list[JSON], list[JSON]]:
    initial = [{"text": f"x{n}", "quantity": n % 7, "code": "EUR", "note": None} for n in range(count)]
    other = [{"text": f"y{n}", "quantity": -n, "code": "USD", "note": 1} for n in range(count)]
    rng = random.Random(count)
    made: dict[str, list[JSON]] = {
        "one deleted": initial[1:],
        "shuffled": rng.sample(initial, count),
        "unlike": other[1:],
        "each changed": [{**item, "quantity": 99} for item in initial[1:]],
        "all equal": [initial[0]] * count,
        "from both ends": [initial[n // 2 if n % 2 else -n // 2] for n in range(count)],
        "a common leaf": [{"code": "EUR"}] * count,
    }
    return made[kind], initial


@pytest.mark.parametrize(
    "kind",
    ["one deleted", "shuffled", "unlike", "each changed", "all equal", "from both ends", "a common leaf"],
)
def test_time_grows_with_the_number_of_items(kind: str) -> None:
    """Eight times the items take no more than twenty times the time."""
    small, large = (min(timed(*items_like(kind, count)) for _ in range(3)) for count in (1000, 8000))
    assert large < 20 * small


def test_hostile_nesting_is_bounded() -> None:
    """Arrays within arrays, all different: the work doubles for three levels only."""

    def nest(levels: int, salt: int) -> JSON:
        if not levels:
            return salt
        return [nest(levels - 1, salt * 2 + side) for side in range(2)]

    started = time.process_time()
    match_items(nest(12, 1), nest(12, 7))
    assert time.process_time() - started < 20
