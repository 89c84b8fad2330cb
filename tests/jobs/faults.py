"""What goes wrong while a scheduled load runs, and whether trying again can help.

Each fault is there for the first try and is gone before the next one, as it would be hours later.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import docruns
from docruns.net import shared_budget
from docruns.sandbox import Sandbox
from docruns.store.target import Target, lock_file, lock_holder
from support.processes import HOLD, another


class Tries:
    """Counts the calls of `docruns.load` in this process, and calls `repair` after one has failed with `said`."""

    def __init__(self, repair: Callable[[], None] = lambda: None) -> None:
        self.number, self.said = 0, ""
        self._repair = repair

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Load, as the job asked."""
        self.number += 1
        try:
            return _load(*arguments, **options)
        except docruns.DocrunsError as error:
            self.said = str(error)
            self._repair()
            raise


_load = docruns.load


class Fault(NamedTuple):
    """`begin` gives what repairs the fault. `says`: words of the error. `may_pass`: a scheduler is to try again."""

    name: str
    says: str
    may_pass: bool
    begin: Callable[[Sandbox, Path], Any]


@contextmanager
def at_work(fault: Fault, platform: Sandbox, database: Path) -> Iterator[Tries]:
    """The fault, for the first call of `docruns.load`."""
    with fault.begin(platform, database) as repair:
        tries = Tries(repair)
        vars(docruns)["load"] = tries
        try:
            yield tries
            assert fault.says in tries.said, (fault, tries.said)
        finally:
            vars(docruns)["load"] = _load
            platform.clear_faults()


@contextmanager
def busy(platform: Sandbox, database: Path) -> Iterator[Callable[[], None]]:
    """The platform answers 429, and asks to come again in ten minutes."""
    platform.fault("status", status=429, retry_after=600, times=None)

    def ten_minutes_later() -> None:
        platform.clear_faults()
        # docruns remembers the pause, in a file and in this process
        shutil.rmtree(Path(os.environ["DLT_DATA_DIR"]) / "docruns" / "budgets", ignore_errors=True)
        shared_budget._PROCESS_PACES.clear()

    yield ten_minutes_later


@contextmanager
def held(platform: Sandbox, database: Path) -> Iterator[Callable[[], None]]:
    """Another process loads into the database."""
    with another(HOLD, str(lock_file(Target("extend", database)))) as process:

        def end() -> None:
            process.kill()
            process.wait()

        yield end


@contextmanager
def wrong_key(platform: Sandbox, database: Path) -> Iterator[Callable[[], None]]:
    """The platform refuses the key."""
    platform.fault("status", status=401, times=None)
    yield platform.clear_faults


MOUNT = ("mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs")


def may_mount() -> bool:
    """Whether this process may mount a disk: root may, but not in every container."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*MOUNT, folder], check=False, capture_output=True)
        return done.returncode == 0 and subprocess.run(["umount", folder], check=True) is not None


@contextmanager
def full_disk(platform: Sandbox, database: Path) -> Iterator[Callable[[], None]]:
    """The disk of the working folder has half a megabyte."""
    before, disk = os.environ["DLT_DATA_DIR"], database.with_name("disk")
    disk.mkdir()
    subprocess.run([*MOUNT, str(disk)], check=True, capture_output=True)
    os.environ["DLT_DATA_DIR"] = str(disk)
    try:
        yield lambda: None
    finally:
        os.environ["DLT_DATA_DIR"] = before
        subprocess.run(["umount", str(disk)], check=True)


FAULTS = [
    Fault("a platform that is busy for ten minutes", "asked to wait", True, busy),
    Fault("a database that another process holds", "is at work on it", True, held),
    Fault("a wrong key", "401", False, wrong_key),
]
if may_mount():
    FAULTS.append(Fault("a full disk", "no space is left", False, full_disk))
else:
    print("=> a full disk: skipped, no disk can be mounted here", flush=True)


def kill_while_it_loads(platform: Sandbox, database: Path) -> threading.Thread:
    """Kill the process that loads into the database, once, after its first requests for runs."""
    platform.stats.reset()
    platform.set(latency=0.3)

    def kill() -> None:
        while platform.stats.details < 5:
            time.sleep(0.02)
        holder = lock_holder(lock_file(Target("extend", database)))
        assert holder is not None and holder.pid != os.getpid(), holder
        platform.set(latency=0.0)
        os.kill(holder.pid, 9)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    return killer
