"""What each destination can do, and that no other module compares destinations."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.pipeline.exceptions import PipelineStepFailed
from typer.testing import CliRunner

from docruns import extend
from docruns.commands.cli.app import app
from docruns.core.errors import ConfigError, DocrunsError
from docruns.sandbox import Sandbox
from docruns.store import destinations
from docruns.store.destinations import (
    FORMATS,
    KNOWN,
    DestinationTraits,
    require_tested,
    traits_by_name,
    traits_of,
)
from docruns.store.duckdb.lake import DuckLake
from docruns.store.duckdb.merge import MergingDuckDb
from docruns.store.failures import translate_errors
from docruns.store.merges.lakes import tables
from docruns.store.merges.lakes.destination import DESTINATIONS
from docruns.store.target import Target

PACKAGE = Path(destinations.__file__).parents[1]


def pipeline(folder: Path, destination: Any) -> dlt.Pipeline:
    """A pipeline that is set up and not run."""
    return dlt.pipeline("traits", pipelines_dir=str(folder), destination=destination)


@pytest.mark.parametrize(
    ("name", "traits"),
    [
        pytest.param(
            "duckdb",
            DestinationTraits(
                is_tested=True,
                file_format="parquet",
                takes_updates=True,
                is_staged_once=True,
                has_file=True,
                models_dialect="duckdb",
                views_query=destinations._DUCKDB_VIEWS,
                stores_models=True,
                comments_query=destinations._DUCKDB_COMMENTS,
                forgets=True,
                may_use_pandas=False,
            ),
            id="duckdb",
        ),
        pytest.param(
            "postgres",
            DestinationTraits(
                is_tested=True,
                file_format="parquet",
                takes_updates=True,
                holds_nul=False,
                parses_json=True,
                encoding_query="SHOW server_encoding",
                encodings=frozenset({"UTF8", "SQL_ASCII"}),
                has_advisory_locks=True,
                models_dialect="postgres",
                views_query=destinations._POSTGRES_VIEWS,
                stores_models=True,
                stale_query=destinations._POSTGRES_STALE,
                lock_timeout="SET LOCAL lock_timeout = '10s'",
                comments_query=destinations._POSTGRES_COMMENTS,
                forgets=True,
            ),
            id="postgres",
        ),
        pytest.param(
            "ducklake",
            DestinationTraits(
                is_tested=True,
                file_format="parquet",
                takes_updates=True,
                is_staged_once=True,
                models_dialect="duckdb",
                views_query=destinations._DUCKDB_VIEWS,
                comments_query=destinations._DUCKDB_COMMENTS,
                extensions=("ducklake", "sqlite_scanner", "postgres_scanner"),
            ),
            id="ducklake",
        ),
        pytest.param(
            "sqlalchemy",
            DestinationTraits(
                is_tested=True,
                file_format="parquet",
                takes_updates=True,
                has_json_type=False,
                has_zones=False,
            ),
            id="sqlalchemy",
        ),
        pytest.param("redshift", DestinationTraits(takes_updates=True, holds_nul=False), id="redshift"),
        pytest.param(
            "filesystem",
            DestinationTraits(is_tested=True, has_tables_in_schema_only=True, has_formats=True),
            id="filesystem",
        ),
    ],
)
def test_known_destinations(name: str, traits: DestinationTraits, tmp_path: Path) -> None:
    """Each entry says what is expected, and agrees with what dlt says of its own destination."""
    assert traits_by_name(name) == KNOWN[name] == traits
    assert Target("d", destination=name).traits == traits
    destination = getattr(dlt.destinations, name)()
    formats = destination.capabilities().supported_loader_file_formats
    assert traits.file_format is None or traits.file_format in formats
    assert issubclass(destination.client_class, SqlJobClientBase) == traits.takes_updates
    ours = {"duckdb": MergingDuckDb, "ducklake": DuckLake}.get(name)
    found = traits_of(pipeline(tmp_path, ours() if ours else destination))
    assert found == traits


LAKE = DestinationTraits(
    is_tested=True, file_format="parquet", takes_updates=True, is_staged_once=True, has_formats=True
)
LOG = DestinationTraits(is_tested=True, has_tables_in_schema_only=True, has_formats=True, table_format="none")


@pytest.mark.parametrize(
    ("table_format", "traits"),
    [
        ("delta", replace(LAKE, table_format="delta")),
        ("iceberg", replace(LAKE, table_format="iceberg")),
        ("none", LOG),
    ],
)
def test_table_formats(table_format: str, traits: DestinationTraits, tmp_path: Path) -> None:
    """With a table format the filesystem is a lake, whose rows are replaced, or a log."""
    assert traits_by_name("filesystem", table_format) == FORMATS[table_format] == traits
    assert traits_of(pipeline(tmp_path, DESTINATIONS[table_format](bucket_url=str(tmp_path)))) == traits
    assert traits.is_log != traits.is_lake
    assert traits_by_name("postgres", table_format) == KNOWN["postgres"]


def test_a_log_in_a_pipeline_of_somebody_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """dlt's own filesystem destination is a log where the setting says so."""
    running = pipeline(tmp_path, dlt.destinations.filesystem(bucket_url=str(tmp_path)))
    assert traits_of(running) == KNOWN["filesystem"]
    monkeypatch.setenv("DESTINATION__FILESYSTEM__TABLE_FORMAT", "none")
    assert traits_of(running) == LOG


