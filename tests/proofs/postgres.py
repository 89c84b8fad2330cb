"""Kills of loads into PostgreSQL, which a second machine takes up; and loads of two machines at once.

A machine is a working folder with a data folder of its own: nothing is shared but the database.
"""

from __future__ import annotations

import random
from pathlib import Path

from support.postgres import doubled, locks, rows, running_server

from .kills import kill_after
from .stage import Command, Figure, Figures, Platform, exactly, must

PROOF = "kills in PostgreSQL"
CHUNK_RUNS = 60
REVIEWS = 40


def prove(platform: Platform, folder: Path, kills: int, seed: int) -> Figures:
    """Kill loads at random times, each on another machine than the one before, while runs are reviewed."""
    rng = random.Random(seed)
    done = refused = 0
    with running_server(folder) as server:
        machines = [_machine(folder / name, platform, server) for name in ("one", "two")]
        must(machines[0].run())
        platform.change(REVIEWS, added=10)
        span = must(machines[1].run()).seconds
        while done < kills:
            platform.change(REVIEWS, added=10)
            command = machines[done % 2]
            done += kill_after(command, span * rng.uniform(0.3, 1))
            # somebody starts it on the other machine at the same time as here
            here, there = machines[0].start(), machines[1].start()
            codes = {here.wait(), there.wait()}
            assert codes <= {0, 1}, [machine.errors() for machine in machines]
            refused += codes == {0, 1}
        must(machines[0].run())
        found = machines[1].run("verify", "--deep", "1000")
        twice = doubled(server, "extend")
        held = int(rows(server, "SELECT count(*) FROM extend.workflow_runs")[0][0])
        return [
            exactly(PROOF, "kills", done, kills),
            Figure(PROOF, "two loads at once, of which one was refused", f"{refused} of {done}"),
            exactly(PROOF, "tables with doubled keys", len(twice), 0),
            exactly(PROOF, "workflow runs", held, len(platform.rows("/workflow_runs"))),
            exactly(PROOF, "exit code of verify --deep 1000", found.code, 0),
            exactly(PROOF, "locks that are left", locks(server), 0),
        ]


def _machine(folder: Path, platform: Platform, server: str) -> Command:
    command = Command(folder, platform.base_url, chunk_runs=CHUNK_RUNS)
    command.arguments += ["--destination", "postgres", "--dataset", "extend"]
    command.environment["DESTINATION__POSTGRES__CREDENTIALS"] = server
    return command
