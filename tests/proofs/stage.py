"""The environment of the proofs: a platform with HTTP controls, and the command in separate processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

PAGE_SIZE = 1000
CONCURRENCY = 16
"""Detail requests in flight; the command's default."""

RUN_LISTS = (
    "workflow_runs",
    "extract_runs",
    "classify_runs",
    "split_runs",
    "parse_runs",
    "edit_runs",
    "verify_runs",
)
UNORDERED = {"parse_runs"}
"""Lists without sorting, which every load reads to their end."""

CATALOGUE = ("workflows", "extractors", "classifiers", "splitters")
EVALUATION = "evaluation_sets"

Figures = list["Figure"]


class Figure(NamedTuple):
    """One line of the results; a figure without a bound always holds."""

    proof: str
    what: str
    found: str
    bound: str = ""
    holds: bool = True

    def __str__(self) -> str:
        mark = "" if self.holds else "  BROKEN"
        return f"{self.proof}: {self.what}: {self.found} ({self.bound or 'no bound'}){mark}"


def at_most(proof: str, what: str, found: float, bound: float, unit: str = "") -> Figure:
    """A figure with an upper bound."""
    return Figure(proof, what, f"{found:,}{unit}", f"≤ {bound:,}{unit}", found <= bound)


def exactly(proof: str, what: str, found: object, bound: object) -> Figure:
    """A figure that must equal its bound."""
    return Figure(proof, what, f"{found:,}", f"= {bound:,}", found == bound)


class Stats(NamedTuple):
    """The GET requests that a platform has answered since the last reset, by kind."""

    requests: int
    run_lists: int
    catalogue: int
    evaluation: int
    """Requests for evaluation sets and their items."""
    details: dict[str, int]
    """The detail requests by list: `workflow_runs` and the kinds of processor runs."""

    @property
    def run_details(self) -> int:
        """The number of detail requests for runs of any kind."""
        return sum(self.details.values())


class Platform:
    """A sandbox in any process, used through its HTTP controls and its API."""

    def __init__(self, url: str) -> None:
        self.base_url = f"{url}/extend"
        self._control = httpx.Client(base_url=f"{url}/_sandbox", timeout=600)
        headers = {"authorization": "Bearer proof", "x-extend-api-version": "2026-02-09"}
        self._api = httpx.Client(base_url=self.base_url, headers=headers, timeout=600)

    def close(self) -> None:
        """Close both connections."""
        self._control.close()
        self._api.close()

    def tell(self, path: str, **body: Any) -> Any:
        """Call one of the sandbox's controls."""
        return self._control.post(path, json=body).raise_for_status().json()

    def reset(self) -> None:
        """Reset the statistics."""
        self.tell("stats/reset")

    def stats(self) -> Stats:
        """The requests since the last reset."""
        counts = self._control.get("stats").raise_for_status().json()
        routes = {route.removeprefix("GET /"): n for route, n in counts["routes"].items()}
        return Stats(
            counts["requests"],
            sum(routes.get(name, 0) for name in RUN_LISTS),
            sum(n for route, n in routes.items() if route.split("/")[0] in CATALOGUE),
            sum(n for route, n in routes.items() if route.split("/")[0] == EVALUATION),
            {name: routes.get(f"{name}/{{id}}", 0) for name in RUN_LISTS},
        )

    def seconds(self) -> list[tuple[int, int]]:
        """(answers, 429s among them) for each second since the first answer."""
        found = self._control.get("stats").raise_for_status().json()["seconds"]
        counts = {int(second): (answered, refused) for second, (answered, refused) in found.items()}
        return [counts.get(second, (0, 0)) for second in range(min(counts), max(counts) + 1)]

    def rows(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """All rows of a list."""
        found: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        while True:
            asked = {"maxPageSize": PAGE_SIZE, **params, **token}
            page = self._api.get(path, params=asked).raise_for_status().json()
            found += page["data"]
            if not page.get("nextPageToken"):
                return found
            token = {"nextPageToken": page["nextPageToken"]}

    def detail(self, path: str) -> Any:
        """The full object at a path."""
        return self._api.get(path).raise_for_status().json()

    def settle(self) -> None:
        """End every workflow run: none is in progress, and none waits for a review."""
        self.tell("extend/finish")
        waiting = [row["id"] for row in self.rows("/workflow_runs", status="NEEDS_REVIEW")]
        if waiting:
            self.tell("extend/review", runs=waiting)

    def change(self, reviewed: int, added: int = 0) -> None:
        """Review `reviewed` runs again and add `added` new ones."""
        self.tell("extend/review", runs=reviewed)
        if added:
            self.tell("extend/runs", n=added, size="light")


@contextmanager
def platform_process(runs: int, latency: float = 0.0) -> Iterator[Platform]:
    """A platform in a separate process; `latency` is in seconds per request."""
    script = Path(__file__).with_name("serve.py")
    # -P: modules are not imported from the script's folder
    command = [sys.executable, "-P", str(script), str(runs), str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        platform = Platform(process.stdout.readline().strip())
        try:
            yield platform
        finally:
            platform.close()
            process.stdin.close()


class Ran(NamedTuple):
    """A load that has ended; CPU and memory are those of its process alone."""

    code: int
    seconds: float
    cpu_s: float
    peak_mb: float
    """The system's figure: never less than the memory of the parent process at the start of the load."""
    summary: dict[str, Any]
    errors: str


class Command:
    """`docruns load extend` into a database in its own folder; settings are dlt's, in lower case."""

    def __init__(self, folder: Path, base_url: str, **settings: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.database = folder / "docruns.duckdb"
        self.arguments = ["extend", "--base-url", base_url, "--json"]
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SOURCES__", "EXTEND_"))
        }
        self.environment |= {
            "DLT_DATA_DIR": str(folder / "dlt"),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
        }
        for name, value in settings.items():
            self.environment[f"SOURCES__EXTEND__{name.upper()}"] = str(value)

    def start(self, name: str = "load", *more: str) -> subprocess.Popen[bytes]:
        """Start the installed command; its output goes to files."""
        command = [str(Path(sys.executable).parent / "docruns"), name, *self.arguments, *more]
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=out, stderr=err)

    def finish(self, process: subprocess.Popen[bytes], started: float) -> Ran:
        """Wait for the end of a load; returns its figures."""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        unit = 1024 * 1024 if sys.platform == "darwin" else 1024
        return Ran(
            process.returncode,
            time.monotonic() - started,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / unit,
            self.summary(),
            self.errors(),
        )

    def run(self, name: str = "load", *more: str) -> Ran:
        """Run a load, or another command, to its end."""
        started = time.monotonic()
        return self.finish(self.start(name, *more), started)

    def summary(self) -> dict[str, Any]:
        """The last line of stdout of the last load as JSON, or an empty dict."""
        lines = (self.folder / "out").read_text().splitlines()
        return dict(json.loads(lines[-1])) if lines else {}

    def errors(self) -> str:
        """The stderr of the last load."""
        return (self.folder / "err").read_text()


def must(ran: Ran) -> Ran:
    """The same load when it succeeded, else AssertionError with its errors."""
    assert ran.code == 0, f"exit code {ran.code}\n{ran.errors}"
    assert ran.summary["complete"], ran.summary
    return ran
