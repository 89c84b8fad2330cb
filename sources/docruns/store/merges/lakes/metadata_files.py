"""Metadata files of Iceberg tables in a local folder: each is whole, or not there.

pyiceberg writes such a file in its place. A reader that takes the newest one, as most do, could find it cut off while
a load writes, and after a load that was killed until the next commit. A bucket stores a file as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO


class WholeMetadata(PyArrowFileIO):  # type: ignore[misc]
    """pyiceberg's files of the local file system, of which those with metadata are renamed when they are written."""

    def new_output(self, location: str) -> PyArrowFile:
        """The file to write."""
        found = super().new_output(location)
        return _MetadataFile.of(found) if location.endswith(".metadata.json") else found


class _MetadataFile(PyArrowFile):  # type: ignore[misc]
    @classmethod
    def of(cls, found: PyArrowFile) -> _MetadataFile:
        return cls(found.location, found._path, found._filesystem)

    @contextmanager
    def create(self, overwrite: bool = False) -> Iterator[Any]:
        if not overwrite and self.exists():
            raise FileExistsError(f"{self.location} exists")
        folder, _, name = self._path.rpartition("/")
        aside = f"{folder}/.{name}.part"
        with self._filesystem.open_output_stream(aside) as stream:
            yield stream
        self._filesystem.move(aside, self._path)
