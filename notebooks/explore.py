"""Find a document, its fields, what reviewers changed, and the place on the page where each value was read.

    python notebooks/explore.py --database docruns.duckdb    # the main numbers as text
    docruns notebook                                         # as a page
    docruns notebook --edit                                  # with its code

The figures come from the models (docs/questions.md). Nothing is written to the database.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="docruns: explore")

with app.setup:
    import html
    import json
    from collections.abc import Sequence
    from typing import Any

    import marimo as mo

    from docruns.models.report.cells import (
        arguments,
        choice_of_runs,
        chosen,
        open_data,
        row_of,
        side_by_side,
        table,
        tiles,
    )
    from docruns.models.report.figures import ORANGE

    # of a citation, of a field or of an insight, by column
    Row = dict[str, Any]


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
        box_of(place, ORANGE, "#f6c9bc", "#3a1a12", 1.5 * pixel) + outline_of(place, 1.5 * pixel)
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
        f'<polygon points="{points}" fill="none" stroke="{ORANGE}" stroke-width="{line:g}" '
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


@app.cell
def _():
    database, dataset = arguments()
    return database, dataset


@app.cell
def _(database, dataset):
    data = open_data(database, dataset)
    choice = choice_of_runs(data, "processor", "version", "source")
    words = mo.ui.text(label="file name contains", full_width=False)
    only_edited = mo.ui.checkbox(label="with edits only")
    return choice, data, only_edited, words


@app.cell
def _(data):
    def rows_of(source: str, condition: str, *parameters: Any) -> list[Row]:
        """The rows of a table; none where no load has brought one. Null is None."""
        if source not in data.tables:
            return []
        found = data.sql(f"SELECT * FROM {source} WHERE {condition}", parameters).astype(object)
        return found.where(found.notna(), None).to_dict("records")

    return (rows_of,)


@app.cell(hide_code=True)
def _(choice, data, only_edited, words):
    mo.vstack(
        [
            mo.md(f"""
    # Find a document

    `{data.database}`, dataset `{data.dataset}`. Times are UTC.
    """),
            row_of(choice),
            mo.hstack([words, only_edited], justify="start", wrap=True, gap=1),
        ]
    )
    return


@app.cell
def _(choice, data, only_edited, words):
    documents = chosen(data, choice).sql(
        """
        SELECT file_name, processor_name AS processor, processor_version AS version, created_at, reviewed, edited_count AS edits,
               round(min_score, 3) AS lowest_score, credits, processor_run_id, workflow_run_id, dashboard_url
        FROM documents
        WHERE contains(lower(coalesce(file_name, '')), lower(?)) AND (edited_count > 0 OR NOT ?)
        ORDER BY coalesce(edited_count, 0) DESC, created_at DESC, processor_run_id
        LIMIT 500
        """,
        [words.value, only_edited.value],
    )
    totals = data.sql("""
        SELECT (SELECT count(*) FROM documents) AS extractions, (SELECT count(*) FROM leaves) AS leaves,
               (SELECT count(*) FROM edits) AS edits
    """).iloc[0]
    return documents, totals


@app.cell(hide_code=True)
def _(documents):
    document_choice = table(
        documents.drop(columns=["workflow_run_id", "dashboard_url"]),
        page=8,
        selection="single",
        initial_selection=[0] if len(documents) else None,
    )
    return (document_choice,)


@app.cell(hide_code=True)
def _(document_choice, documents, totals):
    mo.vstack(
        [
            tiles(
                [
                    (f"{totals.extractions:,}", "extractions"),
                    (f"{totals.leaves:,}", "leaves"),
                    (f"{totals.edits:,}", "edited leaves"),
                    (f"{len(documents):,}", "documents found (at most 500)"),
                ]
            ),
            mo.md("Choose a document. Those with most edits come first."),
            document_choice if len(documents) else mo.md("*No document is like that.*"),
        ]
    )
    return


@app.cell
def _(document_choice, documents):
    _ids = list(document_choice.value["processor_run_id"]) if len(documents) else []
    document = documents[documents.processor_run_id.isin(_ids)].to_dict("records")[0] if _ids else None
    return (document,)


@app.cell
def _(data, document):
    fields = data.sql(
        """
        SELECT path, value, CASE WHEN edited THEN initial_json END AS model_said, edit_kind,
               round(coalesce(logprobs_confidence, ocr_confidence, confidence), 3) AS score, page
        FROM fields WHERE processor_run_id = ? AND kind = 'leaf'
        ORDER BY edited IS NOT TRUE, page IS NULL, path
        """,
        [document["processor_run_id"] if document else None],
    )
    return (fields,)


@app.cell(hide_code=True)
def _(fields):
    field_choice = table(fields, page=12, selection="single", initial_selection=[0] if len(fields) else None)
    return (field_choice,)


@app.cell(hide_code=True)
def _(document, field_choice, fields):
    def _link():
        url = document["dashboard_url"]
        return f" · [open it on the platform]({url})" if url else ""

    if document is None:
        _parts = [mo.md("*No document is chosen.*")]
    elif fields.empty:
        _parts = [mo.md(f"`{document['processor_run_id']}` has no leaves.{_link()}")]
    else:
        _parts = [
            mo.md(f"`{document['processor_run_id']}`{_link()}\n\nChoose a field. Edited ones come first."),
            field_choice,
        ]
    mo.vstack([mo.md("## What was read"), *_parts])
    return


@app.cell
def _(document, field_choice, fields, rows_of):
    _paths = list(field_choice.value["path"]) if len(fields) else []
    path = _paths[0] if _paths else None
    _run = document["processor_run_id"] if document else None
    _drawn = "processor_run_id = ? AND page_width > 0 AND page_height > 0"
    field = rows_of("fields", "processor_run_id = ? AND path = ?", _run, path)
    # output initial: the citations of the model's own answer, where they differ from the final ones
    places = rows_of("citations", f"{_drawn} AND path = ? ORDER BY output, position", _run, path)
    neighbours = rows_of(
        "citations",
        f"{_drawn} AND path <> ? AND output = 'final' ORDER BY path, position LIMIT 400",
        _run,
        path,
    )
    # insights on the field itself, then on its parent, then on the whole output
    said = rows_of(
        "insights",
        "processor_run_id = ? AND path IN (?, ?, '') ORDER BY length(path) DESC, output, position",
        _run,
        path,
        field[0]["parent_path"] if field else None,
    )
    return field, neighbours, path, places, said


@app.cell(hide_code=True)
def _(field, neighbours, path, places, said):
    def _pages():
        """One drawing for each page on which the field is cited."""
        seen: dict[Any, list[Row]] = {}
        for place in places:
            seen.setdefault((place["file_id"], place["page"]), []).append(place)
        for (file, page), found in seen.items():
            size = found[0]["page_width"], found[0]["page_height"]
            others = [other for other in neighbours if (other["file_id"], other["page"]) == (file, page)]
            whole = page_drawing(*size, found, others)
            near = page_drawing(*size, found, others, window=close_up(*size, found))
            yield (
                mo.vstack([mo.md(f"Page {page}, {size[0]:g} × {size[1]:g}"), mo.Html(whole)]),
                mo.vstack([mo.md(f"Page {page}, close up"), mo.Html(near)]),
            )

    def _line(label, text):
        if text is None or text == "":
            return ""
        return (
            '<tr><td style="color:#7d8590;padding:2px 14px 2px 0;vertical-align:top;white-space:nowrap">'
            f'{html.escape(label)}</td><td style="overflow-wrap:anywhere">{html.escape(str(text))}</td></tr>'
        )

    def _card():
        of = field[0] if field else {}
        is_removed = of.get("edit_kind") == "removed"
        lines = [
            _line("field", path),
            _line("value", "(removed by the reviewer)" if is_removed else of.get("value") or "(empty)"),
            _line("type", of.get("type")),
        ]
        if of.get("edited"):
            lines += [
                _line("the model said", of["initial_json"]),
                _line("review", of["edit_kind"]),
                _line("note", of["edit_note"]),
            ]
        for name in ("logprobs_confidence", "ocr_confidence", "confidence", "review_agent_score"):
            lines.append(_line(name, None if of.get(name) is None else f"{of[name]:g}"))
        lines += [_line("text on the page", place["reference_text"]) for place in places]
        about = {path: "", "": " (whole output)"}
        for row in said:
            where = about.get(row["path"], f" ({row['path']})")
            before = " before review" if row["output"] == "initial" else ""
            lines.append(_line(f"{row['type']}{before}{where}", row["content"]))
        return mo.Html(f'<table style="font-size:0.9rem;line-height:1.45">{"".join(lines)}</table>')

    _intro = mo.md("""
    ## Where on the page was it read?

    The page is drawn to scale from the citations alone. Orange is the place of the chosen field (the dashed line is the
    citation's polygon), grey are the run's other citations on the page.
    """)
    if path is None:
        _parts = [mo.md("*No field is chosen.*")]
    else:
        _drawn = list(_pages())
        _parts = [
            side_by_side(
                mo.vstack([_card(), *(near for _, near in _drawn)], gap=1),
                mo.vstack(
                    [page for page, _ in _drawn]
                    or [mo.md("*The platform does not say where on the page it was read.*")]
                ),
            )
        ]
    mo.vstack([_intro, *_parts])
    return


@app.cell(hide_code=True)
def _(data, document, fields, path, places, totals):
    # a script has no page, so it prints the main numbers
    if mo.app_meta().mode == "script":
        print(f"{data.database}, dataset {data.dataset}")
        print(
            f"{totals.extractions:,} extractions, {totals.leaves:,} leaves, {totals.edits:,} of them edited"
        )
        if document:
            print(
                f"most edits: {document['processor_run_id']} ({document['processor']}), {len(fields):,} leaves"
            )
        for _place in places:
            print(f"{path}: page {_place['page']}, {_place['reference_text']!r}")
    return


if __name__ == "__main__":
    app.run()
