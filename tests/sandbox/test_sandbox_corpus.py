"""Organisations with more documents, with scores that say nothing, and with other reviewers than usual."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from docruns.sandbox import Corpus, Sandbox
from docruns.sandbox.extend.platform import Extend
from docruns.sandbox.extend.runs import Child, Run
from docruns.sandbox.kinds import leaves
from docruns.sandbox.moments import EPOCH_NOW
from docruns.sandbox.reading import has_low_scores


def platform(corpus: Corpus, runs: int = 400) -> Extend:
    return Extend(runs, seed=5, now=EPOCH_NOW, corpus=corpus)


def extractions(extend: Extend) -> Iterator[tuple[Run, Child]]:
    """The extractions of workflow runs that have ended well."""
    for run in extend.workflow_runs():
        for child in extend.children(run):
            if child.type == "extract" and run.status == "PROCESSED":
                yield run, child


def test_the_usual_documents() -> None:
    """Without a corpus, a kind and size has 64 documents; with one of many variants, nearly each run has its own."""
    for variants, fewest, most in ((64, 5 * 50, 5 * 64), (1 << 15, 390, 1000)):
        extend = platform(Corpus(variants=variants), runs=1500)
        found = {id(extend.outputs(child).sample) for _, child in extractions(extend)}
        assert fewest <= len(found)
        assert variants > 64 or len(found) <= most


def test_even_scores_say_nothing() -> None:
    """The OCR confidences of right and of wrong leaves have the same mean, near the share of right leaves."""
    extend = platform(Corpus(variants=1 << 15, scores="even"))
    scores: dict[bool, list[float]] = {True: [], False: []}
    for _, child in extractions(extend):
        sample = extend.outputs(child).sample
        for path, *_ in leaves(sample.kind, sample.reading.value):
            ocr = sample.reading.entries[path].ocr
            if ocr is not None:
                scores[path not in sample.reading.wrong].append(ocr)
    right, wrong = (sum(found) / len(found) for found in (scores[True], scores[False]))
    assert right == pytest.approx(wrong, abs=0.01)
    assert right == pytest.approx(len(scores[True]) / sum(map(len, scores.values())), abs=0.05)


@pytest.mark.parametrize("reviews", ["all", "low_scores"])
def test_who_reviews(reviews: Any) -> None:
    """All runs that ended well are reviewed, or those with many low scores; nothing wrong is overlooked."""
    extend = platform(Corpus(reviews=reviews, variants=1 << 15))
    looked = 0
    for run, child in extractions(extend):
        sample = extend.outputs(child).sample
        others = [extend.outputs(c).sample.reading for c in extend.children(run) if c.type == "extract"]
        assert (run.reviewed_at is not None) == (reviews == "all" or any(map(has_low_scores, others)))
        looked += run.reviewed_at is not None
        done = sample.reviewed(1)
        assert all(path in done.edits for path in sample.reading.wrong if "[" not in path)
    total = sum(1 for _ in extractions(extend))
    assert looked == total if reviews == "all" else 0.1 * total < looked < 0.5 * total


def test_clean_documents() -> None:
    """The share that was asked for has the highest scores only, and less than one wrong leaf in a hundred."""
    extend = platform(Corpus(variants=1 << 15, clean=0.6))
    samples = [extend.outputs(child).sample for _, child in extractions(extend)]
    clean = [sample for sample in samples if sample.is_clean]
    assert 0.5 < len(clean) / len(samples) < 0.7
    entries = [
        sample.reading.entries[path]
        for sample in clean
        for path, *_ in leaves(sample.kind, sample.reading.value)
    ]
    assert {entry.score for entry in entries} == {5, None}
    assert 0 < sum(len(sample.reading.wrong) for sample in clean) < 0.01 * len(entries)


def test_larger_evaluation_sets() -> None:
    """A set has as many items as asked for, with ids of their own, and takes its documents from runs."""
    with Sandbox(runs=400, seed=5, corpus=Corpus(evaluated=60)) as sandbox:
        sets = sandbox.extend.evaluation.truth()
    items = [item for known in sets for item in known["items"]]
    assert len({item["id"] for item in items}) == len(items) == 60 * len(sets)
