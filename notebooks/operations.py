"""How many runs come in, how long do they take, which fail or wait, who reviews, and what does it cost?

    python notebooks/operations.py --database docruns.duckdb    # the main figures as text
    docruns notebook operations                                 # as a page

The figures come from the models (docs/questions.md). Nothing is written to the database.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="docruns: operations")

with app.setup:
    import marimo as mo

    from docruns.models.report.cells import (
        arguments,
        choice_of_runs,
        chosen,
        open_data,
        row_of,
        shown,
        table,
        tiles,
    )
    from docruns.models.report.figures import OPERATIONS


@app.cell
def _():
    database, dataset = arguments()
    return database, dataset


@app.cell
def _(database, dataset):
    data = open_data(database, dataset)
    choice = choice_of_runs(data, "workflow")
    return choice, data


@app.cell(hide_code=True)
def _(choice, data):
    mo.vstack(
        [
            mo.md(f"""
    # What comes in, what waits, and what does it cost?

    `{data.database}`, dataset `{data.dataset}`. Days are those of UTC, by `created_at`.
    """),
            row_of(choice),
        ]
    )
    return


@app.cell
def _(choice, data):
    runs = chosen(data, choice)
    totals = (
        runs.sql("""
        SELECT (SELECT sum(runs) FROM throughput) AS runs,
               (SELECT sum(failed) FROM throughput) AS failed,
               (SELECT sum(pages) FROM throughput) AS pages,
               (SELECT count(*) FROM backlog) AS waiting,
               (SELECT sum(credits) FROM cost) AS credits
    """)
        .fillna(0)
        .iloc[0]
    )
    return runs, totals


@app.cell(hide_code=True)
def _(runs, totals):
    mo.vstack(
        [
            tiles(
                [
                    (f"{totals.runs:,.0f}", "outermost workflow runs"),
                    (f"{totals.failed:,.0f}", "of them failed"),
                    (f"{totals.pages:,.0f}", "pages"),
                    (f"{totals.waiting:,.0f}", "runs wait"),
                    (f"{totals.credits:,.0f}", "credits"),
                ]
            ),
            *(shown(figure, runs) for figure in OPERATIONS),
        ],
        gap=1.5,
    )
    return


@app.cell
def _(data):
    loads = data.sql("""
        SELECT finished_at, complete, listed, fetched, unchanged, requests, retries
        FROM syncs ORDER BY finished_at DESC LIMIT 10
    """)
    quarantined = (
        data.sql("""
            SELECT resource, id, attempts, error, message, last_seen_at
            FROM quarantine WHERE resolved_at IS NULL ORDER BY last_seen_at DESC, resource, id
        """)
        if "quarantine" in data.tables
        else loads.iloc[:0]
    )
    return loads, quarantined


@app.cell(hide_code=True)
def _(loads, quarantined):
    mo.vstack(
        [
            mo.md(
                "### The last packages that loads wrote\n\n`complete`: the load had nothing more to do after it."
            ),
            table(loads),
            mo.md("### Quarantine"),
            mo.md("*Empty: every run could be loaded.*")
            if quarantined.empty
            else mo.vstack(
                [
                    mo.callout(
                        mo.md(
                            f"{len(quarantined)} runs could not be loaded, and no figure holds them. "
                            "Each load tries them again."
                        ),
                        kind="warn",
                    ),
                    table(quarantined),
                ]
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _(data, quarantined, totals):
    # a script has no page, so it prints the main figures
    if mo.app_meta().mode == "script":
        print(f"{data.database}, dataset {data.dataset}")
        print(
            f"{totals.runs:,.0f} outermost workflow runs, {totals.failed:,.0f} failed, {totals.waiting:,.0f} wait, "
            f"{len(quarantined):,} in quarantine"
        )
        print(f"{totals.pages:,.0f} pages, {totals.credits:,.0f} credits")
    return


if __name__ == "__main__":
    app.run()
