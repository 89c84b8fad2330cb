"""The requests that a load may send; `make prove` does the same with 10,000 runs and the command."""

from __future__ import annotations

from pathlib import Path

from docruns.sandbox import Sandbox
from proofs.stage import Platform
from proofs.waste import prove
from support.loading import Loader


def test_a_load_asks_for_nothing_twice(load_extend: Loader, tmp_path: Path) -> None:
    """Each due run costs one request, an unchanged run none, and a changed run includes its child runs."""
    database = tmp_path / "w.duckdb"
    with Sandbox(runs=300, seed=11, document_size="light") as sandbox:
        platform = Platform(sandbox.url)
        options = {"base_url": sandbox.extend_url, "chunk_runs": 200}

        def load() -> dict[str, object]:
            summary, _ = load_extend(database, **options)
            assert summary.complete
            return summary.as_dict()

        try:
            figures = prove(platform, load, database, changes=37)
        finally:
            platform.close()
    assert [str(figure) for figure in figures if not figure.holds] == []
    assert len(figures) > 10
