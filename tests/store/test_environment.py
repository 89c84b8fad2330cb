"""Private files, no telemetry, and a warning about secrets that others can read."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from docruns.commands import load
from docruns.commands.load import Summary, load_runs
from docruns.commands.reconcile.sweep import sweep_deleted
from docruns.commands.reconcile.verify import verify_runs
from docruns.core.errors import DocrunsError
from docruns.providers.extend import connect_extend
from docruns.sandbox import Sandbox
from docruns.store import pipeline
from docruns.store.process.environment import private_files
from docruns.store.target import Target
from support.loading import Loader


def modes(*places: Path) -> dict[str, int]:
    """The mode of every file and folder in some folders."""
    found = {}
    for place in places:
        for path in place.rglob("*"):
            found[str(path.relative_to(place))] = stat.S_IMODE(path.lstat().st_mode)
    return found


def open_to_others(found: dict[str, int]) -> dict[str, str]:
    """Those that others than their owner may read, write or enter."""
    return {path: oct(mode) for path, mode in found.items() if mode & 0o077}


@pytest.fixture
def open_mask() -> Iterator[None]:
    """An umask of 0: a file is created with access for everybody."""
    mask = os.umask(0)
    yield
    os.umask(mask)


@pytest.fixture
def workshop(tmp_path: Path, open_mask: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the database, and a path for dlt's folder, which does not exist yet."""
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "somewhere" / "dlt"))
    monkeypatch.setenv("LOAD__DELETE_COMPLETED_JOBS", "false")
    (tmp_path / "data").mkdir(mode=0o755)
    return tmp_path


def test_everything_is_its_owner_s_alone(
    workshop: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an umask of 0, a library's load, sweep and verify create only private files: database, log,
    packages with documents, lock and published copy, checked during the work and after it."""
    seen: dict[str, int] = {}
    remove, checkpoint = shutil.rmtree, pipeline.checkpoint_aside

    def look() -> None:
        seen.update(modes(workshop / "data", workshop / "somewhere"))

    def removed(path: Any, **how: Any) -> None:
        look()
        remove(path, **how)

    def checked(*arguments: Any) -> Any:
        look()
        return checkpoint(*arguments)

    monkeypatch.setattr("docruns.store.pipeline.shutil.rmtree", removed)
    monkeypatch.setattr(load, "checkpoint_aside", checked)
    target = Target("extend", workshop / "data" / "d.duckdb")
    platform = connect_extend(base_url=sandbox.extend_url)
    load_runs(platform, target, lambda *_: look(), publish=workshop / "data" / "copy.duckdb")
    sweep_deleted(platform, target)
    verify_runs(platform, target, deep=3)
    look()
    assert open_to_others(seen) == {}
    assert {"d.duckdb", "d.duckdb.wal", "copy.duckdb", "dlt", "dlt/docruns"} <= seen.keys()
    assert any(path.endswith(".parquet") for path in seen)
    assert any(path.endswith(".lock") for path in seen)
    assert any(path.endswith("trace.pickle") for path in seen)
    assert os.umask(0) == 0


def test_files_that_are_there_keep_their_mode(workshop: Path, sandbox: Sandbox) -> None:
    """A mode that the user has given to a database or a copy is kept by later loads."""
    database, copy = workshop / "data" / "d.duckdb", workshop / "data" / "copy.duckdb"
    load_runs(connect_extend(base_url=sandbox.extend_url), Target("extend", database), publish=copy)
    database.chmod(0o640)
    copy.chmod(0o644)
    sandbox.extend.add(2)
    sandbox.extend.finish()
    load_runs(connect_extend(base_url=sandbox.extend_url), Target("extend", database), publish=copy)
    assert modes(workshop / "data") == {"d.duckdb": 0o640, "copy.duckdb": 0o644}


def test_a_killed_load_too(workshop: Path, sandbox: Sandbox) -> None:
    """The files that a killed load leaves behind are private."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from dlt.destinations.job_client_impl import SqlLoadJob\n"
        "SqlLoadJob.run = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from docruns.providers.extend import connect_extend\n"
        "from docruns.commands.load import load_runs\n"
        "from docruns.store.target import Target\n"
        "os.umask(0)\n"
        "load_runs(connect_extend(base_url=sys.argv[1]), "
        "Target('extend', Path('data/d.duckdb')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, sandbox.extend_url], check=False, cwd=workshop)
    assert done.returncode == -9
    found = modes(workshop / "data", workshop / "somewhere")
    assert open_to_others(found) == {}
    assert {"d.duckdb", "d.duckdb.wal"} <= found.keys()
    assert any(path.endswith(".parquet") for path in found)


def test_the_mask_is_given_back(open_mask: None) -> None:
    """After loads that succeed, fail, or overlap in several threads, the process has its earlier mask."""

    def mask() -> int:
        now = os.umask(0o077)
        os.umask(now)
        return now

    with private_files():
        assert mask() == 0o077
        with private_files():
            pass
        assert mask() == 0o077
    assert mask() == 0
    with pytest.raises(DocrunsError), private_files():
        raise DocrunsError("x")
    assert mask() == 0
    inside, done = threading.Barrier(4), threading.Barrier(4)

    def work() -> None:
        with private_files():
            inside.wait(10)
            done.wait(10)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    assert mask() == 0o077
    done.wait(10)
    for thread in threads:
        thread.join()
    assert mask() == 0


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder and a home without configuration, as cron has them; no setting mentions telemetry."""
    monkeypatch.delenv("RUNTIME__DLTHUB_TELEMETRY")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path


AUDIT = """
import atexit, json, sys

places = set()

def heard(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        places.add(str(arguments[1]))
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        places.add(str(arguments[0]))

sys.addaudithook(heard)
atexit.register(lambda: open("places.json", "w").write(json.dumps(sorted(places))))
"""
# root's own configuration is not in a home, but the machine's: dlt looks for it in /var
NOT_ROOT = "import os\nos.geteuid = lambda: 1000\n"
COMMAND = "from docruns.commands.cli.main import run\nrun()\n"
LIBRARY = """
from pathlib import Path
from docruns.providers.extend import connect_extend
from docruns.commands.load import load_runs
from docruns.store.target import Target
target = Target("extend", Path("d.duckdb"))
load_runs(connect_extend(base_url=sys.argv[-1]), target)
"""


def places(folder: Path, script: str, *arguments: str, **environment: str) -> list[str]:
    """The addresses that a process connects to, and the names that it looks up."""
    done = subprocess.run(
        [sys.executable, "-c", AUDIT + script, *arguments], cwd=folder, check=False,
        env={**os.environ, **environment}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(json.loads((folder / "places.json").read_text()))


def address(sandbox: Sandbox) -> list[str]:
    """The sandbox as a socket's address, and as a name that is looked up."""
    return [str(("127.0.0.1", sandbox.port))]


@pytest.mark.fault(35)
@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        (COMMAND, ("load", "extend", "--base-url")),
        (COMMAND, ("check", "extend", "--base-url")),
        (COMMAND, ("load", "plextera", "--base-url")),
        (LIBRARY, ()),
    ],
)
def test_only_the_platform_is_talked_to(
    script: str, arguments: tuple[str, ...], sandbox: Sandbox, elsewhere: Path
) -> None:
    """A command or a library's load connects to the API's host only, looks up no other name, and lets DuckDB
    download no extension: there is no telemetry and no update check."""
    url = sandbox.plextera_url if "plextera" in arguments else sandbox.extend_url
    found = places(elsewhere, script, *arguments, url)
    assert [place for place in found if place != "127.0.0.1"] == address(sandbox)
    assert not (elsewhere / "home" / ".duckdb").exists()


