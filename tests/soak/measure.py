"""The resources of a process: memory, open files, sockets and threads, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Held(NamedTuple):
    """The resources of a process at one time; memory in MB."""

    rss_mb: float
    files: int
    sockets: int
    threads: int

    def __str__(self) -> str:
        return f"{self.rss_mb:.0f} MB, {self.files} files, {self.sockets} sockets, {self.threads} threads"


def held(pid: int | None = None) -> Held:
    """The resources of this process, or of another one of the same user."""
    folder = Path("/proc") / str(pid or os.getpid())
    files = sockets = 0
    for link in (folder / "fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            # the descriptor of the listing itself
            continue
        sockets += target.startswith("socket:")
        files += not target.startswith("socket:")
    pages = int((folder / "statm").read_text().split()[1])
    threads = sum(1 for _ in (folder / "task").iterdir())
    return Held(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files, sockets, threads)


def children_of(pid: int) -> list[int]:
    """The ids of its running child processes."""
    path = Path("/proc") / str(pid) / "task" / str(pid) / "children"
    return [int(child) for child in path.read_text().split()]
