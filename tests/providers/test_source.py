"""`extend()` as a dlt user runs it: in their own pipeline, with their own selection and limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from docruns import extend, plextera
from docruns.core.errors import ConfigError, ShapeError
from docruns.net.messages import Request
from docruns.providers.extend import connect_extend
from docruns.sandbox import Sandbox
from support.loading import FEW_LISTED, connect


@pytest.fixture
def pipeline(tmp_path: Path) -> dlt.Pipeline:
    """A pipeline as a user makes it."""
    return dlt.pipeline(
        "mine",
        destination=dlt.destinations.duckdb(str(tmp_path / "mine.duckdb")),
        dataset_name="docs",
        pipelines_dir=str(tmp_path / "pipelines"),
    )


def count(pipeline: dlt.Pipeline, table: str) -> int:
    """Rows of a table."""
    with pipeline.sql_client() as client:
        rows = client.execute_sql(f"SELECT count(*) FROM {table}")
    assert rows is not None
    return int(rows[0][0])


def test_plain_run(pipeline: dlt.Pipeline, sandbox: Sandbox) -> None:
    """`pipeline.run(extend())` is enough, and a second run fetches nothing."""
    pipeline.run(extend(base_url=sandbox.extend_url), loader_file_format="parquet")
    assert count(pipeline, "workflow_runs") == 40
    sandbox.stats.reset()
    pipeline.run(extend(base_url=sandbox.extend_url), loader_file_format="parquet")
    assert sandbox.stats.details == 0
    assert count(pipeline, "syncs") == 2


@pytest.fixture
def few() -> Iterator[Sandbox]:
    """A platform of a few runs."""
    with Sandbox(4, standalone=1, plextera_runs=4, document_size="light", corpus=FEW_LISTED) as running:
        yield running


@pytest.mark.parametrize(
    ("provider", "moves"),
    [("extend", "dataset"), ("plextera", "dataset"), ("extend", "database"), ("extend", "lost")],
)
def test_another_dataset_starts_anew(
    pipeline: dlt.Pipeline, few: Sandbox, tmp_path: Path, provider: str, moves: str
) -> None:
    """A pipeline that goes to another dataset or database, or whose database is lost, loads every run there."""

    def run(**how: Any) -> int:
        source: Any = {"extend": extend, "plextera": plextera}[provider]
        url = {"extend": few.extend_url, "plextera": few.plextera_url}[provider]
        pipeline.run(source(base_url=url), loader_file_format="parquet", **how)
        return count(pipeline, "workflow_runs")

    full = run()
    assert full >= 4
    database = str(tmp_path / "other.duckdb")
    if moves == "lost":
        (tmp_path / "mine.duckdb").unlink()
    how: dict[str, Any] = {
        "dataset": {"dataset_name": "third"}, "database": {"destination": dlt.destinations.duckdb(database)},
        "lost": {},
    }[moves]  # fmt: skip
    assert run(**how) == full
    few.stats.reset()
    assert run() == full
    assert few.stats.details == 0
    if moves == "dataset":
        # back to the first one, which has everything
        assert run(dataset_name="docs") == full
        assert count(pipeline, "syncs") == 2


def test_a_package_that_waits_is_of_this_dataset(pipeline: dlt.Pipeline, few: Sandbox) -> None:
    """Two extractions before one load fetch nothing twice."""
    pipeline.extract(extend(base_url=few.extend_url))
    few.stats.reset()
    pipeline.extract(extend(base_url=few.extend_url))
    assert few.stats.details == 0


def test_parallelized_resources(pipeline: dlt.Pipeline, sandbox: Sandbox) -> None:
    """`parallelize()` on all resources gives the same rows: dlt then runs them in threads."""
    source = extend(base_url=sandbox.extend_url)
    for resource in source.resources.values():
        resource.parallelize()
    pipeline.run(source, loader_file_format="parquet")
    assert count(pipeline, "workflow_runs") == 40
    assert count(pipeline, "syncs") == 1
    alone = count(pipeline, "processor_runs WHERE workflow_run_id IS NULL")
    sandbox.stats.reset()
    pipeline.run(extend(base_url=sandbox.extend_url), loader_file_format="parquet")
    assert sandbox.stats.details == 0
    assert count(pipeline, "processor_runs WHERE workflow_run_id IS NULL") == alone > 0


def test_default_loader_format_works_too(pipeline: dlt.Pipeline, sandbox: Sandbox) -> None:
    """Without a file format the rows are the same."""
    pipeline.run(extend(base_url=sandbox.extend_url))
    assert count(pipeline, "workflow_runs") == 40
    assert count(pipeline, "fields") > 500


@pytest.mark.parametrize(
    ("names", "there", "missing"),
    [
        (("workflow_runs",), {"workflow_runs", "fields", "syncs"}, {"workflows", "processors"}),
        (("processor_runs",), {"processor_runs", "fields", "syncs"}, {"workflow_runs"}),
        (("workflows",), {"workflows", "workflow_versions"}, {"workflow_runs", "processors"}),
        (("processors",), {"processors", "processor_versions"}, {"workflow_runs", "workflows"}),
        (("evaluation_sets",), {"evaluation_sets", "expected_fields"}, {"workflow_runs", "processors"}),
    ],
)
def test_resources_can_be_selected(
    pipeline: dlt.Pipeline,
    sandbox: Sandbox,
    names: tuple[str, ...],
    there: set[str],
    missing: set[str],
) -> None:
    """`with_resources` loads the named resources only, and they do not wait for others."""
    source = extend(base_url=sandbox.extend_url).with_resources(*names)
    pipeline.run(source, loader_file_format="parquet")
    found = set(pipeline.default_schema.data_table_names())
    assert there <= found
    assert not missing & found


def test_fifo_order_of_resources_changes_nothing(
    pipeline: dlt.Pipeline, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any order of resources no processor run is fetched twice."""
    monkeypatch.setenv("EXTRACT__NEXT_ITEM_MODE", "fifo")
    pipeline.run(extend(base_url=sandbox.extend_url), loader_file_format="parquet")
    nested = count(pipeline, "processor_runs WHERE workflow_run_id IS NOT NULL")
    alone = count(pipeline, "processor_runs WHERE workflow_run_id IS NULL AND type <> 'VERIFY'")
    fetched = sum(
        n
        for route, n in sandbox.stats.routes.items()
        if route.endswith("_runs/{id}") and "workflow" not in route
    )
    assert nested > 40
    assert fetched == alone


