"""What was extracted, how sure was the model, was it right, and what did it cost?

    python notebooks/explore.py --database docruns.duckdb        # the main numbers as text
    marimo edit notebooks/explore.py -- --database docruns.duckdb # as a notebook
    marimo run notebooks/explore.py -- --database docruns.duckdb  # as a page

Each query opens the database read-only and closes it again, so the notebook does not block a load.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="docruns: explore")

with app.setup:
    import html
    import json
    import math
    import os
    import sys
    import time
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import Any

    import altair as alt
    import duckdb
    import marimo as mo

    from docruns.core.tables import TABLES

    Row = dict[str, Any]
    # a score, the fields that have it, and those of them that review did not change
    Point = tuple[float, int, int]

    BLUE, RED, GREY = "#2f6db3", "#c8553d", "#9aa3ad"
    STATUS_COLOURS = {
        "PROCESSED": "#4f9d69",
        "COMPLETED": "#4f9d69",
        "NEEDS_REVIEW": "#e0a83c",
        "REJECTED": "#8d6cab",
        "FAILED": RED,
        "CANCELLED": GREY,
        "PROCESSING": "#5b9bd5",
        "PENDING": "#b9d4ee",
    }
    SQL_TYPES = {"text": "varchar", "bool": "boolean", "timestamp": "timestamptz"}


@app.function
def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


@app.class_definition
class Loaded:
    """A dataset in a DuckDB file, read-only.

    Each query opens the file and closes it again. A table exists from its first row on. A missing
    table reads as empty, a missing column as null.
    """

    def __init__(self, database: str, dataset: str, patience: float = 10.0) -> None:
        self.database = database
        self.dataset = dataset
        self.patience = patience

    def problem(self) -> str | None:
        """Why the dataset cannot be read and what to do about it, or None."""
        if not Path(self.database).is_file():
            return (
                f"There is no database {self.database}: make one with `docruns demo --database "
                f"{self.database}` or `docruns load extend --database {self.database}`, or name "
                "another with `--database`."
            )
        try:
            connection = self._attached()
        except duckdb.IOException as error:
            if "lock" in str(error).lower():
                return f"{self.database} is being written to right now: run this again after the load."
            return f"{self.database} is not a DuckDB database: name another with `--database`."
        with connection:
            names = {name for name, _, _ in columns_of(connection)}
        found = {name for name in names if not name.endswith("_staging")}  # dlt's own
        if self.dataset not in found:
            others = ", ".join(sorted(found)) or "none"
            return (
                f"{self.database} has no dataset {self.dataset} (it has: {others}): load one with "
                f"`docruns load extend --database {self.database}`, or name another with `--dataset`."
            )
        return None

    def rows(self, sql: str, **parameters: Any) -> list[Row]:
        """The rows of a query, in its order; `$name` is a parameter."""
        with self._attached() as connection:
            present: dict[str, set[str]] = {}
            for schema, table, column in columns_of(connection):
                if schema == self.dataset:
                    present.setdefault(table, set()).add(column)
            for stand_in in stand_ins(present, self.dataset):
                connection.execute(stand_in)
            connection.execute(f"use loaded.{quoted(self.dataset)}")
            result = connection.execute(sql, parameters)
            names = [column[0] for column in result.description]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def row(self, sql: str, **parameters: Any) -> Row:
        """The first row of a query."""
        return self.rows(sql, **parameters)[0]

    def _attached(self) -> duckdb.DuckDBPyConnection:
        """A connection. Waits up to `patience` seconds for a load that has the file open."""
        until = time.monotonic() + self.patience
        path = self.database.replace("'", "''")
        while True:
            connection = duckdb.connect()
            try:
                # without a name of its own, extend.duckdb with a dataset extend would be ambiguous
                connection.execute(f"attach '{path}' as loaded (read_only)")
                connection.execute("set timezone = 'UTC'")
                return connection
            except duckdb.IOException as error:
                connection.close()
                if "lock" not in str(error).lower() or time.monotonic() > until:
                    raise
                time.sleep(0.25)


@app.function
def columns_of(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    return connection.execute(
        "select schema_name, table_name, column_name from duckdb_columns() "
        "where database_name = 'loaded' and not internal"
    ).fetchall()


@app.function
def stand_ins(present: dict[str, set[str]], dataset: str) -> Iterable[str]:
    """Statements that create temporary views for missing tables and tables that lack columns."""
    for table in TABLES:
        known = present.get(table.name, set())
        missing = [
            f"null::{SQL_TYPES.get(column.type, column.type)} as {quoted(column.name)}"
            for column in table.columns
            if column.name not in known
        ]
        if not known:
            yield f"create temp view {table.name} as select {', '.join(missing)} where false"
        elif missing:
            source = f"loaded.{quoted(dataset)}.{quoted(table.name)}"
            yield f"create temp view {table.name} as select *, {', '.join(missing)} from {source}"


@app.function
def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a share, 95% with the default `z`; (0, 1) without cases."""
    if n == 0:
        return 0.0, 1.0
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # at 0 and n the bound is exact, but rounding may miss it by 1e-17
    low = 0.0 if hits == 0 else max(0.0, centre - half)
    high = 1.0 if hits == n else min(1.0, centre + half)
    return low, high


@app.function
def calibration(points: Iterable[Point], bins: int) -> list[Row]:
    """Bins of equal width over 0 to 1, without empty ones. The lower bound is inclusive, in the last bin
    also the upper.

    `mean_score` is the mean over the bin's fields, `share_right` the share that review left unchanged,
    `low` and `high` its 95% Wilson interval. A score outside 0 to 1 falls into the nearest bin.
    """
    sums: dict[int, list[float]] = {}
    for score, n, unchanged in points:
        # 1e-9: 0.29 * 100 is 28.999999999999996, and 0.29 belongs to the bin that starts there
        index = min(bins - 1, max(0, math.floor(score * bins + 1e-9)))
        bin_sums = sums.setdefault(index, [0, 0, 0.0])
        bin_sums[0] += n
        bin_sums[1] += unchanged
        bin_sums[2] += score * n
    return [
        scored_bin(index / bins, (index + 1) / bins, int(n), int(unchanged), total / n)
        for index, (n, unchanged, total) in sorted(sums.items())
    ]


