"""notebooks/explore.py on a database of sandbox runs: each number is computed in a second way."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as ET

import dlt
import duckdb
import httpx
import pytest

from docruns import extend
from docruns.sandbox import Sandbox

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "explore.py"

Row = dict[str, Any]


URL = re.compile(r"http://(?:localhost|127\.0\.0\.1):\d+\S*")


@pytest.fixture(scope="module")
def notebook() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("explore", NOTEBOOK)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        # as an import statement would: the notebook's cells find its functions there
        patch.setitem(sys.modules, "explore", module)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """A database of 120 runs, and the sandbox's own records of them."""
    folder = tmp_path_factory.mktemp("notebook")
    database = folder / "docruns.duckdb"
    with pytest.MonkeyPatch.context() as patch, Sandbox(runs=120, seed=11) as sandbox:
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        pipeline = dlt.pipeline(
            "notebook",
            destination=dlt.destinations.duckdb(str(database), supports_transactions=True),
            dataset_name="extend",
            pipelines_dir=str(folder / "pipelines"),
        )
        pipeline.run(extend(base_url=sandbox.extend_url), loader_file_format="parquet")
        truth = list(sandbox.extend.truth())
    return database, truth


@pytest.fixture(scope="module")
def database(loaded: tuple[Path, list[Row]]) -> Path:
    return loaded[0]


@pytest.fixture(scope="module")
def shown(notebook: ModuleType, database: Path) -> Row:
    """The variables of the notebook's cells for that database, with no choice made."""
    return run(notebook, database)


def run(notebook: ModuleType, database: Path, dataset: str = "extend") -> Row:
    _, defined = notebook.app.run(defs={"database": str(database), "dataset": dataset})
    return dict(defined)


