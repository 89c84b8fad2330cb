"""Quality and operations of a dataset as one HTML file: charts are SVG, and nothing is read from a network.

    figures ──► data frames ──► charts (Altair, vl-convert) and tables ──► report.html

A figure without rows says why there are none.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import ConfigError
from ...store.process.environment import private_files
from ...store.process.outputs import replacement
from ..reader import Reader
from .figures import OPERATIONS, QUALITY, Figure

if TYPE_CHECKING:
    import pandas as pd

WIDTH, HEIGHT = 340, 230
"""Pixels of a chart's plot: two stand side by side on a wide screen, one fits on a phone."""

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
table {{ border-collapse: collapse; font-size: .88rem; }} th, td {{ padding: .2rem .6rem; border-bottom: 1px solid #edf2f7; white-space: nowrap; }}
th {{ text-align: left; color: #4a5568; font-weight: 600; }} th.number, td.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
.tiles {{ display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; }}
.tile {{ border: 1px solid #e2e8f0; border-radius: 6px; padding: .5rem .9rem; }} .tile b {{ display: block; font-size: 1.25rem; }}
</style></head><body>
<h1>{title}</h1><p class="about">{subtitle}</p>
{body}
</body></html>
"""


@private_files()
def write_report(database: Path, dataset: str | None, output: Path) -> int:
    """Write the report. Returns its size in bytes. ConfigError where a package is missing, or the page cannot be written:
    the page that was there stays."""
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
    body = [_tiles(data), "<h2>Quality</h2>", *(_html(figure, data) for figure in QUALITY)]
    body += ["<h2>Operations</h2>", *(_html(figure, data) for figure in OPERATIONS)]
    subtitle = f"{escape(database.name)}, written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. Days and weeks are those of UTC."
    text = _PAGE.format(title=f"docruns: {escape(data.dataset)}", subtitle=subtitle, body="\n".join(body))
    with replacement(output, "--output", database) as part:
        return part.write_bytes(text.encode())


def _html(figure: Figure, data: Reader) -> str:
    rows = data.sql(figure.query)
    if rows.empty:
        content = f'<p class="none">{escape(figure.empty)}</p>'
    elif figure.draw is None:
        content = _table(rows)
    else:
        content = _svg(figure.draw(rows), WIDTH + 180 if figure.is_wide else WIDTH)
    mark = ' class="wide"' if figure.is_wide else ""
    return (
        f"<section{mark}><h3>{escape(figure.title)}</h3>"
        f'<p class="about">{escape(figure.about)}</p>{content}</section>'
    )


def _tiles(data: Reader) -> str:
    found = data.sql("""
        SELECT (SELECT coalesce(sum(runs), 0) FROM throughput) AS "outermost workflow runs",
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


def _svg(chart: Any, width: int) -> str:
    import vl_convert

    spec = chart.properties(width=width, height=HEIGHT).configure_view(stroke=None).to_dict()
    return str(vl_convert.vegalite_to_svg(spec))


def _table(frame: pd.DataFrame) -> str:
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
