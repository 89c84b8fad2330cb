"""The command `docruns`: its output on stdout and stderr, and its exit codes."""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
import shutil
import signal
import stat
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

import docruns as package
from docruns.commands.cli import main
from docruns.commands.cli.console import PRIVATE
from docruns.core.tables import TABLES
from docruns.sandbox import Sandbox
from support.loading import query

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def docruns(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs the command in this process. Returns exit code, stdout and stderr."""
    mask = os.umask(0o022)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["docruns", *arguments])
        code = 0
        try:
            main.run()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capfd.readouterr()
        return code, out, err

    yield run
    os.umask(mask)


def test_load_prints_a_summary(docruns: Run, sandbox: Sandbox) -> None:
    """A load prints runs, rows and database on stdout and progress on stderr, and exits with 0."""
    code, out, err = docruns("load", "extend", "--base-url", sandbox.extend_url)
    assert code == 0
    assert "extend: " in out
    assert "extend.workflow_runs" in out
    assert "docruns.duckdb" in out
    assert "workflow_runs: 40 listed" in err
    assert Path("docruns.duckdb").exists()


FILES = ("--destination", "filesystem", "--table-format", "none")


@pytest.mark.parametrize(
    ("destination", "message"),
    [
        ("postgres", "destination.postgres.credentials: is missing. Put it into .dlt/secrets.toml"),
        ("filesystem", "--table-format: is missing, and filesystem cannot replace the rows of a changed run"),
        ("nosuch", "--destination: nosuch is not a destination of dlt."),
        ("snowflake", "--destination: snowflake is not tested: nobody has compared its rows"),
        (
            "snowflake --untested",
            "--destination: snowflake needs a package that is not installed: No module named",
        ),
    ],
)
def test_destination_that_is_not_set_up(
    docruns: Run, sandbox: Sandbox, destination: str, message: str
) -> None:
    """One line names the key and what to do, and no request is sent."""
    address = ("--base-url", sandbox.extend_url)
    code, _, err = docruns("load", "extend", *address, "--destination", *destination.split())
    assert code == 2
    assert err.splitlines()[-1].startswith(f"docruns: {message}")
    assert "Traceback" not in err
    assert sandbox.stats.requests == 0


def test_an_address_without_a_password(
    docruns: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the part that is missing, not the address that is there."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://loader@127.0.0.1:1/db")
    address = ("--base-url", sandbox.extend_url)
    code, _, err = docruns("load", "extend", *address, "--destination", "postgres")
    assert code == 2
    key = "destination.postgres.credentials.password"
    said = (
        f"docruns: {key}: is missing. Put it into .dlt/secrets.toml, or set {key.upper().replace('.', '__')}."
    )
    assert err.splitlines()[-1] == said


@pytest.mark.parametrize("command", ["verify", "sweep", "push", "forget"])
def test_a_dataset_that_was_never_loaded(
    docruns: Run, sandbox: Sandbox, tmp_path: Path, command: str
) -> None:
    """A misspelt --dataset is an error, not a dataset without runs: nothing is sent, and nothing is made."""
    database, address = tmp_path / "n.duckdb", ("--base-url", sandbox.extend_url)
    assert docruns("load", "extend", "--database", str(database), *address)[0] == 0
    sandbox.stats.reset()
    own: dict[str, tuple[str, ...]] = {
        "push": (*address, "--from", "SELECT id, 'x' AS \"metadata.typo\" FROM extend.workflow_runs LIMIT 1"),
        "forget": ("--id", "workflow_run_x"),
    }
    where = ("--database", str(database), "--dataset", "extnd")
    code, _, err = docruns(command, "extend", *where, *own.get(command, address))
    assert code == 2
    assert "--dataset" in err and "holds no runs of extend" in err
    assert sandbox.stats.requests == 0
    assert query(
        database, "SELECT count(*) FROM information_schema.schemata WHERE schema_name = 'extnd'"
    ) == [(0,)]


def test_status_of_a_dataset_that_the_file_lacks(docruns: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    """A misspelt --dataset is an error that names those of the file, not a dataset into which nothing was loaded."""
    database = str(tmp_path / "n.duckdb")
    assert docruns("load", "extend", "--database", database, "--base-url", sandbox.extend_url)[0] == 0
    code, _, err = docruns("status", "--database", database, "--dataset", "extnd")
    assert code == 2
    assert "has no dataset extnd. It has extend." in err
    code, out, _ = docruns("status", "--database", database, "--dataset", "extend")
    assert code == 0 and out.startswith("extend\n")


def test_a_level_of_logging_that_is_none(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dlt hands it to `logging`, which refuses it: the message names dlt's setting. A process of its own, because
    dlt makes its logger once."""
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "LOUD")
    command = [sys.executable, "-m", "docruns", "load", "extend", "--base-url", sandbox.extend_url]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("docruns: runtime.log_level: is not a level of Python's logging.")