@app.function
def by_level(points: Iterable[Point]) -> list[Row]:
    """The same rows for a score with few levels, such as 1 to 5: one row a level."""
    return [scored_bin(score, score, n, unchanged, score) for score, n, unchanged in sorted(points)]


@app.function
def scored_bin(start: float, end: float, n: int, unchanged: int, mean_score: float) -> Row:
    low, high = wilson(unchanged, n)
    return {
        "from": start,
        "to": end,
        "n": n,
        "mean_score": mean_score,
        "share_right": unchanged / n,
        "low": low,
        "high": high,
    }


@app.function
def calibration_error(bins: Sequence[Row]) -> float | None:
    """Expected calibration error: the mean of |mean score - share right| over bins, weighted by n."""
    n = sum(row["n"] for row in bins)
    if n == 0:
        return None
    return float(sum(row["n"] * abs(row["mean_score"] - row["share_right"]) for row in bins) / n)


@app.function
def threshold_curve(points: Iterable[Point], thresholds: Iterable[float]) -> list[Row]:
    """How many fields, and how many errors, have a score below each threshold.

    `looked_at` is the share of the scored fields that a review below the threshold covers. `caught` is
    the share of the wrong scored fields among them (None if no field was wrong).
    """
    points = sorted(points)
    n = sum(point[1] for point in points)
    wrong = sum(point[1] - point[2] for point in points)
    curve = []
    for threshold in thresholds:
        below = [point for point in points if point[0] < threshold]
        seen, found = sum(p[1] for p in below), sum(p[1] - p[2] for p in below)
        curve.append(
            {
                "threshold": threshold,
                "fields": seen,
                "errors": found,
                "looked_at": seen / n if n else None,
                "caught": found / wrong if wrong else None,
            }
        )
    return curve


@app.function
def corners(place: Row) -> list[tuple[float, float]]:
    """The points of a citation's polygon, or none: `[{"x": 1, "y": 2}, ...]` as JSON text."""
    points = json.loads(place["polygon"] or "null") or []
    return [(float(p["x"]), float(p["y"])) for p in points if "x" in p and "y" in p]


@app.function
def page_drawing(
    width: float,
    height: float,
    chosen: Sequence[Row],
    others: Sequence[Row] = (),
    shown: int = 440,
    window: tuple[float, float, float, float] | None = None,
) -> str:
    """A page, or a `window` (left, top, width, height) of it, as SVG in the page's own coordinates.

    `chosen` and `others` are rows of `citations`, each drawn with its reference text: `chosen` as strong
    boxes with their polygons, `others` as pale boxes. `shown` is the width in pixels on the screen.
    """
    left, top, across, down = window or (0.0, 0.0, width, height)
    pixel = across / shown
    pale = "".join(box_of(place, "#c9ced6", "#eceff3", "#7d8590", pixel) for place in others)
    strong = "".join(
        box_of(place, RED, "#f6c9bc", "#3a1a12", 1.5 * pixel) + outline_of(place, 1.5 * pixel)
        for place in chosen
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left:g} {top:g} {across:g} {down:g}" '
        f'width="{shown}" height="{shown * down / across:.0f}" style="max-width:100%;'
        f'background:#fff;border:1px solid #c9ced6;border-radius:3px">{pale}{strong}</svg>'
    )


@app.function
def box_of(place: Row, stroke: str, fill: str, ink: str, line: float) -> str:
    """The box of a citation, with its text if that is one line."""
    left, top, right, bottom = (place[side] for side in ("left", "top", "right", "bottom"))
    if None in (left, top, right, bottom):
        return ""
    across, down = right - left, bottom - top
    drawn = (
        f'<rect x="{left:g}" y="{top:g}" width="{across:g}" height="{down:g}" fill="{fill}" '
        f'fill-opacity="0.5" stroke="{stroke}" stroke-width="{line:g}"/>'
    )
    words = (place["reference_text"] or "").strip()
    if not words or "\n" in words or not 0 < down < across:
        return drawn
    size = 0.8 * down
    # a letter is about half as wide as it is high; longer text is squeezed
    squeeze = (
        f' textLength="{across:g}" lengthAdjust="spacingAndGlyphs"' if len(words) * size / 2 > across else ""
    )
    return drawn + (
        f'<text x="{left:g}" y="{bottom - 0.22 * down:g}" font-size="{size:g}" fill="{ink}" '
        f'font-family="sans-serif"{squeeze}>{html.escape(words)}</text>'
    )


@app.function
def outline_of(place: Row, line: float) -> str:
    """The polygon of a citation as a dashed line; empty if it has none."""
    points = " ".join(f"{x:g},{y:g}" for x, y in corners(place))
    return (
        f'<polygon points="{points}" fill="none" stroke="{RED}" stroke-width="{line:g}" '
        f'stroke-dasharray="{3 * line:g} {2 * line:g}"/>'
        if points
        else ""
    )


@app.function
def close_up(width: float, height: float, places: Sequence[Row]) -> tuple[float, float, float, float]:
    """The part of the page around `places`, at least a third as wide: (left, top, width, height)."""
    xs, ys = [], []
    for place in places:
        known = place["left"] is not None
        box = [(place["left"], place["top"]), (place["right"], place["bottom"])] if known else []
        for x, y in box + corners(place):
            xs.append(x)
            ys.append(y)
    across = min(width, max(width / 3, 1.3 * (max(xs) - min(xs))))
    down = min(height, max(across / 4, 1.3 * (max(ys) - min(ys))))
    left = (min(xs) + max(xs) - across) / 2
    top = (min(ys) + max(ys) - down) / 2
    return max(0.0, min(left, width - across)), max(0.0, min(top, height - down)), across, down


