"""Kill -9 at any moment; `make prove` does the same with more runs, more kills and latency."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from docruns.sandbox import Sandbox
from proofs.kills import Run, Scene, kill_at, launched, prove_random, scene
from proofs.stage import Platform

# one of each kind; all of them take minutes
NAMES = (
    "x3 in extract's commit",
    "n2 before normalize's delete",
    "l2 before staging has tables",
    "l4 third staged, not marked",
    "l6 third table, deleted, not inserted",
    "l8 only workflow_runs merged",
    "l8 only processor_runs merged, first load",
    "l8 only fields merged",
    "l10 after _dlt_loads",
)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Loads in processes of their own."""
    with launched() as running:
        yield running


@pytest.fixture(scope="module")
def stage(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A loaded platform of 40 runs, of which 12 changed since, and 6 new ones."""
    with Sandbox(runs=40, seed=5, document_size="light", plextera_runs=0) as sandbox:
        platform = Platform(sandbox.url)
        folder = tmp_path_factory.mktemp("kill")
        yield scene(platform, folder, run, reviewed=12, added=6, chunk_runs=30)
        platform.close()


@pytest.mark.parametrize("point", NAMES)
def test_one_load_heals(stage: Scene, run: Run, point: str) -> None:
    """Wherever a load is killed, the next one leaves every table as if nobody had killed anything."""
    assert kill_at(stage, point, run) == []


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Killed again and again, loads go on from what is committed: nothing lost, doubled or read in vain."""
    with Sandbox(runs=80, seed=5, document_size="light", latency=0.02) as sandbox:
        platform = Platform(sandbox.url)
        figures = prove_random(platform, tmp_path, kills=4, chunk_runs=30, seed=1, per_load=4)
        platform.close()
    assert [str(figure) for figure in figures if not figure.holds] == []
