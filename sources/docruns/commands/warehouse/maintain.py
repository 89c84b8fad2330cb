"""Joins the small files of a lake, and removes what only old versions of its tables need.

Each load adds a few files to each table that it changes, and a version of the table. Both are kept for programs that
still read them; after some days nobody does.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ...core.errors import ConfigError
from ...core.tables import TABLES
from ...store.destinations import keep_days
from ...store.failures import translate_errors
from ...store.merges.lakes.tables import open_table
from ...store.pipeline import open_pipeline
from ...store.process.environment import private_files
from ...store.target import Target, exclusive, working_folder


@dataclass
class Maintained:
    """What was done. `files` are those that a reader opens, before and after, by table."""

    provider: str
    keep_days: int
    files: dict[str, tuple[int, int]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@private_files()
def maintain_tables(provider: str, target: Target) -> Maintained:
    """Maintain all tables of a provider's dataset. ConfigError for a destination that is not a lake."""
    if not target.traits.is_lake:
        reason = f"{target.destination} needs no maintenance by docruns: it keeps no files for each load."
        raise ConfigError("--destination", reason)
    result = Maintained(provider, keep_days(target.destination))
    with (
        translate_errors(target, working_folder(target)),
        exclusive(target, f"docruns maintain {provider}"),
        open_pipeline(provider, target) as running,
        running.destination_client() as client,
    ):
        for table in TABLES:
            before, after = open_table(client, table.name).maintain(result.keep_days)
            if before:
                result.files[table.name] = before, after
    return result
