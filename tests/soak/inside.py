"""Hundreds of loads in one process, as a scheduler runs them, and the resources they leave in it."""

from __future__ import annotations

import gc
import logging
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from docruns import extend, plextera
from docruns.commands.health.status import reports
from docruns.commands.load import load_runs
from docruns.commands.reconcile.sweep import sweep_deleted
from docruns.commands.reconcile.verify import verify_runs
from docruns.core.errors import DocrunsError
from docruns.net.messages import Retry
from docruns.providers.extend import connect_extend
from docruns.providers.plextera import connect_plextera
from docruns.store.duckdb.file import open_database
from docruns.store.target import Target
from docruns.sync.lists import Platform

from .measure import Held, held
from .plan import changes
from .platforms import FAULTS, Platforms
from .turns import HOLD, QUICK

WARM = 25
"""The number of loads after which all modules are imported and all caches have their final size."""

SOURCES: dict[str, Any] = {"extend": extend, "plextera": plextera}


class Inside(NamedTuple):
    """The resources that hundreds of loads left in a process."""

    loads: int
    outcomes: Counter[str]
    warm: Held
    end: Held
    http_threads: int
    wrong: list[str]


def soak_inside(
    folder: Path, both: Platforms, seed: int, seconds: float, tell: Callable[[str], None]
) -> Inside:
    """Load both platforms many times with faults, and compare the resources of the process."""
    _prepare(folder)
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    started = told = time.monotonic()
    warm, loads = _calm(folder, both), 0
    while time.monotonic() - started < seconds or loads < 2 * WARM:
        rng = random.Random(f"{seed} inside {loads}")
        name = rng.choice(sorted(SOURCES))
        for _ in range(rng.randint(0, 2)):
            both.change(changes(seed, 1_000_000 + loads))
        for _ in range(rng.choice((0, 0, 1, 2))):
            kind, details, paths = rng.choice(FAULTS)
            how = {"times": rng.randint(1, 3)}
            if details.get("status") == 429:
                how = {"times": 1, "after": 40}
            both.fault(kind, rng.choice(paths), {**details, **how})
        shutil.rmtree(folder / "dlt" / "docruns" / "budgets", ignore_errors=True)
        kind = rng.choice(("load",) * 6 + ("sweep", "verify", "status", "locked", "damaged"))
        try:
            _do(kind, name, folder, both, rng)
            outcomes[f"{kind}, well"] += 1
        except DocrunsError as error:
            outcomes[f"{kind}, {type(error).__name__}"] += 1
        except Exception:  # noqa: BLE001 - the soak searches for errors that are not docruns errors
            wrong.append(f"load {loads}, {kind} {name}: {traceback.format_exc()[-2500:]}")
        both.clear_faults()
        loads += 1
        if loads == WARM:
            warm = _calm(folder, both)
        if time.monotonic() - told >= 30:
            told = time.monotonic()
            tell(f"inside: {loads} loads, {held()}")
        if wrong:
            break
    end = _calm(folder, both)
    left = sum(thread.name == "docruns-http" for thread in threading.enumerate())
    return Inside(loads, outcomes, warm, end, left, wrong)


def _prepare(folder: Path) -> None:
    folder.mkdir(parents=True)
    os.environ["DLT_DATA_DIR"] = str(folder / "dlt")
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["LOAD__RAISE_ON_MAX_RETRIES"] = "1"
    os.environ |= {f"SOURCES__{name.upper()}__OVERLAP": "15m" for name in SOURCES}
    logging.getLogger("dlt").setLevel(logging.CRITICAL)
    Retry.__init__.__defaults__ = tuple(QUICK)


def _calm(folder: Path, both: Platforms) -> Held:
    """The same work each time: two loads with nothing new; returns the resources of the process."""
    for name in SOURCES:
        for _ in range(2):
            load_runs(_connect(name, both), _target(folder, name))
    gc.collect()
    return held()


def _target(folder: Path, name: str) -> Target:
    return Target(name, folder / "inside.duckdb")


def _connect(name: str, both: Platforms, **options: Any) -> Platform:
    connect: Any = {"extend": connect_extend, "plextera": connect_plextera}[name]
    platform: Platform = connect(base_url=both.urls[name], **options)
    return platform


def _do(kind: str, name: str, folder: Path, both: Platforms, rng: random.Random) -> None:
    target = _target(folder, name)
    match kind:
        case "sweep":
            sweep_deleted(_connect(name, both), target)
        case "verify":
            verify_runs(_connect(name, both), target, deep=rng.choice((0, 3)))
        case "status":
            reports(target.database, dict)
        case "locked":
            _locked(name, both, target)
        case "damaged":
            _damaged(name, both, target, folder)
        case _:
            options = {"chunk_runs": rng.choice((3, 20, 1000))}
            copy = folder / "copy.duckdb" if rng.random() < 0.2 else None
            load_runs(_connect(name, both, **options), target, publish=copy)


def _locked(name: str, both: Platforms, target: Target) -> None:
    command = [sys.executable, "-c", HOLD, str(target.database), "read"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdout.readline()
        threading.Timer(0.5, reader.stdin.close).start()
        load_runs(_connect(name, both), target)


def _damaged(name: str, both: Platforms, target: Target, folder: Path) -> None:
    copy = folder / "damaged.duckdb"
    shutil.copy(target.database, copy)
    os.truncate(copy, copy.stat().st_size * 2 // 3)
    try:
        load_runs(_connect(name, both), Target(name, copy))
    finally:
        for path in folder.glob("damaged.duckdb*"):
            path.unlink()
        with open_database(target.database, read_only=True) as connection:
            connection.execute("SELECT 1").fetchall()
