"""stdout and stderr: characters that a terminal lacks, and pipes whose reader has left.

docruns tables | head -1
"""

from __future__ import annotations

import os
import stat
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class PipeWriter(FileIO):
    """The writing end of a pipe. Drops what is written after the reader has closed the other end.

    So a closed pipe changes nothing in what a command does, and its exit code stays that of its work: `head`
    must not end a load or a push in the middle.
    """

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, and count dropped bytes as written."""
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def prepare_streams() -> None:
    """Make stdout and stderr fit for any text and any reader."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, TextIOWrapper):
            continue
        # a terminal whose encoding lacks … shows a question mark
        stream.reconfigure(errors="replace")
        if _is_pipe(stream):
            writer = BufferedWriter(PipeWriter(stream.fileno(), "wb", closefd=False))
            stream.flush()
            copy = TextIOWrapper(
                writer,
                encoding=stream.encoding,
                errors="replace",
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, copy)


def _is_pipe(stream: TextIOWrapper) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except OSError:
        return False
