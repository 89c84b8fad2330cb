"""The actions of a turn, drawn only from the seed and the turn's number: equal seeds, equal plans."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from proofs.points import POINTS

from .platforms import FAULTS

CALM_EVERY = 20
"""The number of turns before a pause without faults, in which the databases are compared with the
platforms."""

DISRUPTIONS = (
    ("none", 30), ("signal", 26), ("point", 12), ("reader", 6), ("second", 5), ("no space", 6),
    ("scribble", 5), ("folder lost", 5), ("platform stops", 5),
)  # fmt: skip

COMMANDS = (("load", 70), ("load --publish", 12), ("load --full", 4), ("load --since", 4), ("load --max-runs", 4),
            ("sweep", 8), ("status", 5), ("verify", 6))  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """A command on a platform, its disruption, and the changes during it."""

    number: int
    provider: str
    command: str
    arguments: tuple[str, ...]
    disruption: str
    details: dict[str, Any] = field(default_factory=dict)
    faults: tuple[tuple[str, str, dict[str, Any]], ...] = ()
    before: int = 0
    """The number of changes on the platforms before the command."""
    during: tuple[float, ...] = ()
    """The seconds after the command's start at which the platforms change."""
    installed: bool = False
    """Whether the installed command runs in a new interpreter, not in a fork."""
    chunk_runs: int = 1000

    def __str__(self) -> str:
        what = f"turn {self.number}: docruns {self.command} {self.provider}, {self.disruption}"
        told = " ".join(f"{k}={v}" for k, v in self.details.items())
        faults = ", ".join(f"{kind} {how.get('status', '')} at {path}" for kind, path, how in self.faults)
        return f"{what} {told}; faults: {faults or 'none'}"


def changes(seed: int, number: int) -> random.Random:
    """The random generator for the platforms' changes in a turn."""
    return random.Random(f"{seed} changes {number}")


def turn(seed: int, number: int) -> Turn:
    """The turn with that number."""
    rng = random.Random(f"{seed} turn {number}")
    provider = rng.choice(("extend", "extend", "plextera"))
    command = _one_of(rng, COMMANDS)
    disruption = _one_of(rng, DISRUPTIONS)
    return Turn(
        number,
        provider,
        command.partition(" ")[0],
        _arguments(rng, command),
        disruption,
        _details(rng, disruption),
        tuple(_fault(rng) for _ in range(rng.choice((0, 0, 1, 1, 2, 3)))),
        rng.randint(0, 5),
        tuple(sorted(rng.uniform(0, 1.5) for _ in range(rng.choice((0, 0, 1, 3))))),
        installed=rng.random() < 0.06,
        chunk_runs=rng.choice((3, 10, 1000)),
    )


def _one_of(rng: random.Random, weighted: tuple[tuple[str, int], ...]) -> str:
    return rng.choices([name for name, _ in weighted], [weight for _, weight in weighted])[0]


def _arguments(rng: random.Random, command: str) -> tuple[str, ...]:
    match command:
        case "load --publish":
            return ("--publish", "copy.duckdb")
        case "load --full":
            return ("--full",)
        case "load --since":
            # that many days ago, see `moment`
            until = rng.choice(((), ("--until", "@0.05")))
            return ("--since", f"@{rng.randint(1, 40)}", *until)
        case "load --max-runs":
            return ("--max-runs", str(rng.randint(1, 20)))
        case "verify":
            return rng.choice(((), ("--deep", "3")))
    return ()


def _details(rng: random.Random, disruption: str) -> dict[str, Any]:
    match disruption:
        case "signal":
            sent = rng.choice(("KILL", "KILL", "TERM", "INT"))
            return {"sent": sent, "after": round(rng.uniform(0.2, 3.0), 2)}
        case "point" | "scribble":
            sent = rng.choice(("KILL", "KILL", "KILL", "TERM")) if disruption == "point" else "KILL"
            return {"point": rng.choice(sorted(POINTS)), "sent": sent}
        case "reader":
            return {
                "how": rng.choice(("read", "write")),
                "seconds": round(rng.uniform(0.3, 3.0), 2),
            }
        case "no space":
            return {"bytes": rng.choice((20_000, 300_000, 600_000))}
        case "folder lost":
            return {"after": round(rng.uniform(0.2, 2.0), 2)}
        case "platform stops":
            return {
                "after": round(rng.uniform(0.1, 1.0), 2),
                "seconds": round(rng.uniform(0.3, 2.0), 2),
            }
    return {}


def _fault(rng: random.Random) -> tuple[str, str, dict[str, Any]]:
    kind, details, paths = rng.choice(FAULTS)
    how: dict[str, Any] = {"times": rng.randint(1, 3), "after": rng.choice((0, 0, 2, 10))}
    if details.get("status") == 429:
        # several 429s, or one among the first requests, are a limit and not a fault, and the budget
        # obeys it
        how = {"times": 1, "after": 40}
    elif rng.random() < 0.15:
        # a permanent fault that applies now and then
        how = {"times": None, "probability": 0.1}
    return kind, rng.choice(paths), {**details, **how}
