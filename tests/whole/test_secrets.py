"""The key is sent to the platform and left nowhere else, whatever happens."""

from __future__ import annotations

import base64
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from docruns import extend, plextera
from docruns.commands.cli.app import app
from docruns.commands.load import load_runs
from docruns.core.errors import ApiError, ConfigError
from docruns.net.client import Client
from docruns.net.redaction import (
    make_redactor,
    strip_signed_urls,
    strip_signed_urls_of_json,
    strip_url_queries,
)
from docruns.providers.extend import connect_extend
from docruns.providers.plextera import connect_plextera
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from docruns.sync.sync import Sync
from proofs.children import Children
from support.leftovers import cells, everything, quoted
from support.loading import query

KEY = "sk_live_0123456789abcdefghij"
ODD_KEY = 'sk"live\\0/1+2&3=4%5_abcdef'
SALT = "a key for hashes, as long as it should be"
DEVELOPMENT_MODE = ("-X", "dev", "-W", "ignore")


def forms(key: str) -> list[str]:
    """The forms in which a key may be written to a file."""
    encoded = base64.b64encode(key.encode()).decode()
    return [key, quote(key), quote(key, safe=""), encoded.rstrip("="), repr(key)[1:-1]]


class Echo(BaseHTTPRequestHandler):
    """A server that echoes the request in good and bad answers, headers and HTML.

    /ok/…       lists of runs whose details echo
    /refuse/…   answers every request with 401, /broken/… with 500
    """

    protocol_version = "HTTP/1.1"
    details = (
        "good", "another", "nothing", "late", "e500", "e502", "e404", "e403",
    )  # fmt: skip

    def do_GET(self) -> None:
        mount, _, path = self.path[1:].partition("?")[0].partition("/")
        told = dict(self.headers.items())
        key = self.headers["authorization"]
        error = {"code": "ECHO", "message": f"you sent {told}", "requestId": key, "details": [told]}
        name, _, id_ = path.rpartition("/")
        kind = id_.rpartition("_")[2]
        if mount in ("refuse", "broken"):
            self.answer(401 if mount == "refuse" else 500, error)
        elif name == "workflow_runs" and kind in ("e500", "e404", "e403"):
            self.answer(int(kind[1:]), error)
        elif kind == "e502":
            self.answer(502, f"<html>{told}</html>")
        elif name == "workflow_runs":
            self.answer(200, self.run(id_, kind, key, told))
        else:
            self.answer(200, {"object": "list", "data": self.rows(path, key, told)})

    def rows(self, path: str, key: str, told: Any) -> list[Any]:
        """The rows of a list."""
        if path == "workflows":
            return [{"object": "workflow", "id": "workflow_1", "name": key, "said": told}]
        if path != "workflow_runs":
            return []
        rows = [
            {"id": f"workflow_run_{kind}", "status": "PROCESSED", "reviewedByUser": key}
            for kind in self.details
            if kind != "e403"
        ]
        return [*rows, {"status": "PROCESSED", "said": told}]

    def run(self, id_: str, kind: str, key: str, told: Any) -> Any:
        """One run in full."""
        run = {"object": "workflow_run", "id": id_, "status": "PROCESSED", "metadata": told}
        if kind == "another":
            return {**run, "id": key}
        if kind == "nothing":
            return {"object": "workflow_run", "said": told}
        if kind == "late":
            # the cut after 2,000 characters falls inside the key
            head = len(json.dumps({"object": "workflow_run", "pad": ""}))
            return {"object": "workflow_run", "pad": "x" * (1985 - head), "said": key}
        return {**run, "failureMessage": f"sent {key}", "name": key, "said": [told]}

    def answer(self, status: int, body: Any) -> None:
        """Send JSON, or HTML when the body is a text."""
        is_html = isinstance(body, str)
        raw = body.encode() if is_html else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "text/html" if is_html else "application/json")
        self.send_header("content-length", str(len(raw)))
        self.send_header("x-extend-request-id", self.headers["authorization"])
        # retry at once, so that no test waits
        self.send_header("retry-after", "0")
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        """Write no log."""


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    """The URL of a server that echoes."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


# in a process of its own, which imports with the key in its environment
COMMAND = """
import logging
from docruns.commands.cli import main as cli
logging.basicConfig(level=logging.DEBUG)
import docruns.commands.load
for name in ("httpx", "httpcore", "aiohttp", "asyncio", "dlt", "docruns", "urllib3"):
    logging.getLogger(name).setLevel(logging.DEBUG)
