"""The statistics of the models, over tables whose error rates are known, and beside those of other libraries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from support.simulated import DATASET, documents_with_items, make_tables

ANSWERS = f"{DATASET}_answers"

Connection = duckdb.DuckDBPyConnection


@pytest.fixture
def connection() -> Iterator[Connection]:
    with duckdb.connect() as opened:
        yield opened


def frame_of(connection: Connection, sql: str) -> pd.DataFrame:
    return connection.execute(sql).df()


@pytest.mark.parametrize(
    ("documents", "items", "accuracy", "alike"),
    [(100, 8, 0.9, 0.2), (60, 10, 0.85, 0.1), (40, 8, 0.9, 0.3), (30, 6, 0.8, 0.2)],
)
def test_intervals_cover_the_truth(
    connection: Connection, documents: int, items: float, accuracy: float, alike: float
) -> None:
    """Of 2,000 datasets with line items that are alike within a document, the 95 % interval covers the true accuracy in
    93 to 97 %. Wilson's interval on the number of items covers it in less than 87 %."""
    random = np.random.default_rng(7)
    make_tables(connection, documents_with_items(random, 2000, documents, items, accuracy, alike))
    found = frame_of(connection, f"SELECT * FROM {ANSWERS}.field_accuracy")
    assert len(found) == 2000
    covered = ((found.accuracy_low <= accuracy) & (accuracy <= found.accuracy_high)).mean()
    low, high = proportion_confint(found.right, found.extracted, method="wilson")
    plainly = ((low <= accuracy) & (accuracy <= high)).mean()
    assert 0.93 <= covered <= 0.97
    assert plainly < 0.87


def test_enough_documents(connection: Connection) -> None:
    """With as many documents as `documents_for_3_points` says, the interval is 3 points wide to each side."""
    random = np.random.default_rng(3)
    make_tables(connection, documents_with_items(random, 300, 60, 8, 0.85, 0.2))
    (needed,) = connection.execute(
        f"SELECT median(documents_for_3_points) FROM {ANSWERS}.field_accuracy"
    ).fetchall()[0]
    make_tables(connection, documents_with_items(random, 300, int(needed), 8, 0.85, 0.2))
    (half,) = connection.execute(
        f"SELECT median(accuracy_high - accuracy_low) / 2 FROM {ANSWERS}.field_accuracy"
    ).fetchall()[0]
    assert half == pytest.approx(0.03, rel=0.05)


