"""An archive: what a replay makes of it is what the loads have made, also after kills at any point of a load.

loads, killed in between ──► database, archive ──► replay ──► DuckDB, Delta: the same cells; the next load asks for nothing
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from .children import Children
from .compare import differences
from .kills import kill_after, runs
from .points import POINTS
from .stage import CONCURRENCY, Command, Figure, Figures, Platform, exactly, must

REPLAY = "replay"
KILLS = "kills with an archive"
LOADS = 5
FOLDER = "answers"
"""The folder of an archive, in that of its loads."""

AT = (
    "docruns.store.archive.writing:ArchiveWriter.begin",
    "docruns.store.archive.writing:PartFile.write",
    "docruns.store.archive.writing:ArchiveWriter.finish",
    "docruns.store.archive.writing:PartFile.finish",
    "docruns.store.archive.folder:Folder.flush",
    "docruns.store.archive.folder:Folder.finish",
    "x1 in extract",
    "x2 before the state is extracted",
    "x3 before extract's commit",
    "x4 after extract's commit",
    "n1 before normalize's rename",
    "n3 after normalize",
    "l2 after tables are made",
    "l5 some ready",
    "l6 third table, deleted, not inserted",
    "l8 some tables merged",
    "l8 only workflow_runs merged",
    "l9 before _dlt_loads",
    "l10 after _dlt_loads",
    "between packages",
)
"""Where loads are killed: before functions of the archive, and at points of `points`."""


def prove(platform: Platform, folder: Path, seed: int) -> Figures:
    """Load five times, with kills, reviews, new and deleted runs in between; replay into DuckDB and Delta."""
    rng, killed = random.Random(seed), 0
    command = Command(folder / "loaded", platform.base_url, chunk_runs=2000, archive=FOLDER)
    for number in range(LOADS):
        if number:
            _change(platform, rng, command)
        # a later load takes a few seconds
        killed += kill_after(command, rng.uniform(10, 15) if number == 0 else rng.uniform(1.2, 2.5))
        must(command.run())
    archive = command.folder / FOLDER
    replayed = _replay(folder / "replayed", platform, archive)
    figures = [
        Figure(REPLAY, "loads, of which were killed before they ended", f"{LOADS}, {killed}"),
        *_compared(command, replayed, platform),
    ]
    lake = ("--destination", "filesystem", "--table-format", "delta")
    delta = _replay(folder / "delta", platform, archive, *lake)
    delta.arguments = ["extend", *lake, "--against", str(replayed.database), "--json"]
    verified = delta.run("verify")
    figures.append(exactly(REPLAY, "Delta, exit code of verify --against the DuckDB file", verified.code, 0))
    rows = int(verified.summary.get("rows_compared", 0))
    figures.append(Figure(REPLAY, "Delta, rows compared", f"{rows:,}", "> 0", rows > 0))
    return figures


def _change(platform: Platform, rng: random.Random, command: Command) -> None:
    """Reviews, new runs and deleted ones, which a sweep marks."""
    platform.change(reviewed=100, added=20)
    platform.tell("extend/finish")
    for row in rng.sample(platform.rows("/workflow_runs"), 3):
        platform.tell("extend/delete", id=row["id"])
    swept = command.run("sweep")
    assert swept.code == 0, swept.errors


def _replay(folder: Path, platform: Platform, archive: Path, *options: str) -> Command:
    """Replay an archive into a destination in a folder of its own."""
    command = Command(folder, platform.base_url)
    command.environment["DESTINATION__FILESYSTEM__BUCKET_URL"] = str(folder / "lake")
    command.arguments = ["extend", "--archive", str(archive), "--json", *options]
    platform.reset()
    must(command.run("replay"))
    assert platform.stats().requests == 0
    return command


def _compared(loaded: Command, replayed: Command, platform: Platform) -> Figures:
    """The replayed database beside the one that was loaded, and what the load after the replay asks for."""
    different = differences(loaded.database, replayed.database)
    replayed.arguments = list(loaded.arguments)
    platform.reset()
    must(replayed.run())
    after = platform.stats()
    different_after = differences(loaded.database, replayed.database)
    return [
        Figure(REPLAY, "tables that differ", "; ".join(different) or "none", "none", not different),
        exactly(REPLAY, "details that the next load asks for", after.run_details, 0),
        Figure(
            REPLAY,
            "tables that differ after that load",
            "; ".join(different_after) or "none",
            "none",
            not different_after,
        ),
    ]


def prove_kills(platform: Platform, folder: Path) -> Figures:
    """Kill a load with an archive at each point, load once more, and replay: the replay is what was loaded."""
    with Children() as children:
        before = _loading(folder / "before", platform)
        assert runs(children)(before, None) == 0, before.errors()
        platform.change(reviewed=60, added=20)
        platform.tell("extend/finish")
        wrong = {name: found for name in AT if (found := _kill_at(children, platform, before, name))}
    figures = [
        exactly(KILLS, "points after which a replay is what was loaded", len(AT) - len(wrong), len(AT))
    ]
    figures += [Figure(KILLS, name, "; ".join(found)[:300], "none", False) for name, found in wrong.items()]
    return figures


def _loading(folder: Path, platform: Platform) -> Command:
    return Command(folder, platform.base_url, chunk_runs=50, concurrency=CONCURRENCY, archive=FOLDER)


def _kill_at(children: Children, platform: Platform, before: Command, name: str) -> list[str]:
    command = _loading(before.folder.parent / "".join(c if c.isalnum() else "_" for c in name), platform)
    if name not in POINTS or not POINTS[name].first:
        shutil.copy(before.database, command.database)
        shutil.copytree(before.folder / FOLDER, command.folder / FOLDER)
    run = runs(children)
    if (code := run(command, name)) != -9:
        return [f"was not killed: exit code {code}: {command.errors()[-200:]}"]
    if (code := run(command, None)) != 0:
        return [f"the next load ends with {code}: {command.errors()[-200:]}"]
    again = command.folder / "again.duckdb"
    options = ("extend", "--archive", FOLDER, "--database", again.name)
    replayed = children.run(command.folder, "replay", *options)
    if replayed.code != 0:
        return [f"the replay ends with {replayed.code}: {replayed.err[-200:]}"]
    found = differences(command.database, again)
    shutil.rmtree(command.folder)
    return found
