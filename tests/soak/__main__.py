"""Random faults for minutes: python -m soak [--minutes 10] [--seed N], below tests/.

For two thirds of the time, commands run in processes that are killed and disturbed; the rest of the time,
loads run in one process. At the end the platforms settle; then a load, a sweep and a deep verify must find no
difference, and no temporary file may be left. The program prints a line every 30 s and a table at the end,
and exits with 1 on any error. The seed determines the plan, that is, the actions of each turn; when a signal
hits a load also depends on the machine.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from docruns.store.target import Target, lock_file, lock_holder

from .inside import Inside, soak_inside
from .measure import Held, children_of, held
from .plan import CALM_EVERY
from .platforms import Platforms, platforms
from .turns import Looked, Turns, verdict

RUNS = 40
EVERYTHING = 100_000
GROWTH = 1.25
"""The allowed ratio of memory for the same work, end to start."""


def main() -> int:
    """Run the soak and print the results."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    asked = parser.parse_args()
    print(f"soak --minutes {asked.minutes:g} --seed {asked.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="docruns_soak_"))
    wrong = _Wrong()
    lines: list[tuple[str, str]] = []
    try:
        with platforms(RUNS, asked.seed) as both:
            lines += _processes(folder / "processes", both, asked.seed, asked.minutes * 40, wrong)
        with platforms(RUNS, asked.seed) as both:
            lines += _inside(folder / "inside", both, asked.seed, asked.minutes * 20, wrong)
    finally:
        if asked.keep or wrong.found:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder)
    print(f"\n| soak, seed {asked.seed} | |\n| --- | --- |")
    for what, found in lines:
        print(f"| {what} | {found} |")
    print(f"| differences | {len(wrong.found)} |")
    return 1 if wrong.found else 0


class _Wrong:
    """Collects errors and prints each one at once."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, text: str) -> None:
        self.found.append(text)
        print(f"WRONG: {text}", flush=True)


def _processes(
    folder: Path, both: Platforms, seed: int, seconds: float, wrong: _Wrong
) -> list[tuple[str, str]]:
    started = told = time.monotonic()
    number = 0
    early: Held | None = None
    with Turns(folder, both, seed) as turns:
        before = children_of(both.pid)
        while time.monotonic() - started < seconds and not wrong.found:
            number += 1
            _report(turns.play(number), wrong)
            if number % CALM_EVERY == 0:
                for text in turns.calm(deep=5, number=number):
                    wrong(f"after turn {number}: {text}")
                early = early or held(both.pid)
            if time.monotonic() - told >= 30:
                told = time.monotonic()
                _tell(started, number, turns, both)
        both.settle()
        for text in turns.calm(deep=EVERYTHING, number=number):
            wrong(f"at the end: {text}")
        late = held(both.pid)
    for what, count in verdict(turns.database).items():
        if count:
            wrong(f"{what}: {count}")
    for name in both.urls:
        who = lock_holder(lock_file(Target(name, turns.database)))
        if who is not None:
            wrong(f"lock still held: {who}")
    if children_of(both.pid) != before:
        wrong("the platform has different child processes than before")
    if early is not None and (late.sockets > early.sockets + 2 or late.threads > early.threads):
        wrong(f"the platform uses {late}, and used {early}")
    first, last = max(turns.peaks[:4]), min(turns.peaks[-4:])
    if last > first * GROWTH:
        wrong(f"a load with nothing new uses {last:.0f} MB, and used {first:.0f} MB")
    return [
        ("turns, minutes", f"{number}, {(time.monotonic() - started) / 60:.1f}"),
        ("commands", _counts(turns.commands)),
        ("disturbed by", _counts(turns.disturbed)),
        ("exit codes", _counts(turns.codes)),
        ("faults that applied", _counts(Counter(both.hits()))),
        ("changes on the platforms", f"{both.changes:,}"),
        ("temporary folders left by kills", f"{turns.left_by_kills}"),
        ("memory of a load with nothing new, first and last", f"{first:.0f}, {last:.0f} MB"),
        ("the platform's process, early and late", f"{early}; {late}"),
        ("database at the end", f"{turns.database.stat().st_size / 2**20:.1f} MB"),
    ]


def _report(looked: Looked, wrong: _Wrong) -> None:
    for text in looked.complaints:
        wrong(
            f"{looked.turn}\n  code {looked.code} after {looked.seconds:.1f} s: {text}\n{looked.err[-3000:]}"
        )


def _tell(started: float, number: int, turns: Turns, both: Platforms) -> None:
    minutes, seconds = divmod(int(time.monotonic() - started), 60)
    print(
        f"{minutes:2}:{seconds:02}  turn {number}, {_counts(turns.codes)}, "
        f"{both.changes} changes, platform {held(both.pid)}",
        flush=True,
    )


def _inside(folder: Path, both: Platforms, seed: int, seconds: float, wrong: _Wrong) -> list[tuple[str, str]]:
    if wrong.found:
        return []
    found: Inside = soak_inside(folder, both, seed, seconds, lambda text: print(text, flush=True))
    for text in found.wrong:
        wrong(text)
    warm, end = found.warm, found.end
    if found.wrong:
        return []
    if found.http_threads or end.threads > warm.threads:
        wrong(f"threads: {warm.threads} when warm, {end.threads} at the end")
    if end.files > warm.files or end.sockets > warm.sockets:
        wrong(f"open files: {warm} when warm, {end} at the end")
    if end.rss_mb > warm.rss_mb * GROWTH:
        wrong(f"memory: {warm} when warm, {end} at the end")
    return [
        ("loads in one process", f"{found.loads}"),
        ("outcomes", _counts(found.outcomes)),
        ("the process when warm", str(warm)),
        ("the process at the end", str(end)),
    ]


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items(), key=lambda i: -i[1]))


if __name__ == "__main__":
    sys.exit(main())
