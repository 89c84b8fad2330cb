"""What the notebooks share: the dataset that they show, the choice of runs, and figures as elements of marimo."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import marimo as mo

from ...core.errors import DocrunsError
from ..reader import Reader, read
from .figures import Figure

if TYPE_CHECKING:
    import pandas as pd

HEIGHT = 260
"""Pixels of a chart's plot; it is as wide as the page."""

_ALL = "all"

_CHOICES = {
    "processor": "SELECT DISTINCT processor_name FROM documents ORDER BY 1",
    "version": "SELECT DISTINCT processor_version FROM documents WHERE processor_version IS NOT NULL ORDER BY 1",
    "source": "SELECT DISTINCT source FROM documents WHERE source IS NOT NULL ORDER BY 1",
    "workflow": "SELECT DISTINCT workflow_name FROM throughput WHERE workflow_name IS NOT NULL ORDER BY 1",
}
"""What a reader may choose, by the argument of `Reader.where`."""


def arguments() -> tuple[str, str | None]:
    """The database and the dataset of the command line; without a dataset the only one, or the first by name."""
    given = mo.cli_args()
    database = given.get("database") or os.environ.get("DOCRUNS_DATABASE") or "docruns.duckdb"
    dataset = given.get("dataset")
    return str(database), None if dataset is None else str(dataset)


def open_data(database: str, dataset: str | None) -> Reader:
    """The dataset. Where it cannot be read, or holds nothing to show, the page says why and what to do, and a script
    ends with that text."""
    try:
        data = read(database, dataset)
        if "fields" not in data.tables:
            raise DocrunsError(
                f"{database}, dataset {data.dataset}: no extraction is loaded, so there is nothing to show. "
                "Run `docruns load` when the platform has processed documents."
            )
        data.require("documents")
    except DocrunsError as error:
        if mo.app_meta().mode == "script":
            sys.exit(str(error))
        mo.stop(True, mo.callout(mo.md(str(error)), kind="warn"))
    return data


def choice_of_runs(data: Reader, *names: str) -> Any:
    """Elements with which a reader of the page chooses runs: by day of `created_at`, and by each name of `_CHOICES`."""
    elements: dict[str, Any] = {}
    for name in names:
        values = [str(value) for value in data.sql(_CHOICES[name]).iloc[:, 0]]
        if values:
            elements[name] = mo.ui.dropdown([_ALL, *values], value=_ALL, label=name)
    days = data.sql("""
        SELECT min(day) AS first, max(day) AS last
        FROM (SELECT created_at::DATE AS day FROM documents UNION ALL SELECT day FROM throughput)
    """)
    first, last = days.iloc[0]
    if str(first) != "NaT":
        span = (first.date(), last.date())
        elements["days"] = mo.ui.date_range(start=span[0], stop=span[1], value=span, label="days (UTC)")
    return mo.ui.dictionary(elements)


def chosen(data: Reader, choice: Any) -> Reader:
    """The dataset with the runs that the reader of the page has chosen."""
    given = {
        name: value for name, value in choice.value.items() if name != "days" and value not in (_ALL, None)
    }
    days = choice.value.get("days")
    if days and days != (choice.elements["days"].start, choice.elements["days"].stop):
        given |= {"since": days[0], "until": days[1] + timedelta(days=1)}
    return data.where(**given) if given else data


def row_of(choice: Any) -> Any:
    """The elements of a choice side by side; on a phone below one another."""
    return mo.hstack(list(choice.elements.values()), justify="start", wrap=True, gap=1)


def shown(figure: Figure, data: Reader) -> Any:
    """A figure with its heading; without rows the reason."""
    rows = data.sql(figure.query)
    return mo.vstack([mo.md(f"### {figure.title}\n\n{figure.about}"), *_content(figure, rows)])


def _content(figure: Figure, rows: pd.DataFrame) -> Iterator[Any]:
    if rows.empty:
        yield mo.md(f"*{figure.empty}*")
    elif figure.draw is None:
        yield table(rows)
    else:
        yield figure.draw(rows).properties(width="container", height=HEIGHT)


def table(
    rows: pd.DataFrame, page: int = 15, selection: Literal["single"] | None = None, **options: Any
) -> Any:
    """Rows as a table, without the parts of marimo's that change or export data."""
    rows = rows.copy()
    for name, column in rows.items():
        if column.dtype.kind == "M":
            rows[name] = column.dt.strftime("%Y-%m-%d %H:%M")
        if column.dtype.kind not in "iufb":
            # marimo shows a text that is null as NaN
            rows[name] = rows[name].astype(object).fillna("–")
    numbers = [str(name) for name in rows if rows[name].dtype.kind in "iuf"]
    return mo.ui.table(
        rows,
        selection=selection,
        pagination=len(rows) > page,
        page_size=page,
        show_download=False,
        show_data_types=False,
        show_column_summaries=False,
        text_justify_columns=dict.fromkeys(numbers, "right"),
        **options,
    )


def side_by_side(*elements: Any) -> Any:
    """Elements of equal width; on a phone below one another."""
    style = "flex:1 1 320px;min-width:0"
    parts = "".join(f'<div style="{style}">{mo.as_html(element).text}</div>' for element in elements)
    return mo.Html(f'<div style="display:flex;flex-wrap:wrap;gap:2rem">{parts}</div>')


def tiles(values: Sequence[tuple[str, str]]) -> Any:
    """Figures with their captions, side by side."""
    return mo.hstack([mo.stat(value, caption) for value, caption in values], justify="start", wrap=True)


def percent(share: Any) -> str:
    """A share as text: 12.3 %, or a dash where there is none."""
    import pandas as pd

    return "–" if pd.isna(share) else f"{share:.1%}"