def test_add_limit_keeps_runs_whole(
    pipeline: dlt.Pipeline, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`add_limit` counts batches of whole runs, and a later run loads exactly the rest."""
    monkeypatch.setattr("docruns.sync.sync.BATCH_ROWS", 500)
    limited = extend(base_url=sandbox.extend_url).with_resources("workflow_runs").add_limit(2)
    pipeline.run(limited, loader_file_format="parquet")
    some = count(pipeline, "workflow_runs")
    assert 0 < some < 40
    steps = count(pipeline, "workflow_steps s JOIN processor_runs p ON p.id = s.processor_run_id")
    assert steps == count(pipeline, "workflow_steps WHERE processor_run_id IS NOT NULL")
    pipeline.run(extend(base_url=sandbox.extend_url), loader_file_format="parquet")
    assert count(pipeline, "workflow_runs") == 40


@pytest.mark.fault(20)
def test_failed_load_commits_nothing_of_its_package(
    pipeline: dlt.Pipeline, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed load leaves the state unchanged; the same source then loads everything."""
    monkeypatch.setattr("docruns.net.messages.Retry.attempts", 1, raising=False)
    source = extend(base_url=sandbox.extend_url)
    sandbox.fault("status", "/workflow_runs/*", status=401, after=20, times=1)
    with pytest.raises(PipelineStepFailed):
        pipeline.run(source, loader_file_format="parquet")
    pipeline.run(source, loader_file_format="parquet")
    assert count(pipeline, "workflow_runs") == 40


def test_tables_as_data_frames(pipeline: dlt.Pipeline, sandbox: Sandbox) -> None:
    """dlt's own reader gives the tables as pandas frames."""
    pipeline.run(extend(base_url=sandbox.extend_url), loader_file_format="parquet")
    frame = pipeline.dataset()["fields"].df()
    assert frame is not None
    assert len(frame) == count(pipeline, "fields")
    assert str(frame["updated_at" if "updated_at" in frame else "value_number"].dtype) == "float64"


def test_parse_output_on_request(pipeline: dlt.Pipeline, sandbox: Sandbox) -> None:
    """The database has a parse run's chunks only if the setting asks for them."""
    url = sandbox.extend_url
    pipeline.run(extend(base_url=url), loader_file_format="parquet")
    assert count(pipeline, "processor_runs WHERE parse_output IS NOT NULL") == 0
    again = extend(base_url=url, include_parse_output=True, full=True)
    pipeline.run(again, loader_file_format="parquet")
    finished = "processor_runs WHERE type = 'PARSE' AND status = 'PROCESSED'"
    assert count(pipeline, f"{finished} AND parse_output IS NOT NULL") == count(pipeline, finished)


def test_organisation_keys_name_their_workspace(
    pipeline: dlt.Pipeline, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Extend's own environment variables work, and every row has the workspace."""
    monkeypatch.setenv("EXTEND_API_KEY", "org_key")
    with pytest.raises(PipelineStepFailed, match="workspace"):
        pipeline.run(extend(base_url=sandbox.extend_url))
    monkeypatch.setenv("EXTEND_WORKSPACE_ID", "ws_1")
    pipeline.run(extend(base_url=sandbox.extend_url), loader_file_format="parquet")
    assert count(pipeline, "workflow_runs WHERE workspace = 'ws_1'") == 40


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({}, "sources.extend.api_key"),
        ({"api_key": "two words"}, "sources.extend.api_key"),
        ({"api_key": "k", "base_url": "http://api.extend.ai"}, "sources.extend.base_url"),
        ({"api_key": "k", "base_url": "ftp://x"}, "sources.extend.base_url"),
        ({"api_key": "k", "base_url": "https://u:p@x"}, "sources.extend.base_url"),
        ({"api_key": "k", "api_version": "2031-01-01"}, "sources.extend.api_version"),
        ({"api_key": "k", "region": "mars"}, "sources.extend.region"),
        ({"api_key": "k", "overlap": "soon"}, "sources.extend.overlap"),
        ({"api_key": "k", "since": "yesterday"}, "since"),
    ],
)
def test_wrong_settings_name_their_key(options: dict[str, Any], key: str) -> None:
    """An impossible setting is refused before any request, by its name in the file."""
    with pytest.raises(ConfigError) as caught:
        extend(**options)
    assert caught.value.key == key
    assert options.get("api_key", "k") == "k" or options["api_key"] not in str(caught.value)


