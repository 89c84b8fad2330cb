"""Parts of an archive that are damaged."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from docruns.commands.archive.parts import compact_parts, held
from docruns.commands.archive.replay import open_archive
from docruns.core.errors import DocrunsError
from docruns.store.archive.folder import Folder
from docruns.store.archive.reading import open_index
from docruns.store.archive.rewriting import remove_runs
from docruns.store.archive.writing import ArchiveWriter, Entry

AMOUNTS = random.Random(5)
BODY = ('{"id": "run", "amounts": [' + ", ".join(str(AMOUNTS.random()) for _ in range(20)) + "]}").encode()


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """The only part of an archive, with the answer about one run."""
    writer = ArchiveWriter(str(tmp_path), "extend", None, "2026-02-09", {}, lambda body: body)
    writer.begin("load", {})
    writer.add(Entry("workflow_runs", "run"), BODY)
    writer.finish({})
    (found,) = tmp_path.rglob("*.parquet")
    return found


def read(folder: Path) -> bytes:
    """The answer about the run."""
    return open_index(Folder(str(folder), "extend"), None).body("workflow_runs", "run") or b""


def test_a_flipped_bit_gives_no_other_answer(part: Path, tmp_path: Path) -> None:
    """Whichever bit of the answers is another one, the answer is what it was, or an error names the part."""
    content = part.read_bytes()
    column = pq.ParquetFile(part).metadata.row_group(0).column(11)
    assert column.path_in_schema == "body"
    first, refused = column.data_page_offset, 0
    for at in range(first, first + column.total_compressed_size):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        part.write_bytes(damaged)
        found, error = BODY, str(part)
        try:
            found = read(tmp_path)
        except DocrunsError as raised:
            error = str(raised)
            refused += 1
        assert (found, str(part) in error) == (BODY, True)
    # a page begins with its statistics, which no reader looks at
    assert refused > column.total_compressed_size / 8


def test_a_part_without_checksums_is_read(part: Path, tmp_path: Path) -> None:
    """Parts from before have no checksums."""
    pq.write_table(pq.read_table(part, partitioning=None), part, row_group_size=1)
    assert read(tmp_path) == BODY


@pytest.mark.parametrize(
    "command",
    [
        lambda url: held(url, "extend"),
        lambda url: open_archive(url, "extend", None),
        lambda url: compact_parts(url, "extend"),
        lambda url: remove_runs(Folder(url, "extend"), {"run"}),
    ],
    ids=["status", "replay", "compact", "forget"],
)
@pytest.mark.parametrize("left", [0.0, 0.5, 0.99])
def test_an_error_names_the_part(
    command: Callable[[str], object], left: float, part: Path, tmp_path: Path
) -> None:
    """Where a part is empty or cut off, the error names it, and says what to do. The part stays."""
    content = part.read_bytes()
    part.write_bytes(content[: int(len(content) * left)])
    before = part.read_bytes()
    with pytest.raises(DocrunsError) as caught:
        command(str(tmp_path))
    assert str(part) in str(caught.value)
    assert "from a copy" in str(caught.value)
    assert [path.read_bytes() for path in tmp_path.rglob("*.par*")] == [before]
