"""Compare a database with its platform, in tests of what happens after a fault."""

from __future__ import annotations

from pathlib import Path

from docruns.commands.health.status import reports
from docruns.sandbox import Sandbox
from proofs.compare import doubled_keys, doubled_packages, missing_runs
from proofs.stage import Platform


def wrong(database: Path, sandbox: Sandbox, dataset: str = "extend") -> dict[str, int]:
    """The counts of errors in an Extend dataset; empty when it equals the platform."""
    platform = Platform(sandbox.url)
    try:
        missing = missing_runs(database, platform, dataset)
    finally:
        platform.close()
    (found,) = (one for one in reports(database, dict) if one["dataset"] == dataset)
    counted = {
        "runs that differ": missing,
        "doubled keys": doubled_keys(database, dataset),
        "packages counted twice": doubled_packages(database, dataset),
        "half-loaded packages": found["half_loaded_packages"],
    }
    return {name: number for name, number in counted.items() if number}


def spooled(folder: Path) -> list[Path]:
    """The files with documents that dlt has left on disk."""
    return [path for path in folder.rglob("*") if path.suffix in (".parquet", ".jsonl", ".sql")]
