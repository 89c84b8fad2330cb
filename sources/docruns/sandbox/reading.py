"""The simulated extraction model: the values it reads, its confidence in them, and its errors.

The lower the score, the more often a value is wrong. A few fields (`Field.boastful`) are often wrong at a
high score, so a calibration study over the sandbox has something to find.
"""

from __future__ import annotations

import copy
from random import Random
from typing import Any, Final, NamedTuple

from .kinds import Field, Kind, Value, leaves, words

SCORES: Final = ((5, 0.62), (4, 0.18), (3, 0.10), (2, 0.06), (1, 0.04))
"""Review-agent scores, each with its share of the fields."""

WRONG: Final = {5: 0.012, 4: 0.05, 3: 0.16, 2: 0.38, 1: 0.62}
"""The share of the fields with that score that are wrong."""

LOW: Final = 2
"""The highest score that is low."""

EVEN_SCORES: Final = (0.79, 0.99)
"""The ends of scores that are about the share of right leaves on average, and say nothing about one leaf."""

WRONG_BOASTFUL: Final = 0.36
WRONG_CLEAN: Final = 0.006
BEST: Final = (5, 0.985)
"""The score of boastful fields and of clean documents, and the confidence that goes with it."""

MISSED_ROW: Final = 0.09
GHOST_ROW: Final = 0.07
MOVED_ROW: Final = 0.04
FOREIGN_ROW: Final = 0.03
CITED: Final = 0.22
PRINTED_TWICE: Final = 0.08
REASONED: Final = 0.06
PAGE: Final = (1275, 1650)


Box = tuple[int, int, int, int]


class Entry(NamedTuple):
    """The model's metadata for one path.

    Confidences are 0..1, the score is 1..5. Boxes are (left, top, right, bottom) in page pixels, one per
    place where the text is printed.
    """

    score: int | None
    ocr: float | None
    logprobs: float | None
    page: int
    text: str | None
    boxes: tuple[Box, ...]
    insights: tuple[tuple[str, str], ...]


class Reading(NamedTuple):
    """A machine result.

    It has the value, an entry per path, the true value of each wrong leaf, the rows that it missed with their true
    index, the index of a row that does not exist in the document (`ghost`), and of a row that it read in the wrong
    place its index and the true one (`moved`).
    """

    value: Value
    entries: dict[str, Entry]
    wrong: dict[str, Any]
    missed: tuple[tuple[int, Value], ...]
    ghost: int | None
    moved: tuple[int, int] | None
    pages: int


def read(kind: Kind, true: Value, rng: Random, *, newer: bool, pages: int, clean: bool = False) -> Reading:
    """Read a document as the model would; a `newer` model gives no log probabilities, and a `clean` document has the
    highest scores and few errors."""
    value = copy.deepcopy(true)
    rows: list[Value] = value[kind.rows]
    missed: tuple[tuple[int, Value], ...] = ()
    ghost: int | None = None
    moved: tuple[int, int] | None = None
    foreign: int | None = None
    chance, place = rng.random(), rng.randrange(max(len(rows), 1))
    if clean:
        chance = 1.0
    if chance < MISSED_ROW and len(rows) > 1:
        missed = ((place, rows.pop(place)),)
    elif chance < MISSED_ROW + GHOST_ROW:
        ghost = place
        rows.insert(place, copy.deepcopy(rng.choice(rows)))
    elif chance < MISSED_ROW + GHOST_ROW + MOVED_ROW and len(rows) > 1:
        true_place = (place + 1 + rng.randrange(len(rows) - 1)) % len(rows)
        rows.insert(place, rows.pop(true_place))
        moved = place, true_place
    elif chance < MISSED_ROW + GHOST_ROW + MOVED_ROW + FOREIGN_ROW:
        foreign = place
    wrong: dict[str, Any] = {}
    entries: dict[str, Entry] = {}
    total = max(len(rows), 1)
    first = next(field for field in kind.fields if field.name == kind.rows).fields[0].name
    for path, field, holder, key in leaves(kind, value):
        row = _row(path)
        page = 1 if row is None else 1 + row * pages // total
        if row is not None and key == first:
            entries[f"{kind.rows}[{row}]"] = _row_entry(rng, page, rows[row], newer)
        score, sure = BEST if clean else _score(rng, field)
        often = WRONG_CLEAN if clean else WRONG_BOASTFUL if field.boastful else WRONG[score]
        if (row is not None and row == foreign) or rng.random() < often:
            bad = _misread(field, holder[key], rng)
            if bad != holder[key]:
                wrong[path] = holder[key]
                holder[key] = bad
        entries[path] = _entry(rng, field, holder[key], score, sure, page, newer)
    entries[kind.rows] = Entry(4, 0.97, None if newer else 0.95, 1, None, (), ())
    return Reading(value, entries, wrong, missed, ghost, moved, pages)