cli.run()
"""

MERGE = "dlt.destinations.job_client_impl:SqlLoadJob.run"


class Place:
    """A folder with a home directory in which commands run, and their outputs."""

    def __init__(self, folder: Path, launcher: Children) -> None:
        self.folder = folder
        self._launcher = launcher
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.number = 0

    def environment(self, **more: str) -> dict[str, str]:
        """The variables of a command whose libraries log all that they can."""
        return {
            "HOME": str(self.home), "DLT_DATA_DIR": str(self.home / "dlt"),
            "PYTHONASYNCIODEBUG": "1", "RUNTIME__LOG_LEVEL": "DEBUG",
            "RUNTIME__HTTP_SHOW_ERROR_BODY": "true", "LOAD__DELETE_COMPLETED_JOBS": "false",
            **more,
        }  # fmt: skip

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a command with all logs on and a key from the environment, in a process that imports all."""
        self.number += 1
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SOURCES__", "EXTEND_"))}
        with (self.folder / f"said_{self.number}").open("wb") as said:
            return subprocess.Popen(
                [sys.executable, *DEVELOPMENT_MODE, "-c", COMMAND, *arguments],
                cwd=self.folder, stdout=said, stderr=subprocess.STDOUT,
                env={**kept, **self.environment(**environment)},
            )  # fmt: skip

    def run(self, *arguments: str, code: int = 0, point: str | None = None, **environment: str) -> str:
        """Run a command to its end, the same way but forked; returns the outputs so far."""
        self.number += 1
        given = self.environment(**environment)
        ended = self._launcher.run(self.folder, *arguments, environment=given, point=point, all_logs=True)
        for name in ("out", "err"):
            (self.folder / name).rename(self.folder / f"said_{self.number}_{name}")
        assert ended.code == code, self.said()
        return self.said()

    def said(self) -> str:
        """The outputs of all commands."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("said_*")))

    def traces(self, keys: Iterable[str], *kept: str) -> Mapping[str, set[str]]:
        """The files that contain one of the keys in any form, except those the user wrote it to."""
        found = everything(self.folder)
        written = [form for key in keys for form in forms(key)]
        mine = {str(self.folder / name) + mark for name in kept for mark in ("", "!")}
        return quoted({name: body for name, body in found.items() if name not in mine}, written)


@pytest.fixture(scope="module")
def launcher() -> Iterator[Children]:
    """Starts commands in Python's development mode, in which asyncio logs what it does."""
    with Children(*DEVELOPMENT_MODE) as starter:
        yield starter


@pytest.fixture
def place(tmp_path: Path, launcher: Children) -> Place:
    """A folder for one test."""
    return Place(tmp_path / "place", launcher)


@pytest.mark.fault(34)
@pytest.mark.parametrize("name", ["EXTEND_API_KEY", "API_KEY", "file"])
def test_a_load_that_succeeds(name: str, few_runs: Sandbox, place: Place) -> None:
    """Wherever the key comes from, a load, a check, a sweep and a deep verify leave no trace of it."""
    environment = {"SOURCES__EXTEND__FIELD_VALUES": "hash", "SOURCES__EXTEND__HASH_KEY": SALT}
    if name == "file":
        (place.folder / ".dlt").mkdir()
        secrets = place.folder / ".dlt" / "secrets.toml"
        text = f"[sources.extend]\napi_key = {json.dumps(KEY)}\nhash_key = {json.dumps(SALT)}\n"
        secrets.write_text(text)
        secrets.chmod(0o600)
        del environment["SOURCES__EXTEND__HASH_KEY"]
    else:
        environment[name] = KEY
    url = ("--base-url", few_runs.extend_url)
    said = place.run("load", "extend", *url, "--json", **environment)
    assert json.loads(said.splitlines()[-1] if said.endswith("}\n") else "{}") is not None
    assert "DEBUG" in said
    if name == "EXTEND_API_KEY":
        for command in (
            ("check", "extend"),
            ("sweep", "extend"),
            ("verify", "extend", "--deep", "5"),
        ):
            place.run(*command, *url, **environment)
        place.run("status", **environment)
    assert place.traces((KEY, SALT), ".dlt/secrets.toml") == {}
    assert (place.folder / "docruns.duckdb").exists()