@app.function
def table(rows: Sequence[Row], formats: dict[str, str] | None = None, page: int = 15) -> Any:
    """Rows as a plain table; `formats` are formats by column, e.g. `{"rate": "{:.1%}"}`."""
    if not rows:
        return mo.md("*None.*")

    def shower(pattern: str) -> Any:
        return lambda value: "" if value is None else pattern.format(value)

    numbers = [name for name in rows[0] if any(isinstance(row[name], int | float) for row in rows)]
    formats = {**dict.fromkeys(numbers, "{:,}"), **(formats or {})}
    return mo.ui.table(
        list(rows),
        selection=None,
        pagination=len(rows) > page,
        page_size=page,
        show_search=False,
        show_download=False,
        show_data_types=False,
        show_column_summaries=False,
        text_justify_columns=dict.fromkeys(numbers, "right"),
        format_mapping={name: shower(pattern) for name, pattern in formats.items() if name in rows[0]},
    )


@app.function
def percent(share: float | None) -> str:
    """A share as text: 12.3%, or a dash for None."""
    return "–" if share is None else f"{share:.1%}"


@app.cell
def _():
    _arguments = mo.cli_args()
    database = str(_arguments.get("database") or os.environ.get("DOCRUNS_DATABASE") or "docruns.duckdb")
    dataset = str(_arguments.get("dataset") or "extend")
    return database, dataset


@app.cell
def _(database, dataset):
    loaded = Loaded(database, dataset)
    problem = loaded.problem()
    if problem and mo.app_meta().mode == "script":
        sys.exit(problem)
    mo.stop(problem is not None, mo.callout(mo.md(problem or ""), kind="warn"))
    return (loaded,)


@app.cell(hide_code=True)
def _(loaded):
    mo.md(f"""
    # What was extracted, was it right, and what did it cost?

    Read from `{loaded.database}`, dataset `{loaded.dataset}`. The notebook never writes to it. Times are UTC.
    """)
    return


@app.cell
def _(loaded):
    counts = loaded.row("""
        select
            (select count(*) from workflow_runs) as workflow_runs,
            (select count(*) from processor_runs) as processor_runs,
            (select count(*) from fields where kind = 'leaf') as fields,
            (select count(*) from citations where output = 'final') as citations,
            (select count(*) from insights where output = 'final') as insights,
            (select count(*) from workflow_runs where deleted_at is not null) as deleted,
            (select count(*) from workflow_runs where not is_final) as unfinished,
            (select min(created_at) at time zone 'UTC' from workflow_runs) as first_created,
            (select max(created_at) at time zone 'UTC' from workflow_runs) as last_created,
            (select max(updated_at) at time zone 'UTC' from workflow_runs) as last_updated
    """)
    runs_by_status = loaded.rows("""
        select coalesce(workflow_name, workflow_id, '(none)') as workflow, status,
            count(*) as runs, count(*) filter (reviewed) as reviewed
        from workflow_runs group by all order by workflow, status
    """)
    processor_runs_by_type = loaded.rows("""
        select type, count(*) as runs,
            count(*) filter (workflow_run_id is not null) as in_a_workflow,
            count(*) filter (status in ('FAILED', 'CANCELLED')) as failed_or_cancelled,
            count(*) filter (reviewed) as reviewed, count(*) filter (edited) as edited,
            sum(page_count) as pages, sum(field_count) as fields
        from processor_runs group by all order by runs desc, type
    """)
    last_load = loaded.rows("""
        -- one row per committed chunk: the latest tells whether the load came to its end
        select strftime(finished_at at time zone 'UTC', '%Y-%m-%d %H:%M:%S') as finished,
            coalesce(listed, 0) as listed, coalesce(fetched, 0) as fetched,
            coalesce(unchanged, 0) as unchanged, coalesce(requests, 0) as requests,
            coalesce(retries, 0) as retries, complete
        from syncs order by finished_at desc limit 1
    """)
    quarantined = loaded.rows("""
        select resource, id, attempts, error, message,
            strftime(last_seen_at at time zone 'UTC', '%Y-%m-%d %H:%M:%S') as last_seen
        from quarantine where resolved_at is null order by last_seen_at desc, resource, id
    """)
    return counts, last_load, processor_runs_by_type, quarantined, runs_by_status


