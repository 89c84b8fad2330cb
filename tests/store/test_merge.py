"""How dlt and DuckDB merge rows: a run's rows are replaced as a set, from any resource, any number of
times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from docruns.core.batch import Batch
from docruns.core.privacy import KEEP
from docruns.core.tables import INSIGHTS, Column
from docruns.providers.resources import add_tables
from docruns.sandbox import Sandbox
from docruns.store import arrow
from docruns.store.arrow import Tables, to_tables
from docruns.store.duckdb.merge import MergingDuckDb
from docruns.store.merges import updates
from docruns.store.merges.hints import CONTRACT, Hints
from support.loading import Loader, query

Runs = dict[str, int]


def tables(runs: Runs) -> Tables:
    """Arrow tables with the given number of insights for each run."""
    batch = Batch()
    for run, count in runs.items():
        batch.clear_run((INSIGHTS,), run)
        for position in range(count):
            row = {"processor_run_id": run, "output": "final", "path": "a", "position": position}
            batch.add(INSIGHTS, INSIGHTS.row(**row, content=f"of {count}"))
    return to_tables(batch)


def pipeline(folder: Path, database: Path, destination: Any) -> dlt.Pipeline:
    """A pipeline with a folder of its own, on a database that others may use too."""
    return dlt.pipeline(
        "hints",
        pipelines_dir=str(folder),
        destination=destination(str(database), supports_transactions=True),
        dataset_name="d",
    )


def source(hints: Hints, *resources: list[Runs]) -> Any:
    """A source with one resource for each list of batches."""

    def all_of_them() -> Any:
        for number, batches in enumerate(resources):
            runs = dlt.resource(map(tables, batches), name=f"r{number}")
            yield add_tables(runs, KEEP, hints)

    return dlt.source(all_of_them, name="s", schema_contract=CONTRACT)()


@pytest.fixture(params=[dlt.destinations.duckdb, MergingDuckDb], ids=["staged", "from files"])
def merged(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A function that loads packages of two resources with one `Hints`, and returns the rows of the table."""
    hints = Hints()
    # dlt itself stumbles over such a name
    folder = tmp_path / ("it's {0}" if request.param is MergingDuckDb else "p")

    def load(*packages: tuple[list[Runs], list[Runs]]) -> list[tuple[str, int, str]]:
        for package in packages:
            running = pipeline(folder, tmp_path / "h.duckdb", request.param)
            running.run(source(hints, *package), loader_file_format="parquet")
        with duckdb.connect(str(tmp_path / "h.duckdb")) as connection:
            return connection.execute(
                "SELECT processor_run_id, count(*), max(content) FROM d.insights GROUP BY 1 ORDER BY 1"
            ).fetchall()

    return load


@pytest.mark.parametrize(
    "packages",
    [
        pytest.param([([{"a": 2, "b": 1}], [{"a": 2}])], id="in two resources"),
        pytest.param([([{"a": 2}, {"b": 1}, {"a": 2}], [])], id="in two batches"),
        pytest.param([([{"b": 1}, {"c": 1}], [{"a": 2}, {"c": 1, "a": 2}])], id="in another one"),
        pytest.param([([{"a": 5}], []), ([{"b": 1, "a": 2}], [])], id="in two packages"),
        pytest.param(
            [([{"a": 2}, {"a": 2}], []), ([{"b": 1}], [{"a": 2}]), ([{"b": 1}, {"b": 1}], [])],
            id="again and again",
        ),
    ],
)
def test_a_run_that_comes_twice_is_there_once(packages: Any, merged: Any) -> None:
    """A run that comes twice in a package is stored once, and its earlier rows are deleted."""
    wanted = [("a", 2, "of 2"), ("b", 1, "of 1")]
    assert [row for row in merged(*packages) if row[0] != "c"] == wanted


