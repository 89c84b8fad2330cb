"""CPU of loads into each destination that DESTINATIONS names, in one run:

    DESTINATIONS="duckdb delta iceberg" PYTHONPATH=tests .venv-destinations/bin/python -m destinations.figures

Prints a table in Markdown. The start of the command does not count: processes are forked after it has been imported. A
server's own CPU does not count either.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from destinations.matrix import CHOSEN, Side
from proofs.children import Children
from proofs.stage import Platform, platform_process

RUNS, REVIEWED = 300, 30

STEPS = ("first load", "nothing new", f"{REVIEWED} reviewed runs", f"{REVIEWED} more")


def measure(folder: Path) -> dict[str, list[float]]:
    """CPU seconds of each step, by destination."""
    found: dict[str, list[float]] = {each.name: [] for each in CHOSEN}
    with ExitStack() as stack:
        platform = stack.enter_context(platform_process(RUNS))
        children = stack.enter_context(Children())
        sides = []
        for each in CHOSEN:
            place = folder / each.name
            place.mkdir()
            sides.append(Side(each, place, each.settings(place, stack)))
        for number in range(len(STEPS)):
            if number >= len(STEPS) - 2:
                platform.change(REVIEWED)
            for side in sides:
                found[side.destination.name].append(_load(children, side, platform))
    return found


def _load(children: Children, side: Side, platform: Platform) -> float:
    arguments = (*side.options, "--base-url", platform.base_url)
    ended = children.run(side.folder, "load", "extend", *arguments, environment=side.environment)
    assert ended.code == 0, ended.err
    return ended.cpu_s


def main() -> int:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory(prefix="docruns_figures_") as name:
        found = measure(Path(name))
    base = found.get("duckdb", [0.0] * len(STEPS))
    print("| destination |", " | ".join(STEPS), "|")
    print("| --- |", " | ".join("---" for _ in STEPS), "|")
    for name, seconds in found.items():
        cells = [
            f"{s:.1f} s ({s / b:.1f} ×)" if b else f"{s:.1f} s" for s, b in zip(seconds, base, strict=True)
        ]
        print(f"| {name} |", " | ".join(cells), "|")
    return 0


if __name__ == "__main__":
    sys.exit(main())