@app.cell
def _(loaded):
    # a workflow run's credits already contain those of its processor runs. So each credit counts once
    # in the sum of all workflow runs and of those processor runs that belong to no workflow run.
    # * an extraction that failed inside a workflow names no workflow run, but the parse run that it
    #   read does: it belongs to that one. A successful one may have reused another run's parse run.
    # * total_credits of a run outside workflows contains the parse run that it started; if that parse
    #   run is a row too, its credits are counted there.
    # * credits are null for runs older than the platform's records of credits: unknown, not zero.
    charges = loaded.rows("""
        with outside as (
            select p.*, parse.id is not null as parse_is_a_row
            from processor_runs p
            left join processor_runs parse on parse.id = p.parse_run_id
            where coalesce(
                p.workflow_run_id,
                if(p.status is distinct from 'PROCESSED', parse.workflow_run_id, null),
                ''
            ) not in (select id from workflow_runs)
        ),
        pages as (
            select run_id, sum(page_count) as pages from run_files where run_kind = 'workflow' group by run_id
        ),
        charged as (
            select 'workflow' as what, coalesce(workflow_name, workflow_id, '(none)') as name,
                coalesce(total_credits, credits) as credits, pages
            from workflow_runs left join pages on run_id = id
            union all
            select 'alone', type, if(parse_is_a_row, credits, coalesce(total_credits, credits)), page_count
            from outside
        )
        select what, name, count(*) as runs, count(credits) as runs_with_credits, sum(credits) as credits,
            sum(credits) / count(credits) as credits_per_run,
            -- numerator and denominator over the same runs
            sum(credits) filter (pages > 0) / sum(pages) filter (credits is not null) as credits_per_page
        from charged group by all order by what desc, credits desc nulls last, name
    """)
    charges_by_document = loaded.rows("""
        -- extraction alone: credits, not total_credits, which would add the parsing it set off
        select coalesce(processor_name, processor_id, '(unnamed)') as document_type,
            count(*) as extractions, count(credits) as with_credits, sum(credits) as credits,
            sum(credits) / count(credits) as credits_per_extraction,
            sum(credits) filter (page_count > 0) / sum(page_count) filter (credits is not null)
                as credits_per_page,
            sum(credits) filter (field_count > 0) / sum(field_count) filter (credits is not null)
                as credits_per_field
        from processor_runs
        where type = 'EXTRACT' and coalesce(status, '') not in ('FAILED', 'CANCELLED')
        group by all order by credits desc nulls last, document_type
    """)
    credits_total = sum(row["credits"] or 0 for row in charges)
    runs_without_credits = sum(row["runs"] - row["runs_with_credits"] for row in charges)
    return charges, charges_by_document, credits_total, runs_without_credits


@app.cell(hide_code=True)
def _(
    counts,
    credits_total,
    last_load,
    processor_runs_by_type,
    quarantined,
    runs_by_status,
    runs_without_credits,
):
    def _span():
        if counts["first_created"] is None:
            return "No workflow run is loaded."
        return (
            f"Runs were created from **{counts['first_created']:%Y-%m-%d %H:%M}** to "
            f"**{counts['last_created']:%Y-%m-%d %H:%M}**; the latest change is of "
            f"**{counts['last_updated']:%Y-%m-%d %H:%M}**. "
            f"{counts['unfinished']:,} had not finished when they were loaded, and the platform has deleted "
            f"{counts['deleted']:,} since."
        )

    def _last_load():
        if not last_load:
            return "**Last load:** not recorded."
        load = last_load[0]
        return (
            f"**Last load:** finished {load['finished']}; {load['listed']:,} runs listed, "
            f"{load['fetched']:,} fetched, {load['unchanged']:,} unchanged, with "
            f"{load['requests']:,} requests ({load['retries']:,} repeated). "
            + (
                "All due runs are loaded."
                if load["complete"]
                else "**More runs are due:** the next load continues there."
            )
        )

    def _quarantine():
        if not quarantined:
            return mo.md("**Quarantine:** empty. Every due run could be loaded.")
        return mo.vstack(
            [
                mo.callout(
                    mo.md(
                        f"{len(quarantined)} runs could not be loaded and are missing from all figures "
                        "below. Each load tries them again."
                    ),
                    kind="warn",
                ),
                table(quarantined),
            ]
        )

    _seen = {row["status"] for row in runs_by_status if row["status"]}
    _statuses = [status for status in STATUS_COLOURS if status in _seen]
    _statuses += sorted(_seen - STATUS_COLOURS.keys())
    _chart = (
        alt.Chart(alt.InlineData(values=runs_by_status))
        .mark_bar()
        .encode(
            x=alt.X("sum(runs):Q", title="workflow runs"),
            y=alt.Y("workflow:N", sort="-x", title=None, axis=alt.Axis(labelLimit=220)),
            color=alt.Color(
                "status:N",
                title=None,
                scale=alt.Scale(
                    domain=_statuses,
                    range=[STATUS_COLOURS.get(status, "#444") for status in _statuses],
                ),
            ),
            tooltip=["workflow:N", "status:N", "runs:Q", "reviewed:Q"],
        )
        .properties(width="container", height=alt.Step(22))
    )
    mo.vstack(
        [
            mo.md("## What was loaded"),
            mo.hstack(
                [
                    mo.stat(f"{counts['workflow_runs']:,}", "workflow runs"),
                    mo.stat(f"{counts['processor_runs']:,}", "processor runs"),
                    mo.stat(f"{counts['fields']:,}", "leaf fields"),
                    mo.stat(f"{counts['citations']:,}", "citations"),
                    mo.stat(f"{counts['insights']:,}", "insights"),
                    mo.stat(f"{credits_total:,.0f}", "credits"),
                ],
                justify="space-between",
                wrap=True,
            ),
            mo.md(
                _span() + " Fields are leaves: arrays, their items and objects are not counted."
                f" Credits are those of runs that report them; {runs_without_credits:,} runs do not."
            ),
            *([_chart] if runs_by_status else []),
            mo.md("**Processor runs** by type"),
            table(processor_runs_by_type),
            mo.md(_last_load()),
            _quarantine(),
        ]
    )
    return


@app.cell
def _():
    # rules of every question about correctness:
    # * only a review shows which value is correct, so reviewed = true; API versions before 2025-04-21
    #   set it for the workflow run only;
    # * only leaves count: an array or an object is the sum of its leaves;
    # * the score is the model's; edited is true if review changed the answer.
    ANSWERS = """
        select
            coalesce(p.processor_name, p.processor_id, '(unnamed)') as processor,
            coalesce(w.workflow_name, '(no workflow)') as workflow,
            w.status as workflow_status, f.processor_run_id, f.path, f.field, f.edited, f.edit_kind,
            f.logprobs_confidence, f.ocr_confidence, f.confidence, f.review_agent_score,
            coalesce(f.logprobs_confidence, f.ocr_confidence, f.confidence) as best_available
        from fields f
        join processor_runs p on p.id = f.processor_run_id
        left join workflow_runs w on w.id = p.workflow_run_id
        where coalesce(p.reviewed, w.reviewed) and f.kind = 'leaf' and f.edited is not null
    """
    SCORES = {
        "best available": "best_available",
        "logprobs_confidence": "logprobs_confidence",
        "ocr_confidence": "ocr_confidence",
        "confidence": "confidence",
    }
    return ANSWERS, SCORES


