"""Plextera's pages that show too little: a load has every run, or says which list may lack some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from docruns.commands.reconcile.sweep import sweep_deleted
from docruns.commands.reconcile.verify import VerifyResult, verify_runs
from docruns.core.errors import DocrunsError
from docruns.providers.plextera import connect_plextera
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from proofs.children import Children
from support.loading import query
from support.plextera import load_plextera

RUNS: Any = {"runs": 1, "plextera_runs": 40, "seed": 3, "document_size": "light"}
LIST = "/workflow-runs"


def verify(sandbox: Sandbox, database: Path) -> VerifyResult:
    """Compare a database with the platform."""
    platform = connect_plextera(base_url=sandbox.plextera_url, page_size=20)
    return verify_runs(platform, Target("plextera", database))


def differences(result: VerifyResult) -> dict[str, Any]:
    """The kinds of difference that are not empty."""
    return {kind: found for kind, found in result.kinds.items() if found}


def lacks(sandbox: Sandbox, database: Path) -> set[str]:
    """Ids of runs and extractions that the platform has and the database does not."""
    sql = "SELECT id FROM plextera.workflow_runs UNION ALL SELECT id FROM plextera.processor_runs"
    return {run["id"] for run in sandbox.plextera.truth()} - {id_ for (id_,) in query(database, sql)}


@pytest.mark.fault(44)
@pytest.mark.parametrize(
    "switches",
    [
        {"page_info": "ones", "page_zero": "empty", "page_base": 1},
        {"page_cap": 20, "page_offset": "asked", "page_info": "own", "past_end": "refused"},
    ],
    ids=str,
)
def test_pages_that_say_the_list_is_shorter(tmp_path: Path, switches: dict[str, Any]) -> None:
    """Every run is loaded, whatever the pages say of their list, and verify agrees."""
    with Sandbox(**RUNS) as sandbox:
        sandbox.plextera.switch(**switches)
        summary, _ = load_plextera(sandbox, tmp_path / "p.duckdb", page_size=20)
        assert summary.complete
        assert lacks(sandbox, tmp_path / "p.duckdb") == set()
        assert differences(verify(sandbox, tmp_path / "p.duckdb")) == {}


@pytest.mark.fault(44)
def test_verify_sees_what_a_load_was_not_shown(tmp_path: Path) -> None:
    """Runs that are not in the database are missing, also where the pages understate their list; and a list
    whose count is never reached is a difference by itself."""
    with Sandbox(**RUNS) as sandbox:
        load_plextera(sandbox, tmp_path / "p.duckdb")
        with duckdb.connect(str(tmp_path / "p.duckdb")) as connection:
            connection.execute(
                "DELETE FROM plextera.workflow_runs WHERE id IN (SELECT id FROM plextera.workflow_runs "
                "WHERE depth = 0 ORDER BY created_at LIMIT 5)"
            )
        for info in ("full", "ones", "own", "one_page_short", "no_totals"):
            sandbox.plextera.switch(page_info=info, page_cap=20)
            assert {k: len(v) for k, v in differences(verify(sandbox, tmp_path / "p.duckdb")).items()} == {
                "missing": 5
            }
        sandbox.plextera.switch(page_info="full")
        sandbox.fault("empty_page", LIST, times=None, after=1, platform="plextera")
        found = verify(sandbox, tmp_path / "p.duckdb")
        assert found.incomplete_lists == ["workflow_runs: the platform counts 40 and shows 13"]
        assert found.differs


@pytest.mark.fault(44)
def test_a_list_that_is_not_proved_whole(children: Children, tmp_path: Path) -> None:
    """A load that was shown less than the platform counts ends with 3, names the list and moves no watermark:
    the next load brings what was missing, and fetches nothing twice."""
    database = tmp_path / "docruns.duckdb"
    with Sandbox(**RUNS) as sandbox:
        sandbox.fault("empty_page", LIST, times=None, after=2, platform="plextera")
        command = ("load", "plextera", "--base-url", sandbox.plextera_url, "--json")
        ended = children.run(tmp_path, *command, environment={"SOURCES__PLEXTERA__PAGE_SIZE": "20"})
        assert ended.code == 3, ended.err
        assert "workflow_runs: the list may lack runs: the platform counts 40 and shows 20" in ended.err
        said = '"incomplete_lists": {"workflow_runs": "the platform counts 40 and shows 20"}'
        assert said in ended.out
        assert '"complete": false' in ended.out
        sql = "SELECT complete, incomplete_lists FROM plextera.syncs"
        assert query(database, sql) == [(False, "workflow_runs: the platform counts 40 and shows 20")]
        assert lacks(sandbox, database) != set()
        # the runs that were not shown are older than those that were
        sandbox.clear_faults()
        sandbox.stats.reset()
        summary, _ = load_plextera(sandbox, database, page_size=20)
        assert summary.complete
        assert summary.incomplete_lists == {}
        assert lacks(sandbox, database) == set()
        assert sandbox.stats.routes["GET /workflow-runs/{runId}"] == 20
        assert differences(verify(sandbox, database)) == {}


@pytest.mark.fault(44)
def test_a_sweep_marks_nothing_by_a_list_that_may_lack_runs(tmp_path: Path) -> None:
    """A run that such a list does not show, and that answers 404 for a moment, may be there. `--yes` goes on, and
    marks what answers 404."""
    database, target = tmp_path / "p.duckdb", Target("plextera", tmp_path / "p.duckdb")
    marked = "SELECT count(deleted_at) FROM plextera.workflow_runs"
    with Sandbox(**RUNS) as sandbox:
        load_plextera(sandbox, database)
        sandbox.fault("empty_page", LIST, times=None, after=2, platform="plextera")
        sandbox.fault("status", f"{LIST}/*", status=404, times=None, platform="plextera")
        platform = connect_plextera(base_url=sandbox.plextera_url, page_size=20)
        with pytest.raises(
            DocrunsError, match=r"workflow_runs: the list may lack runs: .* Nothing was marked"
        ):
            sweep_deleted(platform, target)
        assert query(database, marked) == [(0,)]
        sandbox.clear_faults()
        sandbox.fault("empty_page", LIST, times=None, after=2, platform="plextera")
        assert sweep_deleted(platform, target, yes=True).marked["workflow_runs"] == 0


def test_lists_that_did_not_change_cost_little(tmp_path: Path) -> None:
    """A load with nothing new asks a sorted list for its newest pages and its order, and any other list for its
    pages, its order, its end and its first page again."""
    with Sandbox(**RUNS) as sandbox:
        sandbox.plextera.finish()
        sandbox.plextera.switch(runs_sort="accepted")
        load_plextera(sandbox, tmp_path / "p.duckdb", page_size=10)
        for sort, requests in (("accepted", 2 + 1), ("ignored", 4 + 1 + 2)):
            sandbox.plextera.switch(runs_sort=sort)
            sandbox.stats.reset()
            load_plextera(sandbox, tmp_path / "p.duckdb", page_size=10)
            assert sandbox.stats.routes["GET /workflow-runs"] == requests
            assert sandbox.stats.details == 0


def test_a_key_that_may_not_read_extractions(tmp_path: Path) -> None:
    """The workflow runs are loaded, verified and swept without the list of extractions."""
    with Sandbox(**RUNS) as sandbox:
        sandbox.plextera.switch(extractions_readable=False)
        load_plextera(sandbox, tmp_path / "p.duckdb")
        sql = "SELECT count(*) FROM plextera.workflow_runs WHERE depth = 0"
        assert query(tmp_path / "p.duckdb", sql) == [(40,)]
        assert differences(verify(sandbox, tmp_path / "p.duckdb")) == {}
        platform = connect_plextera(base_url=sandbox.plextera_url)
        assert sum(sweep_deleted(platform, Target("plextera", tmp_path / "p.duckdb")).marked.values()) == 0
        # once the key may, they are loaded, with the links to the runs that made them
        sandbox.plextera.switch(extractions_readable=True)
        load_plextera(sandbox, tmp_path / "p.duckdb")
        assert lacks(sandbox, tmp_path / "p.duckdb") == set()
        sql = "SELECT count(workflow_run_id) > 20 FROM plextera.processor_runs"
        assert query(tmp_path / "p.duckdb", sql) == [(True,)]