def with_even_scores(reading: Reading, rng: Random) -> Reading:
    """The same reading with OCR confidences that do not depend on whether a leaf is right."""
    entries = {
        path: entry if entry.ocr is None else entry._replace(ocr=round(rng.uniform(*EVEN_SCORES), 3))
        for path, entry in reading.entries.items()
    }
    return reading._replace(entries=entries)


def has_low_scores(reading: Reading) -> bool:
    """Whether at least an eighth of the scores are low."""
    scores = [entry.score for entry in reading.entries.values() if entry.score is not None]
    return 8 * sum(score <= LOW for score in scores) >= len(scores)


def _row(path: str) -> int | None:
    start = path.find("[")
    return None if start < 0 else int(path[start + 1 : path.index("]")])


def _score(rng: Random, field: Field) -> tuple[int, float]:
    if field.boastful:
        return BEST
    draw = rng.random()
    for score, part in SCORES:
        draw -= part
        if draw < 0:
            return score, 0.55 + 0.085 * score
    return 1, 0.6


def _row_entry(rng: Random, page: int, row: Value, newer: bool) -> Entry:
    top = rng.randrange(300, 1500)
    boxes = ((120, top, 1150, top + 22),) if rng.random() < CITED else ()
    return Entry(4, 0.98, None if newer else 0.96, page, str(row["description"]), boxes, ())


def _entry(rng: Random, field: Field, value: Any, score: int, sure: float, page: int, newer: bool) -> Entry:
    text = words(field, value)
    confidence = round(min(0.999, max(0.05, sure + rng.uniform(-0.06, 0.015))), 3)
    logprobs = None if newer else round(min(1.0, max(0.01, sure + rng.uniform(-0.1, 0.02))), 3)
    if not text:
        return Entry(None, None, logprobs, page, None, (), ())
    cited = field.boastful or rng.random() < CITED
    places = (2 if rng.random() < PRINTED_TWICE else 1) if cited else 0
    boxes = tuple(_box(rng, text) for _ in range(places))
    return Entry(
        score,
        confidence,
        logprobs,
        page,
        text if cited else None,
        boxes,
        _insights(rng, field, score),
    )


def _box(rng: Random, text: str) -> Box:
    left, top = rng.randrange(90, 900), rng.randrange(120, 1560)
    return (left, top, left + 11 * min(len(text), 30), top + 22)


def _insights(rng: Random, field: Field, score: int) -> tuple[tuple[str, str], ...]:
    said: list[tuple[str, str]] = []
    if rng.random() < REASONED:
        said.append(("reasoning", f"Printed next to the label for the {field.name.replace('_', ' ')}."))
    if score <= 2:
        said.append(
            (
                "issue",
                rng.choice(
                    (
                        "The print is faint here.",
                        "Two candidates are printed; the lower one was chosen.",
                        "A stamp covers part of the value.",
                    )
                ),
            )
        )
        said.append(("review_summary", f"Check the {field.name.replace('_', ' ')} against the scan."))
    return tuple(said)


def _misread(field: Field, value: Any, rng: Random) -> Any:
    if field.type == "boolean":
        return not value
    if field.type == "enum":
        return rng.choice([option for option in field.options if option != value])
    if field.type == "currency":
        amount = value["amount"]
        return {
            **value,
            "amount": rng.randrange(1000, 99_999) / 100
            if amount is None
            else round(amount * rng.choice((10, 0.1)), 2),
        }
    if field.type == "signature":
        return {**value, "is_signed": not value["is_signed"]}
    if value is None:
        return _invented(field, rng)
    if rng.random() < 0.3 and not field.boastful:
        return None
    if field.type in ("number", "integer"):
        return value + rng.randrange(1, 10)
    if field.type == "date":
        return f"{value[:8]}{int(value[8:]) % 28 + 1:02d}"
    return _swapped(value, rng)


def _invented(field: Field, rng: Random) -> Any:
    if field.make is None:
        return None
    return field.make(rng)


def _swapped(text: str, rng: Random) -> str:
    """The text with characters replaced by similar-looking ones."""
    look_alike = (
        str.maketrans("0158BOSIl", "O1S8805I1")
        if rng.random() < 0.5
        else str.maketrans("0123456789", "8173566109")
    )
    swapped = text.translate(look_alike)
    return swapped if swapped != text else text[:-1]
