"""Quality and operations of a dataset as one HTML file: charts are SVG, and nothing is read from a network.

    models ──► data frames ──► charts (Altair, vl-convert) and tables ──► report.html

A section without rows says why there are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.errors import ConfigError
from ..store.environment import private_files
from .reader import Reader

if TYPE_CHECKING:
    import pandas as pd

WIDTH, HEIGHT = 340, 230
"""Pixels of a chart's plot: two stand side by side on a wide screen, one fits on a phone."""

_BLUE, _ORANGE, _GREY = "#2b6cb0", "#c05621", "#718096"

_NO_REVIEWS = "No extraction has been reviewed, or the platform does not say what reviewers changed."
_NO_RUNS = "No workflow run is loaded."

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; color: #1a202c; max-width: 1000px; margin: 1.5rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; margin-bottom: 0; }} h2 {{ margin-top: 2.2rem; border-bottom: 1px solid #e2e8f0; }}
section {{ display: inline-block; vertical-align: top; width: 100%; max-width: 480px; margin: 0 .6rem 1.2rem 0; }}
section.wide {{ max-width: 100%; }} h3 {{ font-size: 1.05rem; margin: 1rem 0 .2rem; }}
p.about {{ color: #4a5568; margin: 0 0 .5rem; }} p.none {{ color: #718096; font-style: italic; }}
svg {{ max-width: 100%; height: auto; }} .scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .88rem; }} th, td {{ padding: .2rem .6rem; border-bottom: 1px solid #edf2f7; }}
th {{ text-align: left; color: #4a5568; font-weight: 600; }} th.number, td.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
.tiles {{ display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; }}
.tile {{ border: 1px solid #e2e8f0; border-radius: 6px; padding: .5rem .9rem; }} .tile b {{ display: block; font-size: 1.25rem; }}
</style></head><body>
<h1>{title}</h1><p class="about">{subtitle}</p>
{body}
</body></html>
"""


class Section(NamedTuple):
    """A heading, what it says, and a chart or a table; `empty` stands in for one without rows."""

    title: str
    about: str
    content: str
    empty: str = _NO_REVIEWS
    is_wide: bool = False


@private_files()
def write_report(database: Path, dataset: str | None, output: Path) -> int:
    """Write the report. Returns its size in bytes. ConfigError where a package is missing."""
    if not output.absolute().parent.is_dir():
        raise ConfigError("--output", f"the folder {output.parent} does not exist.")
    try:
        import altair as alt  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "docruns report",
            f"needs a package that is not installed: {error.name}.",
            "pip install 'docruns[report]'",
        ) from error
    data = Reader(database, dataset)
    data.require("documents")
    body = [_tiles(data), "<h2>Quality</h2>", *map(_html, _quality(data))]
    body += ["<h2>Operations</h2>", *map(_html, _operations(data))]
    subtitle = f"{escape(database.name)}, written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. Days and weeks are those of UTC."
    text = _PAGE.format(title=f"docruns: {escape(data.dataset)}", subtitle=subtitle, body="\n".join(body))
    return output.write_bytes(text.encode())


def _html(section: Section) -> str:
    content = section.content or f'<p class="none">{escape(section.empty)}</p>'
    mark = ' class="wide"' if section.is_wide else ""
    return (
        f"<section{mark}><h3>{escape(section.title)}</h3>"
        f'<p class="about">{escape(section.about)}</p>{content}</section>'
    )


def _tiles(data: Reader) -> str:
    found = data.sql("""
        SELECT (SELECT count(*) FROM workflow_runs WHERE deleted_at IS NULL AND coalesce(depth, 0) = 0) AS "workflow runs",
               (SELECT count(*) FROM documents) AS extractions,
               (SELECT count(*) FROM documents WHERE reviewed) AS "of them reviewed",
               (SELECT round(100.0 * avg(CASE WHEN is_right THEN 1 ELSE 0 END), 1) FROM leaves WHERE is_reviewed)
                   AS "% of reviewed leaves right",
               (SELECT round(sum(credits)) FROM cost) AS credits
    """).iloc[0]
    tiles = "".join(
        f'<div class="tile"><b>{_cell(value)}</b>{escape(str(name))}</div>' for name, value in found.items()
    )
    return f'<div class="tiles">{tiles}</div>'


def _quality(data: Reader) -> Iterator[Section]:
    yield from _accuracy(data)
    yield from _scores(data)
    yield from _over_time(data)


def _accuracy(data: Reader) -> Iterator[Section]:
    import altair as alt

    worst = data.sql("""
        SELECT processor_name || ' ' || coalesce(processor_version, '') || ': ' || field AS field, accuracy, accuracy_low,
               accuracy_high, reviewed
        FROM field_accuracy WHERE reviewed >= 10 ORDER BY accuracy, field LIMIT 12
    """)
    x = alt.X("accuracy_low", title="accuracy, with its 95 % interval", scale=alt.Scale(domain=[0, 1]))
    base = alt.Chart(worst).encode(y=alt.Y("field", sort=None, title=None, axis=alt.Axis(labelLimit=260)))
    bars = base.mark_rule(color=_GREY).encode(x=x, x2="accuracy_high")
    points = base.mark_point(filled=True, color=_BLUE, size=60).encode(x="accuracy")
    yield Section(
        "Fields that the model gets wrong most",
        "Of fields with at least ten reviewed documents. Reviewed documents are no random sample.",
        _svg(bars + points, worst, width=WIDTH + 180),
        is_wide=True,
    )
    edits = data.sql(
        "SELECT coalesce(edit_class, 'unknown') AS class, count(*) AS edits FROM edits GROUP BY ALL"
    )
    chart = (
        alt.Chart(edits)
        .mark_bar(color=_BLUE)
        .encode(
            x=alt.X("class", title=None, sort="-y", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("edits", title="edited leaves"),
        )
    )
    yield Section("What reviewers change", "Edited leaves by kind of mistake.", _svg(chart, edits))


def _over_time(data: Reader) -> Iterator[Section]:
    import altair as alt

    weeks = data.sql("""
        SELECT processor_name AS processor, week, sum(accuracy * documents) / sum(documents) AS accuracy
        FROM drift WHERE accuracy IS NOT NULL GROUP BY ALL ORDER BY week
    """)
    chart = (
        alt.Chart(weeks)
        .mark_line(point=True)
        .encode(
            x=alt.X("week:T", title="week"),
            y=alt.Y("accuracy", scale=alt.Scale(domain=[0, 1])),
            color=alt.Color(
                "processor", title=None, legend=alt.Legend(orient="bottom", columns=2, labelLimit=150)
            ),
        )
    )
    yield Section("Accuracy by week", "Of reviewed leaves, all versions of a processor.", _svg(chart, weeks))
    truth = data.sql("""
        SELECT processor_name AS processor, field, documents, round(accuracy, 3) AS accuracy,
               round(accuracy_low, 3) AS low, round(accuracy_high, 3) AS high
        FROM ground_truth_accuracy ORDER BY accuracy, processor, field LIMIT 12
    """)
    yield Section(
        "Fields that differ most from evaluation sets",
        "Expected outputs of evaluation sets, compared with the latest extraction of each document.",
        _table(truth),
        "No evaluation set is loaded.",
        is_wide=True,
    )


def _scores(data: Reader) -> Iterator[Section]:
    import altair as alt

    bins = data.sql("""
        SELECT score, mean_score, share_right, low, high, n FROM calibration
        WHERE processor_name IS NULL AND score <> 'review_agent_score' ORDER BY score, mean_score
    """)
    unit = alt.Scale(domain=[0, 1])
    colour = alt.Color("score", title=None, legend=alt.Legend(orient="bottom"))
    base = alt.Chart(bins).encode(x=alt.X("mean_score", title="score", scale=unit), color=colour)
    lines = base.mark_line(point=True).encode(y=alt.Y("share_right", title="share that is right", scale=unit))
    whiskers = base.mark_rule().encode(y="low", y2="high")
    ends = data.sql("SELECT unnest([0, 1]) AS score, unnest([0, 1]) AS share")
    ideal = alt.Chart(ends).mark_line(color=_GREY, strokeDash=[4, 4]).encode(x="score", y="share")
    yield Section(
        "Is a high score right more often?",
        "On the dashed line 0.9 means 90 %. Whiskers are 95 % intervals.",
        _svg(ideal + whiskers + lines, bins),
    )
    yield from _thresholds(data)


def _thresholds(data: Reader) -> Iterator[Section]:
    import altair as alt

    through = data.sql("""
        SELECT threshold, unnest(['passes without review', 'of these all right']) AS kind,
               unnest([sum(passed) / sum(documents), sum("right") / nullif(sum(passed), 0)]) AS share
        FROM straight_through WHERE score IN ('ocr_confidence', 'confidence') GROUP BY threshold ORDER BY threshold
    """)
    chart = (
        alt.Chart(through)
        .mark_line(point=True)
        .encode(
            x=alt.X("threshold", title="lowest score of a document's leaves", scale=alt.Scale(zero=False)),
            y=alt.Y("share", title="share of documents", scale=alt.Scale(domain=[0, 1])),
            color=alt.Color(
                "kind",
                title=None,
                legend=alt.Legend(orient="bottom"),
                scale=alt.Scale(range=[_ORANGE, _BLUE]),
            ),
        )
    )
    yield Section(
        "How many documents pass without a review?",
        "All processors, OCR or single confidence.",
        _svg(chart, through.dropna()),
    )
    health = data.sql("""
        SELECT processor_name AS processor, score, n, wrong, round(ece, 3) AS ece, round(auroc, 3) AS auroc, verdict
        FROM score_health WHERE field IS NULL ORDER BY processor, score
    """)
    yield Section(
        "Can the scores be trusted?",
        "ece: mean distance of score and share that is right. auroc: the chance that a wrong leaf has the lower score.",
        _table(health),
        is_wide=True,
    )


def _operations(data: Reader) -> Iterator[Section]:
    import altair as alt

    days = data.sql("""
        SELECT day, sum(runs) - sum(failed) AS others, sum(failed) AS failed, max(p95_s) AS p95_s
        FROM throughput GROUP BY day ORDER BY day
    """)
    tall = days.melt("day", ["others", "failed"], "kind", "runs")
    chart = (
        alt.Chart(tall)
        .mark_bar()
        .encode(
            x=alt.X("day:T", title="day"),
            y=alt.Y("runs:Q", title="outermost workflow runs"),
            color=alt.Color(
                "kind:N",
                title=None,
                legend=alt.Legend(orient="bottom"),
                scale=alt.Scale(range=[_ORANGE, _BLUE]),
            ),
        )
    )
    yield Section("Runs by day", "Outermost workflow runs.", _svg(chart, tall), _NO_RUNS)
    chart = (
        alt.Chart(days)
        .mark_line(point=True, color=_BLUE)
        .encode(x=alt.X("day:T", title="day"), y=alt.Y("p95_s:Q", title="seconds, 95th percentile"))
    )
    yield Section(
        "How long the platform takes",
        "The slowest workflow of each day. Reviewed runs are left out: they end when the review ends.",
        _svg(chart, days.dropna(subset=["p95_s"])),
        _NO_RUNS,
    )
    yield from _cost_and_failures(data)


def _cost_and_failures(data: Reader) -> Iterator[Section]:
    import altair as alt

    cost = data.sql("""
        SELECT coalesce(workflow_name, '(outside of workflows)') AS workflow, sum(credits) AS credits
        FROM cost GROUP BY ALL ORDER BY credits DESC LIMIT 12
    """)
    chart = (
        alt.Chart(cost)
        .mark_bar(color=_BLUE)
        .encode(
            x=alt.X("credits", title="credits"),
            y=alt.Y("workflow", sort=None, title=None, axis=alt.Axis(labelLimit=180)),
        )
    )
    yield Section(
        "Cost by workflow", "Each credit once.", _svg(chart, cost), "The platform names no credits."
    )
    backlog = data.sql("""
        SELECT kind, status, count(*) AS runs, round(max(age_s) / 86400.0, 1) AS oldest_days
        FROM backlog GROUP BY ALL ORDER BY runs DESC
    """)
    yield Section("What waits", "Runs that are not final.", _table(backlog), "All runs are final.")
    failures = data.sql("""
        SELECT workflow_name AS workflow, step, code, sum(runs) AS runs, max(day) AS last_day, max(example_run_id) AS example
        FROM failures GROUP BY ALL ORDER BY runs DESC, code LIMIT 12
    """)
    yield Section(
        "Failures", "One failure counts once.", _table(failures), "No run has failed.", is_wide=True
    )
    reviewers = data.sql("""
        SELECT reviewed_by, sum(documents) AS documents, sum(edited_documents) AS edited, sum(edits) AS edits,
               round(median(upper_bound_s) / 3600, 1) AS hours_until_reviewed
        FROM reviews GROUP BY ALL ORDER BY documents DESC LIMIT 12
    """)
    yield Section(
        "Reviewers",
        "Hours hold the wait in the queue: platforms do not say when a review began.",
        _table(reviewers),
    )


def _svg(chart: Any, frame: pd.DataFrame, width: int = WIDTH) -> str:
    """The chart as SVG; nothing where its frame has no rows."""
    if frame.empty:
        return ""
    import vl_convert

    spec = chart.properties(width=width, height=HEIGHT).configure_view(stroke=None).to_dict()
    return str(vl_convert.vegalite_to_svg(spec))


def _table(frame: pd.DataFrame) -> str:
    """The frame as a table; nothing where it has no rows."""
    if frame.empty:
        return ""
    heads = "".join(
        f"<th{_mark(frame[name].iloc[0])}>{escape(str(name).replace('_', ' '))}</th>"
        for name in frame.columns
    )
    rows = "".join(
        "<tr>" + "".join(f"<td{_mark(cell)}>{_cell(cell)}</td>" for cell in row) + "</tr>"
        for row in frame.itertuples(index=False)
    )
    return f'<div class="scroll"><table><tr>{heads}</tr>{rows}</table></div>'


def _mark(cell: Any) -> str:
    return ' class="number"' if isinstance(cell, Number) and str(cell) != "nan" else ""


def _cell(cell: Any) -> str:
    # null has several forms in a data frame
    if str(cell) in ("None", "<NA>", "NaT", "nan"):
        return "–"
    if isinstance(cell, Number):
        number = float(str(cell))
        return f"{number:,.0f}" if number.is_integer() else f"{number:,g}"
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d}"
    return escape(str(cell))