def test_settings_come_from_dlt_s_configuration(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`.dlt/config.toml` and the environment set every option, by section and name."""
    monkeypatch.setenv("SOURCES__EXTEND__BASE_URL", sandbox.extend_url)
    monkeypatch.setenv("SOURCES__EXTEND__API_VERSION", "2025-04-21")
    platform = connect_extend()
    assert platform.client.base_url == sandbox.extend_url
    assert [each.name for each in platform.lists] == ["workflow_runs", "processor_runs"]


def test_regions_and_versions_choose_the_host() -> None:
    """Without a base URL the region, and for v1 the old host, is used."""
    choices: list[Any] = [{}, {"region": "eu1"}, {"region": "us2"}, {"api_version": "v1"}]
    found = [connect_extend(api_key="k", **options) for options in choices]
    assert [platform.client.base_url for platform in found] == [
        "https://api.extend.ai",
        "https://api.eu1.extend.ai",
        "https://api.us2.extend.app",
        "https://api-prod.extend.app",
    ]


def test_requests_per_second_is_kept(pipeline: dlt.Pipeline, sandbox: Sandbox) -> None:
    """With a budget of R requests a second, a load of N requests takes about N/R seconds."""
    import time

    started = time.monotonic()
    source = extend(base_url=sandbox.extend_url, requests_per_second=40.0)
    pipeline.run(source.with_resources("workflow_runs"), loader_file_format="parquet")
    seconds = time.monotonic() - started
    assert seconds >= (sandbox.stats.requests - 1) / 40.0


@pytest.mark.parametrize("provider", ["extend", "plextera"])
def test_largest_answer_is_a_setting(provider: str, sandbox: Sandbox) -> None:
    """An answer above `max_response_mb` is refused with the setting's name."""
    platform = connect(sandbox, provider, max_response_mb=0.0001)
    with platform.client as client, pytest.raises(ShapeError, match="max_response_mb is"):
        client.get(Request("/workflow_runs" if provider == "extend" else "/workflow-runs"))


@pytest.mark.parametrize("refresh", ["drop_sources", "drop_resources", "drop_data"])
def test_a_refresh_brings_everything_again(pipeline: dlt.Pipeline, sandbox: Sandbox, refresh: Any) -> None:
    """dlt drops the tables after the destination was queried: no row in them counts as loaded."""
    pipeline.run(extend(base_url=sandbox.extend_url), loader_file_format="parquet")
    fields = count(pipeline, "fields")
    pipeline.run(extend(base_url=sandbox.extend_url), loader_file_format="parquet", refresh=refresh)
    assert count(pipeline, "workflow_runs") == 40
    assert count(pipeline, "fields") == fields
    assert count(pipeline, "workflows") > 0


@pytest.mark.parametrize("provider", ["extend", "plextera"])
def test_a_limit_of_none_takes_nothing_away(pipeline: dlt.Pipeline, provider: str) -> None:
    """`add_limit(0)` loads nothing and the next run everything: dlt takes one item and discards it."""
    with Sandbox(12, plextera_runs=12, corpus=FEW_LISTED) as sandbox:
        make: Any = {"extend": extend, "plextera": plextera}[provider]
        url = {"extend": sandbox.extend_url, "plextera": sandbox.plextera_url}[provider]
        pipeline.run(make(base_url=url).add_limit(0), loader_file_format="parquet")
        pipeline.run(make(base_url=url), loader_file_format="parquet")
        assert count(pipeline, "workflow_runs WHERE depth = 0 OR depth IS NULL") == 12
        if provider == "extend":
            assert count(pipeline, "workflows") > 0 and count(pipeline, "processor_versions") > 0


def test_a_source_that_is_run_again_begins_anew(pipeline: dlt.Pipeline, sandbox: Sandbox) -> None:
    """A notebook makes its source once: each run lists the changes since and reads them."""
    source = extend(base_url=sandbox.extend_url)
    pipeline.run(source, loader_file_format="parquet")
    sandbox.extend.add(3)
    sandbox.extend.finish()
    [changed, *_] = sandbox.extend.review(1)
    pipeline.run(source, loader_file_format="parquet")
    assert count(pipeline, "workflow_runs") == 43
    assert count(pipeline, f"workflow_runs WHERE id = '{changed}' AND reviewed") == 1


def test_max_runs_counts_anew_in_each_run_of_a_source(pipeline: dlt.Pipeline, sandbox: Sandbox) -> None:
    """The limit is per run: a second run continues with the next runs."""
    source = extend(base_url=sandbox.extend_url, max_runs=10).with_resources("workflow_runs")
    for loaded in (10, 20):
        pipeline.run(source, loader_file_format="parquet")
        assert count(pipeline, "workflow_runs") == loaded


def test_other_pipelines_of_the_process_go_on(pipeline: dlt.Pipeline, sandbox: Sandbox) -> None:
    """Making or loading a source does not change how dlt loads other Arrow tables."""

    @dlt.resource(name="mine")
    def mine() -> Any:
        yield pa.table({"a": [1, 2]})

    pipeline.run(mine())
    environment = dict(os.environ)
    source = extend(base_url=sandbox.extend_url)
    pipeline.run(mine())
    pipeline.run(source.with_resources("workflow_runs"), loader_file_format="parquet")
    pipeline.run(mine())
    assert count(pipeline, "mine") == 6
    assert os.environ == environment
    assert count(pipeline, "workflow_runs WHERE _dlt_load_id IN (SELECT load_id FROM _dlt_loads)") == 40