@app.cell
def _(ANSWERS, SCORES, loaded):
    reviewed_runs = loaded.row(f"""
        select
            (select count(*) from processor_runs where type = 'EXTRACT') as extractions,
            count(distinct processor_run_id) as reviewed,
            count(*) as fields,
            count(*) filter (edited) as edited,
            count(distinct processor_run_id) filter (workflow_status = 'REJECTED') as rejected
        from ({ANSWERS})
    """)
    _processors = loaded.rows(f"select distinct processor from ({ANSWERS}) order by 1")
    score_choice = mo.ui.dropdown(SCORES, value="best available", label="score")
    document_choice = mo.ui.dropdown(
        {"all documents": None} | {row["processor"]: row["processor"] for row in _processors},
        value="all documents",
        label="processor",
    )
    bin_choice = mo.ui.slider(5, 50, step=5, value=20, label="bins", show_value=True)
    return bin_choice, document_choice, reviewed_runs, score_choice


@app.cell
def _(ANSWERS, SCORES, bin_choice, document_choice, loaded, score_choice):
    def points_of(column: str) -> list[Point]:
        """(score, fields, unchanged) by score; rounded to 4 digits, so at most 10,001 rows."""
        found = loaded.rows(
            f"""
            select round({column}, 4)::double as score, count(*) as n,
                count(*) filter (not edited) as unchanged
            from ({ANSWERS})
            where {column} is not null and ($processor::varchar is null or processor = $processor)
            group by 1 order by 1
            """,
            processor=document_choice.value,
        )
        return [(row["score"], row["n"], row["unchanged"]) for row in found]

    points = points_of(score_choice.value)
    calibration_bins = calibration(points, bin_choice.value)
    ece = calibration_error(calibration_bins)
    agent_points = points_of("review_agent_score")
    agent_levels = by_level(agent_points)

    def _summary(name: str, column: str) -> Row:
        held = points_of(column)
        n = sum(point[1] for point in held)
        return {
            "score": name,
            "fields": n,
            "wrong": n - sum(point[2] for point in held),
            "mean_score": sum(point[0] * point[1] for point in held) / n if n else None,
            "share_right": sum(point[2] for point in held) / n if n else None,
            "calibration_error": calibration_error(calibration(held, bin_choice.value)),
        }

    score_summary = [_summary(name, column) for name, column in SCORES.items()]
    unscored = loaded.row(
        f"""
        select count(*) as fields, count(*) filter (edited) as errors,
            count(*) filter (edit_kind = 'added') as added
        from ({ANSWERS})
        where {score_choice.value} is null and ($processor::varchar is null or processor = $processor)
        """,
        processor=document_choice.value,
    )
    return agent_levels, agent_points, calibration_bins, ece, points, score_summary, unscored


@app.cell(hide_code=True)
def _(
    agent_levels,
    bin_choice,
    calibration_bins,
    document_choice,
    ece,
    points,
    reviewed_runs,
    score_choice,
    score_summary,
    unscored,
):
    _share = alt.Y(
        "share_right:Q",
        title="share left unchanged by review",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format=".0%"),
    )
    _tips = [
        alt.Tooltip("mean_score:Q", format=".3f", title="mean score"),
        alt.Tooltip("share_right:Q", format=".1%", title="share unchanged"),
        alt.Tooltip("low:Q", format=".1%", title="from"),
        alt.Tooltip("high:Q", format=".1%", title="to"),
        alt.Tooltip("n:Q", format=","),
    ]
    _data = alt.InlineData(values=calibration_bins)
    _x = alt.X("mean_score:Q", title="model's score (mean of the bin)", scale=alt.Scale(domain=[0, 1]))
    _diagonal = (
        alt.Chart(alt.InlineData(values=[{"s": 0, "r": 0}, {"s": 1, "r": 1}]))
        .mark_line(color=GREY, strokeDash=[4, 4])
        .encode(x="s:Q", y="r:Q")
    )
    _bars = alt.Chart(_data).mark_rule(color=BLUE, strokeWidth=2, opacity=0.5)
    _dots = alt.Chart(_data).mark_circle(color=BLUE, opacity=0.9)
    _calibration = (
        _diagonal
        + _bars.encode(x=_x, y=alt.Y("low:Q"), y2="high:Q")
        + _dots.encode(
            x=_x,
            y=_share,
            size=alt.Size("n:Q", title="fields", scale=alt.Scale(range=[30, 500])),
            tooltip=_tips,
        )
    ).properties(width=380, height=340, title="Score against correctness")

    _levels = alt.InlineData(values=agent_levels)
    _agent = (
        alt.Chart(_levels)
        .mark_bar(color=BLUE, opacity=0.75, width=28)
        .encode(
            x=alt.X("from:O", title="review agent score", axis=alt.Axis(labelAngle=0)),
            y=_share,
            tooltip=_tips,
        )
        + alt.Chart(_levels).mark_rule(color="#1b3f68").encode(x="from:O", y="low:Q", y2="high:Q")
        + alt.Chart(_levels)
        .mark_text(baseline="bottom", y=338, color="white", fontSize=10)
        .encode(x="from:O", text=alt.Text("n:Q", format=","))
    ).properties(width=230, height=340, title="Review agent, with n")

    _formats = {
        "from": "{:.2f}",
        "to": "{:.2f}",
        "mean_score": "{:.3f}",
        "share_right": "{:.1%}",
        "low": "{:.1%}",
        "high": "{:.1%}",
        "calibration_error": "{:.3f}",
    }
    _intro = f"""
    ## Was the model right when it was sure?

    **Only runs that a person has reviewed count here**: {reviewed_runs["reviewed"]:,} of
    {reviewed_runs["extractions"]:,} extractions, with {reviewed_runs["fields"]:,} leaf fields, of which
    review changed {reviewed_runs["edited"]:,}. A field that review did not change counts as correct.
    This favours the model if a reviewer missed an error. Reviewed runs are rarely a random sample: often
    they are the doubtful ones. {reviewed_runs["rejected"]:,} of these extractions belong to runs that were
    rejected as a whole, and their fields may not have been checked one by one.
    *Best available* is `logprobs_confidence`, or `ocr_confidence` if that is missing, or `confidence` if
    both are. These do not measure the same thing: compare them below before you rely on the mixture.
    """
    if calibration_bins:
        _outside = sum(n for score, n, _ in points if not 0 <= score <= 1)
        _verdict = mo.md(
            f"**Expected calibration error: {ece:.3f}** over {len(calibration_bins)} bins that hold fields. "
            "Below the dashed line the model is overconfident. Lines are 95% Wilson intervals; "
            "fields of one document are not independent, so the true intervals are a little wider. "
            f"{unscored['fields']:,} reviewed fields have no such score and are not in the chart."
            + (
                f" **{_outside:,} scores are not between 0 and 1**: this score has another scale, so "
                "its chart and its error are meaningless."
                if _outside
                else ""
            )
        )
        _body = [
            mo.hstack([_calibration, _agent] if agent_levels else [_calibration], justify="start", gap=2),
            _verdict,
            table(calibration_bins, _formats, page=25),
            mo.md(
                "**Comparison of the scores**: a small error means that score and share of correct fields agree."
            ),
            table(score_summary, _formats),
        ]
    else:
        _body = [mo.md("*No reviewed field has this score.*")]
    mo.vstack(
        [
            mo.md(_intro),
            mo.hstack([score_choice, document_choice, bin_choice], justify="start"),
            *_body,
        ]
    )
    return


