"""Everything that a load leaves behind, as searchable bytes: unpacked, decoded, cell by cell."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
import shutil
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_PACKED = re.compile(rb"[A-Za-z0-9+/_-]{40,}={0,2}")


def everything(*places: Path) -> dict[str, bytes]:
    """All files in some folders by path: under `path` their bytes, under `path!` their unpacked content."""
    found: dict[str, bytes] = {}
    for place in places:
        for path in sorted([place] if place.is_file() else place.rglob("*")):
            if not path.is_file() or path.is_symlink():
                continue
            raw = path.read_bytes()
            found[str(path)] = raw
            found[f"{path}!"] = b"\n".join([*_cells(path, raw), *unpacked(raw)])
    return found


def unpacked(raw: bytes) -> Iterator[bytes]:
    """The unpacked content of some bytes: gzip, zlib, and base64 of either or of text."""
    for unpack in (gzip.decompress, zlib.decompress) if raw else ():
        try:
            inner = unpack(raw)
        except (OSError, EOFError, zlib.error):
            continue
        yield inner
        yield from unpacked(inner)
    for word in set(_PACKED.findall(raw)):
        for decode in (base64.b64decode, base64.urlsafe_b64decode):
            try:
                inner = decode(word + b"=" * (-len(word) % 4))
            except (binascii.Error, ValueError):
                continue
            yield inner
            try:
                yield zlib.decompress(inner)
            except zlib.error:
                continue


def _cells(path: Path, raw: bytes) -> Iterator[bytes]:
    if raw[:4] == b"PAR1":
        for _, _, _, texts in parquet_cells(path):
            yield from (text.encode() for text in texts)
    if raw[8:12] == b"DUCK":
        for _, _, _, texts in cells(path):
            yield from (text.encode() for text in texts)


Cells = tuple[str, str, str, list[str]]
"""(schema.table or file name, column, type of the column, its distinct cells as texts)."""


def parquet_cells(path: Path) -> Iterator[Cells]:
    """All cells of a Parquet file."""
    with pa.memory_map(str(path)) as source:
        rows = pq.ParquetFile(source).read()
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        texts = {str(cell) for cell in column.to_pylist() if cell is not None}
        yield path.name, name, str(column.type), sorted(texts)


def cells(database: Path) -> Iterator[Cells]:
    """All cells of all tables of a database, read from a copy of the file and of its log."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.duckdb"
        shutil.copy(database, copy)
        if (log := Path(f"{database}.wal")).exists():
            shutil.copy(log, f"{copy}.wal")
        with duckdb.connect(str(copy)) as connection:
            columns = defaultdict(list)
            for schema, table, column, type_ in connection.execute(
                "SELECT table_schema, table_name, column_name, data_type "
                "FROM information_schema.columns ORDER BY table_schema, table_name, ordinal_position"
            ).fetchall():
                columns[schema, table].append((column, type_))
            for (schema, table), described in columns.items():
                # one query a table: a query a column would run the whole query of a view for each of its columns
                found = connection.execute(
                    f'SELECT list(DISTINCT CAST(COLUMNS(*) AS VARCHAR)) FROM "{schema}"."{table}"'
                ).fetchall()[0]
                for (column, type_), distinct in zip(described, found, strict=True):
                    texts = [text for text in distinct or () if text is not None]
                    # dlt compresses its state and its schemas
                    packed = " ".join(texts).encode() if table.startswith("_dlt") else b""
                    inner = [more.decode(errors="replace") for more in unpacked(packed)]
                    yield f"{schema}.{table}", column, type_, texts + inner


_HEAD = 4


def quoted(found: dict[str, bytes], texts: Iterable[str]) -> dict[str, set[str]]:
    """The texts (of four bytes or more) that each file contains, literally or as JSON.

    Files without any of the texts are left out.
    """
    forms: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for text in texts:
        for form in {text.encode(), json.dumps(text)[1:-1].encode()}:
            forms[form[:_HEAD]].append(form)
    # for thousands of texts in a hundred megabytes: only positions that start like one of the texts
    # are compared
    heads = np.array([int.from_bytes(head, "little") for head in forms], dtype=np.uint32)
    begins = np.zeros(1 << 20, dtype=bool)
    begins[_slots(heads)] = True
    hits = {}
    for name, body in found.items():
        if len(body) < _HEAD:
            continue
        raw = np.frombuffer(body, dtype=np.uint8).astype(np.uint32)
        at = raw[:-3] | raw[1:-2] << 8 | raw[2:-1] << 16 | raw[3:] << 24
        places = np.flatnonzero(begins[_slots(at)]).tolist()
        there = {
            form.decode()
            for place in places
            for form in forms.get(body[place : place + _HEAD], ())
            if body.startswith(form, place)
        }
        if there:
            hits[name] = there
    return hits


def _slots(heads: Any) -> Any:
    return (heads * np.uint32(2654435761)) >> np.uint32(12)