def test_a_run_without_rows_loses_those_it_had(merged: Any) -> None:
    """A run that is fetched again without rows has none afterwards."""
    assert merged(([{"a": 3, "b": 1}], []), ([{"a": 0}], [])) == [("b", 1, "of 1")]


def test_rows_of_a_run_are_found_by_its_id_alone(merged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The merge deletes by the run's id alone: with the key too, DuckDB joined the staged rows with the whole
    table. dlt numbers staged rows only where a run came twice, or could have."""
    from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

    said: list[str] = []
    execute = DuckDbSqlClient.execute_query

    def execute_query(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        said.append(str(query))
        return execute(self, query, *args, **kwargs)

    monkeypatch.setattr(DuckDbSqlClient, "execute_query", execute_query)
    merged(([{"a": 3}], []))
    [merge] = [one for one in said if "DELETE FROM" in one and '"d"."insights"' in one]
    assert "processor_run_id IN (SELECT processor_run_id" in merge
    assert "EXISTS" not in merge
    # what a retry stages twice is in dlt's staging tables twice, a file is read once
    assert ("ROW_NUMBER" in merge) == ("staging" in merge)
    said.clear()
    merged(([{"a": 3}, {"a": 3}], []))
    [merge] = [one for one in said if "DELETE FROM" in one and '"d"."insights"' in one]
    assert "ROW_NUMBER" in merge


def test_many_files_are_merged_at_once(merged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A merge reads all files of a table, where dlt writes its rows to several."""
    monkeypatch.setenv("DATA_WRITER__BUFFER_MAX_ITEMS", "2")
    monkeypatch.setenv("DATA_WRITER__FILE_MAX_ITEMS", "2")
    runs = {f"r{number}": number for number in range(9)}
    earlier = dict.fromkeys(runs, 7)
    wanted = [(run, count, f"of {count}") for run, count in runs.items() if count]
    assert merged(([earlier], []), ([{run: count} for run, count in runs.items()], [])) == wanted


def test_a_column_that_is_no_longer_brought(
    merged: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A table that another version created with one more column accepts rows without it."""
    more = replace(INSIGHTS, columns=(*INSIGHTS.columns, Column("older", "bigint", "")))
    own = INSIGHTS
    with monkeypatch.context() as patch:
        patch.setattr(arrow, "TABLES", tuple(more if t is own else t for t in arrow.TABLES))
        patch.setitem(globals(), "INSIGHTS", more)
        merged(([{"a": 1}], []))
    assert merged(([{"b": 1}], [])) == [("a", 1, "of 1"), ("b", 1, "of 1")]
    with duckdb.connect(str(tmp_path / "h.duckdb")) as connection:
        assert "older" in connection.table("d.insights").columns


def test_any_pipeline_goes_on_with_a_dataset(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A destination with staging tables and one without can load in turn: both read the state, and neither
    logs a warning about the other."""
    destinations = [dlt.destinations.duckdb, MergingDuckDb, dlt.destinations.duckdb]
    for number, destination in enumerate(destinations):
        running = pipeline(tmp_path / str(number), tmp_path / "h.duckdb", destination)
        running.run(source(Hints(), [{"a": number + 1}]), loader_file_format="parquet")
    assert "WARNING" not in capfd.readouterr().err
    with duckdb.connect(str(tmp_path / "h.duckdb")) as connection:
        assert connection.execute("SELECT count(*), max(content) FROM d.insights").fetchone() == (
            3,
            "of 3",
        )


def test_old_states_go(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the states that dlt stores with each load, a hundred stay, here two; the newest is the one that counts."""
    monkeypatch.setattr(updates, "KEPT_STATES", 2)
    for _ in range(4):
        sandbox.extend.review()
        load_extend()
    assert load_extend()[0].fetched == 0
    states = query(tmp_path / "t.duckdb", "SELECT version FROM extend._dlt_pipeline_state ORDER BY version")
    newest = states[-1][0]
    assert newest >= 4 and states == [(newest - 1,), (newest,)]
