"""Wrong settings: docruns refuses each one by its name before the first request."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from docruns import extend, plextera
from docruns.commands.load import load_runs
from docruns.core.errors import ConfigError, LockedError, RefusedError
from docruns.providers.extend import connect_extend
from docruns.providers.plextera import connect_plextera
from docruns.sandbox import Sandbox
from docruns.store import pipeline
from docruns.store.duckdb.file import open_database
from docruns.store.target import Target, exclusive
from proofs.children import Children
from support.loading import FEW_LISTED, connect
from support.raw import free_port

SOURCES: dict[str, Any] = {"extend": extend, "plextera": plextera}


@pytest.fixture(scope="module")
def platform() -> Any:
    """A platform that no test changes."""
    with Sandbox(4, standalone=2, plextera_runs=4, corpus=FEW_LISTED) as running:
        yield running


@pytest.mark.parametrize("provider", ["extend", "plextera"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chunk_runs", 0), ("chunk_runs", -4), ("concurrency", 0), ("concurrency", -1), ("max_runs", 0), ("max_runs", -3),
        ("max_response_mb", 0), ("max_response_mb", -1.0), ("max_response_mb", float("nan")), ("requests_per_second", -1.0),
        ("overlap", "soon"), ("field_values", "hush"), ("base_url", "https://[bad"),
    ],
)  # fmt: skip
def test_values_that_nobody_can_mean(provider: str, name: str, value: Any) -> None:
    """A load with packages of no runs would never end, and one without requests would wait for ever."""
    options = {"api_key": "k" * 20, name: value}
    with pytest.raises(ConfigError, match=name) as refused:
        SOURCES[provider](**options)
    assert refused.value.key == f"sources.{provider}.{name}"


@pytest.mark.parametrize(
    ("name", "value"), [("page_size", 0), ("page_size", 101), ("page_start", 7), ("max_depth", -1)]
)
def test_values_that_plextera_does_not_know(name: str, value: int) -> None:
    """A list that is walked from its eighth page would look empty."""
    with pytest.raises(ConfigError, match=f"sources.plextera.{name}"):
        plextera("k" * 20, **{name: value})


def test_a_region_is_one_also_beside_an_address() -> None:
    """The region is checked also where base_url is set."""
    for region in ("mars", "v1"):
        with pytest.raises(ConfigError, match=r"Known: eu1, us, us2\."):
            extend("k" * 20, base_url="https://api.extend.ai", region=region)


def test_a_window_without_an_inside() -> None:
    """Such a load would read all lists and load nothing."""
    for until in ("2026-05-01", "2026-04-01"):
        with pytest.raises(ConfigError, match=r"until: .* is not after since"):
            extend("k" * 20, since="2026-05-01", until=until)


def test_what_dlt_init_writes(children: Children, platform: Sandbox, tmp_path: Path) -> None:
    """The secrets of `dlt init` are below [sources.docruns]. Its placeholders are no secrets, and a key of Extend
    does not go to Plextera."""
    (tmp_path / ".dlt").mkdir()
    secrets = tmp_path / ".dlt" / "secrets.toml"

    def problem(provider: str, address: str, **environment: str) -> str:
        environment = {f"SOURCES__EXTEND__{name}": value for name, value in environment.items()}
        ended = children.run(tmp_path, "check", provider, "--base-url", address, environment=environment)
        return ended.err

    elsewhere = "https://platform.test"
    secrets.write_text('[sources.docruns]\napi_key = "<configure me>"\nhash_key = "<configure me>"\n')
    assert "sources.extend.api_key: is not set" in problem("extend", elsewhere)
    assert "hash_key: is not set" in problem("extend", platform.extend_url, FIELD_VALUES="hash")
    secrets.write_text('[sources.docruns]\napi_key = "sk_of_extend"\nhash_key = "long and random"\n')
    secrets.chmod(0o600)
    assert problem("extend", platform.extend_url, FIELD_VALUES="hash") == ""
    assert "sources.plextera.api_key: is not set" in problem("plextera", elsewhere)


TOML = {
    "base_ulr = 'x'": ("sources.extend.base_ulr: is no setting. Did you mean base_url?"),
    "field_value = 'drop'": ("Did you mean field_values?"),
    "wombat = 1": ("sources.extend.wombat: is no setting. Known: api_key, api_version,"),
    "chunk_runs = 'ten'": "sources.extend.chunk_runs: has a value of the wrong type: it must be int",
    "include_parse_output = 'maybe'": "sources.extend.include_parse_output: has a value of the wrong type: it must be bool",
    "api_key = 'sk_secret_0123456789'": "sources.extend.api_key: is a secret, and config.toml is not a place for secrets",
}


@pytest.mark.parametrize("line", TOML)
def test_what_a_file_says_is_a_setting_and_of_its_type(
    line: str, children: Children, platform: Sandbox, tmp_path: Path
) -> None:
    """dlt ignores unknown keys: a load would use another host, or keep values that were to be dropped."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text(f"[sources.extend]\n{line}\n")
    assert tomllib.loads(line)
    before = platform.stats.requests
    ended = children.run(tmp_path, "load", "extend", "--base-url", platform.extend_url)
    assert (ended.code, platform.stats.requests) == (2, before), ended.err
    assert TOML[line] in ended.err
    assert "Traceback" not in ended.err and "sk_secret" not in ended.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[answers]\nview = false", "answers.view: is no setting. Did you mean views?"),
        ("[answers.critcal]\nInvoice = ['total']", "answers.critcal: is no setting. Did you mean critical?"),
    ],
)
def test_what_a_file_says_of_the_answers_is_a_setting(
    line: str, said: str, children: Children, platform: Sandbox, tmp_path: Path
) -> None:
    """A misspelt key of [answers] is an error before anything is loaded, as one of [sources.extend] is."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text(line)
    before = platform.stats.requests
    ended = children.run(tmp_path, "load", "extend", "--base-url", platform.extend_url)
    assert (ended.code, platform.stats.requests) == (2, before), ended.err
    assert said in ended.err


def test_a_variable_of_the_answers_is_a_setting(
    children: Children, platform: Sandbox, tmp_path: Path
) -> None:
    """As in a file."""
    environment = {"ANSWERS__MATERIALISED": "table"}
    ended = children.run(
        tmp_path, "load", "extend", "--base-url", platform.extend_url, environment=environment
    )
    assert ended.code == 2
    assert "ANSWERS__MATERIALISED: is no setting. Did you mean materialized?" in ended.err


SECTIONS = """
[source.extend]
api_key = "sk_of_this_project"
[sources.extendd]
api_key = "sk_of_this_project"
[extend]
workspace_id = "ws"
[sources.github]
token = "another source's"
[docruns_extend.sources.extend]
overlap = "2h"
"""


def test_sections_that_nothing_reads(children: Children, platform: Sandbox, tmp_path: Path) -> None:
    """One line names the sections that look like one of docruns and are none, in files and in the environment. Those
    of pipelines and of other sources are not named."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text(SECTIONS)
    environment = {"SOURCE__PLEXTERA__API_KEY": "k", "SOURCES__GITHUB__TOKEN": "k"}
    ended = children.run(
        tmp_path, "check", "extend", "--base-url", platform.extend_url, environment=environment
    )
    assert ended.code == 0
    assert ended.err == (
        "docruns: nothing reads [extend], [source.extend], [source.plextera], [sources.extendd]: the sections of "
        "docruns are [sources.extend], [sources.plextera]\n"
    )