def rows(database: Path, sql: str) -> list[Row]:
    with duckdb.connect(str(database), read_only=True) as connection:
        result = connection.execute(sql)
        names = [column[0] for column in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def reviewed_leaves(database: Path) -> list[Row]:
    """The rows that count for correctness, selected in Python, each with its best score."""
    runs = {
        row["id"]: row
        for row in rows(database, "select * exclude (config, extra) from extend.processor_runs")
    }
    leaves = []
    for row in rows(database, "select * from extend.fields"):
        of = runs[row["processor_run_id"]]
        if of["reviewed"] and row["kind"] == "leaf":
            scores = (row["logprobs_confidence"], row["ocr_confidence"], row["confidence"])
            best = next((score for score in scores if score is not None), None)
            leaves.append(
                {
                    **row,
                    "best": best,
                    "processor": of["processor_name"] or of["processor_id"] or "(unnamed)",
                }
            )
    return leaves


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(NOTEBOOK), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@contextmanager
def open_elsewhere(path: Path) -> Iterator[Path]:
    """A database that another process has open for writing."""
    hold = f"import duckdb; c = duckdb.connect({str(path)!r}); print(flush=True); input()"
    command = [sys.executable, "-c", hold]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield path
        process.communicate(b"\n")


def test_counts_are_those_of_the_platform(shown: Row, loaded: tuple[Path, list[Row]]) -> None:
    """The notebook counts the runs of the platform, by status."""
    truth = [run for run in loaded[1] if run["resource"] == "workflow_runs"]
    assert shown["counts"]["workflow_runs"] == len(truth) == 120
    by_status: dict[str, int] = defaultdict(int)
    for row in shown["runs_by_status"]:
        by_status[row["status"]] += row["runs"]
    expected: dict[str, int] = defaultdict(int)
    for run in truth:
        expected[run["status"]] += 1
    assert by_status == expected


def test_corrections_are_those_of_the_reviewers(shown: Row, loaded: tuple[Path, list[Row]]) -> None:
    """The notebook counts each correction of a reviewer once, and nothing else."""
    made = sum(
        # a path that ends in ] is a whole row, added or removed
        not path.endswith("]")
        for run in loaded[1]
        for corrections in run["corrections"].values()
        for path in corrections
    )
    leaves = reviewed_leaves(loaded[0])
    assert sum(leaf["edit_kind"] == "changed" for leaf in leaves) == made > 100
    assert shown["reviewed_runs"]["fields"] == len(leaves)
    assert shown["reviewed_runs"]["edited"] == sum(leaf["edited"] for leaf in leaves)
    assert shown["reviewed_runs"]["reviewed"] == sum(len(run["corrections"]) for run in loaded[1])


def test_calibration_counts_reviewed_leaves_only(shown: Row, database: Path) -> None:
    """Bins and calibration error are computed from scored leaves of reviewed runs only."""
    bins: dict[int, list[Row]] = defaultdict(list)
    for leaf in reviewed_leaves(database):
        if leaf["best"] is not None:
            # in whole thousandths, as the platform's scores come
            bins[min(19, round(leaf["best"] * 1000) // 50)].append(leaf)
    assert len(bins) > 5
    n = sum(map(len, bins.values()))
    error = 0.0
    assert len(shown["calibration_bins"]) == len(bins)
    for row, (number, leaves) in zip(shown["calibration_bins"], sorted(bins.items()), strict=True):
        right = sum(not leaf["edited"] for leaf in leaves) / len(leaves)
        mean = sum(leaf["best"] for leaf in leaves) / len(leaves)
        assert row["from"] == pytest.approx(number / 20)
        assert row["n"] == len(leaves)
        assert row["share_right"] == pytest.approx(right)
        assert row["mean_score"] == pytest.approx(mean)
        assert row["low"] < right < row["high"] or right in (0, 1)
        error += len(leaves) / n * abs(mean - right)
    assert shown["ece"] == pytest.approx(error)


def test_most_corrected_fields_count_every_reviewed_leaf(shown: Row, database: Path) -> None:
    """Rates count all reviewed leaves of a field; overconfidence counts only leaves with a score."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for leaf in reviewed_leaves(database):
        groups[leaf["processor"], leaf["field"]].append(leaf)
    groups = {key: leaves for key, leaves in groups.items() if len(leaves) >= 10}
    found = {(row["processor"], row["field"]): row for row in shown["corrected"]}
    assert found.keys() == groups.keys()
    for key, leaves in groups.items():
        assert found[key]["reviewed"] == len(leaves)
        assert found[key]["edited"] == sum(leaf["edited"] for leaf in leaves)
        assert found[key]["rate"] == found[key]["edited"] / len(leaves)
        scored = [leaf for leaf in leaves if leaf["best"] is not None]
        if scored:
            over = sum(leaf["best"] - (not leaf["edited"]) for leaf in scored) / len(scored)
            assert found[key]["overconfidence"] == pytest.approx(over)


def test_threshold_looks_below_it_only(shown: Row, database: Path) -> None:
    """Review below a threshold covers the fields with a lower score, and finds the errors among them."""
    scored = [leaf for leaf in reviewed_leaves(database) if leaf["best"] is not None]
    below = [leaf for leaf in scored if leaf["best"] < 0.9]
    wrong = sum(leaf["edited"] for leaf in scored)
    chosen = shown["chosen_threshold"]
    assert (chosen["fields"], chosen["errors"]) == (
        len(below),
        sum(leaf["edited"] for leaf in below),
    )
    assert chosen["looked_at"] == pytest.approx(len(below) / len(scored))
    assert chosen["caught"] == pytest.approx(sum(leaf["edited"] for leaf in below) / wrong)
    assert shown["curve"][90] == {**chosen, "threshold": 0.9}
    caught = [row["caught"] for row in shown["curve"]]
    assert caught == sorted(caught)


def test_every_credit_counts_once(shown: Row, database: Path) -> None:
    """The total is the sum of each processor run's own credits: every credit counts exactly once."""
    runs = {
        row["id"]: row
        for row in rows(database, "select * exclude (config, extra) from extend.processor_runs")
    }
    parts = sum(row["credits"] or 0 for row in runs.values())
    # parsing that a run outside workflows set off, where the parse run was not loaded itself
    parts += sum(
        row["total_credits"] - row["credits"]
        for row in runs.values()
        if row["total_credits"] is not None
        and row["workflow_run_id"] is None
        and row["parse_run_id"] not in runs
    )
    assert shown["credits_total"] == parts > 0
    doubled = sum(row["credits"] or 0 for row in rows(database, "select credits from extend.workflow_runs"))
    assert shown["credits_total"] < parts + doubled


def test_a_citation_is_drawn_at_its_place(notebook: ModuleType, shown: Row) -> None:
    """A citation's box and polygon are drawn at their own coordinates on a page of its size."""
    place = shown["cited_places"][0]
    drawing = notebook.page_drawing(place["page_width"], place["page_height"], [place])
    svg = ET.fromstring(drawing)
    assert svg.attrib["viewBox"] == f"0 0 {place['page_width']:g} {place['page_height']:g}"
    box = svg.find("{*}rect")
    assert box is not None
    left, top, across, down = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
    assert (left, top, left + across, top + down) == (
        place["left"],
        place["top"],
        place["right"],
        place["bottom"],
    )
    outline = svg.find("{*}polygon")
    assert outline is not None
    points = [tuple(map(float, point.split(","))) for point in outline.attrib["points"].split()]
    assert points == [(p["x"], p["y"]) for p in json.loads(place["polygon"])]
    words = svg.find("{*}text")
    assert words is not None and words.text == place["reference_text"]
    assert shown["cited_field"][0]["path"] == place["path"]
    assert {row["type"] for row in shown["said"]} & {"reasoning", "issue", "review_summary"}


def test_text_on_a_page_is_text(notebook: ModuleType) -> None:
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
    svg = ET.fromstring(notebook.page_drawing(100.0, 200.0, [place, flat], [flat]))
    assert [text.text for text in svg.findall("{*}text")] == ["<script>&"]
    assert len(svg.findall("{*}rect")) == 1
    assert len(svg.findall("{*}polygon")) == 1


def test_close_up_stays_on_the_page(notebook: ModuleType) -> None:
    """A close-up shows the whole citation and stays inside the page, even in a corner."""
    corner = {"left": 0.0, "top": 1600.0, "right": 30.0, "bottom": 1650.0, "polygon": None}
    left, top, across, down = notebook.close_up(1275.0, 1650.0, [corner])
    assert left == 0 and top + down == 1650
    assert across >= 30 and top <= 1600


def test_wilson_interval(notebook: ModuleType) -> None:
    """The interval is Wilson's, lies within 0 to 1, and contains the share even at 0 and 1."""
    # 8 of 10 is a textbook case; 0 of 10 is z²/(n + z²)
    assert notebook.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert notebook.wilson(0, 10) == (0.0, pytest.approx(1.96**2 / (10 + 1.96**2)))
    assert notebook.wilson(10, 10)[1] == 1.0
    assert notebook.wilson(0, 0) == (0.0, 1.0)


def test_bin_edges(notebook: ModuleType) -> None:
    """A score on an edge belongs to the bin that starts there, and 1.0 to the last. No score is in two
    bins."""
    points = [(0.0, 1, 1), (0.1, 1, 0), (0.29, 2, 1), (0.3, 3, 3), (0.95, 1, 1), (1.0, 4, 4)]
    bins = notebook.calibration(points, 10)
    assert [(row["from"], row["n"]) for row in bins] == [
        (0.0, 1),
        (0.1, 1),
        (0.2, 2),
        (0.3, 3),
        (0.9, 5),
    ]
    for number in range(100):
        assert notebook.calibration([(number / 100, 1, 1)], 100)[0]["from"] == number / 100


def test_calibration_error(notebook: ModuleType) -> None:
    """The error is the gap between score and share of correct fields, weighted by fields; None without
    fields."""
    points = [(0.95, 8, 6), (0.55, 2, 2)]
    expected = 0.8 * abs(0.95 - 0.75) + 0.2 * abs(0.55 - 1)
    assert notebook.calibration_error(notebook.calibration(points, 10)) == pytest.approx(expected)
    assert notebook.calibration_error([]) is None


def test_threshold_without_errors(notebook: ModuleType) -> None:
    """A score equal to the threshold is not below it. Without errors the share of errors found is None."""
    assert notebook.threshold_curve([(0.5, 4, 4)], [0.5, 0.6]) == [
        {"threshold": 0.5, "fields": 0, "errors": 0, "looked_at": 0.0, "caught": None},
        {"threshold": 0.6, "fields": 4, "errors": 0, "looked_at": 1.0, "caught": None},
    ]


def test_as_a_script_it_prints_and_does_not_change_the_database(shown: Row, database: Path) -> None:
    """Run as a script, the notebook prints the main numbers and does not change a byte of the database."""
    before = digest(database)
    done = script("--database", str(database))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{shown['counts']['workflow_runs']:,} workflow runs" in done.stdout
    assert f"{shown['credits_total']:,.0f} credits" in done.stdout
    assert digest(database) == before
    assert [path.name for path in database.parent.glob("docruns.duckdb*")] == ["docruns.duckdb"]


def test_the_command_opens_it(database: Path) -> None:
    """`docruns notebook` serves the notebook to who has the token of its address, and a signal ends it."""
    script = "from docruns.commands.cli.main import run; run()"
    environment = {**os.environ, "BROWSER": "true", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", script, "notebook", "--database", str(database)],
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
                assert page.status_code == 200 and "explore" in page.text
            for way in ({}, {"access_token": "x"}, {"access_token": token[:-1]}):
                for path in ("", "/api/status", "/api/version", "/api/usage"):
                    refused = httpx.get(httpx.URL(url).copy_with(path=path or "/", params=way), timeout=30)
                    assert refused.status_code in (303, 401), (path, refused.status_code)
                    assert "explore" not in refused.text
            if sys.platform == "linux":
                # any user may read it
                assert token not in Path(f"/proc/{process.pid}/cmdline").read_text()
                assert token not in Path(f"/proc/{process.pid}/environ").read_text()
        finally:
            process.terminate()
            process.communicate()
    assert process.returncode != 0


def test_a_missing_database_says_what_to_do(tmp_path: Path) -> None:
    """Without a database the script fails, and one sentence names the file and the commands that create
    one."""
    missing = tmp_path / "none.duckdb"
    done = script("--database", str(missing))
    assert done.returncode != 0
    assert done.stderr.strip() == (
        f"There is no database {missing}: make one with `docruns demo --database {missing}` or "
        f"`docruns load extend --database {missing}`, or name another with `--database`."
    )
    assert not missing.exists()


def test_a_wrong_file_or_dataset_says_what_to_do(
    notebook: ModuleType, database: Path, tmp_path: Path
) -> None:
    """A file that is no database, a missing dataset and a file in use each have a message of their own."""
    text = tmp_path / "notes.duckdb"
    text.write_text("no database")
    assert "is not a DuckDB database" in notebook.Loaded(str(text), "extend").problem()
    problem = notebook.Loaded(str(database), "plextera").problem()
    assert "has no dataset plextera (it has: extend)" in problem
    assert "--dataset" in problem
    with open_elsewhere(tmp_path / "busy.duckdb") as busy:
        problem = notebook.Loaded(str(busy), "extend", patience=0).problem()
    assert problem == f"{busy} is being written to right now: run this again after the load."


def test_missing_tables_count_as_empty(notebook: ModuleType, tmp_path: Path) -> None:
    """The notebook shows a dataset that has one table without some columns, in a file of the same name."""
    database = tmp_path / "extend.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute('create schema "extend"')
        connection.execute(
            'create table "extend"."extend".workflow_runs as '
            "select 'workflow_run_1' as id, 'PROCESSED' as status, true as is_final, 5.0::double as credits"
        )
    before = digest(database)
    shown = run(notebook, database)
    assert shown["counts"]["workflow_runs"] == 1
    assert shown["counts"]["fields"] == shown["counts"]["citations"] == 0
    assert shown["quarantined"] == shown["corrected"] == shown["cited_runs"] == []
    assert shown["ece"] is None
    assert shown["credits_total"] == 5.0
    assert digest(database) == before


def test_quarantined_runs_are_shown_until_resolved(notebook: ModuleType, tmp_path: Path) -> None:
    """The notebook shows a quarantined run until a load resolves it."""
    database = tmp_path / "docruns.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("create schema plextera")
        connection.execute(
            "create table plextera.quarantine as select * from (values "
            "('workflow_runs', 'a', 2, 'ShapeError', 'no id', null::timestamptz), "
            "('workflow_runs', 'b', 1, 'ShapeError', 'no id', now())"
            ") as q(resource, id, attempts, error, message, resolved_at)"
        )
    shown = run(notebook, database, "plextera")
    assert [row["id"] for row in shown["quarantined"]] == ["a"]