@pytest.mark.fault(34)
@pytest.mark.parametrize("key", [KEY, ODD_KEY])
def test_servers_that_echo(key: str, echo: str, place: Place) -> None:
    """When answers echo the key, in loaded, quarantined, refused or missing runs, in rows of lists and in
    headers, tables, state and logs have stars in its place."""
    for command, provider, mount, code in (
        ("load", "extend", "ok", 3),
        ("load", "extend", "broken", 1),
        ("load", "plextera", "refuse", 4),
        ("check", "extend", "refuse", 4),
        ("check", "plextera", "broken", 1),
    ):
        database = [] if command == "check" else ["--database", f"{mount}.duckdb"]
        url = ["--base-url", f"{echo}/{mount}"]
        variable = {f"{provider.upper()}_API_KEY": key}
        place.run(command, provider, *url, *database, code=code, **variable)
    assert place.traces([key]) == {}
    database = place.folder / "ok.duckdb"
    found = {
        id_: (message, detail)
        for id_, message, detail in query(database, "SELECT id, message, detail FROM extend.quarantine")
    }
    ids = {id_.rpartition("_")[2] for id_ in found if id_.startswith("workflow_run_")}
    assert ids == {"another", "nothing", "late", "e500", "e502", "e404"}
    assert "***" in found["workflow_run_another"][0]
    assert "***" in found["workflow_run_nothing"][1]
    # where a detail is truncated, it has no beginning of the key either
    assert key[:6] not in "".join(f"{message}{detail}" for message, detail in found.values())
    sql = "SELECT name, failure_message FROM extend.workflow_runs WHERE id LIKE '%good'"
    assert query(database, sql) == [("Bearer ***", "sent Bearer ***")]
    assert query(database, "SELECT name FROM extend.workflows") == [("Bearer ***",)]
    assert "you sent" in place.said() and "***" in place.said()


