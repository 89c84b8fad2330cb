"""Both platforms in a separate process, and their changes, which do not depend on the clock."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

LISTS = ("/workflow_runs", "/extract_runs", "/workflow-runs", "/extractions", "*")
SIDE_LISTS = ("/extract_runs", "/parse_runs", "/edit_runs", "/extractions")
DETAILS = ("/workflow_runs/*", "/extract_runs/*", "/workflow-runs/*", "/extractions/*")

# HTTP faults of the matrix, rows 15 to 25: kind, details, where
FAULTS: tuple[tuple[str, dict[str, Any], tuple[str, ...]], ...] = (
    ("status", {"status": 429, "retry_after": 0.2}, ("*",)),
    ("status", {"status": 429, "retry_after": "date", "seconds": 1}, ("*",)),
    ("status", {"status": 500}, ("*",)),
    ("status", {"status": 502}, ("*",)),
    ("status", {"status": 503}, ("*",)),
    ("status", {"status": 504}, ("*",)),
    ("status", {"status": 408}, ("*",)),
    ("status", {"status": 401}, DETAILS),
    ("status", {"status": 403}, LISTS),
    ("status", {"status": 402}, DETAILS),
    ("status", {"status": 404}, DETAILS),
    ("status", {"status": 410}, DETAILS),
    ("html", {}, ("*",)),
    ("empty", {}, ("*",)),
    ("error_200", {}, ("*",)),
    ("truncated_json", {}, ("*",)),
    ("bad_json", {}, ("*",)),
    ("short_body", {}, ("*",)),
    ("reset", {}, ("*",)),
    ("reset_mid", {}, ("*",)),
    ("hang", {"seconds": 1.5}, DETAILS),
    ("drip", {"seconds": 0.002}, DETAILS),
    ("latency", {"seconds": 0.5}, ("*",)),
    ("redirect", {}, DETAILS),
    ("status", {"status": 400}, SIDE_LISTS),
    ("status", {"status": 422}, SIDE_LISTS),
    ("status", {"status": 403}, DETAILS),
    ("html_status", {"status": 403}, DETAILS),
    ("no_id", {}, DETAILS),
    ("stale", {}, DETAILS),
    ("repeat_token", {}, LISTS),
    ("token_cycle", {}, LISTS),
    ("empty_page", {}, LISTS),
    ("expired_token", {}, LISTS),
    ("shuffle", {}, LISTS),
    ("duplicate", {}, LISTS),
)

# rows 28 and 30 to 32: dates and values that are hard to store
ODD_VALUES = (
    '{"a": 1}', '{"a": "1"}', '{"a": 1.5}', '{"a": {"b": 1}}', '{"a": [1, 2, 3]}', "{}",
    '{"n": 12345678901234567890123, "m": 1e999, "z": -0.0}', '{"s": "a\\u0000b", "t": "\\ud800"}',
    '{"Ünï": 1, "unï": 2, "": 3, "a.b[0]": 4, "' + "x" * 300 + '": 5}',
    '{"deep": ' + "[" * 150 + "1" + "]" * 150 + "}", '{"_dlt_id": "x", "select": 1, "9lead": 2}',
)  # fmt: skip
FUTURE = "2099-01-01T00:00:00Z"


class Platforms:
    """The sandbox, used through its HTTP controls."""

    def __init__(self, url: str, pid: int) -> None:
        self.pid = pid
        self.urls = {"extend": f"{url}/extend", "plextera": f"{url}/plextera/api/public/v1"}
        self._control = httpx.Client(base_url=f"{url}/_sandbox", timeout=120)
        self._ids: dict[str, list[str]] = {"extend": [], "plextera": []}
        self._bad: list[str] = []
        self._odd = 0
        self.changes = 0

    def close(self) -> None:
        """Close the connection."""
        self._control.close()

    def tell(self, path: str, /, **body: Any) -> Any:
        """Call one of the sandbox's controls."""
        answer = self._control.post(path, json=body)
        if answer.is_error:
            raise ValueError(f"{path} {body}: {answer.text}")
        return answer.json()

    def fault(self, kind: str, path: str, details: dict[str, Any]) -> None:
        """Add a fault."""
        self.tell("faults", kind=kind, path=path, **details)

    def clear_faults(self) -> None:
        """Remove every fault."""
        self._control.delete("faults").raise_for_status()

    def hits(self) -> dict[str, int]:
        """The number of faults that have applied, by kind."""
        return dict(self._control.get("stats").raise_for_status().json()["faults"])

    def change(self, rng: random.Random) -> None:
        """Make one change on one of the platforms."""
        self.changes += 1
        name = rng.choice(("extend", "extend", "plextera"))
        kind = rng.choice(("add", "add", "work", "work", "finish", "end", "delete", "delete", "odd"))
        if kind == "add":
            status = rng.choice(("done", "done", "open"))
            self._add(name, rng.randint(1, 3), status, rng)
        elif kind == "work" and name == "extend":
            together = rng.random() < 0.3
            self.tell("extend/review", runs=rng.randint(1, 6), together=together)
        elif kind == "work":
            self.tell("plextera/reprocess", target=rng.randint(1, 3), finish=rng.random() < 0.7)
        elif kind == "finish":
            what = {"extend": "runs", "plextera": "target"}[name]
            self.tell(f"{name}/finish", **{what: rng.randint(1, 4)})
        elif kind == "odd":
            self._put_odd(rng)
        elif self._ids[name]:
            ids = self._ids[name]
            id_ = ids.pop(rng.randrange(len(ids)))
            self.tell(f"{name}/{'fail' if kind == 'end' else 'delete'}", id=id_)

    def _add(self, name: str, n: int, status: str, rng: random.Random) -> None:
        done = {"extend": "PROCESSED", "plextera": "COMPLETED"}[name]
        opened = rng.choice({"extend": ("PENDING", "PROCESSING"), "plextera": ("PROCESSING",)}[name])
        given: dict[str, Any] = {
            "n": n,
            "size": "light",
            "status": done if status == "done" else opened,
        }
        if name == "plextera" and status == "done" and rng.random() < 0.3:
            given["depth"] = rng.randint(1, 3)
        if name == "extend" and status == "done" and rng.random() < 0.3:
            given["status"] = rng.choice(("FAILED", "NEEDS_REVIEW", "REJECTED"))
        self._ids[name] += self.tell(f"{name}/runs", **given)["ids"]

    def _put_odd(self, rng: random.Random) -> None:
        """Put a run that is hard to store, or one that no load can read until it is repaired."""
        self._odd += 1
        id_ = f"exr_odd_{rng.randint(1, 12)}"
        row = {"object": "extract_run", "id": id_, "status": "PROCESSED"}
        if rng.random() < 0.1:
            # a separate run, because the dates of a run never decrease
            row |= {"id": f"exr_future_{self._odd}", "updatedAt": FUTURE}
            id_ = row["id"]
        if rng.random() < 0.25:
            self.tell("extend/put", detail='{"id": "somebody_else"}', summary=row, resource="extract_runs")
            self._bad.append(id_)
            return
        self._mend(id_, rng.choice(ODD_VALUES), row)

    def _mend(self, id_: str, value: str, row: dict[str, Any]) -> None:
        body = json.dumps({**row, "config": {}})[:-1]
        body += f', "output": {{"value": {value}, "metadata": {{}}}}}}'
        self.tell("extend/put", detail=body, summary=row, resource="extract_runs")
        self._bad = [bad for bad in self._bad if bad != id_]

    def settle(self) -> None:
        """Remove the faults, end unfinished runs, and repair unreadable ones."""
        self.clear_faults()
        for name in self.urls:
            self.tell(f"{name}/finish")
        for id_ in sorted(set(self._bad)):
            self._mend(id_, "{}", {"object": "extract_run", "id": id_, "status": "PROCESSED"})

    @property
    def bad(self) -> int:
        """The number of runs that no load can read."""
        return len(set(self._bad))


@contextmanager
def platforms(runs: int, seed: int) -> Iterator[Platforms]:
    """Both platforms in a process, which is stopped afterwards."""
    script = Path(__file__).with_name("serve.py")
    command = [sys.executable, "-P", str(script), str(runs), str(seed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        both = Platforms(process.stdout.readline().strip(), process.pid)
        try:
            yield both
        finally:
            both.close()
            process.stdin.close()
