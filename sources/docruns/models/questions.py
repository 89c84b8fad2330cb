"""Three questions about one dataset, as SQL queries.

The first two count fields of reviewed runs only: without a review the correct value is not known.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import duckdb

from ..store.duckdb.file import quote


class Answer(NamedTuple):
    """A question, and the columns and rows of its query's result."""

    question: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


MOST_CORRECTED = """
SELECT r.processor_name AS processor, f.field, count(*) AS reviewed,
       count(*) FILTER (f.edited) AS corrected,
       round(count(*) FILTER (f.edited) / count(*), 3) AS share
FROM {dataset}.fields f JOIN {dataset}.processor_runs r ON r.id = f.processor_run_id
WHERE f.kind = 'leaf' AND f.edited IS NOT NULL
GROUP BY ALL HAVING corrected > 0
ORDER BY corrected DESC, share DESC, field LIMIT 8
"""

SCORE_AND_TRUTH = """
WITH scored AS (
    SELECT coalesce(f.logprobs_confidence, f.ocr_confidence, f.confidence) AS score, f.edited
    FROM {dataset}.fields f
    WHERE f.kind = 'leaf' AND f.edited IS NOT NULL
)
SELECT CASE WHEN score >= 0.99 THEN '0.99 to 1' WHEN score >= 0.95 THEN '0.95 to 0.99'
            WHEN score >= 0.9 THEN '0.9 to 0.95' WHEN score >= 0.7 THEN '0.7 to 0.9'
            ELSE 'below 0.7' END AS score_between,
       count(*) AS fields, round(avg(score), 3) AS mean_score,
       round(1 - count(*) FILTER (edited) / count(*), 3) AS share_right
FROM scored WHERE score IS NOT NULL
GROUP BY ALL ORDER BY mean_score DESC
"""

COST = """
SELECT workflow_name AS workflow, count(*) AS runs, round(sum(credits), 1) AS credits,
       round(avg(credits), 2) AS credits_per_run
FROM {dataset}.workflow_runs WHERE credits IS NOT NULL
GROUP BY ALL ORDER BY credits DESC, workflow
"""

QUESTIONS = {
    "Which fields do reviewers correct most?": MOST_CORRECTED,
    "Is a high score right more often?": SCORE_AND_TRUTH,
    "What does each workflow cost?": COST,
}


def ask(connection: duckdb.DuckDBPyConnection, dataset: str) -> list[Answer]:
    """Run the query of every question on a loaded dataset."""
    answers = []
    for question, sql in QUESTIONS.items():
        result = connection.execute(sql.format(dataset=quote(dataset)))
        columns = tuple(column[0] for column in result.description or ())
        answers.append(Answer(question, columns, result.fetchall()))
    return answers
