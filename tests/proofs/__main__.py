"""Long measurements of what the README guarantees: python -m proofs [PROOF …], below tests/.

All proofs together take about half an hour on two cores. Without --runs and --kills the program writes the
figures between the marks of tests/benchmarks/RESULTS.md. It exits with 1 when a bound is broken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from .stage import Command, Figures, must, platform_process

DOCUMENT = Path(__file__).parents[1] / "benchmarks" / "RESULTS.md"

HEAD = ["| proof | what | found | bound | on |", "| --- | --- | --- | --- | --- |"]


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="docruns_prove_") as name:
        yield Path(name)


def scale(runs: int, kills: int) -> Figures:
    """Memory and state of a load of `runs`, compared with a load of a tenth of them."""
    from .scale import prove

    with _folder() as folder:
        return prove(folder, runs // 10, runs)


def waste(runs: int, kills: int) -> Figures:
    """Requests of three loads of a tenth of `runs`."""
    from .waste import prove

    with _folder() as folder, platform_process(runs // 10) as platform:
        command = Command(folder, platform.base_url)
        return prove(platform, lambda: must(command.run()).summary, command.database, changes=37)


def random(runs: int, kills: int) -> Figures:
    """Kills at random times in loads of 3 % of `runs`."""
    from .kills import prove_random

    with _folder() as folder, platform_process(runs * 3 // 100, latency=0.02) as platform:
        return prove_random(platform, folder, kills, chunk_runs=200, seed=29)


def postgres(runs: int, kills: int) -> Figures:
    """Kills of loads into PostgreSQL: two thirds of `kills`, in loads of a hundredth of `runs`."""
    from .postgres import prove

    with _folder() as folder, platform_process(runs // 100, latency=0.02) as platform:
        return prove(platform, folder, kills * 2 // 3, seed=29)


def exact(runs: int, kills: int) -> Figures:
    """A kill at each point where a kill has caused damage before."""
    from .kills import prove_exact

    with _folder() as folder, platform_process(300) as platform:
        return prove_exact(platform, folder)


def replay(runs: int, kills: int) -> Figures:
    """Replays of a tenth of `runs` after five loads that were killed, into DuckDB and Delta."""
    from .archive import prove

    with _folder() as folder, platform_process(runs // 10) as platform:
        return prove(platform, folder, seed=29)


def archive(runs: int, kills: int) -> Figures:
    """A kill at each of twenty points of a load with an archive, and a replay."""
    from .archive import prove_kills

    with _folder() as folder, platform_process(300) as platform:
        return prove_kills(platform, folder)


def budget(runs: int, kills: int) -> Figures:
    """Loads of as many runs as three platforms with rate limits allow in three minutes."""
    from .budget import prove

    with _folder() as folder:
        return prove(folder, (5, 10, 75))


def models(runs: int, kills: int) -> Figures:
    """What the models say about a twentieth of `runs`, and about two smaller corpora, beside the known truth."""
    from .models import prove

    with _folder() as folder:
        return prove(folder, runs // 20)


def steady(runs: int, kills: int) -> Figures:
    """A hundredth of `runs` scheduled loads in one process."""
    from .steady import prove

    with _folder() as folder, platform_process(40) as platform:
        return prove(platform, folder, runs // 100)


def warehouses(runs: int, kills: int) -> Figures:
    """Kills at twenty points of loads into PostgreSQL, DuckLake, Delta and Iceberg."""
    from .warehouses import prove

    with _folder() as folder, platform_process(40) as platform:
        return prove(platform, folder)


# scale is first: the system never reports less memory for a process than its parent had at its
# start
PROOFS: dict[str, Callable[[int, int], Figures]] = {
    "scale": scale,
    "waste": waste,
    "budget": budget,
    "exact": exact,
    "random": random,
    "postgres": postgres,
    "archive": archive,
    "models": models,
    "steady": steady,
}

ELSEWHERE = {"warehouses": warehouses, "replay": replay}
"""Proofs that need the packages of all destinations, so only their name runs them: `make prove` does."""


def main() -> int:
    """Run the proofs, print and write their figures."""
    parser = argparse.ArgumentParser(prog="proofs", description=__doc__)
    parser.add_argument("proof", nargs="*", help=f"{', '.join(PROOFS)}; default: all")
    parser.add_argument("--runs", type=int, default=100_000, help="workflow runs of the largest load")
    parser.add_argument("--kills", type=int, default=30, help="kills at random times")
    asked = parser.parse_args()
    if unknown := set(asked.proof) - PROOFS.keys() - ELSEWHERE.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    figures: Figures = []
    started = time.monotonic()
    for name, prove in (PROOFS | ELSEWHERE).items():
        if name in (asked.proof or PROOFS):
            found = prove(asked.runs, asked.kills)
            figures += found
            print(*found, sep="\n", flush=True)
    rows = _rows(figures)
    print("", *HEAD, *rows, sep="\n")
    print(f"{(time.monotonic() - started) / 60:.0f} minutes")
    if (asked.runs, asked.kills) == (100_000, 30):
        _write(rows)
    return 0 if all(figure.holds for figure in figures) else 1


def _rows(figures: Figures) -> list[str]:
    on = f"{datetime.now(UTC):%Y-%m-%d}, Python {sys.version_info[0]}.{sys.version_info[1]}"
    rows = []
    for proof, what, found, bound, holds in figures:
        cells = (proof, what, found if holds else f"**{found}**", bound, on)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return rows


def _write(rows: list[str]) -> None:
    """Replace the rows of these proofs in the document; the rows of other proofs stay."""
    text = DOCUMENT.read_text()
    before, _, rest = text.partition("<!-- prove -->")
    table, _, after = rest.partition("<!-- /prove -->")
    proofs = {_proof(row) for row in rows}
    lines = [line for line in table.strip().splitlines() if _proof(line) not in proofs]
    inner = "\n".join([*HEAD, *lines[len(HEAD) :], *rows])
    DOCUMENT.write_text(f"{before}<!-- prove -->\n{inner}\n<!-- /prove -->{after}")


def _proof(row: str) -> str:
    return row.removeprefix("| ").partition(" |")[0]


if __name__ == "__main__":
    sys.exit(main())
