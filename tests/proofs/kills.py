"""Kill -9 at random times, and at the points where a kill has caused damage before."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .children import Children
from .compare import differences, doubled_keys, doubled_packages, missing_runs
from .points import POINTS
from .stage import CONCURRENCY, Command, Figure, Figures, Platform, at_most, exactly, must

RANDOM = "random kills"
EXACT = "exact kills"
GIVE_UP_S = 180.0


class Undisturbed(NamedTuple):
    """A load without a kill."""

    database: Path
    details: int
    idle_s: float
    """From the start of the process to its first request."""
    busy_s: float
    """From its first request to its end."""


def undisturbed(platform: Platform, command: Command) -> Undisturbed:
    """Load everything once, without a kill."""
    platform.reset()
    started = time.monotonic()
    process = command.start()
    while process.poll() is None and platform.stats().requests == 0:
        time.sleep(0.02)
    idle = time.monotonic() - started
    ran = must(command.finish(process, started))
    return Undisturbed(command.database, platform.stats().run_details, idle, ran.seconds - idle)


def prove_random(
    platform: Platform, folder: Path, kills: int, chunk_runs: int, seed: int, per_load: int = 6
) -> Figures:
    """Kill loads of one platform at random times, and the loads after them, until one succeeds.

    A database is killed about `per_load` times, then loaded to the end and compared with one that was loaded
    without a kill.
    """
    rng = random.Random(seed)
    settings = {"chunk_runs": chunk_runs, "concurrency": CONCURRENCY}
    calm = undisturbed(platform, Command(folder / "calm", platform.base_url, **settings))
    idle, span = calm.idle_s * 0.9, calm.busy_s * 2 / per_load
    left, where = kills, Counter[str]()
    again, worst = 0, 0.0
    different: list[str] = []
    doubled = wrong = after = 0
    while left:
        command = Command(folder / f"killed_{left}", platform.base_url, **settings)
        platform.reset()
        killed = 0
        for _ in range(min(left, per_load)):
            if not kill_after(command, idle + rng.uniform(0, span)):
                # it is faster than the load without a kill, which ran while the machine was busy
                idle, span = idle * 0.8, span * 0.8
                break
            where[_stage(command.folder / "dlt")] += 1
            killed += 1
        left -= killed
        must(command.run())
        read_again = platform.stats().run_details - calm.details
        again += read_again
        worst = max(worst, read_again / max(killed, 1))
        different += differences(command.database, calm.database)
        doubled += doubled_keys(command.database)
        wrong += missing_runs(command.database, platform)
        platform.reset()
        must(command.run())
        after += platform.stats().run_details
    stages = ", ".join(f"{n} {stage}" for stage, n in sorted(where.items()))
    return [
        Figure(RANDOM, "kills, by what the load was at", f"{sum(where.values())}: {stages}"),
        Figure(RANDOM, "tables that differ", _told(different), "none", not different),
        exactly(RANDOM, "runs that differ", wrong, 0),
        exactly(RANDOM, "doubled keys", doubled, 0),
        at_most(
            RANDOM,
            "details read again, a kill",
            round(again / kills, 1),
            float(chunk_runs + CONCURRENCY),
        ),
        # a package, and the details that are read ahead for the next one while dlt loads it
        at_most(
            RANDOM,
            "details read again, a kill, in the worst load",
            round(worst, 1),
            float(chunk_runs + max(CONCURRENCY, chunk_runs // 3)),
        ),
        exactly(RANDOM, "details of a load right after", after, 0),
    ]


def kill_after(command: Command, after_s: float) -> bool:
    """Kill a load after some seconds; False when it ended before."""
    process = command.start()
    try:
        process.wait(timeout=after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    assert process.returncode == 0, command.errors()
    return False


def _stage(home: Path) -> str:
    """The stage of a killed load, derived from the files it left on disk."""
    for stage, pattern in (
        ("in load", "load/normalized/*"),
        ("in normalize", "load/new/*"),
        ("in normalize", "normalize/extracted/*"),
        ("in extract", "normalize/" + "[0-9a-f]" * 16 + "/*"),
    ):
        if next(home.glob(f"docruns/*/*/{pattern}"), None) is not None:
            return stage
    return "between packages"


Run = Callable[[Command, str | None], int]
"""Runs a load in a separate process, which kills itself at the given point; returns its exit code."""


def runs(children: Children) -> Run:
    """A function that runs loads with these children."""
    return lambda command, point: (
        children.run(
            command.folder, "load", *command.arguments, environment=command.environment, point=point
        ).code
    )


@contextmanager
def launched() -> Iterator[Run]:
    """A function that runs loads with a launcher, which is stopped afterwards."""
    with Children() as children:
        yield runs(children)


class Scene(NamedTuple):
    """A platform that changed after `before` was loaded, and the database `calm` that a load must produce."""

    platform: Platform
    folder: Path
    before: Path
    calm: Path
    settings: dict[str, object]


def scene(platform: Platform, folder: Path, run: Run, reviewed: int, added: int, chunk_runs: int) -> Scene:
    """Load a platform, change it, and load it again into another database."""
    settings: dict[str, object] = {"chunk_runs": chunk_runs, "concurrency": CONCURRENCY}
    before = Command(folder / "before", platform.base_url, **settings)
    assert run(before, None) == 0, before.errors()
    platform.change(reviewed, added)
    platform.tell("extend/finish")
    calm = Command(folder / "calm", platform.base_url, **settings)
    assert run(calm, None) == 0, calm.errors()
    return Scene(platform, folder, before.database, calm.database, settings)


Look = Callable[[Path, Scene], list[str]]
"""Checks a database directly after a kill, before the next load; returns the errors."""


def kill_at(stage: Scene, name: str, run: Run, look: Look = lambda *_: []) -> list[str]:
    """Kill a load at a point, check the database, and load once more; returns the errors."""
    slug = "".join(c if c.isalnum() else "_" for c in name)
    command = Command(stage.folder / slug, stage.platform.base_url, **stage.settings)
    if not POINTS[name].first:
        shutil.copy(stage.before, command.database)
    code = run(command, name)
    if code != -9:
        return [f"was not killed: exit code {code}: {command.errors()[-500:]}"]
    wrong = look(command.database, stage)
    code = run(command, None)
    if code != 0:
        return [f"the next load ends with {code}: {command.errors()[-500:]}"]
    wrong += differences(command.database, stage.calm)
    if again := doubled_packages(command.database):
        wrong.append(f"{again} packages counted twice")
    if doubled := doubled_keys(command.database):
        wrong.append(f"{doubled} doubled keys")
    if left := [path.name for path in (command.folder / "dlt").rglob("*.parquet")]:
        wrong.append(f"documents left on disk: {left}")
    shutil.rmtree(command.folder)
    return wrong


def prove_exact(platform: Platform, folder: Path, names: Sequence[str] = tuple(POINTS)) -> Figures:
    """Kill a load at each point, and load once more."""
    with launched() as run:
        stage = scene(platform, folder, run, reviewed=60, added=20, chunk_runs=50)
        wrong = {name: found for name in names if (found := kill_at(stage, name, run))}
    figures = [exactly(EXACT, "points at which one load heals", len(names) - len(wrong), len(names))]
    figures += [Figure(EXACT, name, _told(found), "none", False) for name, found in wrong.items()]
    return figures


def _told(found: Sequence[str]) -> str:
    return "; ".join(text[:300] for text in found) or "none"
