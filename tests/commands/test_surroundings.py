"""What the environment of a command may hold: empty variables, a log of TLS keys, other pipelines' settings, limits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dlt
import pytest

from docruns.providers.extend import extend
from docruns.sandbox import Sandbox
from proofs.children import Children, Ended
from support.loading import query
from support.truth import wrong

Load = Callable[..., Ended]
PROGRAM = Path(sys.executable).parent / "docruns"

EMPTY = [
    "EXTEND_API_KEY",
    "EXTEND_WORKSPACE_ID",
    "SOURCES__EXTEND__API_KEY",
    "SOURCES__EXTEND__BASE_URL",
    "SOURCES__EXTEND__REGION",
    "SOURCES__EXTEND__API_VERSION",
    "SOURCES__EXTEND__CONCURRENCY",
    "SOURCES__EXTEND__OVERLAP",
    "SOURCES__EXTEND__SINCE",
    "SOURCES__EXTEND__MAX_RUNS",
    "SOURCES__EXTEND__FULL",
    "SOURCES__EXTEND__FIELD_VALUES",
    "SOURCES__EXTEND__DROP_COLUMNS",
    "SOURCES__EXTEND__HASH_KEY",
    "RUNTIME__LOG_LEVEL",
    "LOAD__WORKERS",
    "SSL_CERT_FILE",
    "SSLKEYLOGFILE",
    "HTTPS_PROXY",
]


@pytest.mark.fault(48)
def test_empty_variables(docruns_load: Load) -> None:
    """An empty variable counts as one that is not set."""
    ended = docruns_load(environment=dict.fromkeys(EMPTY, ""))
    assert ended.code == 0, ended.err


IDS = "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_ID"
WITH_IDS = (
    "SELECT count(*) FROM information_schema.columns "
    "WHERE column_name = '_dlt_id' AND table_schema = 'extend' AND table_name = 'fields'"
)


@pytest.mark.fault(48)
def test_row_ids_of_other_pipelines(docruns_load: Load, few_runs: Sandbox, loaded: Path) -> None:
    """A dataset stays as it was begun where the environment lets dlt add row ids for other pipelines: dlt's column
    takes no nulls, and rows that are there have no id."""
    few_runs.extend.review(4)
    ended = docruns_load(environment={IDS: "true"})
    assert ended.code == 0, ended.err
    assert wrong(loaded, few_runs) == {}
    assert query(loaded, WITH_IDS) == [(0,)]


@pytest.mark.fault(48)
def test_a_dataset_with_row_ids(
    docruns_load: Load, few_runs: Sandbox, loaded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dataset that was begun with row ids goes on where the variable is not set any more."""
    loaded.unlink()
    with monkeypatch.context() as patch:
        patch.setenv(IDS, "true")
        begun = dlt.pipeline(
            "docruns_extend",
            pipelines_dir="begun",
            dataset_name="extend",
            destination=dlt.destinations.duckdb(str(loaded)),
        )
        begun.run(extend(base_url=few_runs.extend_url, max_runs=3), loader_file_format="parquet")
        begun.deactivate()
    assert query(loaded, WITH_IDS) == [(1,)]
    ended = docruns_load()
    assert ended.code == 0, ended.err
    assert wrong(loaded, few_runs) == {}


@pytest.mark.fault(48)
def test_a_log_of_tls_keys_that_cannot_be_written(few_runs: Sandbox, tmp_path: Path) -> None:
    """Python opens the file of SSLKEYLOGFILE while it imports the HTTP client: one line names it, and the command
    goes on without it."""
    place = tmp_path / "no" / "keys"
    done = subprocess.run(
        [PROGRAM, "check", "extend", "--base-url", few_runs.extend_url],
        check=False, capture_output=True, text=True, timeout=100, env={**os.environ, "SSLKEYLOGFILE": str(place)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        0,
        f"docruns: SSLKEYLOGFILE: {place} cannot be written (No such file or directory): no TLS keys are logged there.\n",
    )


@pytest.mark.fault(48)
def test_a_mark_before_the_secrets(children: Children, tmp_path: Path) -> None:
    """Editors on Windows write a byte order mark, which TOML does not have: the message names the file and the cure."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "secrets.toml").write_text(
        "\ufeff[sources.extend]\napi_key = 'sk_planted_key'\n", "utf-8"
    )
    ended = children.run(tmp_path, "check", "extend", "--base-url", "http://127.0.0.1:1")
    assert ended.code == 2
    [line] = ended.err.splitlines()
    assert line.endswith(
        "secrets.toml: begins with a byte order mark, which TOML does not have. Save it as UTF-8 without BOM."
    )


@pytest.mark.fault(49)
@pytest.mark.parametrize("allowed", range(28, 33))
def test_few_open_files(docruns_load: Load, few_runs: Sandbox, loaded: Path, allowed: int) -> None:
    """With few descriptors a load succeeds, or ends with one line that names the limit; the next load goes on. The
    number decides where they run out: in an import, on a connection, in DuckDB."""
    few_runs.extend.review(8)
    ended = docruns_load("--full", open_files=allowed)
    if ended.code != 0:
        assert ended.code == 1
        assert "ulimit -n 1024" in ended.err.splitlines()[-1]
        assert "Traceback" not in ended.err
    assert docruns_load().code == 0
    assert wrong(loaded, few_runs) == {}


@pytest.mark.fault(49)
def test_little_address_space() -> None:
    """With 500 MB DuckDB would end the process with SIGSEGV: one line names the limit before DuckDB is imported."""
    command = f"ulimit -v 500000; '{PROGRAM}' load extend"
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stderr == (
        "docruns: this process may use 488 MB of address space (`ulimit -v`), which is too little. Allow 2,000 MB or more, "
        "then run this again.\n"
    )
