"""Three questions about one dataset, as queries of its models."""

from __future__ import annotations

from typing import Any, NamedTuple

import duckdb

from ..store.duckdb.file import quote
from .model import schema_name


class Answer(NamedTuple):
    """A question, and the columns and rows of its query's result."""

    question: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


MOST_WRONG = """
SELECT processor_name AS processor, processor_version AS version, field, reviewed,
       round(accuracy, 3) AS accuracy, round(accuracy_low, 3) AS low, round(accuracy_high, 3) AS high
FROM {answers}.field_accuracy
WHERE reviewed >= 10
ORDER BY field_accuracy.accuracy, processor, version, field LIMIT 8
"""

SCORE_AND_TRUTH = """
SELECT bin_low || ' to ' || bin_high AS score, n AS fields, round(share_right, 3) AS share_right,
       round(low, 3) AS low, round(high, 3) AS high
FROM {answers}.calibration
WHERE processor_name IS NULL AND calibration.score = 'ocr_confidence'
ORDER BY bin_low DESC
"""

COST = """
WITH runs AS (SELECT workflow_name, sum(runs) AS runs FROM {answers}.throughput GROUP BY ALL)
SELECT coalesce(cost.workflow_name, '(outside of workflows)') AS workflow, any_value(runs.runs)::BIGINT AS runs,
       round(sum(cost.credits), 1) AS credits,
       round(sum(cost.credits) / any_value(runs.runs), 2) AS credits_per_run
FROM {answers}.cost LEFT JOIN runs USING (workflow_name)
GROUP BY workflow ORDER BY credits DESC, workflow
"""

QUESTIONS = {
    "Which fields does the model get wrong most? (reviewed documents, 95 % interval)": MOST_WRONG,
    "Is a high score right more often? (reviewed fields, OCR confidence)": SCORE_AND_TRUTH,
    "What does each workflow cost? (runs: outermost workflow runs)": COST,
}


def ask(connection: duckdb.DuckDBPyConnection, dataset: str) -> list[Answer]:
    """Run the query of every question on the models of a dataset."""
    answers = []
    for question, sql in QUESTIONS.items():
        result = connection.execute(sql.format(answers=quote(schema_name(dataset))))
        columns = tuple(column[0] for column in result.description or ())
        answers.append(Answer(question, columns, result.fetchall()))
    return answers
