"""Tables in the Delta format, through delta-rs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from .commits import distinct

PACKAGE = "deltalake"
"""The package that reads and writes the format."""


class Delta:
    """One Delta table at a URL. `options` are those of the object store."""

    def __init__(
        self, location: str, options: dict[str, str], configuration: dict[str, Any] | None = None
    ) -> None:
        self._location, self._options, self._configuration = location, options, configuration

    def _open(self) -> Any | None:
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:
            return DeltaTable(self._location, storage_options=self._options)
        except TableNotFoundError:
            return None

    def dataset(self) -> Any | None:
        """A pyarrow dataset of the newest version."""
        found = self._open()
        return None if found is None else found.to_pyarrow_dataset()

    def files(self) -> list[str]:
        """The files of the newest version."""
        found = self._open()
        return [] if found is None else [uri.removeprefix("file://") for uri in found.file_uris()]

    def write(self, rows: pa.Table, by: Sequence[str], gone: Sequence[tuple[str, ...]]) -> None:
        """One version more, with `rows` in place of those that are `gone`."""
        from deltalake import write_deltalake

        how: dict[str, Any] = {"mode": "append"}
        if gone:
            # delta-rs takes rows only if the predicate holds for them
            values = sorted({*gone, *distinct(rows, by)})
            how = {"mode": "overwrite", "predicate": _predicate(by, values)}
        write_deltalake(
            self._location,
            rows,
            schema_mode="merge",
            storage_options=self._options,
            configuration=self._configuration,
            **how,
        )

    def maintain(self, keep_days: int) -> tuple[int, int]:
        """Join small files, and delete those that no version of the last days needs."""
        found = self._open()
        if found is None:
            return 0, 0
        before = len(found.file_uris())
        found.optimize.compact()
        # delta-rs refuses less than the table's own limit, which is a week
        found.vacuum(keep_days * 24, dry_run=False, enforce_retention_duration=False)
        found.create_checkpoint()
        found.cleanup_metadata()
        return before, len(found.file_uris())


def _predicate(by: Sequence[str], values: Sequence[tuple[str, ...]]) -> str:
    if len(by) == 1:
        return f"{by[0]} IN ({', '.join(_literal(value) for (value,) in values)})"
    rows = (
        " AND ".join(f"{name} = {_literal(cell)}" for name, cell in zip(by, row, strict=True))
        for row in values
    )
    return " OR ".join(f"({row})" for row in rows)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