def scored(random: np.random.Generator, right_at: Any, scores: np.ndarray[Any, Any]) -> pd.DataFrame:
    """Leaves, ten a document, each right with the chance `right_at(score)`."""
    number = len(scores)
    return pd.DataFrame(
        {
            "document": pd.Series(np.arange(number) // 10).map("d{:05d}".format),
            "field": "total",
            "right": random.random(number) < right_at(scores),
            "score": np.round(scores, 3),
        }
    )


SHAPES: dict[str, tuple[Any, Any]] = {
    # the processor's name is the verdict that is right for it
    "reliable": (lambda random: random.uniform(0.3, 1, 4000), lambda scores: scores),
    "overconfident": (lambda random: random.uniform(0.6, 1, 4000), lambda scores: scores - 0.25),
    "undiscriminating": (lambda random: random.uniform(0.75, 0.99, 4000), lambda scores: 0.88 + 0 * scores),
    "degenerate": (lambda random: random.uniform(0.86, 0.94, 4000), lambda scores: 0.9 + 0 * scores),
    "too_few": (lambda random: random.uniform(0.3, 1, 60), lambda scores: scores),
}


@pytest.fixture
def shapes(connection: Connection) -> pd.DataFrame:
    random = np.random.default_rng(11)
    parts = [
        scored(random, right_at, scores(random)).assign(processor=name)
        for name, (scores, right_at) in SHAPES.items()
    ]
    leaves = pd.concat(parts)
    make_tables(connection, leaves)
    return leaves


def test_verdicts(connection: Connection, shapes: pd.DataFrame) -> None:
    """A score that is well calibrated and orders nothing has an own verdict, and so has each other fault."""
    found = frame_of(connection, f"SELECT * FROM {ANSWERS}.score_health WHERE field IS NULL")
    assert dict(zip(found.processor_name, found.verdict, strict=True)) == {name: name for name in SHAPES}
    useless = found.set_index("processor_name").loc["undiscriminating"]
    assert useless.ece < 0.15
    assert useless.auroc < 0.55


def test_score_health_agrees_with_scikit_learn(connection: Connection, shapes: pd.DataFrame) -> None:
    """AUROC, Brier and ECE of each processor are those of scikit-learn and of a plain loop over ten bins."""
    found = frame_of(connection, f"SELECT * FROM {ANSWERS}.score_health WHERE field IS NULL")
    for row in found.itertuples():
        own = shapes[shapes.processor == row.processor_name]
        assert row.n == len(own)
        assert row.wrong == (~own.right).sum()
        assert row.brier == pytest.approx(brier_score_loss(own.right, own.score))
        if row.processor_name == "too_few":
            assert pd.isna(row.auroc)
        else:
            assert row.auroc == pytest.approx(roc_auc_score(own.right, own.score))
        bins = own.groupby(np.minimum(np.floor(own.score * 10), 9))
        gaps = bins.apply(lambda each: len(each) * abs(each.score.mean() - each.right.mean()))
        assert row.ece == pytest.approx(gaps.sum() / len(own))
        assert row.bins_used == bins.ngroups


def test_calibration_agrees_with_statsmodels(connection: Connection, shapes: pd.DataFrame) -> None:
    """Each bin's share and its interval are those of a plain count and of statsmodels."""
    found = frame_of(connection, f"SELECT * FROM {ANSWERS}.calibration WHERE processor_name = 'reliable'")
    assert found.n.sum() == 4000
    own = shapes[shapes.processor == "reliable"]
    for row in found.itertuples():
        inside = own[
            (own.score >= row.bin_low - 1e-9) & ((own.score < row.bin_high - 1e-9) | (row.bin_low == 0.9))
        ]
        assert row.n == len(inside)
        assert row.mean_score == pytest.approx(inside.score.mean())
        low, high = proportion_confint(inside.right.sum(), len(inside), method="wilson")
        assert (row.share_right, row.low, row.high) == pytest.approx((inside.right.mean(), low, high))


def halves(leaves: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The leaves of every second document, and those of the others."""
    is_even = leaves.document.str[-1].isin(list("02468"))
    return leaves[is_even], leaves[~is_even]


def test_thresholds_hold_on_other_documents(connection: Connection) -> None:
    """Of the thresholds that are made on one half of the documents, at least 93 % reach their target on the other half:
    there, the leaves from the threshold on are right with a mean chance of at least the target."""
    random = np.random.default_rng(5)
    parts = [
        scored(random, lambda scores: 0.5 + scores / 2, random.uniform(0.3, 1, 6000)).assign(
            processor=f"p{n:03d}"
        )
        for n in range(120)
    ]
    made, other = halves(pd.concat(parts, ignore_index=True))
    make_tables(connection, made)
    advice = frame_of(
        connection, f"SELECT * FROM {ANSWERS}.threshold_advice WHERE field IS NULL AND threshold IS NOT NULL"
    )
    reached = []
    for row in advice.itertuples():
        passed = other[(other.processor == row.processor_name) & (other.score >= row.threshold)]
        reached.append((0.5 + passed.score / 2).mean() >= row.target)
    assert len(reached) >= 120
    assert np.mean(reached) >= 0.93


def test_review_effort_holds_on_other_documents(connection: Connection) -> None:
    """Of the advice that is made on one half of the documents, at least 93 % leaves documents on the other half whose
    leaves reach the target by their mean chance to be right."""
    random = np.random.default_rng(6)
    parts = []
    for n in range(120):
        quality = np.repeat(random.uniform(0.7, 1, 600), 10)
        scores = np.clip(quality + random.uniform(-0.02, 0.02, 6000), 0, 1)
        parts.append(scored(random, lambda scores: scores, scores).assign(processor=f"p{n:03d}"))
    made, other = halves(pd.concat(parts, ignore_index=True))
    make_tables(connection, made)
    effort = frame_of(
        connection, f"SELECT * FROM {ANSWERS}.review_effort WHERE advice LIKE 'review documents%'"
    )
    lowest = other.groupby(["processor", "document"]).score.transform("min")
    reached = []
    for row in effort.itertuples():
        limit = float(row.advice.rpartition(" ")[2])
        left = other[(other.processor == row.processor_name) & (lowest >= limit)]
        reached.append(left.score.mean() >= row.target)
        assert 0 < row.review_share < 1
    assert len(reached) >= 100
    assert np.mean(reached) >= 0.93
