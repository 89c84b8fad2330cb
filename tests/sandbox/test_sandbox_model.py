"""The simulated model and its reviewers: errors at low scores, overconfidence where declared, consistent
corrections."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest

from docruns.sandbox.chance import dice, mix, share, tag, untag
from docruns.sandbox.kinds import KINDS, leaves, schema
from docruns.sandbox.moments import milliseconds, stamp
from docruns.sandbox.pool import VARIANTS, Pool
from docruns.sandbox.review import Reviewed

SAMPLES = [Pool(7).sample(kind, "normal", variant) for kind in KINDS for variant in range(VARIANTS)]


def test_low_scores_are_wrong_more_often() -> None:
    """The lower the review-agent score, the larger the share of wrong values, except in boastful fields."""
    seen: Counter[int] = Counter()
    wrong: Counter[int] = Counter()
    for sample in SAMPLES:
        for path, field, _, _ in leaves(sample.kind, sample.reading.value):
            score = sample.reading.entries[path].score
            if score is not None and not field.boastful:
                seen[score] += 1
                wrong[score] += path in sample.reading.wrong
    rates = [wrong[score] / seen[score] for score in (1, 2, 3, 4, 5)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 0.4 and rates[-1] < 0.03


def test_boastful_fields_are_sure_and_often_wrong() -> None:
    """A boastful field has the best score and a high confidence, and is wrong far more often than others with
    that score."""
    boastful = {(kind.name, field.name) for kind in KINDS.values() for field in kind.fields if field.boastful}
    assert {("invoice", "po_number"), ("claim", "diagnosis_code")} <= boastful
    for name, path in boastful:
        mine = [sample for sample in SAMPLES if sample.kind.name == name]
        entries = [sample.reading.entries[path] for sample in mine]
        assert all(entry.score in (5, None) and (entry.ocr or 1) > 0.9 for entry in entries)
        assert sum(path in sample.reading.wrong for sample in mine) / len(mine) > 0.15


def test_wrong_values_differ_from_true_ones() -> None:
    """Values counted as wrong differ from the truth, and all others equal it."""
    for sample in SAMPLES:
        true = {path: holder[key] for path, _, holder, key in leaves(sample.kind, sample.true)}
        rows, reading = sample.kind.rows, sample.reading
        # the true index of each row of the reading; None for one that the document does not have
        places: list[int | None] = list(range(len(sample.true[rows])))
        for place, _ in reading.missed:
            places.remove(place)
        if reading.ghost is not None:
            places.insert(reading.ghost, None)
        if reading.moved is not None:
            at, true_place = reading.moved
            places.insert(at, places.pop(true_place))
        for path, _, holder, key in leaves(sample.kind, reading.value):
            name, _, rest = path.partition("[")
            place = places[int(rest.split("]")[0])] if rest and name == rows else None
            if path in reading.wrong:
                assert holder[key] != reading.wrong[path]
            elif not rest:
                assert holder[key] == true[path]
            elif place is not None:
                assert holder[key] == true[f"{rows}[{place}]{rest.partition(']')[2]}"]


@pytest.mark.parametrize("round", [1, 2, 3])
def test_edits_lead_from_the_machine_value_to_the_reviewed_one(round: int) -> None:
    """Applying a review's edits to the machine's value gives the reviewed value; from round two on there is
    at least one edit."""
    for sample in SAMPLES:
        done = sample.reviewed(round)
        assert _applied(sample, done) == done.value
        assert round == 1 or done.edits
        assert {path for path in done.entries if path.startswith(f"{sample.kind.rows}[")} <= {
            path
            for row in range(len(done.value[sample.kind.rows]))
            for path in done.entries
            if path.startswith(f"{sample.kind.rows}[{row}]")
        }


def _applied(sample: Any, done: Reviewed) -> Any:
    """The machine's value with its leaves changed, its removed rows gone, all rows in the reviewed order, and the
    added ones."""
    value = copy.deepcopy(sample.reading.value)
    rows = value[sample.kind.rows]
    removed = set()
    added = {}
    for path, edit in done.edits.items():
        if edit is None:
            continue
        if path.startswith(f"{sample.kind.rows}[") and path.endswith("]"):
            index = int(path.split("[")[1][:-1])
            if edit.edited is None:
                assert edit.original == sample.reading.value[sample.kind.rows][index]
                removed.add(index)
            else:
                added[index] = edit.edited
            continue
        holder = next(holder for known, _, holder, _ in leaves(sample.kind, value) if known == path)
        holder[path.rsplit(".", 1)[-1]] = copy.deepcopy(edit.edited)
    kept = {place for place in done.places if place is not None}
    assert removed == set(range(len(rows))) - kept
    value[sample.kind.rows] = [
        added[index] if place is None else rows[place] for index, place in enumerate(done.places)
    ]
    return value


def test_reviewers_fix_most_of_what_is_wrong_and_add_and_remove_rows() -> None:
    """A first review leaves few wrong values; at least one adds a missed row and one removes a ghost row."""
    wrong = sum(len(sample.reading.wrong) for sample in SAMPLES)
    fixed = sum(len(sample.reading.wrong.keys() & sample.reviewed(1).edits.keys()) for sample in SAMPLES)
    assert 0.85 < fixed / wrong < 1
    edits = [
        edit
        for sample in SAMPLES
        for path, edit in sample.reviewed(1).edits.items()
        if edit and path.endswith("]")
    ]
    assert any(edit.original is None for edit in edits) and any(edit.edited is None for edit in edits)


def test_values_follow_their_schema() -> None:
    """Readings and reviewed values have exactly the schema's properties; only primitives are null; enum
    values are in their list."""
    for sample in SAMPLES:
        for value in (
            sample.true,
            sample.reading.value,
            sample.reviewed(1).value,
            sample.reviewed(2).value,
        ):
            _check(value, schema(sample.kind))


def _check(value: Any, want: dict[str, Any]) -> None:
    if "enum" in want:
        assert value in want["enum"]
    elif want["type"] == "object":
        assert value.keys() == want["properties"].keys()
        for key, inner in value.items():
            _check(inner, want["properties"][key])
    elif want["type"] == "array":
        for item in value:
            _check(item, want["items"])
    else:
        kinds = {"string": str, "number": (int, float), "integer": int, "boolean": bool}
        assert value is None or isinstance(value, kinds[want["type"][0]])


def test_page_text_says_what_the_document_says() -> None:
    """The text of a document's first page contains its identifying field."""
    assert all(
        sample.true[sample.kind.key] in sample.text[0] and len(sample.text) == sample.pages
        for sample in SAMPLES
    )


