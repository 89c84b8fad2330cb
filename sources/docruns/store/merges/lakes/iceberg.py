"""Tables in the Iceberg format, through pyiceberg.

Without a catalog of its own, the folder of a table is its catalog: the newest of its metadata files counts, which is
whole or not there. dlt registers it in a catalog in memory.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import pyarrow as pa

from ....core.errors import DocrunsError

PACKAGE = "pyiceberg"
"""The package that reads and writes the format."""

_PROPERTIES = {
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
}
"""Without these a table keeps one metadata file a commit for ever, each of which lists all commits."""

_LOCAL_FILES = "docruns.store.merges.lakes.metadata_files.WholeMetadata"

_SMALL = 32 << 20
"""Bytes of a file that is joined with others. A table with two of them is written anew."""


class Iceberg:
    """One Iceberg table. `client` is dlt's client of the destination, which has the catalog and the file system."""

    def __init__(self, client: Any, name: str, location: str) -> None:
        self._client, self._location = client, location.rstrip("/")
        self._id = f"{client.dataset_name}.{name}"

    def _catalog(self) -> Any:
        catalog = self._client.get_open_table_catalog("iceberg")
        if self._client.config.is_local_filesystem:
            catalog.properties.setdefault("py-io-impl", _LOCAL_FILES)
        return catalog

    @property
    def _folder(self) -> str:
        """The path of the table in the file system."""
        return self._location.partition("://")[2] or self._location

    def _open(self) -> Any | None:
        from pyiceberg.exceptions import NoSuchTableError

        catalog = self._catalog()
        try:
            return catalog.load_table(self._id)
        except NoSuchTableError:
            newest = self._newest_metadata()
            return None if newest is None else catalog.register_table(self._id, newest)

    def _newest_metadata(self) -> str | None:
        """The newest metadata file that is whole: a kill can cut off one that is being written."""
        files = self._client.fs_client
        files.invalidate_cache()
        try:
            names = sorted(
                name for name in files.ls(f"{self._folder}/metadata", detail=False) if name.endswith(".json")
            )
        except FileNotFoundError:
            return None
        for name in reversed(names):
            try:
                json.loads(files.read_text(name, encoding="utf-8"))
            except ValueError:
                continue
            return f"{self._location}/metadata/{posixpath.basename(name)}"
        return None

    def dataset(self) -> Any | None:
        """A pyarrow dataset of the newest snapshot."""
        import pyarrow.dataset as ds
        from pyiceberg.io.pyarrow import PyArrowFileIO

        found = self._open()
        if found is None:
            return None
        tasks = list(found.scan().plan_files())
        # what another program has deleted stands in files of its own, which only pyiceberg applies
        if any(task.delete_files for task in tasks) or not isinstance(found.io, PyArrowFileIO):
            return ds.dataset(found.scan().to_arrow())
        paths = [found.io.parse_location(task.file.file_path) for task in tasks]
        schema = pa.schema([pa.field(field.name, _plain(field.type)) for field in found.schema().as_arrow()])
        files = found.io.fs_by_scheme(*paths[0][:2]) if paths else None
        return (
            ds.dataset([path for *_, path in paths], schema, "parquet", files)
            if paths
            else ds.dataset(schema.empty_table())
        )

    def files(self) -> list[str]:
        """The files of the newest snapshot. DocrunsError where another program has marked rows of them as deleted."""
        found = self._open()
        tasks = [] if found is None else list(found.scan().plan_files())
        if any(task.delete_files for task in tasks):
            raise DocrunsError(
                f"{self._location}: another program has marked rows as deleted, which only Iceberg's readers see. "
                "Run `docruns maintain`, which writes the table anew."
            )
        return [task.file.file_path.removeprefix("file://") for task in tasks]

    def write(self, rows: pa.Table, by: Sequence[str], gone: Sequence[tuple[str, ...]]) -> None:
        """One metadata file more, with `rows` in place of those that are `gone`."""
        table = self._open()
        if table is None:
            # a table that is made and filled in two commits can be seen empty: that is what it was
            table = self._catalog().create_table(
                self._id,
                rows.schema,
                self._location,
                properties={**_PROPERTIES, **(self._client.config.iceberg_table_properties or {})},
            )
        known = {field.name for field in table.schema().fields}
        with table.transaction() as change:
            if not set(rows.column_names) <= known:
                with change.update_schema() as update:
                    update.union_by_name(rows.schema)
            if gone:
                change.overwrite(rows, overwrite_filter=_filter(by, gone))
            elif rows.num_rows:
                change.append(rows)

    def maintain(self, keep_days: int) -> tuple[int, int]:
        """Join small files, forget snapshots that are older than some days, and delete files that none needs."""
        table = self._open()
        if table is None:
            return 0, 0
        sizes = [task.file.file_size_in_bytes for task in table.scan().plan_files()]
        if sum(size < _SMALL for size in sizes) > 1:
            table.overwrite(table.scan().to_arrow_batch_reader())
        oldest = datetime.now(UTC) - timedelta(days=keep_days)
        table.maintenance.expire_snapshots().older_than(oldest.replace(tzinfo=None)).commit()
        table = table.refresh()
        self._delete_unneeded(table, oldest)
        return len(sizes), len(list(table.scan().plan_files()))

    def _delete_unneeded(self, table: Any, oldest: datetime) -> None:
        """Delete files that no snapshot names. Newer ones may be those of a load that is at work."""
        needed = set()
        for snapshot in table.snapshots():
            needed.add(_file_name(snapshot.manifest_list))
            for manifest in snapshot.manifests(table.io):
                needed.add(_file_name(manifest.manifest_path))
                entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
                needed |= {_file_name(entry.data_file.file_path) for entry in entries}
        files = self._client.fs_client
        files.invalidate_cache()
        for path in files.find(self._folder):
            is_ours = path.endswith((".parquet", ".avro", ".part"))
            if is_ours and _file_name(path) not in needed and files.modified(path).astimezone(UTC) < oldest:
                files.rm_file(path)


def _file_name(path: str) -> str:
    """The name of a file, which has a UUID: paths are written with and without a scheme."""
    return posixpath.basename(path)


def _plain(type_: pa.DataType) -> pa.DataType:
    """pyiceberg names large types, and writes files with the others."""
    return pa.string() if pa.types.is_large_string(type_) else type_


def _filter(by: Sequence[str], values: Sequence[tuple[str, ...]]) -> Any:
    from pyiceberg import expressions

    # its classes are typed by their names in JSON
    make: Any = expressions
    if len(by) == 1:
        return make.In(by[0], {value for (value,) in values})
    rows = (map(make.EqualTo, by, row) for row in values)
    return reduce(make.Or, (reduce(make.And, equal) for equal in rows))
