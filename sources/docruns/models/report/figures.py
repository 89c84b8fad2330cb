"""The figures of the report and of the notebooks `quality` and `operations`: a query of the models, and how to draw it.

    Figure.query ──► Reader.sql ──► data frame ──► Figure.draw ──► Altair chart; without `draw` a table

A figure says how it is read, and why it has no rows where it has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

BLUE: Final = "#2b6cb0"
ORANGE: Final = "#c05621"
GREY: Final = "#718096"

_NO_REVIEWS = "No extraction has been reviewed, or the platform does not say what reviewers changed."
_NO_RUNS = "No workflow run is loaded."

_UNIT = [0, 1]

_TICKS = 6
"""Of an axis at most, about: labels of more would run into one another on a phone."""


class Figure(NamedTuple):
    """A question and its answer. `draw` makes an Altair chart of the query's rows; None: a table. `empty` stands in for
    no rows."""

    title: str
    about: str
    query: str
    draw: Callable[[pd.DataFrame], Any] | None = None
    empty: str = _NO_REVIEWS
    is_wide: bool = False


def _legend() -> Any:
    import altair as alt

    return alt.Legend(orient="bottom", columns=2, labelLimit=150)


def _accuracy(rows: pd.DataFrame) -> Any:
    import altair as alt

    low = alt.X(
        "accuracy_low",
        title="accuracy, with its 95 % interval",
        scale=alt.Scale(domain=_UNIT),
        axis=alt.Axis(tickCount=_TICKS),
    )
    base = alt.Chart(rows).encode(
        y=alt.Y("field", sort=None, title=None, axis=alt.Axis(labelLimit=190)),
        tooltip=["field", "accuracy", "accuracy_low", "accuracy_high", "reviewed", "leaves"],
    )
    return base.mark_rule(color=GREY).encode(x=low, x2="accuracy_high") + base.mark_point(
        filled=True, color=BLUE, size=60
    ).encode(x="accuracy")


def _edits(rows: pd.DataFrame) -> Any:
    import altair as alt

    return (
        alt.Chart(rows)
        .mark_bar(color=BLUE)
        .encode(
            x=alt.X("class", title=None, sort="-y", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("edits", title="edited leaves"),
            tooltip=["class", "edits", "documents"],
        )
    )


def _reliability(rows: pd.DataFrame) -> Any:
    import altair as alt
    import pandas as pd

    base = alt.Chart(rows).encode(
        x=alt.X("mean_score", title="score", scale=alt.Scale(domain=_UNIT), axis=alt.Axis(tickCount=_TICKS)),
        color=alt.Color("score", title=None, legend=_legend()),
        tooltip=["score", "mean_score", "share_right", "low", "high", "n"],
    )
    share = alt.Y("share_right", title="share that is right", scale=alt.Scale(domain=_UNIT))
    ideal = alt.Chart(pd.DataFrame({"score": _UNIT, "share": _UNIT}))
    return (
        ideal.mark_line(color=GREY, strokeDash=[4, 4]).encode(x="score", y="share")
        + base.mark_rule().encode(y="low", y2="high")
        + base.mark_line(point=True).encode(y=share)
    )


def _through(rows: pd.DataFrame) -> Any:
    import altair as alt

    return (
        alt.Chart(rows)
        .mark_line(point=True)
        .encode(
            x=alt.X(
                "threshold",
                title="lowest score of a document's leaves",
                scale=alt.Scale(zero=False),
                axis=alt.Axis(tickCount=_TICKS),
            ),
            y=alt.Y("share", title="share of documents", scale=alt.Scale(domain=_UNIT)),
            color=alt.Color("kind", title=None, legend=_legend(), scale=alt.Scale(range=[ORANGE, BLUE])),
            tooltip=["threshold", "kind", "share", "documents"],
        )
    )


def _weeks(rows: pd.DataFrame) -> Any:
    import altair as alt

    return (
        alt.Chart(rows)
        .mark_line(point=True)
        .encode(
            x=alt.X("week:T", title="week", axis=alt.Axis(tickCount=_TICKS)),
            y=alt.Y("accuracy", scale=alt.Scale(domain=_UNIT)),
            color=alt.Color("processor", title=None, legend=_legend()),
            tooltip=["week", "processor", "accuracy", "documents"],
        )
    )


def _bias(rows: pd.DataFrame) -> Any:
    import altair as alt

    return (
        alt.Chart(rows)
        .mark_point(filled=True, size=70)
        .encode(
            x=alt.X(
                "accuracy", title="accuracy", scale=alt.Scale(domain=_UNIT), axis=alt.Axis(tickCount=_TICKS)
            ),
            y=alt.Y("processor", title=None, axis=alt.Axis(labelLimit=190)),
            color=alt.Color(
                "measured_by", title=None, legend=_legend(), scale=alt.Scale(range=[ORANGE, BLUE])
            ),
            tooltip=["processor", "measured_by", "accuracy", "documents"],
        )
    )


def _days(rows: pd.DataFrame) -> Any:
    import altair as alt

    return (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            x=alt.X("day:T", title="day", axis=alt.Axis(tickCount=_TICKS)),
            y=alt.Y("runs:Q", title="outermost workflow runs"),
            color=alt.Color("kind:N", title=None, legend=_legend(), scale=alt.Scale(range=[ORANGE, BLUE])),
            tooltip=["day", "kind", "runs"],
        )
    )


def _latency(rows: pd.DataFrame) -> Any:
    import altair as alt

    return (
        alt.Chart(rows)
        .mark_line(point=True, color=BLUE)
        .encode(
            x=alt.X("day:T", title="day", axis=alt.Axis(tickCount=_TICKS)),
            y=alt.Y("p95_s:Q", title="seconds, 95th percentile"),
            tooltip=["day", "p95_s", "runs"],
        )
    )


def _cost(rows: pd.DataFrame) -> Any:
    import altair as alt

    return (
        alt.Chart(rows)
        .mark_bar(color=BLUE)
        .encode(
            x=alt.X("credits", title="credits", axis=alt.Axis(tickCount=_TICKS)),
            y=alt.Y("workflow", sort=None, title=None, axis=alt.Axis(labelLimit=180)),
            tooltip=["workflow", "credits"],
        )
    )


QUALITY: Final = (
    Figure(
        "Fields that the model gets wrong most",
        "Of fields with at least ten reviewed documents. Reviewed documents are no random sample.",
        """
        SELECT processor_name || ' ' || coalesce(processor_version, '') || ': ' || field AS field, accuracy, accuracy_low,
               accuracy_high, reviewed, extracted + added AS leaves
        FROM field_accuracy WHERE reviewed >= 10 ORDER BY accuracy, field LIMIT 12
        """,
        _accuracy,
        is_wide=True,
    ),
    Figure(
        "What reviewers change",
        "Edited leaves by kind of mistake.",
        """
        SELECT coalesce(edit_class, 'unknown') AS class, count(*) AS edits,
               count(DISTINCT processor_run_id) AS documents
        FROM edits GROUP BY ALL
        """,
        _edits,
    ),
    Figure(
        "Is a high score right more often?",
        "On the dashed line 0.9 means 90 %. Whiskers are 95 % intervals.",
        """
        SELECT score, mean_score, share_right, low, high, n FROM calibration
        WHERE processor_name IS NULL AND score <> 'review_agent_score' ORDER BY score, mean_score
        """,
        _reliability,
    ),
    Figure(
        "How many documents pass without a review?",
        "All processors, OCR or single confidence.",
        """
        SELECT threshold, kind, share, documents FROM (
            SELECT threshold, sum(documents) AS documents,
                   unnest(['passes without review', 'of these all right']) AS kind,
                   unnest([sum(passed) / sum(documents), sum("right") / nullif(sum(passed), 0)]) AS share
            FROM straight_through WHERE score IN ('ocr_confidence', 'confidence') GROUP BY threshold
        ) WHERE share IS NOT NULL ORDER BY threshold
        """,
        _through,
    ),
    Figure(
        "Can the scores be trusted?",
        "ece: mean distance of score and share that is right. auroc: the chance that a wrong leaf has the lower score.",
        """
        SELECT processor_name AS processor, score, n, wrong, round(ece, 3) AS ece, round(auroc, 3) AS auroc, verdict
        FROM score_health WHERE field IS NULL ORDER BY processor, score
        """,
        is_wide=True,
    ),
    Figure(
        "How much must people review?",
        "The lowest scores first, until 95 % of the other documents' leaves are right.",
        """
        SELECT processor_name AS processor, score, documents, to_review, round(review_share, 2) AS share, errors_left, advice
        FROM review_effort WHERE target = 0.95 ORDER BY processor, score
        """,
        is_wide=True,
    ),
    Figure(
        "Accuracy by week",
        "Of reviewed leaves, all versions of a processor.",
        """
        SELECT processor_name AS processor, week, sum(accuracy * documents) / sum(documents) AS accuracy,
               sum(documents) AS documents
        FROM drift WHERE accuracy IS NOT NULL GROUP BY ALL ORDER BY week
        """,
        _weeks,
    ),
    Figure(
        "Is a new version better?",
        "The accuracy of a version less that of the one before, over all weeks.",
        """
        SELECT processor_name AS processor, processor_version AS version, previous_version, CAST(min(week) AS TEXT) AS since,
               sum(documents) AS documents, round(max(change), 3) AS change
        FROM drift WHERE change IS NOT NULL GROUP BY ALL ORDER BY processor, since
        """,
        empty="No version has a reviewed version before it.",
        is_wide=True,
    ),
    Figure(
        "Fields that differ most from evaluation sets",
        "Expected outputs of evaluation sets, compared with the latest extraction of each document.",
        """
        SELECT processor_name AS processor, field, documents, round(accuracy, 3) AS accuracy,
               round(accuracy_low, 3) AS low, round(accuracy_high, 3) AS high
        FROM ground_truth_accuracy ORDER BY accuracy, processor, field LIMIT 12
        """,
        empty="No evaluation set is loaded.",
        is_wide=True,
    ),
    Figure(
        "Are the reviewed documents like the others?",
        "Where people review mainly low scores, the reviewed documents show a lower accuracy than the evaluation set does.",
        """
        WITH measured AS (
            SELECT processor_name, 'reviewed documents' AS measured_by, field, accuracy, reviewed AS documents
            FROM field_accuracy WHERE reviewed > 0
            UNION ALL
            SELECT processor_name, 'evaluation set', field, accuracy, documents FROM ground_truth_accuracy
        ),
        both_ways AS (
            SELECT processor_name, field FROM measured GROUP BY ALL HAVING count(DISTINCT measured_by) = 2
        )
        SELECT processor_name AS processor, measured_by, sum(accuracy * documents) / sum(documents) AS accuracy,
               max(documents) AS documents
        FROM measured JOIN both_ways USING (processor_name, field)
        GROUP BY ALL ORDER BY processor, measured_by
        """,
        _bias,
        "No evaluation set is loaded.",
    ),
)  # fmt: skip

OPERATIONS: Final = (
    Figure(
        "Runs by day",
        "Outermost workflow runs.",
        """
        SELECT day, unnest(['others', 'failed']) AS kind, unnest([sum(runs) - sum(failed), sum(failed)]) AS runs
        FROM throughput GROUP BY day ORDER BY day
        """,
        _days,
        _NO_RUNS,
    ),
    Figure(
        "How long the platform takes",
        "The slowest workflow of each day. Reviewed runs are left out: they end when the review ends.",
        "SELECT day, max(p95_s) AS p95_s, sum(runs) AS runs FROM throughput WHERE p95_s IS NOT NULL GROUP BY day ORDER BY day",
        _latency,
        _NO_RUNS,
    ),
    Figure(
        "Failures",
        "One failure counts once.",
        """
        SELECT workflow_name AS workflow, step, code, sum(runs) AS runs, CAST(max(day) AS TEXT) AS last_day, max(example_run_id) AS example
        FROM failures GROUP BY ALL ORDER BY runs DESC, code LIMIT 12
        """,
        empty="No run has failed.",
        is_wide=True,
    ),
    Figure(
        "What waits",
        "Runs that are not final.",
        """
        SELECT kind, status, count(*) AS runs, round(max(age_s) / 86400.0, 1) AS oldest_days
        FROM backlog GROUP BY ALL ORDER BY runs DESC
        """,
        empty="All runs are final.",
    ),
    Figure(
        "Reviewers",
        "Hours hold the wait in the queue: platforms do not say when a review began.",
        """
        SELECT reviewed_by, sum(documents) AS documents, sum(edited_documents) AS edited, sum(edits) AS edits,
               round(median(upper_bound_s) / 3600, 1) AS hours_until_reviewed
        FROM reviews GROUP BY ALL ORDER BY documents DESC LIMIT 12
        """,
    ),
    Figure(
        "Cost by workflow",
        "Each credit once.",
        """
        SELECT coalesce(workflow_name, '(outside of workflows)') AS workflow, sum(credits) AS credits
        FROM cost GROUP BY ALL ORDER BY credits DESC LIMIT 12
        """,
        _cost,
        "The platform names no credits.",
    ),
)  # fmt: skip
