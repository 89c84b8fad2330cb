"""Kill -9 at any point; `make prove` does the same with more runs, more kills and latency."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from docruns.commands.health.status import reports
from docruns.sandbox import Sandbox
from proofs.archive import AT
from proofs.children import Children
from proofs.compare import differences
from proofs.kills import Look, Run, Scene, kill_at, prove_random, runs, scene
from proofs.points import POINTS, owner_of, point_of
from proofs.stage import Platform
from support.loading import FEW_LISTED, query


def nothing(_: Path, __: Scene) -> list[str]:
    """No check: the state directly after this kill is not tested."""
    return []


def no_table_in_between(database: Path, stage: Scene) -> list[str]:
    """Each table has its old or its new rows: no table has lost old rows without having the new ones."""
    old, new = (
        {text.partition(":")[0] for text in differences(database, other)}
        for other in (stage.before, stage.calm)
    )
    # the kill hits a load's first chunk: the tables that it has merged contain some of the new rows
    count = "SELECT count(*) FROM extend."
    both = sorted(old & new)
    gone = [t for t in both if query(database, count + t) < query(stage.before, count + t)]
    return [f"{table}: rows are missing" for table in gone]


def status_tells(database: Path, _: Scene) -> list[str]:
    """`status` counts one half-loaded package."""
    (found,) = reports(database, dict)
    return [] if found["half_loaded_packages"] == 1 else [f"status says {found}"]


@pytest.mark.parametrize("name", dict.fromkeys((*POINTS, *(name for name in AT if ":" in name))))
def test_points_exist(name: str) -> None:
    """Each point of the proofs names a function that exists."""
    assert callable(getattr(*owner_of(point_of(name))))


# one point of each kind; all points take minutes
@pytest.mark.parametrize(
    ("point", "look"),
    [
        pytest.param("x1 in extract", nothing, marks=pytest.mark.fault(1)),
        pytest.param("x3 in extract's commit", nothing, marks=pytest.mark.fault(1)),
        pytest.param("x4 after extract's commit", nothing, marks=pytest.mark.fault(2)),
        pytest.param("n2 before normalize's delete", nothing, marks=pytest.mark.fault(3)),
        ("l2 after tables are made", nothing),
        pytest.param("l4 third file ready, not marked", nothing, marks=pytest.mark.fault(4)),
        pytest.param(
            "l6 third table, deleted, not inserted", no_table_in_between, marks=pytest.mark.fault(5)
        ),
        pytest.param("l8 only workflow_runs merged", status_tells, marks=pytest.mark.fault(6)),
        ("l8 only processor_runs merged, first load", nothing),
        pytest.param("l8 only fields merged", nothing, marks=pytest.mark.fault(6)),
        pytest.param("l10 after _dlt_loads", nothing, marks=pytest.mark.fault(7)),
    ],
)
def test_one_load_heals(stage: Scene, run: Run, point: str, look: Look) -> None:
    """After a kill at any point, the next load leaves every table as if there had been no kill."""
    assert kill_at(stage, point, run, look) == []


@pytest.fixture(scope="module")
def run(children: Children) -> Run:
    """Loads in separate processes."""
    return runs(children)


@pytest.fixture(scope="module")
def stage(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A loaded platform of 40 runs, with 12 changed runs and 6 new ones since the load."""
    with Sandbox(runs=40, seed=5, document_size="light", plextera_runs=0, corpus=FEW_LISTED) as sandbox:
        platform = Platform(sandbox.url)
        folder = tmp_path_factory.mktemp("kill")
        yield scene(platform, folder, run, reviewed=12, added=6, chunk_runs=30)
        platform.close()


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Loads that are killed repeatedly continue from the committed state: no run is lost, doubled or fetched
    without need."""
    with Sandbox(runs=80, seed=5, document_size="light", latency=0.02, corpus=FEW_LISTED) as sandbox:
        platform = Platform(sandbox.url)
        figures = prove_random(platform, tmp_path, kills=4, chunk_runs=30, seed=1, per_load=4)
        platform.close()
    assert [str(figure) for figure in figures if not figure.holds] == []
