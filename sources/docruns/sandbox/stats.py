"""Counts of the requests that the sandbox received."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Stats:
    """Counts since the start or the last reset.

    `routes` is keyed "GET /workflow_runs/{id}". `details` counts GET requests with an id in the path, `lists`
    those without. `throttled` counts 429 replies, `verify_reads` GET requests for a single verify run,
    `faults` the faults that applied, by kind. `updates` counts by path the updates of workflow runs whose
    reply was complete. `seconds` is keyed by whole seconds of this machine's monotonic clock: [replies, of
    these 429 replies]. `in_flight` exceeds 1 only while replies take time (latency, slow faults): all other
    requests are answered one after another.
    """

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
        """Count a request that arrived; `template` is its route."""
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
        """Count an update that was made and whose reply was complete."""
        self.updates[path] = self.updates.get(path, 0) + 1

    def reset(self) -> None:
        """Set the counts to zero; requests without a reply yet stay counted in `in_flight`."""
        flying = self.in_flight
        self.faults.clear()
        self.__init__()  # type: ignore[misc]  # the dataclass's own defaults are the zero state
        self.in_flight = self.max_in_flight = flying

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
