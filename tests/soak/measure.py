"""What a process holds: memory, open files, sockets, threads; read from /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Held(NamedTuple):
    """What a process holds at a moment. Memory in MB."""

    rss_mb: float
    files: int
    sockets: int
    threads: int

    def __str__(self) -> str:
        return (
            f"{self.rss_mb:.0f} MB, {self.files} files, {self.sockets} sockets, "
            f"{self.threads} threads"
        )


def held(pid: int | None = None) -> Held:
    """Of this process, or of another one of ours."""
    folder = Path("/proc") / str(pid or os.getpid())
    files = sockets = 0
    for link in (folder / "fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            # the one that lists the others
            continue
        sockets += target.startswith("socket:")
        files += not target.startswith("socket:")
    pages = int((folder / "statm").read_text().split()[1])
    threads = sum(1 for _ in (folder / "task").iterdir())
    return Held(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files, sockets, threads)


def children_of(pid: int) -> list[int]:
    """Processes that it has started and that still run."""
    path = Path("/proc") / str(pid) / "task" / str(pid) / "children"
    return [int(child) for child in path.read_text().split()]
