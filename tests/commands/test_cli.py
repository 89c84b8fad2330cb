"""The command: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from docruns.commands.cli import main
from docruns.core.tables import TABLES
from docruns.sandbox import Sandbox
from support.loading import query

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def docruns(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run the command in this process: exit code, stdout, stderr."""
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


def test_load_says_what_it_did(docruns: Run, sandbox: Sandbox) -> None:
    """A load prints runs, rows and place on stdout, progress on stderr, and ends with 0."""
    code, out, err = docruns("load", "extend", "--base-url", sandbox.extend_url)
    assert code == 0
    assert "extend: " in out
    assert "extend.workflow_runs" in out
    assert "docruns.duckdb" in out
    assert "workflow_runs: 40 listed" in err
    assert Path("docruns.duckdb").exists()


@pytest.mark.parametrize(
    ("destination", "said"),
    [
        ("postgres", "destination.postgres.credentials: is missing. Put it into .dlt/secrets.toml"),
        ("filesystem", "destination.filesystem.bucket_url: is missing."),
        ("nosuch", "--destination: nosuch is no destination of dlt's."),
    ],
)
def test_destination_that_is_not_set_up(
    docruns: Run, sandbox: Sandbox, destination: str, said: str
) -> None:
    """One line with the key and what to do, and nothing was asked for."""
    address = ("--base-url", sandbox.extend_url)
    code, _, err = docruns("load", "extend", *address, "--destination", destination)
    assert code == 2
    assert err.splitlines()[-1].startswith(f"docruns: {said}")
    assert "Traceback" not in err
    assert sandbox.stats.requests == 0


