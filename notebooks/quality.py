"""How often is the model right, can its scores be trusted, and what slips through a threshold?

    python notebooks/quality.py --database docruns.duckdb    # the main figures as text
    docruns notebook quality                                 # as a page

The figures come from the models (docs/questions.md). Nothing is written to the database.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="docruns: quality")

with app.setup:
    import marimo as mo

    from docruns.models.report.cells import (
        arguments,
        choice_of_runs,
        chosen,
        open_data,
        percent,
        row_of,
        shown,
        table,
        tiles,
    )
    from docruns.models.report.figures import QUALITY


@app.cell
def _():
    database, dataset = arguments()
    return database, dataset


@app.cell
def _(database, dataset):
    data = open_data(database, dataset)
    choice = choice_of_runs(data, "processor", "version", "source")
    return choice, data


@app.cell(hide_code=True)
def _(choice, data):
    mo.vstack(
        [
            mo.md(f"""
    # Is the model right?

    `{data.database}`, dataset `{data.dataset}`. Only reviewed extractions count, and these are no random sample.
    """),
            row_of(choice),
        ]
    )
    return


@app.cell
def _(choice, data):
    runs = chosen(data, choice)
    totals = runs.sql("""
        SELECT (SELECT count(*) FROM documents) AS extractions,
               (SELECT count(*) FROM documents WHERE reviewed) AS reviewed,
               (SELECT count(*) FROM leaves WHERE is_reviewed) AS leaves,
               (SELECT avg(CASE WHEN is_right THEN 1.0 ELSE 0.0 END) FROM leaves WHERE is_reviewed) AS share
    """).iloc[0]
    return runs, totals


@app.cell(hide_code=True)
def _(runs, totals):
    mo.vstack(
        [
            tiles(
                [
                    (f"{totals.extractions:,.0f}", "extractions"),
                    (f"{totals.reviewed:,.0f}", "of them reviewed"),
                    (f"{totals.leaves:,.0f}", "reviewed leaves"),
                    (percent(totals.share), "of them right"),
                ]
            ),
            *(shown(figure, runs) for figure in QUALITY),
        ],
        gap=1.5,
    )
    return


@app.cell
def _(runs):
    _scores = list(
        runs.sql(
            "SELECT score FROM straight_through GROUP BY score ORDER BY sum(documents) DESC, score"
        ).score
    )
    score_choice = mo.ui.dropdown(_scores, value=next(iter(_scores), None), label="score")
    return (score_choice,)


@app.cell
def _(runs, score_choice):
    # it starts where about half of the documents pass
    _steps = runs.sql(
        """
        SELECT threshold, row_number() OVER (ORDER BY abs(sum(passed) / sum(documents) - 0.5), threshold) AS place
        FROM straight_through WHERE score = ? GROUP BY threshold ORDER BY threshold
        """,
        [score_choice.value],
    )
    threshold_choice = (
        None
        if _steps.empty
        else mo.ui.slider(
            steps=list(_steps.threshold),
            value=_steps.threshold[_steps.place == 1].iloc[0],
            label="threshold",
            show_value=True,
            full_width=True,
        )
    )
    return (threshold_choice,)


@app.cell
def _(runs, score_choice, threshold_choice):
    _at = [score_choice.value, None if threshold_choice is None else threshold_choice.value]
    passing = runs.sql(
        """
        SELECT processor_name AS processor, documents, passed, round(pass_share, 3) AS pass_share, "right",
               round(right_share, 3) AS right_share, round(low, 3) AS low, round(high, 3) AS high
        FROM straight_through WHERE score = ? AND threshold = ? ORDER BY processor
        """,
        _at,
    )
    slipped = runs.sql(
        """
        WITH passed AS (
            SELECT processor_run_id FROM scores WHERE score = ? GROUP BY ALL HAVING min(value) >= ?
        )
        SELECT processor_name AS processor, field, edit_class, count(*) AS slipped
        FROM edits JOIN passed USING (processor_run_id) GROUP BY ALL ORDER BY slipped DESC, processor, field
        """,
        _at,
    )
    return passing, slipped


@app.cell(hide_code=True)
def _(passing, score_choice, slipped, threshold_choice):
    _intro = mo.md("""
    ### What slips through a threshold?

    A document passes without a review if each of its leaves has at least the threshold. Mistakes in such documents slip
    through: the reviewed documents show how many.
    """)
    if passing.empty:
        _parts = [
            mo.md(
                "*No reviewed extraction has a score, or the platform does not say what reviewers changed.*"
            )
        ]
    else:
        _documents, _passed, _right = (int(passing[name].sum()) for name in ("documents", "passed", "right"))
        _parts = [
            score_choice,
            threshold_choice,
            tiles(
                [
                    (f"{_documents:,}", "reviewed documents"),
                    (percent(_passed / _documents), "pass without a review"),
                    (percent(_right / _passed if _passed else None), "of these all right"),
                    (f"{_passed - _right:,}", "pass with a mistake"),
                ]
            ),
            table(passing),
            mo.md("**Mistakes in documents that pass**, by field"),
            mo.md("*None.*") if slipped.empty else table(slipped),
        ]
    mo.vstack([_intro, *_parts])
    return


@app.cell(hide_code=True)
def _(data, passing, score_choice, threshold_choice, totals):
    # a script has no page, so it prints the main figures
    if mo.app_meta().mode == "script":
        print(f"{data.database}, dataset {data.dataset}")
        print(
            f"{totals.extractions:,.0f} extractions, {totals.reviewed:,.0f} reviewed: {percent(totals.share)} of "
            f"{totals.leaves:,.0f} leaves are right"
        )
        if not passing.empty:
            print(
                f"{score_choice.value} of at least {threshold_choice.value:g}: {passing.passed.sum():,} of "
                f"{passing.documents.sum():,} reviewed documents pass, {passing['right'].sum():,} of them all right"
            )
    return


if __name__ == "__main__":
    app.run()