def test_a_setting_beside_the_secrets_of_dlt_init(
    children: Children, platform: Sandbox, tmp_path: Path
) -> None:
    """Below [sources.docruns] only the secrets are read: another setting there is refused by name."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text('[sources.docruns]\nregion = "eu1"\n')
    ended = children.run(tmp_path, "check", "extend", "--base-url", platform.extend_url)
    assert ended.code == 2
    assert ended.err == "docruns: sources.docruns.region: is not read. Put it into [sources.extend].\n"


def test_a_variable_that_is_no_setting(children: Children, platform: Sandbox, tmp_path: Path) -> None:
    """Environment variables are checked too, except those of dlt itself."""
    command = ("load", "extend", "--base-url", platform.extend_url)
    own = {"SOURCES__EXTEND__WORKFLOW_RUNS__X": "1", "SOURCES__EXTEND__MAX_TABLE_NESTING": "1"}
    ended = children.run(tmp_path, *command, environment=own)
    assert ended.code == 0, ended.err
    wrong = {"SOURCES__EXTEND__REQUESTS_PER_SEC": "5"}
    ended = children.run(tmp_path, *command, environment=wrong)
    assert ended.code == 2
    message = "SOURCES__EXTEND__REQUESTS_PER_SEC: is no setting. Did you mean requests_per_second?"
    assert message in ended.err


WRONG = {
    ("load", "extend", "--destination", ""): "--destination: is empty",
    ("load", "extend", "--dataset", ""): "--dataset: '' is not a plain schema name",
    ("load", "extend", "--dataset", "My Data-Set"): "for example my_data_set.",
    ("verify", "extend", "--dataset", "Docs"): "for example docs.",
    ("load", "extend", "--dataset", "temp"): "Use another name, for example temp_runs.",
    ("load", "extend", "--dataset", "system"): "--dataset: system is a schema of the database itself",
    ("load", "extend", "--dataset", "information_schema"): "is a schema of the database itself",
    ("verify", "extend", "--dataset", "pg_catalog"): "Use another name, for example my_catalog_runs.",
    ("sandbox", "--port", "80000"): "65535",
    ("notebook",): "docruns.duckdb does not exist",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_use_is_named(arguments: tuple[str, ...], children: Children, tmp_path: Path) -> None:
    """An unset shell variable, a name that dlt would change, a port out of range."""
    ended = children.run(tmp_path, *arguments)
    assert ended.code == 2
    assert WRONG[arguments] in ended.err


def test_a_port_that_is_taken(children: Children, tmp_path: Path) -> None:
    """One line of error, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ended = children.run(tmp_path, "sandbox", "--port", str(port))
    assert ended.code == 2
    assert f"--port: {port}: " in ended.err and "Traceback" not in ended.err


