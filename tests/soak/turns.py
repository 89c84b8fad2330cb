"""One turn: the platforms change, faults are added, a command runs with a disruption, and its result is
checked."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from docruns.commands.health.status import reports
from docruns.store.target import Target, working_folder
from proofs.children import Child, Children, Ended, plain_environment
from proofs.compare import doubled_keys, doubled_packages

from .plan import Turn, changes, turn
from .platforms import Platforms

QUICK = [6, 0.05, 1.0, 60.0, 60.0]
"""Attempts, first wait, longest wait, deadline of requests: short, because a soak has no minutes to wait."""

HOLD = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read")
print("held", flush=True)
sys.stdin.read()
"""

SAID_IN_VAIN = ("Traceback (most recent", "Exception ignored", "nanobind", "Warning:")


class Looked(NamedTuple):
    """The result of a turn."""

    turn: Turn
    code: int
    seconds: float
    complaints: tuple[str, ...]
    err: str = ""


class Turns:
    """Runs turns in one folder: one database, both platforms, one working folder, one temporary folder."""

    def __init__(self, folder: Path, both: Platforms, seed: int) -> None:
        self.folder, self.both, self.seed = folder, both, seed
        self.database = folder / "docruns.duckdb"
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.codes: Counter[str] = Counter()
        self.disturbed: Counter[str] = Counter()
        self.commands: Counter[str] = Counter()
        self.peaks: list[float] = []
        self.left_by_kills = 0
        self._killed: set[str] = set()
        self._children, self._others = Children(), Children()

    def __enter__(self) -> Turns:
        self._children.__enter__()
        self._others.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._children.__exit__(None, None, None)
        self._others.__exit__(None, None, None)

    def play(self, number: int) -> Looked:
        """Run one turn of the plan."""
        one = turn(self.seed, number)
        rng = changes(self.seed, number)
        for _ in range(one.before):
            self.both.change(rng)
        for kind, path, details in one.faults:
            self.both.fault(kind, path, details)
        # the limit that an earlier load measured has ended
        shutil.rmtree(self.folder / "dlt" / "docruns" / "budgets", ignore_errors=True)
        meddling = threading.Thread(target=self._meddle, args=(one, rng))
        meddling.start()
        try:
            ended = self._run(one)
        finally:
            meddling.join()
            self.both.clear_faults()
        complaints = [*self._judge(one, ended), *self._tidy(one, ended)]
        self.codes[_code(ended.code)] += 1
        self.disturbed[one.disruption] += 1
        self.commands[one.command] += 1
        return Looked(one, ended.code, ended.seconds, tuple(complaints), ended.err)

    def calm(self, deep: int, number: int) -> list[str]:
        """Load, sweep and verify without faults: the database must equal the platforms; returns the
        differences."""
        wrong: list[str] = []
        for name in self.both.urls:
            for at, command in enumerate((("load",), ("sweep",), ("load",), ("verify", "--deep", str(deep)))):
                seeded = ("--seed", str(number)) if command[0] == "verify" else ()
                ended = self._start((*command, *seeded), name, {}).wait()
                fine = {0, 3} if self.both.bad and name == "extend" else {0}
                if at == 0 and _has_deleted_run(ended.out):
                    # a run that failed before and is deleted by now: the first 404 marks nothing
                    fine = {0, 3}
                if ended.code not in fine:
                    said = f"{ended.out[-1500:]}\n{ended.err[-1500:]}"
                    wrong.append(f"calm {' '.join(command)} {name} ended with {ended.code}: {said}")
                if command == ("load",):
                    self.peaks.append(ended.peak_mb)
        if left := self._lying_about(*self.both.urls):
            wrong.append(f"files left over: {left}")
        return wrong

    def _meddle(self, one: Turn, rng: random.Random) -> None:
        started = time.monotonic()
        for at in one.during:
            time.sleep(max(0.0, started + at - time.monotonic()))
            self.both.change(rng)

    def _start(
        self, command: tuple[str, ...], provider: str, how: dict[str, object], chunk_runs: int = 1000,
        children: Children | None = None,
    ) -> Child:  # fmt: skip
        arguments = (*command, "--json")
        if command[0] != "status":
            url = ("--base-url", self.both.urls[provider])
            arguments = (command[0], provider, *url, *command[1:], "--json")
        return (children or self._children).start(
            self.folder, *arguments, environment=self._environment(chunk_runs), retry=QUICK, **how
        )

    def _environment(self, chunk_runs: int) -> dict[str, str]:
        return {
            "TMPDIR": str(self.temporary),
            "LOAD__RAISE_ON_MAX_RETRIES": "1",
            **{f"SOURCES__{name.upper()}__CHUNK_RUNS": str(chunk_runs) for name in self.both.urls},
            **{f"SOURCES__{name.upper()}__OVERLAP": "15m" for name in self.both.urls},
        }

    def _run(self, one: Turn) -> Ended:
        if one.installed and one.disruption in ("none", "signal", "platform stops"):
            return self._installed(one)
        how: dict[str, object] = {}
        if one.disruption in ("point", "scribble"):
            how = {"point": one.details["point"], "signal": one.details["sent"]}
        if one.disruption == "no space":
            size = self.database.stat().st_size if self.database.exists() else 0
            how = {"file_bytes": size + one.details["bytes"]}
        with self._disturbance(one):
            command = (one.command, *map(moment, one.arguments))
            child = self._start(command, one.provider, how, one.chunk_runs)
            self._strike(one, lambda sent: child.send(sent))
            return child.wait()

    def _installed(self, one: Turn) -> Ended:
        """Run the installed command in a new interpreter."""
        arguments = [one.command]
        if one.command != "status":
            url = self.both.urls[one.provider]
            arguments += [one.provider, "--base-url", url, *map(moment, one.arguments)]
        command = [str(Path(sys.executable).parent / "docruns"), *arguments, "--json"]
        environment = {**plain_environment(self.folder), **self._environment(one.chunk_runs)}
        started = time.monotonic()
        with subprocess.Popen(
            command, cwd=self.folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            # the interpreter needs time to start
            time.sleep(1.5)
            self._strike(one, process.send_signal)
            out, err = process.communicate()
        return Ended(process.returncode, time.monotonic() - started, 0.0, 0.0, out, err)

    def _strike(self, one: Turn, send: Callable[[signal.Signals], None]) -> None:
        """Disturb a running command once, at a given time."""
        if one.disruption == "signal":
            time.sleep(one.details["after"])
            try:
                send(signal.Signals[f"SIG{one.details['sent']}"])
            except ProcessLookupError:
                return
        elif one.disruption == "folder lost":
            time.sleep(one.details["after"])
            shutil.rmtree(self.folder / "dlt", ignore_errors=True)
        elif one.disruption == "platform stops":
            time.sleep(one.details["after"])
            os.kill(self.both.pid, signal.SIGSTOP)
            time.sleep(one.details["seconds"])
            os.kill(self.both.pid, signal.SIGCONT)

    @contextmanager
    def _disturbance(self, one: Turn) -> Iterator[None]:
        """Disturb a command from its start to its end."""
        if one.disruption == "reader" and self.database.exists():
            command = [sys.executable, "-c", HOLD, str(self.database), one.details["how"]]
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as reader:
                assert reader.stdin is not None
                assert reader.stdout is not None
                reader.stdout.readline()
                timer = threading.Timer(one.details["seconds"], reader.stdin.close)
                timer.start()
                yield
                timer.join()
        elif one.disruption == "second":
            other = self.folder / "second"
            other.mkdir(exist_ok=True)
            environment = {
                **self._environment(one.chunk_runs),
                "DLT_DATA_DIR": str(self.folder / "dlt"),
            }
            url = self.both.urls[one.provider]
            second = self._others.start(
                other, "load", one.provider, "--base-url", url, "--database", str(self.database),
                "--json", environment=environment, retry=QUICK,
            )  # fmt: skip
            yield
            ended = second.wait()
            self._second = ended
        else:
            yield

    def _judge(self, one: Turn, ended: Ended) -> list[str]:
        """The errors in the result of a turn."""
        fine = {0, 3}
        if one.faults or one.disruption == "platform stops":
            fine |= {1, 4}
        if one.disruption in ("reader", "second", "no space", "folder lost"):
            fine |= {1}
        if one.command in ("verify", "status") or "--max-runs" in one.arguments:
            fine |= {1, 2}
        if one.command == "sweep":
            # there may be nothing loaded yet to sweep
            fine |= {2}
        if one.disruption in ("signal", "point", "scribble"):
            fine |= {{"KILL": -9, "TERM": 143, "INT": 130}[one.details["sent"]]}
        wrong = []
        if ended.code not in fine:
            wrong.append(f"ended with {ended.code}")
        if ended.code == 1 and one.command != "verify" and "docruns: " not in ended.err:
            wrong.append("failed without a message")
        said = ended.err.replace("with message Traceback (most recent", "")
        wrong += [f"said {word!r}" for word in SAID_IN_VAIN if word in said]
        if one.disruption == "second":
            second = self._second
            if second.code not in (0, 1, 3, 4):
                wrong.append(f"the second one ended with {second.code}: {second.err[-500:]}")
            wrong += [
                f"the second one said {w!r}: {second.err[-1500:]}" for w in SAID_IN_VAIN if w in second.err
            ]
        return wrong

    def _tidy(self, one: Turn, ended: Ended) -> list[str]:
        """The files left over.

        After `kill -9` this removes those that no later command would remove.
        """
        if one.disruption == "scribble":
            for path in self._work(one.provider).rglob("*"):
                if path.is_file():
                    path.write_bytes(b'{"nonsense": ' + path.read_bytes()[:60])
        if one.command in ("load", "sweep") and ended.code in (0, 3):
            self._killed.discard(one.provider)
        if ended.code == -9:
            # its files stay until the next load of that platform
            self._killed.add(one.provider)
            for path in self.temporary.iterdir():
                self.left_by_kills += 1
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            return []
        left = self._lying_about(*({one.provider} - self._killed))
        return [f"files left over: {left}"] if left else []

    def _lying_about(self, *providers: str) -> list[str]:
        """Temporary files, unfinished copies, and files in the working folders of these providers."""
        found = list(self.temporary.iterdir())
        found += [path for path in self.folder.iterdir() if path.suffix == ".part"]
        for name in providers:
            work = self._work(name)
            found += [path for path in work.rglob("*") if path.is_file()]
            note = work.with_suffix(".lock.json")
            found += [note] if note.exists() else []
        return sorted(str(path.relative_to(self.folder)) for path in found)[:20]

    def _work(self, provider: str) -> Path:
        """The working folder of a load."""
        name = working_folder(Target(provider, self.database)).name
        return self.folder / "dlt" / "docruns" / name


def moment(argument: str) -> str:
    """@12 as the time twelve days ago; any other argument unchanged."""
    if not argument.startswith("@"):
        return argument
    return (datetime.now(UTC) - timedelta(days=float(argument[1:]))).isoformat()


def _code(code: int) -> str:
    names = {
        0: "0 all loaded",
        1: "1 failed",
        2: "2 wrong use",
        3: "3 some quarantined",
        4: "4 key refused",
    }
    names |= {-9: "killed", 143: "143 SIGTERM", 130: "130 SIGINT"}
    return names.get(code, str(code))


def verdict(database: Path) -> dict[str, int]:
    """Counts that must be zero after every turn."""
    found = {}
    for report in reports(database, dict):
        name = report["dataset"]
        found[f"{name}, half-loaded packages"] = int(report["half_loaded_packages"])
        found[f"{name}, doubled keys"] = doubled_keys(database, name)
        found[f"{name}, packages counted twice"] = doubled_packages(database, name)
    return found


def summary_of(out: str) -> dict[str, object]:
    """The JSON object that a command printed last."""
    return dict(json.loads(out.splitlines()[-1]))


def _has_deleted_run(out: str) -> bool:
    """A load's summary says that all that is missing are runs that the platform answered with 404."""
    lines = out.splitlines()
    summary = json.loads(lines[0]) if lines and lines[0].startswith("{") else {}
    others = ("quarantined", "failed_lists", "incomplete_lists")
    return bool(summary.get("gone")) and not any(summary[name] for name in others)
