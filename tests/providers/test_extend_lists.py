"""What only Extend's lists tell of processor runs: what made them, their type, and the workflow run of a failed one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from docruns.providers.known_runs import FULL_LOAD_BEGUN
from docruns.sandbox import Sandbox
from docruns.sandbox.extend.runs import child_id, source_of
from docruns.store.pipeline import commit_state, open_pipeline
from docruns.store.target import Target
from support.loading import Loader, query

ALONE = "workflow_run_id IS NULL AND type <> 'EDIT' AND type <> 'VERIFY'"
VERSIONS = ("2026-02-09", "2025-04-21")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Some workflow runs, and as many stand-alone runs of each type."""
    with Sandbox(runs=40, standalone=60, seed=9, plextera_runs=0) as running:
        yield running


def sources(sandbox: Sandbox, version: str) -> dict[str, str]:
    """What made each processor run, by its id in the API version."""
    state, old = sandbox.extend, version != "2026-02-09"
    return {
        child_id(state.seed, run, child, old=old): source_of(state.seed, run, child)
        for run in state.runs()
        for child in state.children(run)
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_the_source_of_every_run(load_extend: Loader, sandbox: Sandbox, tmp_path: Path, version: str) -> None:
    """Each run has the source that its list filters by, as if its own answer said it."""
    database = tmp_path / "s.duckdb"
    load_extend(database, base_url=sandbox.extend_url, api_version=version)
    found = dict(
        query(database, "SELECT id, source FROM extend.processor_runs WHERE type NOT IN ('EDIT', 'VERIFY')")
    )
    known = sources(sandbox, version)
    assert found == {id_: known[id_] for id_ in found}
    assert {"API", "STUDIO", "BATCH_PROCESSOR_RUN", "WORKFLOW_RUN"} <= set(found.values())


def test_sources_cost_requests_only_where_a_run_is_due(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A load with nothing new asks for no source. One with a new run asks its list once for each source, down to
    the run."""
    database = tmp_path / "s.duckdb"
    load_extend(database, base_url=sandbox.extend_url)
    quiet, _ = load_extend(database, base_url=sandbox.extend_url)
    sandbox.extend.add(status="FAILED", kind="Supplier invoice intake")
    one, _ = load_extend(database, base_url=sandbox.extend_url)
    again, _ = load_extend(database, base_url=sandbox.extend_url)
    assert quiet.requests == again.requests
    # the workflow run, the failed extraction that it does not hold, and the sources of that
    assert one.fetched == 2
    assert one.requests <= quiet.requests + one.fetched + 7


@pytest.mark.parametrize("behaviour", ["ignored", "refused"])
def test_a_server_without_the_filter(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path, behaviour: str
) -> None:
    """Where lists are not filtered by source, no run has a wrong one, and the load is complete."""
    sandbox.extend.switch(source_filter=behaviour)
    database = tmp_path / "s.duckdb"
    summary, _ = load_extend(database, base_url=sandbox.extend_url)
    assert summary.complete
    found = Counter(query(database, f"SELECT source FROM extend.processor_runs WHERE {ALONE}"))
    assert found.keys() == {(None,)}


def test_a_list_that_fails_for_its_sources(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The runs are loaded without their sources. The log names the list."""
    sandbox.fault("status", path="/extract_runs", status=403, after=1)
    database = tmp_path / "s.duckdb"
    summary, _ = load_extend(database, base_url=sandbox.extend_url)
    assert summary.complete
    assert "what made the runs of extract_runs is not known" in caplog.text
    found = query(
        database, f"SELECT count(source) FROM extend.processor_runs WHERE {ALONE} AND type = 'EXTRACT'"
    )
    assert found == [(0,)]


def test_a_failed_run_has_the_workflow_run_of_its_parse_run(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A workflow run's answer lacks the run that failed: it is found by its parse run, which came in the workflow
    run, whichever of them is loaded first. Another load changes nothing, and a check of all cells agrees."""
    database = tmp_path / "s.duckdb"
    ids = sandbox.extend.add(3, status="FAILED", kind="Supplier invoice intake")
    load_extend(database, base_url=sandbox.extend_url)
    failed = "SELECT workflow_run_id, source, source_id FROM extend.processor_runs WHERE type = 'EXTRACT' "
    rows = query(
        database, failed + "AND status = 'FAILED' AND parse_run_id IS NOT NULL AND source = 'WORKFLOW_RUN'"
    )
    assert {(id_, "WORKFLOW_RUN", id_) for id_ in ids} <= set(rows)
    assert all(run_id == source_id is not None for run_id, _, source_id in rows)
    load_extend(database, base_url=sandbox.extend_url)
    assert set(rows) == set(
        query(
            database,
            failed + "AND source = 'WORKFLOW_RUN' AND status = 'FAILED' AND parse_run_id IS NOT NULL",
        )
    )


def test_the_type_comes_from_the_list(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """A run whose answer does not say what it is has the type of its list."""
    run: dict[str, Any] = {
        "id": "exr_bare",
        "status": "PROCESSED",
        "output": {"value": {"total": 3}, "metadata": {}},
    }
    sandbox.extend.put(json.dumps(run), resource="extract_runs")
    database = tmp_path / "s.duckdb"
    load_extend(database, base_url=sandbox.extend_url)
    assert query(database, "SELECT type, field_count FROM extend.processor_runs WHERE id = 'exr_bare'") == [
        ("EXTRACT", 1)
    ]


def test_charges(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """The charges of a run add up to its credits, and are nowhere in `extra`."""
    database = tmp_path / "s.duckdb"
    load_extend(database, base_url=sandbox.extend_url)
    for kind, table, total in (
        ("workflow", "workflow_runs", "credits"),
        ("processor", "processor_runs", "total_credits"),
    ):
        rows = query(
            database,
            f"SELECT r.id, r.{total}, sum(c.credits) FROM extend.{table} r JOIN extend.charges c ON c.run_id = r.id "
            f"WHERE c.run_kind = '{kind}' GROUP BY ALL",
        )
        assert rows
        assert all(whole == charged for _, whole, charged in rows)
    assert query(database, "SELECT DISTINCT unit, charged_run_type FROM extend.charges ORDER BY ALL")[0] == (
        "page",
        "CLASSIFY",
    )
    assert query(database, "SELECT count(*) FROM extend.processor_runs WHERE extra LIKE '%charges%'") == [
        (0,)
    ]
    # a run that is read again has its charges once
    sandbox.extend.review(5)
    load_extend(database, base_url=sandbox.extend_url)
    assert (
        query(database, "SELECT run_id, position FROM extend.charges GROUP BY ALL HAVING count(*) > 1") == []
    )


def test_a_purged_risk_level_is_kept(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """The platform may purge what a verify run has found; its row keeps it."""
    database = tmp_path / "s.duckdb"
    levels = "SELECT id, risk_level FROM extend.processor_runs WHERE type = 'VERIFY' ORDER BY id"
    load_extend(database, base_url=sandbox.extend_url)
    before = query(database, levels)
    assert {level for _, level in before} <= {"LOW", "MEDIUM", "HIGH"}
    sandbox.extend.switch(risk_levels="purged")
    summary, _ = load_extend(database, base_url=sandbox.extend_url)
    assert summary.rows["processor_runs"] == len(before) > 0
    assert query(database, levels) == before


def test_a_repeated_row_and_a_page_below(load_extend: Loader, tmp_path: Path) -> None:
    """A run that comes twice in a filtered list has its source. A server that ignores the filter is noticed where the
    run is on a page further down, too."""
    with Sandbox(runs=4, standalone=60, seed=9, plextera_runs=0) as sandbox:
        for behaviour, known in (("kept", True), ("ignored", False)):
            sandbox.extend.switch(source_filter=behaviour)
            sandbox.fault("duplicate", path="/extract_runs")
            database = tmp_path / f"{behaviour}.duckdb"
            load_extend(database, base_url=sandbox.extend_url, page_size=5)
            sandbox.clear_faults()
            rows = query(database, f"SELECT count(*), count(source) FROM extend.processor_runs WHERE {ALONE}")
            assert rows[0][1] == (rows[0][0] if known else 0)


def test_a_chunked_load_searches_sources_once_the_workflow_runs_are_done(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Runs inside workflow runs need no search: only the stand-alone ones are looked up, in whatever package."""
    database = tmp_path / "s.duckdb"
    load_extend(database, base_url=sandbox.extend_url, chunk_runs=15)
    found = dict(
        query(database, "SELECT id, source FROM extend.processor_runs WHERE type NOT IN ('EDIT', 'VERIFY')")
    )
    known = sources(sandbox, "2026-02-09")
    assert found == {id_: known[id_] for id_ in found}


def test_a_run_from_quarantine_has_its_source(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """A run that could not be read at first gets its source with the load that reads it, although that load does not
    search the lists for it again."""
    database = tmp_path / "s.duckdb"
    known = sources(sandbox, "2026-02-09")
    id_ = next(each for each, source in known.items() if source == "STUDIO" and each.startswith("exr_"))
    sandbox.fault("status", path=f"/extract_runs/{id_}", status=422)
    first, _ = load_extend(database, base_url=sandbox.extend_url)
    sandbox.clear_faults()
    second, _ = load_extend(database, base_url=sandbox.extend_url)
    assert (first.quarantined, second.fetched) == (1, 1)
    assert query(database, f"SELECT source FROM extend.processor_runs WHERE id = '{id_}'") == [("STUDIO",)]


@pytest.mark.parametrize("behaviour", ["kept", "refused"])
def test_a_run_that_is_read_again_keeps_its_source(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path, behaviour: str
) -> None:
    """Half-loaded runs, far below the watermark, are read again without a search; a server that no longer filters
    its lists takes no source away."""
    database = tmp_path / "s.duckdb"
    load_extend(database, base_url=sandbox.extend_url)
    with open_pipeline("extend", Target("extend", database)) as running:
        commit_state(running, "extend", FULL_LOAD_BEGUN)
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"UPDATE extend.processor_runs SET _dlt_load_id = 'killed' WHERE {ALONE}")
    sandbox.extend.switch(source_filter=behaviour)
    summary, _ = load_extend(database, base_url=sandbox.extend_url)
    assert summary.fetched > 0
    known = sources(sandbox, "2026-02-09")
    found = dict(query(database, f"SELECT id, source FROM extend.processor_runs WHERE {ALONE}"))
    assert found == {id_: known[id_] for id_ in found}


def test_a_list_entry_without_an_id_is_no_repetition(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Entries without an id, which two sources show, do not look like a server that ignores the filter."""
    for source in ("API", "STUDIO"):
        row: dict[str, Any] = {
            "object": "extract_run",
            "source": source,
            "status": "PROCESSED",
            "id": f"exr_{source}",
        }
        sandbox.extend.put(json.dumps(row), summary={**row, "id": ""}, resource="extract_runs")
    database = tmp_path / "s.duckdb"
    load_extend(database, base_url=sandbox.extend_url)
    found = query(
        database,
        f"SELECT count(*), count(source) FROM extend.processor_runs WHERE {ALONE} AND type = 'EXTRACT'",
    )
    assert found[0][0] == found[0][1] > 0


def test_a_failed_run_is_linked_by_a_later_load(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A load that was killed before it set the links is made good by the next one, which fetches nothing."""
    database = tmp_path / "s.duckdb"
    (id_,) = sandbox.extend.add(status="FAILED", kind="Supplier invoice intake")
    load_extend(database, base_url=sandbox.extend_url)
    linked = "SELECT count(*) FROM extend.processor_runs WHERE status = 'FAILED' AND workflow_run_id = ?"
    assert query(database, linked, id_) == [(1,)]
    with duckdb.connect(str(database)) as connection:
        connection.execute(
            "UPDATE extend.processor_runs SET workflow_run_id = NULL WHERE status = 'FAILED' AND workflow_run_id = ?",
            [id_],
        )
    summary, _ = load_extend(database, base_url=sandbox.extend_url)
    assert summary.fetched == 0
    assert query(database, linked, id_) == [(1,)]
