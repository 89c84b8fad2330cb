"""What the sandbox was asked."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Stats:
    """Counts since the start or the last reset. `routes` is keyed "GET /workflow_runs/{id}"; `lists` and `details` count GETs with
    and without an id in the path; `throttled` counts 429 replies, `verify_reads` GETs of a single verify run, `faults` hits by kind.
    `updates` counts updates of workflow runs that were answered in full, by path.
    `seconds` is keyed by whole seconds of this machine's monotonic clock: [answered, of these refused with 429].
    Requests overlap in `in_flight` only while replies take time (latency, slow faults): the rest is answered one after another."""

    requests: int = 0
    routes: dict[str, int] = field(default_factory=dict)
    lists: int = 0
    details: int = 0
    writes: int = 0
    throttled: int = 0
    errors: int = 0
    verify_reads: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    updates: dict[str, int] = field(default_factory=dict)
    seconds: dict[int, list[int]] = field(default_factory=dict)

    def began(self, method: str, template: str) -> None:
        """A request came in; `template` is its route."""
        self.requests += 1
        key = f"{method} {template}"
        self.routes[key] = self.routes.get(key, 0) + 1
        if method != "GET":
            self.writes += 1
        elif "{" in template:
            self.details += 1
        else:
            self.lists += 1
        if key == "GET /verify_runs/{id}":
            self.verify_reads += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def answered(self, status: int) -> None:
        self.throttled += status == 429
        second = self.seconds.setdefault(int(time.monotonic()), [0, 0])
        second[0] += 1
        second[1] += status == 429
        self.errors += status >= 400

    def updated(self, path: str) -> None:
        """An update was made, and its answer left whole."""
        self.updates[path] = self.updates.get(path, 0) + 1

    def reset(self) -> None:
        """Begin counting anew; requests under way stay counted as in flight."""
        flying = self.in_flight
        self.faults.clear()
        self.__init__()  # type: ignore[misc]  # the dataclass's own defaults are the zero state
        self.in_flight = self.max_in_flight = flying

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