@app.cell
def _():
    group_choice = mo.ui.dropdown(["processor", "workflow"], value="processor", label="group by")
    least_choice = mo.ui.slider(1, 100, value=10, label="at least so many reviewed", show_value=True)
    return group_choice, least_choice


@app.cell
def _(ANSWERS, document_choice, group_choice, least_choice, loaded, score_choice):
    corrected = loaded.rows(
        f"""
        select {group_choice.value}, field,
            count(*) as reviewed,
            count(*) filter (edited) as edited,
            count(*) filter (edit_kind = 'changed') as changed,
            count(*) filter (edit_kind = 'added') as added,
            count(*) filter (edit_kind = 'removed') as removed,
            avg({score_choice.value}) as mean_score,
            -- both over the fields that have a score: one that review added has none
            avg({score_choice.value})
                - avg((not edited)::int) filter ({score_choice.value} is not null) as overconfidence
        from ({ANSWERS})
        where $processor::varchar is null or processor = $processor
        group by 1, 2
        having count(*) >= $least
        order by 1, 2
        """,
        processor=document_choice.value,
        least=least_choice.value,
    )
    for _row in corrected:
        _row["rate"] = _row["edited"] / _row["reviewed"]
        _row["at_least"] = wilson(_row["edited"], _row["reviewed"])[0]
    # sorted by the lower end of the interval: 2 of 10 may be chance, 40 of 200 is not
    corrected.sort(key=lambda row: row["at_least"], reverse=True)
    return (corrected,)


@app.cell(hide_code=True)
def _(corrected, group_choice, least_choice):
    _formats = {
        "rate": "{:.1%}",
        "at_least": "{:.1%}",
        "mean_score": "{:.3f}",
        "overconfidence": "{:+.3f}",
    }
    _columns = [group_choice.value, "field", "reviewed", "edited", "rate", "at_least"]
    _columns += ["changed", "added", "removed", "mean_score", "overconfidence"]
    _rows = [{name: row[name] for name in _columns} for row in corrected]
    mo.vstack(
        [
            mo.md("""
    ## Which fields are corrected most?

    `rate` is the share of reviewed leaves that review changed, added or removed. `at_least` is the lower
    end of its 95% interval; the table is sorted by it, so that a few unlucky documents do not lead it.
    `overconfidence` is the mean score minus the share of correct leaves, over the leaves that have a
    score. If it is well above zero, wrong values have high scores, and a threshold on that score does
    not find them.
    """),
            mo.hstack([group_choice, least_choice], justify="start"),
            table(_rows, _formats),
        ]
    )
    return


@app.cell
def _():
    threshold_choice = mo.ui.slider(0.0, 1.0, step=0.01, value=0.9, label="threshold", show_value=True)
    return (threshold_choice,)


@app.cell
def _(agent_points, points, threshold_choice):
    curve = threshold_curve(points, [step / 100 for step in range(101)])
    chosen_threshold = threshold_curve(points, [threshold_choice.value])[0]
    agent_curve = threshold_curve(agent_points, range(2, 7))
    return agent_curve, chosen_threshold, curve


