"""The notebooks on a database of both platforms: as scripts, with choices made, and served by the command."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as ET

import duckdb
import httpx
import marimo as mo
import pytest

import docruns
from docruns.models.report.figures import OPERATIONS, QUALITY
from support.loading import query

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = ("explore", "quality", "operations")

Row = dict[str, Any]
Run = Callable[..., Row]

URL = re.compile(r"http://(?:localhost|127\.0\.0\.1):\d+\S*")


def load(name: str, patch: pytest.MonkeyPatch) -> ModuleType:
    """A notebook as a module."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # as an import statement would: the notebook's cells find its functions there
    patch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a notebook; keywords are variables in place of those of its cells. Returns its variables."""

    def run_it(name: str, **variables: Any) -> Row:
        return dict(load(name, monkeypatch).app.run(defs=variables)[1])

    return run_it


@pytest.fixture
def explore(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("explore", monkeypatch)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(FOLDER / f"{name}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def choice(**values: str) -> Any:
    """What a reader of the page has chosen."""
    return mo.ui.dictionary(
        {name: mo.ui.dropdown(["all", value], value=value) for name, value in values.items()}
    )


SCRIPTS = {
    "explore": (
        "SELECT (SELECT count(*) FROM extend_answers.documents), (SELECT count(*) FROM extend_answers.leaves), "
        "(SELECT count(*) FROM extend_answers.edits)",
        "{:,} extractions, {:,} leaves, {:,} of them edited",
    ),
    "quality": (
        "SELECT count(*), avg(is_right::INT) * 100 FROM extend_answers.leaves WHERE is_reviewed",
        "reviewed: {1:.1f}% of {0:,} leaves are right",
    ),
    "operations": (
        "SELECT (SELECT count(*) FROM extend.workflow_runs WHERE depth = 0), (SELECT sum(credits) FROM extend_answers.cost)",
        "{:,} outermost workflow runs",
    ),
}
"""What a script prints, and the query of its figures."""


@pytest.mark.parametrize("name", NAMES)
def test_as_a_script(name: str, copied: Path) -> None:
    """Run as a script, a notebook prints its main figures and does not change a byte of the database."""
    before = digest(copied)
    done = script(name, "--database", str(copied))
    assert (done.returncode, done.stderr) == (0, "")
    sql, text = SCRIPTS[name]
    assert text.format(*query(copied, sql)[0]) in done.stdout
    assert digest(copied) == before
    assert [path.name for path in copied.parent.glob("copied.duckdb*")] == ["copied.duckdb"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dataset", ["extend", "plextera"])
def test_each_platform(name: str, dataset: str, database: Path, run: Run) -> None:
    """Each notebook shows each platform, also the one that tells no edits."""
    shown = run(name, database=str(database), dataset=dataset)
    counted = "workflow_runs WHERE depth = 0" if name == "operations" else f"{dataset}_answers.documents"
    (number,) = query(
        database,
        f"SELECT count(*) FROM {dataset}.{counted}"
        if name == "operations"
        else f"SELECT count(*) FROM {counted}",
    )[0]
    assert shown["totals"]["runs" if name == "operations" else "extractions"] == number > 0


def test_chosen_runs(database: Path, run: Run) -> None:
    """A choice of processor and source narrows every figure to these extractions."""
    data = docruns.read(database, "extend")
    ((processor, source, expected),) = query(
        database,
        "SELECT processor_name, source, count(*) FROM extend_answers.documents GROUP BY ALL ORDER BY 3 DESC LIMIT 1",
    )
    shown = run("quality", data=data, choice=choice(processor=processor, source=source))
    ((right,),) = query(
        database,
        "SELECT avg(is_right::INT) FROM extend_answers.leaves l JOIN extend_answers.documents USING (processor_run_id) "
        "WHERE is_reviewed AND l.processor_name = ? AND source = ?",
        processor,
        source,
    )
    assert shown["totals"].extractions == expected
    assert shown["totals"].share == pytest.approx(right)
    assert set(shown["passing"].processor) == {processor}
    assert run("quality", data=data, choice=choice())["totals"].extractions > expected


def test_chosen_workflow(database: Path, run: Run) -> None:
    """A choice of workflow narrows runs and cost."""
    data = docruns.read(database, "extend")
    ((name, number),) = query(
        database,
        "SELECT workflow_name, count(*) FROM extend.workflow_runs WHERE depth = 0 GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1",
    )
    shown = run("operations", data=data, choice=choice(workflow=name))
    assert shown["totals"].runs == number
    assert shown["totals"].credits == pytest.approx(
        float(
            query(database, f"SELECT sum(credits) FROM extend_answers.cost WHERE workflow_name = '{name}'")[
                0
            ][0]
        )
    )


def test_what_slips_through(database: Path, run: Run) -> None:
    """Of the documents that pass the threshold, the notebook lists the mistakes by field."""
    shown = run(
        "quality",
        database=str(database),
        dataset="extend",
        threshold_choice=mo.ui.slider(steps=[0.5, 0.6, 0.7], value=0.6),
        score_choice=mo.ui.dropdown(["ocr_confidence"], value="ocr_confidence"),
    )
    lowest = """
        SELECT processor_run_id FROM extend.fields JOIN extend_answers.documents USING (processor_run_id)
        WHERE kind = 'leaf' AND fields.edited IS NOT NULL AND coalesce(edit_kind, '') <> 'added'
            AND source IS DISTINCT FROM 'STUDIO'
        GROUP BY 1 HAVING min(ocr_confidence) >= 0.6
    """
    passed, slipped = query(
        database,
        f"SELECT (SELECT count(*) FROM ({lowest})), (SELECT count(*) FROM extend.fields WHERE kind = 'leaf' AND edited "
        f"AND processor_run_id IN ({lowest}))",
    )[0]
    assert shown["passing"].passed.sum() == passed > 0
    assert shown["slipped"].slipped.sum() == slipped > 0


def test_a_document_is_found(database: Path, run: Run) -> None:
    """By a part of its file name, in any case, with its fields, the edited ones first."""
    ((name, edits),) = query(
        database,
        "SELECT file_name, edited_count FROM extend_answers.documents ORDER BY edited_count DESC LIMIT 1",
    )
    data = docruns.read(database, "extend")
    shown = run(
        "explore",
        data=data,
        choice=choice(),
        words=mo.ui.text(value=name[1:].upper()),
        only_edited=mo.ui.checkbox(value=True),
    )
    assert set(shown["documents"].file_name) == {name}
    assert (shown["fields"].edit_kind.notna()).sum() == edits > 0
    assert shown["fields"].edit_kind.notna().iloc[:edits].all()


def test_a_citation_is_drawn_at_its_place(explore: ModuleType, database: Path, run: Run) -> None:
    """A citation's box and polygon are drawn at their own coordinates on a page of its size."""
    shown = run("explore", database=str(database), dataset="extend")
    place = shown["places"][0]
    drawing = explore.page_drawing(place["page_width"], place["page_height"], [place])
    svg = ET.fromstring(drawing)
    assert svg.attrib["viewBox"] == f"0 0 {place['page_width']:g} {place['page_height']:g}"
    box = svg.find("{*}rect")
    assert box is not None
    left, top, across, down = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
    assert (left, top, left + across, top + down) == tuple(
        place[side] for side in ("left", "top", "right", "bottom")
    )
    outline = svg.find("{*}polygon")
    assert outline is not None
    points = [tuple(map(float, point.split(","))) for point in outline.attrib["points"].split()]
    assert points == [(p["x"], p["y"]) for p in json.loads(place["polygon"])]
    words = svg.find("{*}text")
    assert words is not None and words.text == place["reference_text"]
    assert shown["field"][0]["path"] == place["path"] == shown["path"]