def test_database_server_that_is_away(
    docruns: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not answer is named, in one line."""
    away = "postgresql://me:pw@127.0.0.1:1/db"
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", away)
    address = ("--base-url", sandbox.extend_url)
    code, _, err = docruns("load", "extend", *address, "--destination", "postgres")
    assert code == 1
    assert err.splitlines()[-1].startswith("docruns: postgres: cannot be reached: ")
    assert "pw" not in err
    assert sandbox.stats.requests == 0


def test_rate_is_told_beside_what_is_allowed(docruns: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a limit, the summary says how much of it was used."""
    monkeypatch.setenv("SOURCES__EXTEND__REQUESTS_PER_SECOND", "50")
    with Sandbox(runs=5) as few:
        code, out, _ = docruns("load", "extend", "--base-url", few.extend_url)
    assert code == 0
    assert "a second (limit 50)" in out


def test_load_as_json(docruns: Run, sandbox: Sandbox) -> None:
    """`--json` ends stdout with one object that has every figure of the load."""
    code, out, _ = docruns("load", "extend", "--base-url", sandbox.extend_url, "--json")
    assert code == 0
    found = json.loads(out.splitlines()[-1])
    assert set(found) == {
        "provider", "complete", "listed", "fetched", "unchanged", "quarantined", "requests",
        "retries", "throttled_s", "per_second", "allowed_per_second", "seconds", "watermark", "rows",
    }  # fmt: skip
    assert found["provider"] == "extend"
    assert (found["per_second"] > 0, found["allowed_per_second"]) == (True, None)
    assert found["complete"] is True
    assert found["requests"] == sandbox.stats.requests
    assert found["watermark"].endswith("Z")
    held = query(Path("docruns.duckdb"), "SELECT count(*) FROM extend.fields")[0][0]
    assert found["rows"]["fields"] == held
    assert found["rows"]["workflow_runs"] == 40


def test_window_and_dataset(docruns: Run, sandbox: Sandbox) -> None:
    """--since, --until, --dataset and --database do what they say."""
    times = sorted(
        run["updated_at"] for run in sandbox.extend.truth() if run["resource"] == "workflow_runs"
    )
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
    """A load with quarantined runs ends with 3, names them and says where to look."""
    row = {"id": "workflow_run_bad", "status": "PROCESSED"}
    sandbox.extend.put("[]", row)
    sandbox.extend.put('{"id": "another"}', row)
    code, _, err = docruns("load", "extend", "--base-url", sandbox.extend_url)
    assert code == 3
    assert "1 run is quarantined, see extend.quarantine" in err
    why = "the answer is about another run, another"
    assert (
        f"workflow_runs workflow_run_bad is quarantined: run workflow_run_bad: {why}" in caplog.text
    )


def test_missing_key_is_a_configuration_error(docruns: Run) -> None:
    """Without a key the command ends with 2 and names the key to set, in one line."""
    code, out, err = docruns("load", "extend")
    assert (code, out) == (2, "")
    assert err.startswith("docruns: sources.extend.api_key: is not set.")
    assert "EXTEND_API_KEY" in err
    assert len(err.splitlines()) == 1


@pytest.mark.fault(20)
def test_refused_key(docruns: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused key ends with 4, in load and in check, and is not shown."""
    monkeypatch.setenv("EXTEND_API_KEY", "sk_secret_1")
    with Sandbox(runs=2, api_keys={"sk_other"}) as strict:
        for command in ("load", "check"):
            code, out, err = docruns(command, "extend", "--base-url", strict.extend_url)
            assert code == 4
            assert "401" in err
            assert "sk_secret_1" not in out + err


def test_wrong_use(docruns: Run) -> None:
    """Unknown providers, options and values end with 2."""
    assert docruns("load", "nobody")[0] == 2
    assert docruns("load", "extend", "--no-such-option")[0] == 2
    assert docruns("load", "extend", "--max-runs", "0")[0] == 2
    code, _, err = docruns("load", "extend", "--api-version", "1999-01-01")
    assert code == 2
    assert "sources.extend.api_version" in err


def test_check_tells_what_the_key_sees(docruns: Run, sandbox: Sandbox) -> None:
    """`check` names the address and every list, with one request each and no detail."""
    code, out, _ = docruns("check", "extend", "--base-url", sandbox.extend_url)
    assert code == 0
    assert sandbox.extend_url in out
    assert "workflow_runs" in out
    assert "extract_runs" in out
    assert "the key is accepted" in out
    assert sandbox.stats.details == 0
    assert sandbox.stats.requests == 7


def test_status(docruns: Run, sandbox: Sandbox) -> None:
    """`status` tells per dataset what is there; without a database it says what to do."""
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
    """`sweep` says what is gone and what is back, as text and as one object; wrong use ends with 2."""
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
    assert "extend.workflow_runs           2 marked as deleted, 0 back" in out
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
    """`verify` ends with 0 where all agrees, with 1 and the differences where not, with 3 for quarantined runs."""
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
    """`load --publish` leaves a copy that holds what the database holds; `--publish` elsewhere is wrong use."""
    arguments = ("load", "extend", "--base-url", sandbox.extend_url)
    assert docruns(*arguments, "--publish", "copy.duckdb")[0] == 0
    count = "SELECT count(*) FROM extend.fields"
    assert query(Path("copy.duckdb"), count) == query(Path("docruns.duckdb"), count)
    code, _, err = docruns(*arguments, "--publish", "copy.duckdb", "--destination", "filesystem")
    assert code == 2
    assert "--publish" in err


def test_tables_is_the_data_dictionary(docruns: Run) -> None:
    """`tables` names every table and column of the model, as text and as Markdown."""
    for arguments in ((), ("--markdown",)):
        code, out, _ = docruns("tables", *arguments)
        assert code == 0
        for table in TABLES:
            assert table.name in out
            assert all(c.doc in out for c in table.columns if not c.name.startswith("_"))
        assert "_cleared" not in out


def test_demo(docruns: Run) -> None:
    """`demo` leaves a database with rows in every main table and prints three answers from it."""
    code, out, _ = docruns("demo", "--runs", "60")
    assert code == 0
    for table in ("workflow_runs", "processor_runs", "fields", "insights", "citations"):
        count = query(Path("docruns.duckdb"), f"SELECT count(*) FROM extend.{table}")[0][0]
        assert count > 0
        assert f"{count:,} rows" in out
    assert "Which fields do reviewers correct most?" in out
    assert "Is a high score right more often?" in out
    assert "What does each workflow cost?" in out
    again, out, _ = docruns("demo", "--runs", "60")
    assert again == 0
    assert out.startswith("extend: 0 runs fetched")
    assert "plextera: 0 runs fetched" in out


def test_demo_never_mixes_with_real_runs(docruns: Run, sandbox: Sandbox) -> None:
    """`demo` refuses a database that holds other runs than its own."""
    docruns("load", "extend", "--base-url", sandbox.extend_url)
    code, _, err = docruns("demo")
    assert code == 2
    assert "holds 40 runs that are not the demo's" in err


def test_database_is_its_owner_s_alone(docruns: Run, sandbox: Sandbox) -> None:
    """What the command creates can be read by nobody else."""
    docruns("load", "extend", "--base-url", sandbox.extend_url)
    assert stat.S_IMODE(Path("docruns.duckdb").stat().st_mode) == 0o600


def test_other_destination_by_name(
    docruns: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`--destination` takes any dlt destination; here files of a folder."""
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (tmp_path / "lake").as_uri())
    arguments = ("load", "extend", "--base-url", sandbox.extend_url, "--destination", "filesystem")
    code, _, err = docruns(*arguments)
    assert code == 0, err
    assert list((tmp_path / "lake" / "extend" / "fields").iterdir())


def spawn(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """The real command in a process of its own."""
    command = [str(Path(sys.executable).parent / "docruns"), *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_sandbox_serves_until_stopped() -> None:
    """`sandbox` prints its address, answers there, and ends on a signal."""
    with spawn("sandbox", "--port", "0", "--runs", "5") as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        answer = httpx.get(
            f"{address}/workflow_runs",
            headers={"authorization": "Bearer x", "x-extend-api-version": "2026-02-09"},
        )
        assert len(answer.json()["data"]) == 5
        process.send_signal(2)
        process.wait(timeout=20)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_a_real_process_leaves_nothing_on_stderr_but_progress(sandbox: Sandbox) -> None:
    """The installed command ends cleanly: no traceback, no warning, no complaint at exit."""
    with spawn("load", "extend", "--base-url", sandbox.extend_url) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert all(line.endswith("listed") for line in err.splitlines()), err


@pytest.mark.fault(1)
def test_killed_load_goes_on(sandbox: Sandbox) -> None:
    """After `kill -9` in the middle, the next load completes and the database equals the platform."""
    sandbox.set(latency=0.02)
    arguments = ("load", "extend", "--base-url", sandbox.extend_url)
    env = {**os.environ, "SOURCES__EXTEND__CHUNK_RUNS": "10", "SOURCES__EXTEND__CONCURRENCY": "2"}
    with spawn(*arguments, env=env) as process:
        until = time.monotonic() + 30
        while sandbox.stats.details < 120 and time.monotonic() < until:
            time.sleep(0.01)
        process.kill()
    sandbox.set(latency=0.0)
    with spawn(*arguments, env=env) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    truth = [run for run in sandbox.extend.truth() if run["resource"] == "workflow_runs"]
    found = query(Path("docruns.duckdb"), "SELECT id, status FROM extend.workflow_runs")
    assert sorted(found) == sorted((run["id"], run["status"]) for run in truth)
    double = "SELECT count(*) - count(DISTINCT (processor_run_id, path)) FROM extend.fields"
    assert query(Path("docruns.duckdb"), double) == [(0,)]


@pytest.mark.fault(13)
def test_two_loads_at_once(sandbox: Sandbox, docruns: Run) -> None:
    """While a real load is at work a second one ends at once with 1, and `status` says who is at work."""
    sandbox.set(latency=0.02)
    env = {**os.environ, "SOURCES__EXTEND__CONCURRENCY": "2"}
    with spawn("load", "extend", "--base-url", sandbox.extend_url, env=env) as process:
        until = time.monotonic() + 30
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
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert query(Path("docruns.duckdb"), "SELECT count(*) FROM extend.workflow_runs") == [(40,)]
    for command in ("sweep", "verify"):
        with spawn(command, "extend", "--base-url", sandbox.extend_url) as ended:
            _, err = ended.communicate(timeout=60)
        assert ended.returncode == 0, err
        assert all(line.endswith("listed") for line in err.splitlines()), err
