"""The models beside the truth of three corpora, which the sandbox knows by construction.

The truth comes from the sandbox: what each document says, what the model read, its scores, and what reviewers did. No
loaded table is part of it. A run's document is an equal draw from the `DOCUMENTS` documents of its kind, so the expected
value of a cell (a field of a processor, or a threshold) is exactly its rate among all of these documents, reviewed or not.

    field_accuracy, score_health      leaves that a first review leaves as they were, of all leaves
    straight_through                  documents whose leaves a first review leaves as they were, of those that pass
    threshold_advice, review_effort   made from reviewed runs whose document has an even number; they hold where the
                                      documents with odd numbers reach the target
    cost                              the credits of all runs of the platform
    ground_truth_accuracy             beside field_accuracy, where all runs are reviewed and where only those with many
                                      low scores are

Reviewers of the first corpus overlook 7 % of the wrong values, which no model can see; the share of cells that hold the
rate of really right leaves is a figure without a bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from docruns.models.reader import tables_of
from docruns.sandbox import Corpus, Sandbox
from docruns.sandbox.extend.catalog import PROCESSORS
from docruns.sandbox.extend.platform import Extend
from docruns.sandbox.extend.runs import child_id
from docruns.sandbox.extend.usage import credits_of, has_usage
from docruns.sandbox.kinds import KINDS
from docruns.sandbox.pool import Sample
from docruns.sandbox.review import leaves_of_review
from support.simulated import make_views

from .stage import Command, Figure, Figures, Platform, exactly, must

NAME = "models"
SEED = 29
DOCUMENTS = 4096
"""Documents of each kind: more than runs of a kind, so that few runs share one."""

CLEAN = 0.6
"""The share of documents that the model reads nearly without errors. Leaves of a document are alike by it."""

EVALUATED = 400
"""Documents in each evaluation set."""

SHARE = 0.93
"""The lowest share of cells for which a model must be right."""

Connection = duckdb.DuckDBPyConnection


def prove(folder: Path, runs: int) -> Figures:
    """The figures of a corpus of `runs` that people review as usual, and of two of a third as many."""
    figures: Figures = []
    with loaded(folder / "some", runs, Corpus(DOCUMENTS, clean=CLEAN)) as (sandbox, connection):
        truth = known_leaves(sandbox.extend)
        figures += recovered(connection, truth)
        figures += held(sandbox.extend, connection, truth)
        figures.append(exactly(NAME, "cost, credits in all", billed(connection), bill(sandbox)))
    few = runs // 3
    corpus = Corpus(DOCUMENTS, "even", "all", EVALUATED)
    with loaded(folder / "all", few, corpus) as (_, connection):
        figures += ordered(connection)
        figures += agreed(connection)
    corpus = Corpus(DOCUMENTS, "graded", "low_scores", EVALUATED)
    with loaded(folder / "low_scores", few, corpus) as (_, connection):
        figures += biased(connection)
    return figures


@contextmanager
def loaded(folder: Path, runs: int, corpus: Corpus) -> Iterator[tuple[Sandbox, Connection]]:
    """A platform, and a connection to a database with all its runs."""
    with Sandbox(runs, SEED, corpus=corpus, plextera_runs=0) as sandbox:
        command = Command(folder, sandbox.extend_url)
        must(command.run())
        with duckdb.connect(str(command.database)) as connection:
            yield sandbox, connection


def share_of(what: str, holds: pd.Series[bool]) -> Figure:
    """The share of cells that hold, with its bound."""
    found = float(holds.mean()) if len(holds) else 0.0
    return Figure(NAME, what, f"{found:.3f} of {len(holds):,}", f"≥ {SHARE}", found >= SHARE)


# the truth


def known_leaves(extend: Extend) -> pd.DataFrame:
    """Each leaf of each document of the corpus, with its scores, whether the model was right, and whether a first review
    leaves it as it was: one row for each processor that reads the kind of document."""
    rows = [
        row
        for kind in KINDS
        for number in range(DOCUMENTS)
        for row in _leaves(Sample(extend.seed, KINDS[kind], "normal", number, extend.corpus))
    ]
    columns = ["kind", "document", "field", "ocr", "logprobs", "grade", "is_scored", "is_left", "is_right"]
    leaves = pd.DataFrame(rows, columns=columns)
    # an inline configuration reads documents of any kind
    readers = [(one.name, one.documents, one.legacy) for one in PROCESSORS if one.type == "extract"]
    readers += [("inline", kind, False) for kind in KINDS]
    processors = pd.DataFrame(readers, columns=["processor_name", "kind", "is_legacy"])
    return leaves.merge(processors, on="kind")


def _leaves(sample: Sample) -> Iterator[tuple[Any, ...]]:
    entries = sample.reading.entries
    for leaf in leaves_of_review(sample.kind, sample.reading, sample.reviewed(1)):
        entry = entries[leaf.initial_path] if leaf.initial_path else None
        field = re.sub(r"\[\d+\]", "[]", leaf.path or leaf.initial_path or "")
        scores = (entry.ocr, entry.logprobs, entry.score) if entry else (None, None, None)
        is_left = leaf.edit_kind is None
        yield sample.kind.name, sample.variant, field, *scores, entry is not None, is_left, leaf.right


def known_scores(leaves: pd.DataFrame) -> pd.DataFrame:
    """One row for each score of each leaf. The older processors have one confidence, of fields that are in no other."""
    own = leaves[leaves.is_scored]
    older = own[own.is_legacy & ~own.field.str.contains(r"[.\[]")]
    parts = [older.assign(score="confidence", value=older.ocr.fillna(0.4))]
    newer = own[~own.is_legacy]
    for score, column in (
        ("ocr_confidence", "ocr"),
        ("logprobs_confidence", "logprobs"),
        ("review_agent_score", "grade"),
    ):
        parts.append(newer.assign(score=score, value=newer[column]))
    columns = ["processor_name", "kind", "document", "field", "score", "value", "is_left", "is_right"]
    return pd.concat(parts)[columns].dropna(subset="value")


# intervals


def recovered(connection: Connection, leaves: pd.DataFrame) -> Iterator[Figure]:
    """The shares of cells whose interval holds the truth."""
    scores = known_scores(leaves)
    found = connection.execute("SELECT * FROM extend_answers.field_accuracy").df()
    known = leaves.groupby(["processor_name", "field"])[["is_left", "is_right"]].mean()
    cells = found.join(known, ["processor_name", "field"])
    yield from _covered("field_accuracy", cells, cells.accuracy_low, cells.accuracy_high)

    found = connection.execute("SELECT * FROM extend_answers.score_health").df()
    found["field"] = found.field.fillna("")
    both = pd.concat([scores, scores.assign(field="")])
    known = both.groupby(["processor_name", "field", "score"])[["is_left", "is_right"]].mean()
    cells = found.join(known, ["processor_name", "field", "score"])
    yield from _covered("score_health", cells, cells.low, cells.high)

    cells = connection.execute("SELECT * FROM extend_answers.straight_through WHERE passed > 0").df()
    cells = pd.concat([cells, _passed(cells, leaves, scores)], axis="columns")
    yield from _covered("straight_through", cells, cells.low, cells.high)


def _covered(
    model: str, cells: pd.DataFrame, low: pd.Series[float], high: pd.Series[float]
) -> Iterator[Figure]:
    yield exactly(NAME, f"{model}, cells that no document explains", int(cells.is_left.isna().sum()), 0)
    yield share_of(f"{model}, intervals with the rate that reviews give", cells.is_left.between(low, high))
    share = cells.is_right.between(low, high).mean()
    yield Figure(
        NAME, f"{model}, intervals with the rate of really right ones", f"{share:.3f} of {len(cells):,}"
    )


def _passed(cells: pd.DataFrame, leaves: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """For each cell of straight_through, the shares of right documents among all that pass."""
    key = ["processor_name", "kind", "document"]
    whole = leaves.groupby(key)[["is_left", "is_right"]].all()
    lowest = scores.groupby(["score", *key]).value.min().reset_index().join(whole, key)
    by_cell = dict(iter(lowest.groupby(["processor_name", "score"])))
    rates = []
    for cell in cells.itertuples():
        own = by_cell[cell.processor_name, cell.score]
        rates.append(own[own.value >= cell.threshold][["is_left", "is_right"]].mean())
    return pd.DataFrame(rates, index=cells.index)


# halves


def held(extend: Extend, connection: Connection, leaves: pd.DataFrame) -> Iterator[Figure]:
    """The shares of advice from documents with even numbers that holds for those with odd numbers."""
    make_half(connection, _even_runs(extend))
    scores = known_scores(leaves[leaves.document % 2 == 1])
    advice = connection.execute(
        "SELECT * FROM half_answers.threshold_advice WHERE threshold IS NOT NULL"
    ).df()
    advice["field"] = advice.field.fillna("")
    both = pd.concat([scores, scores.assign(field="")])
    by_cell = dict(iter(both.groupby(["processor_name", "field", "score"])))
    reached = []
    for row in advice.itertuples():
        own = by_cell[row.processor_name, row.field, row.score]
        reached.append(own[own.value >= row.threshold].is_left.mean() >= row.target)
    advice["holds"] = reached
    yield share_of("threshold_advice, thresholds that hold on the other half", advice.holds)
    for verdict, some in advice.groupby("verdict"):
        text = f"{some.holds.mean():.3f} of {len(some):,}"
        yield Figure(NAME, f"threshold_advice, of these with the verdict {verdict}", text)
    yield from _efforts(connection, scores)


def _efforts(connection: Connection, scores: pd.DataFrame) -> Iterator[Figure]:
    key = ["processor_name", "score", "kind", "document"]
    documents = scores.groupby(key).agg(lowest=("value", "min"), n=("value", "size"), left=("is_left", "sum"))
    by_cell = dict(iter(documents.reset_index().groupby(["processor_name", "score"])))
    effort = connection.execute("SELECT * FROM half_answers.review_effort").df()
    reached: dict[str, list[bool]] = {"review documents": [], "audit a sample": []}
    for row in effort.itertuples():
        own = by_cell[row.processor_name, row.score]
        for what, holds in reached.items():
            if row.advice.startswith(what):
                limit = float(row.advice.rpartition(" ")[2]) if what == "review documents" else -np.inf
                others = own[own.lowest >= limit]
                holds.append(others.left.sum() / others.n.sum() >= row.target)
    for what, holds in reached.items():
        yield share_of(
            f"review_effort, advice “{what} …” that holds on the other half", pd.Series(holds, dtype=bool)
        )


def _even_runs(extend: Extend) -> list[str]:
    """The ids of extractions of documents with an even number."""
    return [
        child_id(extend.seed, run, child, old=False)
        for run in extend.runs()
        for child in extend.children(run)
        if child.type == "extract" and child.variant % 2 == 0
    ]


def make_half(connection: Connection, ids: list[str]) -> None:
    """The models over the extractions with the given ids, as a dataset named half."""
    connection.register("ids", pd.DataFrame({"id": ids}))
    connection.execute(
        "CREATE SCHEMA half; CREATE SCHEMA half_answers; CREATE TABLE half.ids AS SELECT * FROM ids"
    )
    for table in tables_of(connection, "extend"):
        if not table.startswith("_dlt"):
            where = "WHERE id IN (SELECT id FROM half.ids)" if table == "processor_runs" else ""
            connection.execute(f"CREATE VIEW half.{table} AS SELECT * FROM extend.{table} {where}")
    make_views(connection, "half")


# bill


def bill(sandbox: Sandbox) -> float:
    """The credits of all runs of the platform, each once: those of its record, and those of edit runs and verify runs."""
    extend, platform = sandbox.extend, Platform(sandbox.url)
    rows = [*platform.rows("/edit_runs"), *platform.rows("/verify_runs")]
    platform.close()
    runs = [run for run in extend.runs() if has_usage(extend, run)]
    credits = sum(credits_of(child) for run in runs for child in extend.children(run))
    return float(credits + sum(row["usage"]["credits"] for row in rows))


def billed(connection: Connection) -> float:
    """The sum of the cost model."""
    ((credits,),) = connection.execute("SELECT sum(credits) FROM extend_answers.cost").fetchall()
    return float(credits)


# scores that order nothing


def ordered(connection: Connection) -> Iterator[Figure]:
    """The verdicts on OCR confidences that are right on average and the same for right and wrong leaves."""
    health = connection.execute(
        "SELECT * FROM extend_answers.score_health WHERE score = 'ocr_confidence' AND verdict <> 'too_few'"
    ).df()
    whole = health[health.field.isna()]
    unable = whole.verdict.isin(["undiscriminating", "degenerate"])
    what = "score_health, processors with an even score"
    yield Figure(NAME, f"{what}, largest ece", f"{whole.ece.max():.3f}", "≤ 0.15", whole.ece.max() <= 0.15)
    yield exactly(NAME, f"{what} that are told to order nothing", int(unable.sum()), len(whole))
    fields = health[health.field.notna()]
    unable = fields.verdict.isin(["undiscriminating", "degenerate"])
    yield Figure(
        NAME, "score_health, fields with an even score told so", f"{unable.mean():.3f} of {len(fields)}"
    )


# ground truth

PAIRS = """
    SELECT g.processor_name, g.processor_version, g.field, g.accuracy AS truth, a.accuracy, g.documents, a.reviewed,
           (g.accuracy_high - g.accuracy_low) / 2 AS truth_half, (a.accuracy_high - a.accuracy_low) / 2 AS half,
           g.field LIKE '%[]%' AS is_in_items
    FROM extend_answers.ground_truth_accuracy g
    JOIN extend_answers.field_accuracy a USING (processor_id, processor_version, field)