@app.cell(hide_code=True)
def _(agent_curve, agent_points, chosen_threshold, curve, points, threshold_choice, unscored):
    _names = {"caught": "errors caught", "looked_at": "fields looked at"}
    _colour = alt.Color(
        "share_of:N",
        title=None,
        scale=alt.Scale(domain=list(_names.values()), range=[RED, BLUE]),
        legend=alt.Legend(orient="top"),
    )
    _long = [
        {"threshold": row["threshold"], "share_of": label, "share": row[name]}
        for row in curve
        for name, label in _names.items()
        if row[name] is not None
    ]
    _lines = (
        alt.Chart(alt.InlineData(values=_long))
        .mark_line(strokeWidth=2.5, interpolate="step-after")
        .encode(
            x=alt.X("threshold:Q", title="threshold: every field scored below it goes to review"),
            y=alt.Y("share:Q", title=None, axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1])),
            color=_colour,
            tooltip=[
                "threshold:Q",
                "share_of:N",
                alt.Tooltip("share:Q", format=".1%"),
            ],
        )
    )
    _rule = (
        alt.Chart(alt.InlineData(values=[{"t": threshold_choice.value}]))
        .mark_rule(color="#444", strokeDash=[3, 3])
        .encode(x="t:Q")
    )
    _intro = mo.md("""
    ## What if only the doubtful fields went to review?

    If a reviewer checks exactly the fields with a score below the threshold, which share of the errors
    does the review find, and which share of the fields does it check? The wider the gap between the
    lines, the more work the score saves. The figures are of reviewed runs only.
    """)
    if points:
        _at = chosen_threshold
        _summary = mo.md(
            f"Below **{threshold_choice.value:.2f}** are {_at['fields']:,} fields "
            f"(**{percent(_at['looked_at'])}** of the scored ones) and {_at['errors']:,} errors "
            f"(**{percent(_at['caught'])}**). Another {unscored['errors']:,} errors are in fields without "
            f"a score, and {unscored['added']:,} of them are values that the model did not return: no threshold "
            "finds these."
        )
        _parts = [
            threshold_choice,
            (_lines + _rule).properties(width="container", height=260),
            _summary,
        ]
        if agent_points:
            _shown = [
                {
                    "review agent score": "all" if row["threshold"] == 6 else f"below {row['threshold']}",
                    **{name: row[name] for name in ("fields", "errors", "looked_at", "caught")},
                }
                for row in agent_curve
            ]
            _parts += [
                mo.md("The same figures by the **review agent's score**, 1 to 5:"),
                table(_shown, {"looked_at": "{:.1%}", "caught": "{:.1%}"}),
            ]
    else:
        _parts = [mo.md("*No reviewed field has this score.*")]
    mo.vstack([_intro, *_parts])
    return


@app.cell(hide_code=True)
def _(charges, charges_by_document, credits_total, runs_without_credits):
    _formats = {
        "credits": "{:,.0f}",
        "credits_per_run": "{:.2f}",
        "credits_per_page": "{:.2f}",
        "credits_per_extraction": "{:.2f}",
        "credits_per_field": "{:.3f}",
    }
    _intro = mo.md(f"""
    ## What did it cost?

    **{credits_total:,.0f} credits**, each counted once. A workflow run's credits already contain those of
    its processor runs, so do not add the credits of the two tables. The total counts workflow runs, and
    of the processor runs only those that belong to no workflow run (`alone`, by type).
    {runs_without_credits:,} runs report no credits; these are unknown, not free, and do not count in the
    means. Pages are those of a run's input files; a file without pages has none.
    """)
    if credits_total:
        _parts = [
            table(charges, _formats, page=25),
            mo.md(
                "**Extraction by document type.** A part of the credits above: those of the extraction "
                "itself, without parsing, classifying and splitting."
            ),
            table(charges_by_document, _formats),
        ]
    else:
        _parts = [mo.md("*No run reports credits.*")]
    mo.vstack([_intro, *_parts])
    return


@app.cell
def _(loaded):
    # a citation can be drawn if the size of its page is known; runs in which a corrected field has a
    # reasoning insight come first
    cited_runs = loaded.rows("""
        select p.id, coalesce(p.processor_name, p.processor_id, '(unnamed)') as processor,
            (select min(name) from run_files r where r.run_id = p.id) as file,
            count(*) as places,
            count(*) filter (f.edited and f.kind = 'leaf' and exists (
                from insights i where i.type = 'reasoning' and i.path = c.path
                    and i.processor_run_id = c.processor_run_id)) as stories
        from citations c
        join processor_runs p on p.id = c.processor_run_id
        left join fields f on f.processor_run_id = c.processor_run_id and f.path = c.path
        where c.page_width > 0 and c.page_height > 0
            and (c."left" is not null or c.polygon is not null)
        group by all order by stories > 0 desc, p.id limit 500
    """)
    _runs = {
        f"{row['processor']} · {row['file'] or 'no file'} · {row['id']}": row["id"] for row in cited_runs
    }
    run_choice = mo.ui.dropdown(_runs, value=next(iter(_runs), None), label="run", searchable=True)
    return cited_runs, run_choice


@app.cell
def _(loaded, run_choice):
    cited_fields = loaded.rows(
        """
        with cited as (
            select c.path, coalesce(any_value(f.edited), false) as edited,
                coalesce(any_value(f.kind), 'leaf') as kind,
                coalesce(any_value(f.insight_count), 0) as insights
            from citations c
            left join fields f on f.processor_run_id = c.processor_run_id and f.path = c.path
            where c.processor_run_id = $run and c.page_width > 0 and c.page_height > 0
                and (c."left" is not null or c.polygon is not null)
            group by c.path
        ),
        reasoned as (
            select distinct path, true as reasoned from insights
            where processor_run_id = $run and type = 'reasoning'
        )
        select path, edited from cited left join reasoned using (path)
        order by kind = 'leaf' desc, coalesce(edited and reasoned, false) desc, edited desc,
            insights desc, path
        """,
        run=run_choice.value,
    )
    _fields = {f"{row['path']}{' · corrected' if row['edited'] else ''}": row["path"] for row in cited_fields}
    field_choice = mo.ui.dropdown(_fields, value=next(iter(_fields), None), label="field", searchable=True)
    return cited_fields, field_choice