def test_text_on_a_page_is_text(explore: ModuleType) -> None:
    """Text of a document is shown as text, never as markup. A citation that lacks parts draws the parts it
    has."""
    place = {
        "left": 10.0,
        "top": 10.0,
        "right": 90.0,
        "bottom": 20.0,
        "polygon": None,
        "reference_text": "<script>&",
    }
    flat = {**dict.fromkeys(place), "polygon": '[{"x": 1, "y": 2}, {"x": 3, "y": 4}]'}
    svg = ET.fromstring(explore.page_drawing(100.0, 200.0, [place, flat], [flat]))
    assert [text.text for text in svg.findall("{*}text")] == ["<script>&"]
    assert len(svg.findall("{*}rect")) == 1
    assert len(svg.findall("{*}polygon")) == 1


def test_close_up_stays_on_the_page(explore: ModuleType) -> None:
    """A close-up shows the whole citation and stays inside the page, even in a corner."""
    corner = {"left": 0.0, "top": 1600.0, "right": 30.0, "bottom": 1650.0, "polygon": None}
    left, top, across, down = explore.close_up(1275.0, 1650.0, [corner])
    assert left == 0 and top + down == 1650
    assert across >= 30 and top <= 1600


@pytest.mark.parametrize("name", NAMES)
def test_the_command_opens_it(name: str, database: Path) -> None:
    """`docruns notebook` serves a notebook to who has the token of its address, and a signal ends it."""
    script = "from docruns.commands.cli.main import run; run()"
    environment = {**os.environ, "BROWSER": "true", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            script,
            "notebook",
            name,
            "--dataset",
            "plextera",
            "--database",
            str(database),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        try:
            url = next(found[0] for line in process.stdout if (found := URL.search(line)))
            token = httpx.URL(url).params["access_token"]
            assert len(token) >= 32
            with httpx.Client(timeout=30) as client:
                page = client.get(url, follow_redirects=True)
                assert page.status_code == 200 and f"docruns: {name}" in page.text
            for way in ({}, {"access_token": "x"}, {"access_token": token[:-1]}):
                for path in ("", "/api/status", "/api/version", "/api/usage"):
                    refused = httpx.get(httpx.URL(url).copy_with(path=path or "/", params=way), timeout=30)
                    assert refused.status_code in (303, 401), (path, refused.status_code)
                    assert f"docruns: {name}" not in refused.text
            if sys.platform == "linux":
                # any user may read it
                assert token not in Path(f"/proc/{process.pid}/cmdline").read_text()
                assert token not in Path(f"/proc/{process.pid}/environ").read_text()
        finally:
            process.terminate()
            process.communicate(timeout=60)
    assert process.returncode != 0


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_shown(name: str, database: Path, tmp_path: Path) -> None:
    """Without a database, a dataset, or extractions, the script fails and says what to do."""
    missing = tmp_path / "none.duckdb"
    done = script(name, "--database", str(missing))
    assert done.returncode != 0
    assert done.stderr.strip() == f"--database: {missing} does not exist. Run `docruns load` first."
    assert not missing.exists()


def test_a_dataset_that_is_missing(database: Path) -> None:
    """The script names the datasets that the file has."""
    done = script("quality", "--database", str(database), "--dataset", "nowhere")
    assert done.returncode != 0
    assert "has no dataset nowhere. It has extend, plextera." in done.stderr


def test_an_empty_dataset(tmp_path: Path) -> None:
    """A load that found no run has made no table of fields: there is nothing to show yet."""
    database = tmp_path / "extend.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute('CREATE SCHEMA "extend"')
        connection.execute(
            'CREATE TABLE "extend"."extend".syncs AS SELECT now() AS finished_at, true AS complete'
        )
    before = digest(database)
    done = script("operations", "--database", str(database))
    assert done.returncode != 0
    assert "no extraction is loaded, so there is nothing to show" in done.stderr
    assert digest(database) == before


@pytest.mark.parametrize("name", NAMES)
def test_without_rows(name: str, copied: Path, run: Run) -> None:
    """Tables without rows are no error."""
    with duckdb.connect(str(copied)) as connection:
        for (table,) in connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'extend' AND table_name NOT LIKE '\\_dlt%' ESCAPE '\\'"
        ).fetchall():
            connection.execute(f"DELETE FROM extend.{table}")
    shown = run(name, database=str(copied), dataset="extend")
    assert not shown["totals"].fillna(0).any()


def test_quarantined_runs_are_shown_until_resolved(copied: Path, run: Run) -> None:
    """The notebook shows a quarantined run until a load resolves it."""
    with duckdb.connect(str(copied)) as connection:
        connection.execute(
            "CREATE OR REPLACE TABLE plextera.quarantine AS SELECT * FROM (VALUES "
            "('workflow_runs', 'a', 2, 'ShapeError', 'no id', now(), null::timestamptz), "
            "('workflow_runs', 'b', 1, 'ShapeError', 'no id', now(), now())"
            ") AS q(resource, id, attempts, error, message, last_seen_at, resolved_at)"
        )
    shown = run("operations", database=str(copied), dataset="plextera")
    assert list(shown["quarantined"].id) == ["a"]


@pytest.mark.parametrize("figure", [*QUALITY, *OPERATIONS], ids=lambda figure: figure.title)
def test_each_figure_has_rows(figure: Any, database: Path) -> None:
    """Of the invented platform, whole and of some runs; and a chart can be made of them."""
    data = docruns.read(database, "extend")
    for chosen in (data, data.where(since="2000-01-01")):
        rows = chosen.sql(figure.query)
        assert len(rows) > 0
        if figure.draw is not None:
            assert figure.draw(rows).to_dict()["datasets"]
