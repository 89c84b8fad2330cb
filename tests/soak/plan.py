"""PURE. What happens in a turn, drawn from the seed and the turn's number alone: equal seeds, equal plans."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from proofs.points import POINTS

from .platforms import FAULTS

CALM_EVERY = 20
"""Turns after which nothing goes wrong for a while, and the databases are compared with the platforms."""

DISRUPTIONS = (
    ("none", 30), ("signal", 26), ("point", 12), ("reader", 6), ("second", 5), ("no space", 6),
    ("scribble", 5), ("folder lost", 5), ("platform stops", 5),
)  # fmt: skip

COMMANDS = (("load", 70), ("load --publish", 12), ("load --full", 4), ("load --since", 4), ("load --max-runs", 4),
            ("sweep", 8), ("status", 5), ("verify", 6))  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """A command on a platform, what disturbs it, and what happens meanwhile."""

    number: int
    provider: str
    command: str
    arguments: tuple[str, ...]
    disruption: str
    details: dict[str, Any] = field(default_factory=dict)
    faults: tuple[tuple[str, str, dict[str, Any]], ...] = ()
    before: int = 0
    """Changes on the platforms before the command."""
    during: tuple[float, ...] = ()
    """Seconds into the command at which something changes on the platforms."""
    installed: bool = False
    """The installed command in a new interpreter, not a fork."""
    chunk_runs: int = 1000

    def __str__(self) -> str:
        what = f"turn {self.number}: docruns {self.command} {self.provider}, {self.disruption}"
        told = " ".join(f"{k}={v}" for k, v in self.details.items())
        faults = ", ".join(
            f"{kind} {how.get('status', '')} at {path}" for kind, path, how in self.faults
        )
        return f"{what} {told}; faults: {faults or 'none'}"


def changes(seed: int, number: int) -> random.Random:
    """What the platforms' changes of a turn are drawn from."""
    return random.Random(f"{seed} changes {number}")


def turn(seed: int, number: int) -> Turn:
    """The turn of that number."""
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
            # so many days ago, see `moment`
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
        # many, or one of the first requests, are not a fault but a limit, and the budget keeps to it
        how = {"times": 1, "after": 40}
    elif rng.random() < 0.15:
        # it stays, and strikes now and then
        how = {"times": None, "probability": 0.1}
    return kind, rng.choice(paths), {**details, **how}