def test_a_detail_that_refuses(echo: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 403 for one run ends the load, and its message with the echoed headers is in dlt's trace without the
    key."""
    monkeypatch.setattr(Echo, "details", ("good",))
    monkeypatch.setattr(Echo, "rows", lambda *_: [{"id": "workflow_run_e403", "status": "PROCESSED"}])
    said = place.run("load", "extend", "--base-url", f"{echo}/ok", code=4, EXTEND_API_KEY=KEY)
    assert "403 ECHO: you sent" in said
    assert place.traces([KEY]) == {}


@pytest.mark.fault(34)
@pytest.mark.parametrize("between", ["\n", " ", "\t", "\u200b", "ä"])
def test_a_key_that_no_header_can_carry(between: str, echo: str, caplog: pytest.LogCaptureFixture) -> None:
    """A key that no header can carry is refused before it is sent; the error names the setting and does not
    show the key."""
    caplog.set_level(logging.DEBUG)
    for source in (extend, plextera):
        with pytest.raises(ConfigError) as caught:
            source(api_key=between.join(["sk_live_0123456789", KEY]), base_url=echo)
        assert caught.value.key.endswith(".api_key")
        shown = f"{caught.value}{caught.value!r}{vars(caught.value)!r}{caplog.text}"
        assert "sk_live" not in shown


@pytest.mark.fault(34)
def test_a_key_of_two_lines(place: Place, echo: str) -> None:
    """The command refuses a key with two lines and leaves no trace of either line."""
    for provider in ("extend", "plextera"):
        arguments = ("load", provider, "--base-url", f"{echo}/ok")
        key = {f"{provider.upper()}_API_KEY": f"sk_live_0123456789\n{KEY}"}
        assert f"sources.{provider}.api_key" in place.run(*arguments, code=2, **key)
    assert place.traces(["sk_live_0123456789"]) == {}


@pytest.mark.parametrize(
    "line",
    [
        f"api_key = {KEY}",
        f'api_key = "{KEY[:12]}\n{KEY[12:]}"',
        f'api_key = ["{KEY}"]',
    ],
)
def test_a_secrets_file_that_cannot_be_read(line: str, few_runs: Sandbox, place: Place) -> None:
    """No output quotes a secrets file that cannot be parsed."""
    (place.folder / ".dlt").mkdir()
    (place.folder / ".dlt" / "secrets.toml").write_text(f"[sources.extend]\n{line}\n")
    # a list of keys is valid TOML, and loopback needs no key
    code = 0 if line.endswith("]") else 2
    place.run("load", "extend", "--base-url", few_runs.extend_url, code=code)
    assert "Traceback" not in place.said()
    assert place.traces((KEY, KEY[:12]), ".dlt/secrets.toml") == {}


def test_a_killed_load(few_runs: Sandbox, place: Place) -> None:
    """The working folder and the database's log after a kill contain no trace of the key."""
    arguments = ("load", "extend", "--base-url", few_runs.extend_url)
    place.run(*arguments, code=-9, point=MERGE, EXTEND_API_KEY=KEY)
    assert list(place.home.rglob("*.parquet"))
    assert place.traces([KEY]) == {}


def test_no_process_list_shows_it(few_runs: Sandbox, place: Place) -> None:
    """No command takes the key as an argument, a load starts no process with it as an argument, and the imports
    of that load leave no trace of it either."""
    for command in app.registered_commands:
        assert command.callback is not None
        assert not [name for name in command.callback.__annotations__ if "key" in name]
    few_runs.stats.reset()
    few_runs.set(latency=0.05)
    process = place.start(
        "load", "extend", "--base-url", few_runs.extend_url, EXTEND_API_KEY=KEY,
        SOURCES__EXTEND__CONCURRENCY="2",
    )  # fmt: skip
    until = time.monotonic() + 30
    while few_runs.stats.details < 3 and time.monotonic() < until:
        time.sleep(0.01)
    shown = subprocess.run(["ps", "-e", "-ww", "-o", "args"], capture_output=True, check=True)
    few_runs.set(latency=0.0)
    assert process.wait(60) == 0
    assert few_runs.extend_url.encode() in shown.stdout
    assert KEY.encode() not in shown.stdout
    assert "DEBUG" in place.said()
    assert place.traces([KEY]) == {}


def test_no_object_shows_it(sandbox: Sandbox) -> None:
    """Printed or logged sources, loads and clients do not show the key."""
    options: dict[str, Any] = {"hash_key": SALT, "field_values": "hash"}
    sources = [extend(KEY, **options), plextera(f"api-key {KEY}", **options)]
    for platform in (
        connect_extend(KEY, **options),
        connect_plextera(f"api-key {KEY}", **options),
    ):
        client: Client = platform.client
        assert KEY in str(dict(client._settings.headers).values())
        printed = (
            f"{platform!r}{platform}{Sync(platform)!r}{client!r}{vars(client)!r}"
            f"{platform.settings!r}{client._settings!r}"
        )
        assert KEY not in printed
        assert SALT not in printed
    assert all(KEY not in f"{source}{source!r}{vars(source)!r}" for source in sources)


def test_an_ordinary_pipeline_s_trace(echo: str, tmp_path: Path) -> None:
    """In a user's own pipeline, dlt's trace (pickled, and printed with all details) and errors do not contain
    the key."""
    pipeline = dlt.pipeline(
        "mine",
        destination=dlt.destinations.duckdb(str(tmp_path / "mine.duckdb")),
        dataset_name="docs",
        pipelines_dir=str(tmp_path / "pipelines"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCES__EXTEND__API_KEY", KEY)
        source = extend(base_url=f"{echo}/refuse")
        with pytest.raises(PipelineStepFailed) as caught:
            pipeline.run(source, loader_file_format="parquet")
    trace = pipeline.last_trace
    assert trace is not None
    assert KEY not in trace.asstr(verbosity=2)
    assert KEY.encode() not in pickle.dumps(trace)
    assert quoted(everything(tmp_path), forms(KEY)) == {}
    error: BaseException | None = caught.value
    while error is not None:
        assert KEY not in f"{error}{error!r}{vars(error)!r}"
        error = error.__cause__ or error.__context__


def test_errors_of_a_library_s_load(echo: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Errors and logs at any level have stars in place of the key."""
    caplog.set_level(logging.DEBUG)
    for mount in ("refuse", "broken"):
        url = f"{echo}/{mount}"
        with pytest.raises(ApiError) as caught:
            load_runs(
                connect_extend(base_url=url, api_key=KEY),
                Target("extend", tmp_path / "d.duckdb"),
            )
        shown = f"{caught.value}{caught.value!r}{vars(caught.value)!r}"
        assert KEY not in shown
        assert "***" in shown
    assert KEY not in caplog.text
    with pytest.raises(ConfigError) as wrong:
        extend(api_key=f"{KEY} {KEY}")
    assert KEY not in f"{wrong.value}{wrong.value!r}"


def test_no_presigned_url_is_stored(sandbox: Sandbox, tmp_path: Path) -> None:
    """No table contains a URL that opens a document without a key, under known names and others."""
    signed = {
        "presignedUrl": "https://files.invalid/a.pdf?X-Amz-Signature=4f1c",
        "downloadUrl": "https://files.invalid/b.pdf?X-Amz-Credential=4f1c&X-Amz-Signature=4f1c",
        "thumb": {"href": "https://files.invalid/c.png?sv=2024&sig=4f1c%3D"},
        "page": "https://storage.invalid/d?Expires=1&GoogleAccessId=x&Signature=4f1c",
        "note": "see https://files.invalid/e.pdf?token=4f1c or ask",
        "plain": "https://docs.invalid/f?page=2&lang=en",
    }
    id_ = "workflow_run_signed"
    run = {
        "object": "workflow_run", "id": id_, "status": "FAILED", "metadata": signed,
        "failureMessage": f"cannot read {signed['downloadUrl']}", "moreUrls": signed,
        "files": [{"object": "file", "id": "file_1", "name": "a.pdf", **signed}],
        "stepRuns": [{"object": "workflow_step_run", "id": "s", "result": signed, "other": signed}],
    }  # fmt: skip
    sandbox.extend.put(json.dumps(run), {"id": id_, "status": "FAILED"})
    bad = "workflow_run_bad"
    sandbox.extend.put(json.dumps({"id": "another", **signed}), {"id": bad, "status": "FAILED"})
    database = tmp_path / "d.duckdb"
    for version in ("2026-02-09", "2025-04-21"):
        options = {"base_url": sandbox.extend_url, "api_version": version, "api_key": KEY}
        found = load_runs(
            connect_extend(**options),
            Target(f"v{version[:4]}", database),
        )
        assert found.quarantined == 1
    url = sandbox.plextera_url
    load_runs(connect_plextera(base_url=url), Target("plextera", database))
    marks = ("x-amz-", "signature=", "sig=", "token=", "accessid=", "4f1c")
    for table, column, type_, texts in cells(database):
        if type_ in ("VARCHAR", "JSON") and not table.endswith(("_version", "_state")):
            for text in texts:
                assert not [mark for mark in marks if mark in text.lower()], (table, column, text)
    sql = f"SELECT extra FROM v2026.workflow_runs WHERE id = '{id_}'"
    ((extra,),) = query(database, sql)
    kept = json.loads(extra)["moreUrls"]
    assert kept["downloadUrl"] == "https://files.invalid/b.pdf?…"
    assert kept["note"] == "see https://files.invalid/e.pdf?… or ask"
    assert kept["plain"] == signed["plain"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://a/b?X-Amz-Signature=1", "https://a/b?…"),
        ("https://a/b?c=1&sig=2&d=3 and more", "https://a/b?… and more"),
        ('{"u":"https:\\/\\/a\\/b?sig=2"}', '{"u":"https:\\/\\/a\\/b?…"}'),
        ('{"u":"https://a/b?c=1\\u0026token=2","v":1}', '{"u":"https://a/b?…","v":1}'),
        ("https://a/b?c=1 https://a/b?token=2", "https://a/b?c=1 https://a/b?…"),
        ("https://a/b?page=2&design=3", "https://a/b?page=2&design=3"),
        ('{"u":"https://a/sch\\u00e4n?sig=2"}', '{"u":"https://a/sch\\u00e4n?…"}'),
        (
            json.dumps({"raw": '{"u":"https://a/b?sig=2"}'}),
            json.dumps({"raw": '{"u":"https://a/b?…"}'}, ensure_ascii=False),
        ),
        ('{"u":"https://a/b?sig=2\\nand more"}', '{"u":"https://a/b?…\\nand more"}'),
        ("sig=2 is no URL, nor is a?token=1", "sig=2 is no URL, nor is a?token=1"),
        ("https://a/O'Brien.pdf?x=1&X-Amz-Signature=2", "https://a/O'Brien.pdf?…"),
        ("https://a/My scan.pdf?X-Amz-Signature=2 and more", "https://a/My scan.pdf?… and more"),
        ("HTTPS://A/b?Sig=2", "HTTPS://A/b?…"),
        ("//a/b?sig=2", "//a/b?…"),
        ("s3://a/b?X-Amz-Security-Token=2", "s3://a/b?…"),
        ("https://a/b?q-signature=2", "https://a/b?…"),
        ("https://a/b?x-oss-signature=2", "https://a/b?…"),
        ("https://a/b?name=O'Brien&sig=2, and", "https://a/b?… and"),
        ("GET 'https://a/b?sig=2' failed", "GET 'https://a/b?…' failed"),
        ("https://a/b?c=inline; filename=x&sig=2", "https://a/b?…"),
        ('https://a/b?name="a b.pdf"&sig=2 x', "https://a/b?… x"),
        ('{"u":"https://a/b?name=\\"a b.pdf\\"&sig=2","v":1}', '{"u":"https://a/b?…","v":1}'),
        (
            "https://a/#u=https%3A%2F%2Fc%2Fd%3Fe%3D1%26sig%3D2&p=1",
            "https://a/#u=https%3A%2F%2Fc%2Fd%3F…&p=1",
        ),
        ("https://a/?u=https%3A%2F%2Fc%3Fpage%3D1", "https://a/?u=https%3A%2F%2Fc%3Fpage%3D1"),
        ("why? https://a/b is it? Yes key=1", "why? https://a/b is it? Yes key=1"),
        ("https://a/b", "https://a/b"),
        ("", ""),
    ],
)
def test_strip_signed_urls(text: str, kept: str) -> None:
    """A URL with a signature or a token loses its query; other text stays to the letter."""
    assert strip_signed_urls(text) == kept
    # the same text as it is in JSON, alone and as one of many
    for value, expected in ((text, kept), ({"a": [text, 1], text: "="}, {"a": [kept, 1], kept: "="})):
        for spelled in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
            found = json.loads(strip_signed_urls_of_json(spelled.encode()))
            assert found == json.loads(strip_signed_urls(spelled)) == expected


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://a/b?page=2 and http://c?d", "https://a/b?… and http://c?…"),
        (
            '{"u":"https:\\/\\/a\\/sch\\u00e4n?x=2","v":"why?"}',
            '{"u":"https:\\/\\/a\\/sch\\u00e4n?…","v":"why?"}',
        ),
        ("https://a/b?X-Amz-Sig", "https://a/b?…"),
        ("is it a?b=1", "is it a?b=1"),
    ],
)
def test_strip_url_queries(text: str, kept: str) -> None:
    """In messages and excerpts each URL loses its query, also one that is cut off."""
    assert strip_url_queries(text) == kept


@pytest.mark.parametrize("key", [KEY, ODD_KEY, "p/q/r/s/t"])
def test_redactor(key: str) -> None:
    """A key is found literally, in JSON, with escaped slashes, and in a URL; the text around it stays."""
    hide = make_redactor(key)
    written = json.dumps({"a": f"Bearer {key}", "b": [key]})
    assert json.loads(hide(written.encode())) == {"a": "Bearer ***", "b": ["***"]}
    assert json.loads(hide(written.replace("/", "\\/").encode())) == {
        "a": "Bearer ***",
        "b": ["***"],
    }
    assert hide(f"https://x/?key={quote(key, safe='')}&y".encode()) == b"https://x/?key=***&y"
    assert hide(b"nothing") == b"nothing"


@pytest.mark.parametrize("word", ["sandbox", "", "1234567890123456"])
def test_a_word_is_no_secret(word: str) -> None:
    """A key that could be any word or number of a document is not redacted: the sandbox's stand-in key, or
    digits."""
    body = f'{{"name": "{word}", "n": 1234567890123456}}'.encode()
    assert make_redactor(word)(body) == body
