"""A bounded pool of documents: a hundred thousand runs share a few hundred generated contents.

Runs differ in ids, times and states; the content of their documents comes from one of `Corpus.variants` samples
per kind and size.
"""

from __future__ import annotations

from functools import cached_property
from random import Random
from typing import Final, Literal, NamedTuple

from .chance import dice
from .kinds import KINDS, Kind, Value, leaves, truth, words
from .reading import Reading, read, with_even_scores
from .review import Reviewed, review

VARIANTS: Final = 64
VARIANT_NUMBERS: Final = VARIANTS << 14
"""A run's variant is drawn below this multiple of `VARIANTS`, before a pool takes it modulo its own number."""
TERMS: Final = "\n\n".join(
    f"{number}. {sentence} Any change of this paragraph is valid only in writing and only when both parties have signed it before the work begins."
    for number, sentence in enumerate((
        "Goods stay the property of the sender until they are paid in full.",
        "Complaints are to be made within eight days of receipt, with photographs.",
    ), 1)
)  # fmt: skip


class Corpus(NamedTuple):
    """What documents an organisation has, what scores they get, and which of them people review.

    `variants` is the number of different documents of each kind and size. `scores`: OCR confidences are low where the
    model is often wrong ("graded"), or right on average and the same for right and wrong leaves ("even"). `reviews`:
    people review 60 % of the runs that end well and overlook 7 % of the wrong values ("some"), or overlook nothing in
    all of these runs ("all"), or in those of them with many low review-agent scores ("low_scores"). `evaluated` is the
    number of items of each evaluation set. `clean` is the share of documents that the model reads nearly without errors
    and with high scores, in tenths. `listed` is the number of workflows, of processors of each type and of evaluation
    sets that the lists of the configuration show: all by default.
    """

    variants: int = VARIANTS
    scores: Literal["graded", "even"] = "graded"
    reviews: Literal["some", "all", "low_scores"] = "some"
    evaluated: int = 6
    clean: float = 0.0
    listed: int | None = None

    @property
    def seen(self) -> float:
        """The share of the wrong values that a first review finds."""
        return 0.93 if self.reviews == "some" else 1.0


USUAL: Final = Corpus()


class Sample:
    """One document: its true values, the model's reading, and the result of each round of review."""

    def __init__(self, seed: int, kind: Kind, size: str, variant: int, corpus: Corpus = USUAL) -> None:
        self.kind = kind
        self.size = size
        self.variant = variant
        self._corpus = corpus
        self._seed = seed
        self._reviews: dict[int, Reviewed] = {}

    def _dice(self, purpose: int) -> Random:
        return dice(
            self._seed,
            list(KINDS).index(self.kind.name),
            {"light": 0, "normal": 1, "heavy": 2}[self.size],
            self.variant,
            purpose,
        )

    @property
    def pages(self) -> int:
        return {"light": 1, "normal": 1 + self.variant % 3, "heavy": 4 + self.variant % 5}[self.size]

    @property
    def newer(self) -> bool:
        """Whether the model of this document gives no log probabilities; true for two thirds of them."""
        return self.variant % 3 != 0

    @property
    def is_clean(self) -> bool:
        """Whether the model reads the document nearly without errors."""
        return self.variant % 10 < 10 * self._corpus.clean

    @cached_property
    def true(self) -> Value:
        return truth(self.kind, self._dice(1), self.size)

    @cached_property
    def reading(self) -> Reading:
        rng, clean = self._dice(2), self.is_clean
        graded = read(self.kind, self.true, rng, newer=self.newer, pages=self.pages, clean=clean)
        return graded if self._corpus.scores == "graded" else with_even_scores(graded, self._dice(0))

    def reviewed(self, round: int) -> Reviewed:
        """The result of the given round of review, counted from 1."""
        if round not in self._reviews:
            rng, seen = self._dice(2 + round), self._corpus.seen
            self._reviews[round] = review(self.kind, self.reading, rng, round=round, seen=seen)
        return self._reviews[round]

    @cached_property
    def text(self) -> tuple[str, ...]:
        """The pages as markdown: a heading, the fields as a list, and the rows as a table on every page."""
        head = [f"# {self.kind.title} {self.true[self.kind.key] or ''}".rstrip()]
        table = ["| Description | Amount |", "| --- | --- |"]
        head += [
            f"- {field.description}: {words(field, holder[key])}"
            for path, field, holder, key in leaves(self.kind, self.true)
            if "[" not in path
        ]
        table += [
            f"| {row['description']} | {row['amount']['amount']:.2f} |" for row in self.true[self.kind.rows]
        ]
        first = "\n".join([*head, "", *table])
        return (
            first,
            *(f"# {self.kind.title}, page {page}\n\n{TERMS}" for page in range(2, self.pages + 1)),
        )


class Pool:
    """Every sample of one seed; a sample is created on first use."""

    def __init__(self, seed: int, corpus: Corpus = USUAL) -> None:
        self.seed = seed
        self.corpus = corpus
        self._samples: dict[tuple[str, str, int], Sample] = {}

    def sample(self, kind: str, size: str, variant: int) -> Sample:
        key = (kind, size, variant % self.corpus.variants)
        found = self._samples.get(key)
        if found is None:
            found = self._samples[key] = Sample(self.seed, KINDS[kind], size, key[2], self.corpus)
        return found
