"""The process that fuzzes one reader: python -m fuzz.child READER LIBFUZZER-OPTIONS…"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

import atheris

with atheris.instrument_imports(include=["docruns"], enable_loader_override=False):
    from fuzz import target

SECONDS = 5.0
"""The limit of CPU time for one input, in seconds: more counts as a hang."""

OTHER: list[Any] = [
    None, True, False, 0, -1, 2**63, 10**25, 1.5, "", "x", "id", "2026-02-09T01:02:03Z", [], {}, [[]], [{}], [None],
    {"": 1}, {"a.b": 1}, {"value": 1}, {"amount": 1, "iso_4217_currency_code": "EUR"}, {"id": "x", "type": "string"},
]  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> bytes | None:
    """JSON with one node replaced, doubled, moved or dropped; None where it is no JSON."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict | list):
        return None
    places: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        value = waiting.pop()
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for step, below in inner:
            places.append((value, step))
            if isinstance(below, dict | list):
                waiting.append(below)
    if not places:
        return None
    parent, step = rng.choice(places)
    deed = rng.randrange(6)
    if deed == 0:
        parent[step] = rng.choice(OTHER)
    elif deed == 1:
        from_, at = rng.choice(places)
        parent[step] = json.loads(json.dumps(from_[at])) if from_ is not parent else from_[at]
    elif deed == 2:
        del parent[step]
    elif deed == 3 and isinstance(parent, dict):
        parent[rng.choice([str(s) for _, s in places])] = parent[step]
    elif deed == 3:
        parent.insert(rng.randrange(len(parent) + 1), parent[step])
    elif deed == 4:
        parent[step] = [parent[step]]
    else:
        parent[step] = {rng.choice(["value", "a", "id", "", "a.b"]): parent[step]}
    try:
        return json.dumps(document, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return None


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    name = sys.argv[1]

    def one(data: bytes) -> None:
        started = time.process_time()
        target.read(name, data)
        took = time.process_time() - started
        assert took < SECONDS, f"{took:.1f} s for {len(data)} bytes"

    def custom(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        try:
            made = mutate(data, rng) if rng.random() < 0.6 else None
        except RecursionError:
            made = None
        if made is None or len(made) > max_size:
            return bytes(atheris.Mutate(data, max_size))
        return made

    atheris.Setup([sys.argv[0], *sys.argv[2:]], one, custom_mutator=custom)
    atheris.Fuzz()


main()
