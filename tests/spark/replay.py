"""`pipelines/replay_on_spark.py` on two local cores: its tables are those of the loads, cell by cell.

    make test-spark

`SPARK` is the folder of an environment with PySpark and docruns, and without what docruns needs beside msgspec and
pyarrow. Two workspaces are loaded, each with another API version, with what makes a replay difficult in between, and
Spark reads their archive once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import docruns
from docruns.core.parsed import ParsedRun
from docruns.core.tables import CLEARED, PROCESSOR_RUNS, QUARANTINE, RUN_TABLES, SYNCS, Table
from docruns.sandbox import Sandbox
from proofs.children import Children
from support.loading import query

ROOT = Path(__file__).parents[2]
SPARK = Path(os.environ["SPARK"]).absolute() / "bin"
pytestmark = pytest.mark.timeout(3600)  # on a busy machine Spark takes a quarter of an hour

TABLES = [table for table in RUN_TABLES if table not in (QUARANTINE, SYNCS)]

VERSIONS = ("2026-02-09", "2024-12-23")
"""The newest API version, and one whose nested runs lack nearly everything."""

UNREADABLE = "workflow_run_unreadable"


class Replayed(NamedTuple):
    """What loads and Spark have left: the databases of both API versions, Spark's tables, and the archive's rows."""

    databases: list[Path]
    out: Path
    answers: list[dict[str, Any]]

    def parsed(self) -> Iterator[ParsedRun]:
        """What the answers about workflow runs say, without the one that cannot be read."""
        for row in self.answers:
            if row["feed"] == "workflow_runs" and row["body"] is not None and row["id"] != UNREADABLE:
                yield docruns.rows("extend", row["api_version"])(row["body"].encode(), row)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query on Spark's tables."""
        with duckdb.connect() as connection:
            for path in self.out.iterdir():
                connection.execute(f"CREATE VIEW {path.name} AS FROM read_parquet('{path}/*.parquet')")
            return connection.execute(sql).fetchall()


def on_spark(archive: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """The job as its users start it."""
    # what is compiled for few rows costs more than it saves
    options = (
        "--master",
        "local[2]",
        "--driver-memory",
        "1g",
        "--driver-java-options",
        "-XX:TieredStopAtLevel=1",
    )
    settings = (
        "spark.ui.enabled=false",
        "spark.log.level=ERROR",
        "spark.sql.shuffle.partitions=2",
        "spark.sql.codegen.wholeStage=false",
        "spark.sql.codegen.factoryMode=NO_CODEGEN",
    )
    command = [
        str(SPARK / "spark-submit"),
        *options,
        *(word for each in settings for word in ("--conf", each)),
    ]
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "PATH": f"{SPARK}{os.pathsep}{os.environ['PATH']}",
        "PYSPARK_PYTHON": str(SPARK / "python"),
    }
    job = str(ROOT / "pipelines" / "replay_on_spark.py")
    return subprocess.run(
        [*command, job, str(archive), str(out)], capture_output=True, text=True, env=environment, check=False
    )


def loads(folder: Path, version: str, seed: int) -> Path:
    """Load a platform twice into a database, with changes in between, sweep it, and keep its answers in `answers`."""
    workspace = f"ws_{seed}"
    environment = {
        "ANSWERS__VIEWS": "false",
        "SOURCES__EXTEND__API_VERSION": version,
        "SOURCES__EXTEND__ARCHIVE": "answers",
        "SOURCES__EXTEND__WORKSPACE_ID": workspace,
        # a load knows the dates of nested runs as long as it reads their lists to the end
        "SOURCES__EXTEND__OVERLAP": "3650d",
    }
    with Sandbox(runs=40, standalone=15, seed=seed, plextera_runs=0) as platform, Children() as children:

        def run(command: str, code: int) -> None:
            options = ("extend", "--base-url", platform.extend_url, "--database", f"{workspace}.duckdb")
            ended = children.run(folder, command, *options, environment=environment)
            assert ended.code == code, ended.err

        platform.extend.switch(list_processor_runs_2024=True)
        # the processor runs of these are read alone first
        runs = [each["id"] for each in platform.extend.truth() if each["resource"] == "workflow_runs"]
        for run_id in runs[-6:]:
            platform.fault("status", f"/workflow_runs/{run_id}", status=400, times=None)
        run("load", 3)
        platform.clear_faults()
        platform.extend.review(8)
        platform.extend.add(3)
        for run_id in runs[:2]:
            platform.extend.delete(run_id)
        if version == VERSIONS[0]:
            platform.extend.put('{"id": "another"}', {"id": UNREADABLE, "status": "FAILED"})
        run("load", 3 if version == VERSIONS[0] else 0)
        run("sweep", 0)
    return folder / f"{workspace}.duckdb"


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    """Two workspaces in one archive, and Spark's tables from it."""
    folder = tmp_path_factory.mktemp("spark")
    databases = [loads(folder, version, seed) for seed, version in enumerate(VERSIONS, start=7)]
    # `archive compact` was killed before it removed the parts that it has written again
    for part in list((folder / "answers").rglob("*.parquet"))[::2]:
        shutil.copy(part, part.with_name(f"compact-{part.name}"))
    done = on_spark(folder / "answers", folder / "tables")
    assert done.returncode == 3, (done.stdout[-2000:], done.stderr[-8000:])
    assert ", 1 unread, in " in done.stdout
    answers = [
        row for path in (folder / "answers").rglob("*.parquet") for row in pq.read_table(path).to_pylist()
    ]
    return Replayed(databases, folder / "tables", answers)