"""


def agreed(connection: Connection) -> Iterator[Figure]:
    """The shares of fields for which both models agree: their difference is within the two intervals."""
    pairs = connection.execute(PAIRS).df()
    differences = (pairs.truth - pairs.accuracy).abs()
    pairs["agrees"] = differences <= np.hypot(pairs.truth_half, pairs.half)
    fields, items = pairs[~pairs.is_in_items], pairs[pairs.is_in_items]
    what = "all runs reviewed, ground_truth_accuracy and field_accuracy agree"
    yield share_of(f"{what}, fields outside of lists", fields.agrees)
    text = f"{items.agrees.mean():.3f} of {len(items)}, mean difference {(items.truth - items.accuracy).mean():+.3f}"
    yield Figure(NAME, f"{what}, fields in lists", text)


def biased(connection: Connection) -> Iterator[Figure]:
    """How much lower field_accuracy is than ground_truth_accuracy where only runs with many low scores are reviewed."""
    pairs = connection.execute(PAIRS + "WHERE g.field NOT LIKE '%[]%'").df()
    what = "low scores reviewed, field_accuracy less ground_truth_accuracy"
    for name, own in pairs.groupby("processor_name"):
        mean = (own.accuracy - own.truth).mean()
        yield Figure(NAME, f"{what}, {name}", f"{mean:+.3f}, mean of {len(own)} cells", "< 0", mean < 0)
    lower = (pairs.accuracy < pairs.truth).mean()
    yield Figure(
        NAME, "low scores reviewed, cells where field_accuracy is lower", f"{lower:.3f} of {len(pairs)}"
    )