def test_tags_read_both_ways_and_only_their_own() -> None:
    """An id gives its run; other text, another seed's ids and damaged ids give none."""
    places = [(index, slot) for index in (0, 1, 99_999, (1 << 40) + 3) for slot in (0, 1, 255)]
    tags = [tag(7, *place) for place in places]
    assert len(set(tags)) == len(places) and [untag(7, text) for text in tags] == places
    assert all(
        untag(8, text) is None and untag(7, text[:-1] + "!") is None and untag(7, text[::-1]) is None
        for text in tags
    )


def test_chance_is_even_and_seeded() -> None:
    """Shares are spread evenly over [0, 1) and depend on every argument."""
    draws = [share(3, number) for number in range(4000)]
    assert 0.48 < sum(draws) / len(draws) < 0.52 and len(set(draws)) == len(draws)
    assert mix(1, 2, 3) != mix(1, 3, 2) != mix(2, 3, 2) and dice(1, 2).random() == dice(1, 2).random()


def test_moments_read_both_ways() -> None:
    """A timestamp's text converts back to its milliseconds; a date without a zone is UTC."""
    assert stamp(1_779_085_800_007) == "2026-05-18T06:30:00.007Z"
    assert (
        milliseconds("2026-05-18T06:30:00.007Z")
        == milliseconds("2026-05-18T06:30:00.007")
        == 1_779_085_800_007
    )