def test_an_address_without_the_lists_is_not_accepted(
    children: Children, platform: Sandbox, tmp_path: Path
) -> None:
    """An address without its path answers 404 to everything, also to a wrong key."""
    ended = children.run(tmp_path, "check", "extend", "--base-url", platform.url)
    assert ended.code == 1
    assert "the key is accepted" not in ended.out
    assert "404" in ended.err and "base_url" in ended.err


def test_a_host_that_is_not_there(children: Children, tmp_path: Path) -> None:
    """`check` gives up after three seconds, and names the host. A load tries for half a minute."""
    with free_port() as port:
        ended = children.run(tmp_path, "check", "extend", "--base-url", f"http://127.0.0.1:{port}")
    assert ended.code == 1
    assert ended.seconds < 20
    [line] = ended.err.splitlines()
    assert line.startswith(f"docruns: 127.0.0.1:{port}: GET /workflow_runs: cannot reach 127.0.0.1:{port}")


@pytest.mark.parametrize("provider", ["extend", "plextera"])
def test_a_refused_key_names_its_setting(provider: str, tmp_path: Path) -> None:
    """The message names the setting and the environment variable."""
    with Sandbox(1, api_keys={"another"}) as refusing:
        platform = connect(refusing, provider, api_key="k" * 20)
        advice = rf"Check sources\.{provider}\.api_key \(or {provider.upper()}_API_KEY\)"
        with pytest.raises(RefusedError, match=advice):
            load_runs(platform, Target(provider, tmp_path / "d.duckdb"))


def test_a_dataset_is_one_platform_s(platform: Sandbox, tmp_path: Path) -> None:
    """A sweep would take the other platform's runs for deleted."""
    target = Target("docs", tmp_path / "d.duckdb")
    load_runs(connect_extend(base_url=platform.extend_url), target)
    with pytest.raises(ConfigError, match=r"--dataset: docs holds runs of extend\."):
        load_runs(connect_plextera(base_url=platform.plextera_url), target)


def test_another_load_into_the_same_file_is_named(
    platform: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs start at the same minute, one per platform: the second one names the load it waited for."""
    path = tmp_path / "d.duckdb"
    hold = f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print(flush=True); sys.stdin.read()"
    monkeypatch.setattr(pipeline, "open_database", lambda *a, **k: open_database(*a, **k, wait_s=0.1))
    with (
        exclusive(Target("plextera", path), "docruns load plextera"),
        subprocess.Popen(
            [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other,
    ):
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(LockedError, match=r"`docruns load plextera`.*dataset plextera"):
            load_runs(
                connect_extend(base_url=platform.extend_url),
                Target("extend", path),
            )
        other.communicate(b"")


def test_times_are_written_in_one_way(children: Children, platform: Sandbox, tmp_path: Path) -> None:
    """`load --json` and `status --json` print the same watermark in the same format."""
    loaded = children.run(tmp_path, "load", "extend", "--base-url", platform.extend_url, "--json")
    printed = children.run(tmp_path, "status", "--json")
    [report] = json.loads(printed.out)
    assert report["watermark"] == json.loads(loaded.out.splitlines()[-1])["watermark"]