def test_a_pipeline_that_would_only_add_rows_is_refused(tmp_path: Path, few_runs: Sandbox) -> None:
    """`pipeline.run(extend())` on dlt's own filesystem destination is refused before any request, with the command
    that replaces rows."""
    few_runs.stats.reset()
    running = pipeline(tmp_path, dlt.destinations.filesystem(bucket_url=str(tmp_path / "lake")))
    with pytest.raises(
        PipelineStepFailed, match="docruns load extend --destination filesystem --table-format"
    ):
        running.run(extend(base_url=few_runs.extend_url), table_format="delta")
    assert few_runs.stats.requests == 0


@pytest.mark.parametrize(
    ("destination", "table_format", "message"),
    [
        ("filesystem", "hudi", r"--table-format: is 'hudi'\. Write delta, iceberg or none\."),
        ("postgres", "delta", r"--table-format: postgres has no table formats\."),
    ],
)
def test_wrong_table_formats(destination: str, table_format: str, message: str) -> None:
    """A table format that a destination does not have is refused."""
    with pytest.raises(ConfigError, match=message):
        Target("d", destination=destination, table_format=table_format)


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names the package and how to install it."""
    monkeypatch.setattr(tables, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the package deltalake, .*pip install 'docruns\[lakes\]'"):
        Target("d", destination="filesystem", table_format="delta")


def test_every_known_destination_has_a_row() -> None:
    """A new entry comes with its row in the test above."""
    (mark,) = test_known_destinations.pytestmark  # type: ignore[attr-defined]
    assert {row.id for row in mark.args[1]} == KNOWN.keys()


@pytest.mark.parametrize(("name", "takes_updates"), [("motherduck", True), ("dummy", False)])
def test_other_destinations(name: str, takes_updates: bool, tmp_path: Path) -> None:
    """A destination without an entry has dlt's defaults; dlt says whether it has SQL tables."""
    assert traits_by_name(name) == DestinationTraits()
    found = traits_of(pipeline(tmp_path, getattr(dlt.destinations, name)()))
    assert found == DestinationTraits(takes_updates=takes_updates)


def test_a_destination_with_a_name_of_its_own(tmp_path: Path) -> None:
    """A configuration may name a destination as it likes; its type decides what it can do."""
    warehouse = dlt.destinations.postgres(destination_name="warehouse")
    assert traits_of(pipeline(tmp_path, warehouse)) == KNOWN["postgres"]


def test_dlt_s_own_duckdb_is_staged_first(tmp_path: Path) -> None:
    """In a pipeline of a user's own, dlt merges from staging tables, where a retry can add rows twice."""
    found = traits_of(pipeline(tmp_path, dlt.destinations.duckdb(":memory:")))
    assert not found.is_staged_once
    assert found.takes_updates


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_no_other_module_compares_destinations(path: Path) -> None:
    """`if destination == "duckdb"` stands nowhere else: other modules ask for a trait."""
    if path.name == "destinations.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare | ast.MatchValue | ast.Dict):
            words = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
            assert not words & KNOWN.keys(), f"{path}:{node.lineno}"


def test_untested_destinations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A destination whose rows nobody has compared is refused in one line, unless the option or the setting allows it.
    A name of the user's own counts as its type."""
    with pytest.raises(ConfigError, match="snowflake is not tested: nobody has compared its rows") as caught:
        require_tested("snowflake", is_allowed=False)
    assert "Add --untested, or set untested = true in [destination.snowflake]" in str(caught.value)
    assert "\n" not in str(caught.value)
    require_tested("snowflake", is_allowed=True)
    monkeypatch.setenv("DESTINATION__SNOWFLAKE__UNTESTED", "true")
    require_tested("snowflake", is_allowed=False)
    monkeypatch.setenv("DESTINATION__WAREHOUSE__DESTINATION_TYPE", "postgres")
    require_tested("warehouse", is_allowed=False)


@pytest.mark.parametrize("command", ["load", "verify", "sweep", "push"])
def test_commands_take_untested_destinations(command: str) -> None:
    """Each command that has a destination refuses an untested one before anything, and takes the option."""
    words = [
        command,
        "extend",
        "--destination",
        "snowflake",
        *(("--from", "x.csv") if command == "push" else ()),
    ]
    refused = CliRunner().invoke(app, words)
    assert "nobody has compared its rows" in str(refused.exception)
    allowed = CliRunner().invoke(app, [*words, "--untested"])
    assert str(allowed.exception).startswith("sources.extend.api_key")


def test_an_extension_that_cannot_be_downloaded(tmp_path: Path) -> None:
    """Without the internet, the line says which package has it. It was "failed (IOException)"."""
    with (
        pytest.raises(DocrunsError) as caught,
        translate_errors("ducklake"),
        duckdb.connect(config={"extension_directory": str(tmp_path)}) as connection,
    ):
        connection.execute("INSTALL sqlite_scanner FROM 'http://127.0.0.1:1'")
    assert "DuckDB could not download its extension sqlite_scanner" in str(caught.value)
    assert "pip install 'duckdb-extension-sqlite-scanner<2'" in str(caught.value)
    assert "\n" not in str(caught.value)
