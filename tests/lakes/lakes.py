"""Delta and Iceberg tables, apart from the rows that they hold (tests/destinations). `make test-lakes` runs both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import polars
import pytest
from typer.testing import CliRunner

from destinations.lakes import delta_rows, iceberg_rows, in_folder
from destinations.lakes import options as lake_options
from destinations.matrix import docruns
from docruns.commands.cli.app import app
from docruns.core.errors import ConfigError
from docruns.core.tables import BY_NAME, TABLES
from docruns.sandbox import Sandbox
from proofs.children import Children
from proofs.points import owner_of, point_of
from proofs.warehouses import POINTS as KILLS

READERS = {"delta": delta_rows, "iceberg": iceberg_rows}


@pytest.fixture(params=READERS)
def table_format(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table format, set in the configuration."""
    found: str = request.param
    for name, value in in_folder(tmp_path, ExitStack()).items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A platform of few runs."""
    with Sandbox(runs=12, standalone=3, seed=5, document_size="light", plextera_runs=0) as sandbox:
        monkeypatch.setenv("SOURCES__EXTEND__BASE_URL", sandbox.extend_url)
        yield sandbox


def rows(folder: Path, table_format: str) -> dict[str, list[str]]:
    """All rows of a lake as text, without the packages that wrote them."""
    found = {}
    for table in TABLES:
        held = READERS[table_format](folder, "extend", table) or []
        without = [{k: v for k, v in row.items() if k != "_dlt_load_id"} for row in held]
        found[table.name] = sorted(map(repr, without))
    return found


def test_maintained(
    table_format: str, platform: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`maintain` joins the files of several loads, changes no row, and leaves a lake that the next load goes on with."""
    options = lake_options(table_format)
    docruns("load", "extend", *options)
    for _ in range(2):
        platform.extend.add(3, size="light")
        docruns("load", "extend", *options)
    before = rows(tmp_path, table_format)
    monkeypatch.setenv("DESTINATION__FILESYSTEM__KEEP_DAYS", "1")
    found = docruns("maintain", "extend", *options)
    assert found["keep_days"] == 1
    old, new = found["files"]["fields"]
    assert old >= 3 and new == 1
    assert rows(tmp_path, table_format) == before
    platform.extend.review(3)
    assert docruns("load", "extend", *options)["fetched"] == 3
    docruns("verify", "extend", *options, "--deep", "100")


def test_old_files_go(table_format: str, platform: Sandbox, tmp_path: Path) -> None:
    """Files that only older versions need are deleted once they are old enough."""
    options = lake_options(table_format)
    docruns("load", "extend", *options)
    platform.extend.review(6)
    docruns("load", "extend", *options)
    before, place = rows(tmp_path, table_format), tmp_path / "lake" / "extend" / "fields"

    def files() -> int:
        # the log of a Delta table has Parquet files, too
        return sum("_delta_log" not in path.parts for path in place.rglob("*.parquet"))

    docruns("maintain", "extend", *options)
    kept = files()
    maintain(tmp_path, table_format, "fields", 0)
    assert files() == 1 < kept
    assert rows(tmp_path, table_format) == before


def maintain(folder: Path, table_format: str, name: str, days: int) -> None:
    """What the command does, with fewer days than it takes."""
    import dlt

    from docruns.store.merges.lakes.destination import DESTINATIONS
    from docruns.store.merges.lakes.tables import open_table

    running = dlt.pipeline(
        "m", pipelines_dir=str(folder / "m"), destination=DESTINATIONS[table_format](), dataset_name="extend"
    )
    with running.destination_client() as client:
        open_table(client, name).maintain(days)


def test_models_over_a_lake(table_format: str, platform: Sandbox, tmp_path: Path) -> None:
    """The models over a lake have the rows of those in a DuckDB file, also after another load and another call."""
    reference, answers = tmp_path / "reference.duckdb", tmp_path / "answers.duckdb"
    options, over = lake_options(table_format), ("--over", str(tmp_path / "lake"), "--database", str(answers))
    for reviewed in (6, 3):
        platform.extend.review(reviewed)
        docruns("load", "extend", *options)
        docruns("load", "extend", "--database", str(reference))
        for side in (over, ("--database", str(reference))):
            assert CliRunner().invoke(app, ["models", *side]).exit_code == 0
        for name in ("documents", "field_accuracy", "cost", "scores", "throughput", "doc_receipt"):
            ask = f"SELECT * FROM {name} ORDER BY ALL"
            sides = [
                CliRunner().invoke(app, ["sql", ask, "--csv", "--database", str(path)]).stdout
                for path in (reference, answers)
            ]
            assert sides[0] == sides[1] and sides[0].count("\n") > 1, name
    for wrong in (("--over", str(tmp_path), *over[2:]), (*over[:2], "--database", str(reference))):
        assert isinstance(CliRunner().invoke(app, ["models", *wrong]).exception, ConfigError)