@pytest.fixture
def telemetry() -> Iterator[str]:
    """The URL of a server that accepts telemetry."""

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taker) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("where", ["environment", "config.toml", "global config.toml"])
def test_a_user_s_own_word_counts(
    where: str, telemetry: str, sandbox: Sandbox, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Telemetry stays on where the user has switched it on, in the environment or in a file."""
    text = f'[runtime]\ndlthub_telemetry = true\ndlthub_telemetry_endpoint = "{telemetry}"\n'
    environment = {}
    if where == "environment":
        environment = {
            "RUNTIME__DLTHUB_TELEMETRY": "true",
            "RUNTIME__DLTHUB_TELEMETRY_ENDPOINT": telemetry,
        }
    else:
        folder = elsewhere / ".dlt"
        if where.startswith("global"):
            folder = elsewhere / "home" / "dlt"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").write_text(text)
    arguments = ("load", "extend", "--base-url", sandbox.extend_url)
    found = places(elsewhere, NOT_ROOT + COMMAND, *arguments, **environment)
    port = int(telemetry.rpartition(":")[2])
    assert str(("127.0.0.1", port)) in found


@pytest.mark.fault(35)
def test_telemetry_is_off_for_a_library(sandbox: Sandbox, elsewhere: Path) -> None:
    """A library's load switches telemetry off in its own process, and prints nothing."""
    script = LIBRARY + "import os\nprint(os.environ['RUNTIME__DLTHUB_TELEMETRY'])\n"
    done = subprocess.run(
        [sys.executable, "-c", "import sys\n" + script, sandbox.extend_url],
        cwd=elsewhere, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "false\n", done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(("mode", "warned"), [(0o640, True), (0o604, True), (0o600, False)])
def test_open_secrets_are_told_of(mode: int, warned: bool, sandbox: Sandbox, tmp_path: Path) -> None:
    """One warning names a secrets.toml that others may read, and the command that fixes it; the load
    continues."""
    secrets = tmp_path / ".dlt" / "secrets.toml"
    secrets.parent.mkdir()
    secrets.write_text('[sources.extend]\napi_key = "sk_live_0123456789"\n')
    secrets.chmod(mode)
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "load", "extend", "--base-url", sandbox.extend_url],
        cwd=tmp_path, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "secrets.toml" in line]
    assert len(lines) == warned
    if warned:
        assert lines[0].startswith("docruns: ")
        assert f"mode {mode:o}" in lines[0]
        assert lines[0].endswith("chmod 600 .dlt/secrets.toml")
        assert "sk_live" not in done.stderr


def test_open_secrets_are_told_of_once(
    load_extend: Loader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A process warns of each file once, with any number of loads."""
    secrets = tmp_path / ".dlt" / "secrets.toml"
    secrets.parent.mkdir()
    secrets.write_text("")
    secrets.chmod(0o644)
    summaries: list[Summary] = [load_extend()[0] for _ in range(2)]
    assert all(summary.complete for summary in summaries)
    assert caplog.text.count("chmod 600") == 1