@pytest.mark.parametrize("key", ["load.workers", "normalize.workers"])
def test_no_workers(docruns: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """dlt takes any number of workers, and the pool that it makes refuses 0: the message names dlt's setting."""
    monkeypatch.setenv(key.upper().replace(".", "__"), "0")
    code, _, err = docruns("load", "extend", "--base-url", sandbox.extend_url)
    assert code == 2
    assert err.splitlines()[-1] == "docruns: load.workers or normalize.workers: must be at least 1."


def test_unreachable_database_server(docruns: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names the database server that does not answer, without its password."""
    unreachable = "postgresql://me:pw@127.0.0.1:1/db"
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", unreachable)
    address = ("--base-url", sandbox.extend_url)
    code, _, err = docruns("load", "extend", *address, "--destination", "postgres")
    assert code == 1
    assert err.splitlines()[-1].startswith("docruns: postgres: cannot be reached: ")
    assert "pw" not in err
    assert sandbox.stats.requests == 0


def test_summary_shows_rate_and_limit(docruns: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit on requests, the summary shows the rate and the limit."""
    monkeypatch.setenv("SOURCES__EXTEND__REQUESTS_PER_SECOND", "50")
    with Sandbox(runs=5) as few:
        code, out, _ = docruns("load", "extend", "--base-url", few.extend_url)
    assert code == 0
    assert "a second (limit 50)" in out


def test_load_as_json(docruns: Run, sandbox: Sandbox) -> None:
    """`--json` prints one object with every figure of the load as the last line of stdout."""
    code, out, _ = docruns("load", "extend", "--base-url", sandbox.extend_url, "--json")
    assert code == 0
    found = json.loads(out.splitlines()[-1])
    assert set(found) == {
        "provider", "complete", "listed", "fetched", "unchanged", "quarantined", "gone", "left_out",
        "failed_lists", "incomplete_lists", "requests", "retries", "refusals", "throttled_s", "per_second", "allowed_per_second", "seconds",
        "watermark", "rows",
    }  # fmt: skip
    assert found["provider"] == "extend"
    assert (found["per_second"] > 0, found["allowed_per_second"]) == (True, None)
    assert found["complete"] is True
    assert found["requests"] == sandbox.stats.requests
    assert found["watermark"].endswith("Z")
    fields = query(Path("docruns.duckdb"), "SELECT count(*) FROM extend.fields")[0][0]
    assert found["rows"]["fields"] == fields
    assert found["rows"]["workflow_runs"] == 40


def test_window_and_dataset(docruns: Run, sandbox: Sandbox) -> None:
    """--since is inclusive, --until exclusive; --dataset and --database name schema and file."""
    times = sorted(run["updated_at"] for run in sandbox.extend.truth() if run["resource"] == "workflow_runs")
    code, _, _ = docruns(
        "load", "extend", "--base-url", sandbox.extend_url, "--since", times[10], "--until",
        times[20], "--dataset", "mine", "--database", "w.duckdb",
    )  # fmt: skip
    assert code == 0
    found = query(Path("w.duckdb"), "SELECT id FROM mine.workflow_runs")
    expected = {
        run["id"]
        for run in sandbox.extend.truth()
        if run["resource"] == "workflow_runs" and times[10] <= run["updated_at"] < times[20]
    }
    assert {id_ for (id_,) in found} == expected


def test_quarantine_has_its_own_exit_code(
    docruns: Run, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """A load with quarantined runs exits with 3, logs each run, and names the table to look into."""
    row = {"id": "workflow_run_bad", "status": "PROCESSED"}
    sandbox.extend.put("[]", row)
    sandbox.extend.put('{"id": "another"}', row)
    code, _, err = docruns("load", "extend", "--base-url", sandbox.extend_url)
    assert code == 3
    assert "1 run is quarantined, see extend.quarantine" in err
    why = "the answer is about another run, another"
    assert f"workflow_runs workflow_run_bad is quarantined: run workflow_run_bad: {why}" in caplog.text


def test_missing_key_is_a_configuration_error(docruns: Run) -> None:
    """Without an API key the command exits with 2, and one line names the setting."""
    code, out, err = docruns("load", "extend")
    assert (code, out) == (2, "")
    assert err.startswith("docruns: sources.extend.api_key: is not set.")
    assert "EXTEND_API_KEY" in err
    assert len(err.splitlines()) == 1


@pytest.mark.fault(20)
def test_refused_key(docruns: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the platform refuses the key, load and check exit with 4 and do not print the key."""
    monkeypatch.setenv("EXTEND_API_KEY", "sk_secret_1")
    with Sandbox(runs=2, api_keys={"sk_other"}) as strict:
        for command in ("load", "check"):
            code, out, err = docruns(command, "extend", "--base-url", strict.extend_url)
            assert code == 4
            assert "401" in err
            assert "sk_secret_1" not in out + err


def test_wrong_use(docruns: Run) -> None:
    """Unknown providers, options and values exit with 2."""
    assert docruns("load", "nobody")[0] == 2
    assert docruns("load", "extend", "--no-such-option")[0] == 2
    assert docruns("load", "extend", "--max-runs", "0")[0] == 2
    code, _, err = docruns("load", "extend", "--api-version", "1999-01-01")
    assert code == 2
    assert "sources.extend.api_version" in err


def test_check_shows_what_the_key_can_see(docruns: Run, sandbox: Sandbox) -> None:
    """`check` prints the address and every list. It sends one request a list and fetches no run."""
    code, out, _ = docruns("check", "extend", "--base-url", sandbox.extend_url)
    assert code == 0
    assert sandbox.extend_url in out
    assert "workflow_runs" in out
    assert "extract_runs" in out
    assert "the key is accepted" in out
    assert sandbox.stats.details == 0
    assert sandbox.stats.requests == 7


def test_status(docruns: Run, sandbox: Sandbox) -> None:
    """`status` reports on each dataset. Without a database it exits with 2 and says what to do."""
    code, _, err = docruns("status")
    assert code == 2
    assert "docruns load" in err
    docruns("load", "extend", "--base-url", sandbox.extend_url)
    code, out, _ = docruns("status", "--json")
    assert code == 0
    (found,) = json.loads(out)
    truth = [run for run in sandbox.extend.truth() if run["resource"] == "workflow_runs"]
    open_ones = [r for r in truth if r["status"] in ("PENDING", "PROCESSING", "NEEDS_REVIEW")]
    assert found["provider"] == "extend"
    assert found["workflow_runs"] == 40
    assert found["unfinished"] == len(open_ones)
    assert found["quarantined"] == 0
    assert found["half_loaded_packages"] == 0
    code, out, _ = docruns("status")
    assert code == 0
    assert out.startswith("extend\n")


def test_sweep(docruns: Run, sandbox: Sandbox) -> None:
    """`sweep` prints the marked and the restored runs, as text and as JSON; wrong use exits with 2."""
    assert docruns("sweep", "extend", "--base-url", sandbox.extend_url)[0] == 2
    docruns("load", "extend", "--base-url", sandbox.extend_url)
    truth = [r["id"] for r in sandbox.extend.truth() if r["resource"] == "workflow_runs"]
    for id_ in truth[:2]:
        sandbox.extend.delete(id_)
    arguments = ("sweep", "extend", "--base-url", sandbox.extend_url)
    code, _, err = docruns(*arguments, "--confirm", "1")
    assert code == 2
    assert "--confirm: " in err
    code, out, err = docruns(*arguments)
    assert code == 0, err
    assert "extend.workflow_runs           2 marked as deleted, 0 restored" in out
    code, out, _ = docruns(*arguments, "--json")
    assert code == 0
    found = json.loads(out.splitlines()[-1])
    assert found["marked"] == {"workflow_runs": 0, "processor_runs": 0}
    assert set(found) == {
        "provider", "listed", "marked", "restored", "confirmed", "still_there", "unconfirmed",
        "requests", "seconds",
    }  # fmt: skip
    _, out, _ = docruns("status", "--json")
    assert json.loads(out)[0]["deleted"] == 2


def test_verify(docruns: Run, sandbox: Sandbox) -> None:
    """`verify` exits with 0 if all is equal, with 1 and the differences if not, with 3 for quarantined runs
    only."""
    arguments = ("verify", "extend", "--base-url", sandbox.extend_url)
    assert docruns(*arguments)[0] == 2
    docruns("load", "extend", "--base-url", sandbox.extend_url)
    code, out, err = docruns(*arguments, "--deep", "2", "--seed", "1")
    assert code == 0, err
    assert "docruns.duckdb (extend) agrees with the platform: " in out
    assert " rows of 2 runs cell by cell" in out
    new = sandbox.extend.add(25)
    code, out, _ = docruns(*arguments)
    assert code == 1
    assert "runs are listed and not in the database" in out
    assert out.count("  workflow_runs/") + out.count("_runs/") >= 20
    assert "more\n" in out
    assert "differs from the platform" in out
    code, out, _ = docruns(*arguments, "--json")
    assert code == 1
    found = json.loads(out.splitlines()[-1])
    assert found["missing"] >= len(new)
    assert len(found["first"]["missing"]) == 20
    sandbox.extend.put('{"id": "another"}', {"id": "exr_bad"}, resource="extract_runs")
    assert docruns("load", "extend", "--base-url", sandbox.extend_url)[0] == 3
    code, _, err = docruns(*arguments)
    assert code == 3
    assert "1 run is quarantined, see extend.quarantine" in err


def test_publish(docruns: Run, sandbox: Sandbox) -> None:
    """`load --publish` makes a copy with the same rows. Without a DuckDB file `--publish` is wrong use."""
    arguments = ("load", "extend", "--base-url", sandbox.extend_url)
    assert docruns(*arguments, "--publish", "copy.duckdb")[0] == 0
    count = "SELECT count(*) FROM extend.fields"
    assert query(Path("copy.duckdb"), count) == query(Path("docruns.duckdb"), count)
    code, _, err = docruns(*arguments, "--publish", "copy.duckdb", *FILES)
    assert code == 2
    assert "--publish" in err


def test_tables_is_the_data_dictionary(docruns: Run) -> None:
    """`tables` explains every table and column, as text and as Markdown."""
    for arguments in ((), ("--markdown",)):
        code, out, _ = docruns("tables", *arguments)
        assert code == 0
        for table in TABLES:
            assert table.name in out
            assert all(c.doc in out for c in table.columns if not c.name.startswith("_"))
        assert "_cleared" not in out


def test_demo(docruns: Run) -> None:
    """`demo` fills the main tables and prints three answers; run again, it fetches nothing."""
    code, out, _ = docruns("demo", "--runs", "60")
    assert code == 0
    for table in ("workflow_runs", "processor_runs", "fields", "insights", "citations"):
        count = query(Path("docruns.duckdb"), f"SELECT count(*) FROM extend.{table}")[0][0]
        assert count > 0
        assert f"{count:,} rows" in out
    assert "Which fields does the model get wrong most?" in out
    assert "Is a high score right more often?" in out
    assert "What does each workflow cost?" in out
    again, out, _ = docruns("demo", "--runs", "60")
    assert again == 0
    assert out.startswith("extend: 0 runs fetched")
    assert "plextera: 0 runs fetched" in out


def test_demo_never_mixes_with_real_runs(docruns: Run, sandbox: Sandbox) -> None:
    """`demo` refuses a database that holds real runs."""
    docruns("load", "extend", "--base-url", sandbox.extend_url)
    code, _, err = docruns("demo")
    assert code == 2
    assert "holds 40 runs that are not the demo's" in err


def test_only_the_owner_can_read_the_database(docruns: Run, sandbox: Sandbox) -> None:
    """Only the owner can read the files that the command creates."""
    docruns("load", "extend", "--base-url", sandbox.extend_url)
    assert stat.S_IMODE(Path("docruns.duckdb").stat().st_mode) == 0o600


def test_other_destination_by_name(
    docruns: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`--destination` accepts any dlt destination; here files in a folder, without the rows that clear others in a
    table. The setting does what the option does."""
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (tmp_path / "lake").as_uri())
    code, _, err = docruns("load", "extend", "--base-url", sandbox.extend_url, *FILES)
    assert code == 0, err
    assert "rows are only added" in err
    files = f"'{tmp_path}/lake/extend/fields/*.parquet'"
    ((rows, paths),) = duckdb.sql(f"SELECT count(*), count(*) FILTER (path = ']') FROM {files}").fetchall()
    assert rows > 100 and paths == 0
    monkeypatch.setenv("DESTINATION__FILESYSTEM__TABLE_FORMAT", "none")
    code, _, err = docruns("load", "extend", "--base-url", sandbox.extend_url, *FILES[:2])
    assert code == 0, err
    monkeypatch.setenv("DESTINATION__FILESYSTEM__TABLE_FORMAT", "parquet")
    code, _, err = docruns("load", "extend", "--base-url", sandbox.extend_url, *FILES[:2])
    assert (code, err) == (2, "docruns: --table-format: is 'parquet'. Write delta, iceberg or none.\n")


PROGRESS = re.compile(r"\w+: ([\d,]+ listed|(listing|fetching) [\d,/]+.*)")
"""A line of progress where stderr is no terminal; the second form comes every few seconds, so on a slow machine only."""


def spawn(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Starts the installed command in a process of its own."""
    command = [str(Path(sys.executable).parent / "docruns"), *arguments]
    # a shell that runs the tests in the background makes them ignore SIGINT, and a new process inherits that
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    finally:
        signal.signal(signal.SIGINT, before)


def test_sandbox_serves_until_stopped() -> None:
    """`sandbox` prints its address, answers requests there, and ends on SIGINT without a traceback."""
    with spawn("sandbox", "--port", "0", "--runs", "5") as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        answer = httpx.get(
            f"{address}/workflow_runs",
            headers={"authorization": "Bearer x", "x-extend-api-version": "2026-02-09"},
        )
        assert len(answer.json()["data"]) == 5
        process.send_signal(2)
        process.wait(timeout=120)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_stderr_of_the_installed_command_is_progress_only(sandbox: Sandbox) -> None:
    """The installed command prints no traceback, warning or error at exit."""
    with spawn("load", "extend", "--base-url", sandbox.extend_url) as process:
        _, err = process.communicate(timeout=300)
    assert process.returncode == 0
    assert all(PROGRESS.fullmatch(line) for line in err.splitlines()), err


@pytest.mark.fault(1)
def test_next_load_completes_a_killed_one(sandbox: Sandbox) -> None:
    """After `kill -9` in the middle of a load, the next load makes the database equal to the platform."""
    sandbox.set(latency=0.02)
    arguments = ("load", "extend", "--base-url", sandbox.extend_url)
    env = {**os.environ, "SOURCES__EXTEND__CHUNK_RUNS": "10", "SOURCES__EXTEND__CONCURRENCY": "2"}
    with spawn(*arguments, env=env) as process:
        until = time.monotonic() + 120
        while sandbox.stats.details < 120 and time.monotonic() < until:
            time.sleep(0.01)
        process.kill()
    sandbox.set(latency=0.0)
    with spawn(*arguments, env=env) as process:
        _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    truth = [run for run in sandbox.extend.truth() if run["resource"] == "workflow_runs"]
    found = query(Path("docruns.duckdb"), "SELECT id, status FROM extend.workflow_runs")
    assert sorted(found) == sorted((run["id"], run["status"]) for run in truth)
    double = "SELECT count(*) - count(DISTINCT (processor_run_id, path)) FROM extend.fields"
    assert query(Path("docruns.duckdb"), double) == [(0,)]


@pytest.mark.fault(13)
def test_two_loads_at_once(sandbox: Sandbox, docruns: Run) -> None:
    """While a load runs, a second load or sweep exits with 1 at once, and `status` names the process."""
    # the load must not end before they have run, on a slow machine either
    sandbox.set(latency=0.5)
    env = {**os.environ, "SOURCES__EXTEND__CONCURRENCY": "2"}
    with spawn("load", "extend", "--base-url", sandbox.extend_url, env=env) as process:
        until = time.monotonic() + 120
        while sandbox.stats.details < 3 and time.monotonic() < until:
            time.sleep(0.01)
        with Sandbox(runs=3) as elsewhere:
            for command in ("load", "sweep"):
                code, _, err = docruns(command, "extend", "--base-url", elsewhere.extend_url)
                assert code == 1
                assert f"`docruns load extend` (process {process.pid}) since 20" in err
            assert elsewhere.stats.requests == 0
        code, out, _ = docruns("status", "--json")
        assert code == 0
        assert json.loads(out)[0]["at_work"]["pid"] == process.pid
        sandbox.set(latency=0.0)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert query(Path("docruns.duckdb"), "SELECT count(*) FROM extend.workflow_runs") == [(40,)]
    for command in ("sweep", "verify"):
        with spawn(command, "extend", "--base-url", sandbox.extend_url) as ended:
            _, err = ended.communicate(timeout=300)
        assert ended.returncode == 0, err
        assert all(PROGRESS.fullmatch(line) for line in err.splitlines()), err


HEAVY = {"dlt", "duckdb", "pyarrow", "httpx", "pandas", "rich", "pydantic"}
"""Packages that `--help` and completion must not import."""

MAX_CPU_S = 0.5

QUICK: dict[str, tuple[list[str], dict[str, str], str]] = {
    "help": (["--help"], {}, "Load every new or changed run."),
    "help of a command": (["load", "--help"], {}, "--max-runs"),
    "version": (["--version"], {}, version("docruns")),
    "bash": (
        [],
        {
            "_DOCRUNS_COMPLETE": "complete_bash",
            "COMP_WORDS": "docruns st",
            "COMP_CWORD": "1",
        },
        "status",
    ),
    "zsh": (
        [],
        {"_DOCRUNS_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "docruns lo"},
        "load",
    ),
    "fish": (
        [],
        {
            "_DOCRUNS_COMPLETE": "complete_fish",
            "_TYPER_COMPLETE_ARGS": "docruns ver",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
        "verify",
    ),
}
"""Arguments, environment, and a word of the output."""

REPORT_MODULES = """
import atexit, sys
packages = lambda: {name.partition(".")[0] for name, module in sys.modules.items() if module}
atexit.register(lambda: print("PACKAGES", *packages(), file=sys.stderr))
from docruns.commands.cli.main import run
sys.argv[0] = "docruns"
run()
"""


@pytest.mark.parametrize("name", QUICK)
def test_help_and_completion_import_nothing_heavy(name: str) -> None:
    """`--help` and shell completion import neither dlt, DuckDB, pyarrow, httpx, pandas nor rich."""
    arguments, environment, word = QUICK[name]
    done = subprocess.run(
        [sys.executable, "-c", REPORT_MODULES, *arguments],
        env={**os.environ, **environment}, check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert word in done.stdout
    assert not HEAVY & set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["sql", "SELECT count(*) FROM fields"],
        ["models"],
        ["models", "cost", "--json"],
        ["load", "extend"],
        ["verify", "extend"],
        ["sweep", "extend"],
    ],
    ids=" ".join,
)
def test_commands_on_a_file_do_without_what_takes_long(
    loaded: Path, few_runs: Sandbox, arguments: list[str]
) -> None:
    """The imports of pandas and SQLAlchemy take 0.3 and 0.1 s of a command. Where these are installed, DuckDB, pyarrow and
    dlt import them by themselves."""
    server = ["--base-url", few_runs.extend_url] if "extend" in arguments else []
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "docruns", *arguments, *server, "--database", str(loaded)],
        env={**os.environ, "EXTEND_API_KEY": "test-key"}, check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "duckdb" in imported
    # an import that fails has a line, too, but none of a module inside
    assert not any(name.startswith(("pandas.", "sqlalchemy.")) for name in imported)


@pytest.mark.parametrize("name", QUICK)
def test_help_and_completion_are_quick(name: str) -> None:
    """`--help` and shell completion take less than half a second of CPU, user and system, median of three.

    On a slow machine they may take as long as three starts of Python that import typer.
    """
    arguments, environment, _ = QUICK[name]
    command = [str(Path(sys.executable).parent / "docruns"), *arguments]
    alone = [sys.executable, "-c", "import typer"]
    quick = statistics.median(cpu_seconds(command, {**os.environ, **environment}) for _ in range(3))
    if quick >= MAX_CPU_S:
        assert quick < 3 * statistics.median(cpu_seconds(alone, dict(os.environ)) for _ in range(3))


def cpu_seconds(command: list[str], environment: dict[str, str]) -> float:
    """The CPU time of a process, user and system."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_import_of_the_package_is_cheap() -> None:
    """`import docruns` imports no other package; a public name is imported when it is first used."""
    script = (
        "import sys, docruns\n"
        "heavy = {name.partition('.')[0] for name in sys.modules} & set(sys.argv[1:])\n"
        "assert not heavy, heavy\n"
        "assert {'extend', 'plextera', '__version__'} <= set(dir(docruns))\n"
        "import docruns.providers.extend as package\n"
        "assert docruns.extend is package.extend and callable(docruns.extend)\n"
        "from docruns import extend\n"
        "assert extend is docruns.extend\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *HEAVY, "typer", "msgspec"],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_version(docruns: Run) -> None:
    """`--version`, `python -m docruns --version` and `docruns.__version__` give the installed version."""
    assert docruns("--version") == (0, f"docruns {version('docruns')}\n", "")
    module = [sys.executable, "-m", "docruns", "--version"]
    done = subprocess.run(module, check=True, capture_output=True, text=True, timeout=300)
    assert done.stdout == f"docruns {version('docruns')}\n"
    assert package.__version__ == version("docruns")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(package, "nothing")  # noqa: B009


def test_version_of_a_copy(tmp_path: Path) -> None:
    """A copy of the folder without metadata, such as `dlt init` makes, has the version "unknown"."""
    shutil.copytree(Path(package.__file__).parent, tmp_path / "docruns")
    script = (
        "import sys; sys.path = [sys.argv[1], *(p for p in sys.path if 'site-packages' not in p)]\n"
        "import docruns; print(docruns.__version__, docruns.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(tmp_path)],
        check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout.startswith(f"unknown {tmp_path}")


@pytest.mark.parametrize("arguments", ["tables", "tables --markdown", "--help", "status"])
def test_a_reader_that_leaves(arguments: str) -> None:
    """`docruns … | head -1`: stderr stays empty, and the exit code is that of the command's
    work."""
    duckdb.connect("docruns.duckdb").close()
    program = Path(sys.executable).parent / "docruns"
    # the reader has left before the first line is written
    pipe = f"'{program}' {arguments} | :; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], check=False, capture_output=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, b"")


WITHOUT_STREAMS = ["<&- >&- 2>&-", ">/dev/full 2>&1"]


@pytest.mark.fault(45)
@pytest.mark.parametrize("streams", WITHOUT_STREAMS)
def test_a_load_without_streams(few_runs: Sandbox, streams: str) -> None:
    """A load whose streams are closed or full loads everything, and its exit code says so."""
    program = Path(sys.executable).parent / "docruns"
    load = f"'{program}' load extend --base-url {few_runs.extend_url}"
    done = subprocess.run(
        ["bash", "-c", f"{load} {streams}"], check=False, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert query(Path("docruns.duckdb"), "SELECT count(*) FROM extend.workflow_runs") == [(12,)]


@pytest.mark.fault(45)
@pytest.mark.parametrize("streams", WITHOUT_STREAMS)
def test_a_failure_without_streams(streams: str) -> None:
    """A command without streams that fails ends with the exit code of its failure."""
    command = f"'{Path(sys.executable).parent / 'docruns'}' status --database missing"
    assert subprocess.run(["bash", "-c", f"{command} {streams}"], check=False, timeout=300).returncode == 2


@pytest.mark.fault(45)
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("tables", 1, "Send the output to another place."),
        ("--version", 0, "what was printed there is incomplete"),
    ],
)
def test_output_that_is_lost(arguments: str, code: int, words: str) -> None:
    """One line on stderr says that stdout is full; a command that only prints ends with 1."""
    program = Path(sys.executable).parent / "docruns"
    with open("/dev/full", "w") as full:  # noqa: PTH123 # a device
        done = subprocess.run(
            [program, arguments], check=False, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300
        )
    [line] = done.stderr.splitlines()
    assert done.returncode == code
    assert line.startswith("docruns: stdout: cannot be written (No space left on device)")
    assert words in line


@pytest.mark.fault(45)
def test_a_pipe_that_does_not_wait() -> None:
    """A pipe that another program has set to non-blocking gets every line, although it is full at times."""
    program = Path(sys.executable).parent / "docruns"
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with subprocess.Popen([program, "tables"], stdout=writing, stderr=subprocess.PIPE, text=True) as process:
        os.close(writing)
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 4096)
        with os.fdopen(reading) as pipe:
            assert pipe.read().splitlines()[-1] == PRIVATE
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_a_load_whose_reader_leaves(sandbox: Sandbox) -> None:
    """A load whose output is closed loads everything all the same, also if progress goes into the pipe."""
    program = Path(sys.executable).parent / "docruns"
    load = f"'{program}' load extend --base-url {sandbox.extend_url}"
    done = subprocess.run(
        ["bash", "-c", f"{load} 2>&1 | :; exit ${{PIPESTATUS[0]}}"],
        check=False, capture_output=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert query(Path("docruns.duckdb"), "SELECT count(*) FROM extend.workflow_runs") == [(40,)]