def test_readers(table_format: str, platform: Sandbox, tmp_path: Path) -> None:
    """The ways to read a lake that docs/destinations.md shows."""
    docruns("load", "extend", *lake_options(table_format))
    place = str(tmp_path / "lake" / "extend" / "fields")
    number = len(READERS[table_format](tmp_path, "extend", BY_NAME["fields"]) or [])
    if table_format == "delta":
        import deltalake

        data: Any = deltalake.DeltaTable(place).to_pyarrow_dataset()
        frame: Any = polars.scan_delta(place).collect()
    else:
        from pyiceberg.table import StaticTable

        newest = max(Path(place, "metadata").glob("*.json"))
        data = StaticTable.from_metadata(str(newest)).scan().to_arrow()
        frame = polars.from_arrow(data)
    with duckdb.connect() as connection:
        found = connection.register("data", data).sql("SELECT count(*) FROM data").fetchall()
    assert found == [(number,)]
    assert number == frame.height > 50


_CLIENT = "docruns.store.merges.lakes.destination:_Client"

POINTS = {
    "delta": "docruns.store.merges.lakes.delta:Delta.write",
    # files are written, and no commit names them
    "iceberg": "pyiceberg.catalog.sql:SqlCatalog.commit_table",
}


def test_killed(table_format: str, platform: Sandbox, children: Children, tmp_path: Path) -> None:
    """After `kill -9` in a load of changes, at whatever point, one load heals: every cell is the platform's, no key is
    there twice, and no run counts as half-loaded."""
    options = ("extend", *lake_options(table_format), "--base-url", platform.extend_url)
    assert children.run(tmp_path, "load", *options).code == 0
    some_merged, nothing_counts, state_is_old = (
        "l5 some ready",
        f"{_CLIENT}._store_load",
        f"{_CLIENT}._store_current_state",
    )
    for point in (POINTS[table_format], some_merged, nothing_counts, state_is_old):
        platform.extend.review(4)
        platform.extend.add(1, size="light")
        killed = children.run(tmp_path, "load", *options, point=point)
        assert killed.code == -9, (point, killed)
        healed = children.run(tmp_path, "load", *options)
        assert (healed.code, "half" in healed.err) == (0, False), (point, healed)
        verified = children.run(tmp_path, "verify", *options, "--deep", "100")
        assert verified.code == 0, (point, verified)


@pytest.mark.parametrize("table_format", ["iceberg"], indirect=True)
def test_no_metadata_is_cut_off(
    table_format: str, platform: Sandbox, children: Children, tmp_path: Path
) -> None:
    """A load that is killed while it writes a metadata file of Iceberg leaves none that a reader cannot read."""
    options = ("extend", *lake_options(table_format), "--base-url", platform.extend_url)
    assert children.run(tmp_path, "load", *options).code == 0
    platform.extend.review(4)
    # called when the file is open and nothing is written
    point = "pyiceberg.serializers:NoopCompressor.bytes_compressor"
    assert children.run(tmp_path, "load", *options, point=point).code == -9
    (aside,) = tmp_path.rglob(".*.metadata.json.part")
    for path in tmp_path.rglob("*.metadata.json"):
        json.loads(path.read_text())
    assert children.run(tmp_path, "load", *options).code == 0
    maintain(tmp_path, table_format, aside.parent.parent.name, 0)
    assert not aside.exists()


def test_a_killed_first_load(
    table_format: str, platform: Sandbox, children: Children, tmp_path: Path
) -> None:
    """After `kill -9` in a first load that has made all tables, also those that got no row, one load heals."""
    options = ("extend", *lake_options(table_format), "--base-url", platform.extend_url)
    assert children.run(tmp_path, "load", *options, point=f"{_CLIENT}._store_load").code == -9
    healed = children.run(tmp_path, "load", *options)
    assert healed.code == 0, healed
    assert children.run(tmp_path, "verify", *options, "--deep", "100").code == 0


@pytest.mark.parametrize("name", dict.fromkeys(name for names in KILLS.values() for name in names))
def test_points_exist(name: str) -> None:
    """Each point of the proof of warehouses names a function that exists."""
    assert callable(getattr(*owner_of(point_of(name))))


def test_where_there_is_nothing_to_maintain(tmp_path: Path) -> None:
    """A destination that is no lake is refused."""
    result = CliRunner().invoke(app, ["maintain", "extend", "--destination", "duckdb"])
    assert "--destination: duckdb needs no maintenance" in str(result.exception)