def compared(table: Table, left: str, right: str) -> list[tuple[Any, ...]]:
    """The rows of one query that another one lacks."""
    cells = ", ".join(f'"{column.name}"::VARCHAR' for column in table.columns if column.name != CLEARED)
    found: list[tuple[Any, ...]] = duckdb.sql(
        f"SELECT {cells} FROM {left} EXCEPT ALL SELECT {cells} FROM {right}"
    ).fetchall()
    return found


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_tables_are_those_of_the_loads(replayed: Replayed, table: Table) -> None:
    """Every cell of every table is as the loads have stored it: reviewed runs, deleted ones and those of failed steps."""
    loaded = []
    for path in replayed.databases:
        with duckdb.connect(str(path), read_only=True) as connection:
            loaded.append(connection.execute(f"FROM extend.{table.name}").to_arrow_table())
    rows = pa.concat_tables(loaded)
    duckdb.register("loaded", rows)
    spark = f"read_parquet('{replayed.out}/{table.name}/*.parquet')"
    assert rows.num_rows
    assert compared(table, "loaded", spark) == []
    assert compared(table, spark, "loaded") == []


def test_times_have_microseconds(replayed: Replayed) -> None:
    """A time is a Parquet timestamp of 64 bits in UTC; Spark's own default has 96 bits, which many programs misread."""
    (path, *_) = sorted((replayed.out / "processor_runs").glob("*.parquet"))
    written = pq.ParquetFile(path).schema
    column = written.column(written.names.index("created_at"))
    kind = json.loads(column.logical_type.to_json())
    assert (column.physical_type, kind["timeUnit"], kind["isAdjustedToUTC"]) == (
        "INT64",
        "microseconds",
        True,
    )


def test_lone_rows_are_gone(replayed: Replayed) -> None:
    """A processor run that was read alone and came inside its workflow run later has one row, with its workflow run, and
    one set of fields."""
    inside = {id_ for parsed in replayed.parsed() for id_ in parsed.nested_ids}
    alone = {
        row["id"] for row in replayed.answers if row["feed"] != "workflow_runs" and row["body"] is not None
    }
    lone = alone & inside
    assert len(lone) >= 10
    rows = replayed.query("SELECT id, workflow_run_id FROM processor_runs")
    assert sorted(id_ for id_, at in rows if id_ in lone and at is not None) == sorted(lone)
    doubled = "SELECT processor_run_id FROM fields GROUP BY processor_run_id, path HAVING count(*) > 1"
    assert replayed.query(doubled) == []


def test_nested_runs_have_the_dates_of_their_lists(replayed: Replayed) -> None:
    """What the answers about nested runs lack comes from the lists."""
    rows = [row for parsed in replayed.parsed() for row in parsed.batch.dicts(PROCESSOR_RUNS)]
    lacking = {row["id"] for row in rows if row["created_at"] is None}
    assert {row["api_version"] for row in rows if row["id"] in lacking} == set(VERSIONS)
    found = replayed.query("SELECT id, created_at, updated_at, status FROM processor_runs")
    dated = [row for row in found if row[0] in lacking]
    assert dated
    assert [row for row in dated if None in row] == []


def test_workers_need_no_dlt() -> None:
    """The environment of the job has no dlt, and none of the other packages that only loads need."""
    names = ("dlt", "duckdb", "fsspec", "httpx", "typer")
    code = f"import importlib.util as u; print([name for name in {names} if u.find_spec(name)])"
    done = subprocess.run([SPARK / "python", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_unread_answers_are_named(replayed: Replayed) -> None:
    """An answer that cannot be read has a row with its error, as in quarantine, and stops nothing."""
    (row,) = replayed.query("SELECT id, error FROM unread")
    assert (row[0], "ShapeError" in row[1]) == (UNREADABLE, True)
    held = "SELECT id FROM extend.quarantine WHERE resolved_at IS NULL"
    assert query(replayed.databases[0], held) == [(UNREADABLE,)]