@app.cell
def _(field_choice, loaded, run_choice):
    _chosen = {"run": run_choice.value, "path": field_choice.value}
    cited_field = loaded.rows(
        "select * from fields where processor_run_id = $run and path = $path", **_chosen
    )
    # initial: the citations of the model's own answer, if they differ from the current ones
    cited_places = loaded.rows(
        """
        select * from citations
        where processor_run_id = $run and path = $path and page_width > 0 and page_height > 0
        order by output, position
        """,
        **_chosen,
    )
    neighbours = loaded.rows(
        """
        select * from citations
        where processor_run_id = $run and path <> $path and output = 'final'
        order by path, position limit 400
        """,
        **_chosen,
    )
    # insights on the field itself, then on its parents, then on the whole output
    said = loaded.rows(
        """
        select output, path, type, content from insights
        where processor_run_id = $run
            and (path in ($path, '') or path = (
                select parent_path from fields where processor_run_id = $run and path = $path))
        order by length(path) desc, output, position
        """,
        **_chosen,
    )
    return cited_field, cited_places, neighbours, said


@app.cell(hide_code=True)
def _(cited_field, cited_places, cited_runs, field_choice, neighbours, run_choice, said):
    def _pages():
        """One drawing for each page on which the field is cited."""
        seen = {}
        for place in cited_places:
            seen.setdefault((place["file_id"], place["page"]), []).append(place)
        for (file, page), places in seen.items():
            size = places[0]["page_width"], places[0]["page_height"]
            others = [p for p in neighbours if (p["file_id"], p["page"]) == (file, page)]
            whole = page_drawing(*size, places, others)
            near = page_drawing(*size, places, others, window=close_up(*size, places))
            yield (
                mo.vstack([mo.md(f"Page {page}, {size[0]:g} × {size[1]:g}"), mo.Html(whole)]),
                mo.vstack([mo.md(f"Page {page}, close up"), mo.Html(near)]),
            )

    def _line(label, text, strong=False):
        if text is None or text == "":
            return ""
        weight = "600" if strong else "400"
        return (
            '<tr><td style="color:#7d8590;padding:2px 14px 2px 0;vertical-align:top;white-space:nowrap">'
            f'{html.escape(label)}</td><td style="font-weight:{weight};overflow-wrap:anywhere">'
            f"{html.escape(str(text))}</td></tr>"
        )

    def _card():
        field = cited_field[0] if cited_field else {}
        removed = field.get("edit_kind") == "removed"
        lines = [
            _line("field", field_choice.value, strong=True),
            _line(
                "value",
                "(removed by review)" if removed else field.get("value") or "(empty)",
                strong=True,
            ),
            _line("type", field.get("type")),
        ]
        if field.get("edited"):
            lines += [
                _line("the model said", field["initial_json"]),
                _line("review", field["edit_kind"]),
                _line("note", field["edit_note"]),
            ]
        for name in ("logprobs_confidence", "ocr_confidence", "confidence"):
            score = field.get(name)
            lines.append(_line(name, None if score is None else f"{score:.3f}"))
        if field.get("review_agent_score") is not None:
            lines.append(_line("review agent", f"{field['review_agent_score']} of 5"))
        lines += [_line("text on the page", place["reference_text"]) for place in cited_places]
        about = {field_choice.value: "", "": " (whole output)"}
        for row in said:
            of = about.get(row["path"], f" ({row['path']})")
            before = " before review" if row["output"] == "initial" else ""
            lines.append(_line(f"{row['type']}{before}{of}", row["content"]))
        return mo.Html(f'<table style="font-size:0.9rem;line-height:1.45">{"".join(lines)}</table>')

    _intro = mo.md("""
    ## Where on the page was it read?

    The page is drawn to scale from the citations alone. Red is the place of the chosen field (the dashed
    line is the citation's polygon), grey are the run's other citations on the page.
    """)
    if cited_runs:
        _drawn = list(_pages())
        _parts = [
            mo.hstack([run_choice, field_choice], justify="start", wrap=True),
            mo.hstack(
                [
                    mo.vstack([page for page, _ in _drawn]),
                    mo.vstack([_card(), *(near for _, near in _drawn)], gap=1),
                ],
                justify="start",
                align="start",
                gap=2,
                widths=[1, 1],
            ),
        ]
    else:
        _parts = [mo.md("*No citation with a page size is loaded.*")]
    mo.vstack([_intro, *_parts])
    return


@app.cell(hide_code=True)
def _(
    chosen_threshold,
    corrected,
    counts,
    credits_total,
    database,
    dataset,
    ece,
    quarantined,
    reviewed_runs,
    threshold_choice,
):
    # a script has no page, so it prints the main numbers
    if mo.app_meta().mode == "script":
        print(f"{database}, dataset {dataset}")
        print(
            f"{counts['workflow_runs']:,} workflow runs, {counts['processor_runs']:,} processor runs, "
            f"{counts['fields']:,} leaf fields, {counts['citations']:,} citations, "
            f"{len(quarantined):,} in quarantine"
        )
        print(
            f"{reviewed_runs['reviewed']:,} reviewed extractions: review changed "
            f"{reviewed_runs['edited']:,} of {reviewed_runs['fields']:,} leaf fields"
        )
        if ece is not None:
            print(
                f"expected calibration error {ece:.3f}; below {threshold_choice.value:.2f} are "
                f"{percent(chosen_threshold['looked_at'])} of the scored fields and "
                f"{percent(chosen_threshold['caught'])} of their errors"
            )
        for _row in corrected[:3]:
            _group = next(iter(_row.values()))
            print(
                f"corrected most: {_row['field']} ({_group}), "
                f"{_row['edited']} of {_row['reviewed']}, {percent(_row['rate'])}"
            )
        print(f"{credits_total:,.0f} credits")
    return


if __name__ == "__main__":
    app.run()
