"""stdout and stderr: closed or full streams, pipes whose reader has left, characters that a terminal lacks.

    docruns load extend 2>&-
    docruns tables | head -1

No command fails because nobody can read its output: its exit code is that of its work.
"""

from __future__ import annotations

import os
import select
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, cast

from ...core.errors import DocrunsError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STREAMS = {1: "stdout", 2: "stderr"}

_replaced: list[TextIOWrapper] = []
"""Streams whose descriptors are still in use: one that is destroyed may close its descriptor, and the next file that
is opened, such as the database, would get the number of stdout."""


class Writer(FileIO):
    """A descriptor of an output stream. Drops what cannot be written, so that a load or a push does not end in the
    middle. `lost` is the reason, except where the reader has left, as `head` does."""

    lost: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all, and count dropped bytes as written."""
        rest = memoryview(data)
        try:
            while rest:
                # another program may have made a pipe non-blocking: then None says that it is full for now
                written = cast("int | None", super().write(rest))
                if written is None:
                    select.select([], [self], [])
                rest = rest[written or 0 :]
        except BrokenPipeError:
            pass
        except OSError as error:
            self.lost = error
        return memoryview(data).nbytes


def prepare_streams() -> None:
    """Make stdout and stderr fit for any text, any reader and none."""
    for descriptor in (0, *_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            # closed: the next file that is opened would get its number, and the database what is printed
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for descriptor, name in _STREAMS.items():
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _open(descriptor))
        elif isinstance(stream, TextIOWrapper):
            # a terminal whose encoding lacks … shows a question mark
            stream.reconfigure(errors="replace")
            # a console of Windows is not a descriptor
            if type(getattr(stream.buffer, "raw", stream.buffer)) is FileIO:
                stream.flush()
                _replaced.append(stream)
                setattr(sys, name, _open(stream.fileno(), stream))


def _open(descriptor: int, like: TextIOWrapper | None = None) -> TextIOWrapper:
    """A stream of text on a descriptor, encoded and buffered as `like` is."""
    raw = Writer(descriptor, "wb", closefd=False)
    if like is None:
        return TextIOWrapper(BufferedWriter(raw), encoding="utf-8", errors="replace")
    return TextIOWrapper(
        # with `python -u` there is no buffer
        cast("BufferedWriter", raw if like.write_through else BufferedWriter(raw)),
        encoding=like.encoding,
        errors="replace",
        line_buffering=like.line_buffering,
        write_through=like.write_through,
    )


def lost_output() -> OSError | None:
    """Why some of what the command printed on stdout could not be written; None where all was."""
    sys.stdout.flush()
    raw = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
    return raw.lost if isinstance(raw, Writer) else None


def print_answer(text: str) -> None:
    """Print what a command was called for. DocrunsError where it cannot be written."""
    print(text)
    require_output()


def require_output() -> None:
    """DocrunsError where some of an answer could not be written."""
    if error := lost_output():
        raise DocrunsError(f"stdout: cannot be written ({error.strerror}). Send the output to another place.")
