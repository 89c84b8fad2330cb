"""A destination that refuses a value: the error names place and file, and never shows the value."""

from __future__ import annotations

import logging
import sqlite3
import stat
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg2
import pytest

from docruns.commands.load import load_runs
from docruns.commands.push.rows import read_rows
from docruns.commands.reconcile.verify import verify_runs
from docruns.core.errors import ConfigError, DocrunsError
from docruns.sandbox import Sandbox
from docruns.store.target import Target, working_folder
from proofs.children import Children
from support.loading import FEW_LISTED, connect
from support.postgres import rows

PLANTED = "PLANTED"
RUN = """{"object": "workflow_run", "id": "refused", "status": "PROCESSED", "name": "PLANTED-1971-04-03 \\u0142",
"metadata": {"born": "PLANTED-1971-04-03 \\u0142", "more": "PLANTED %s"}}"""


@pytest.fixture
def refused() -> Iterator[Sandbox]:
    """A platform with one run of which a destination will refuse a value."""
    with Sandbox(
        runs=2, standalone=0, seed=5, document_size="light", plextera_runs=0, corpus=FEW_LISTED
    ) as running:
        running.extend.put(RUN % ("PLANTED " * 5000))
        yield running


def database_in(server: str, encoding: str) -> str:
    """The URL of a new database of a PostgreSQL server, in an encoding."""
    name = f"in_{encoding.lower()}"
    connection = psycopg2.connect(server)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    connection.close()
    return server.replace("/postgres?", f"/{name}?")


def look(text: str, folder: Path) -> None:
    """The message has at most three lines, no value, and the path of a private file that has the rest."""
    assert PLANTED not in text
    said = [line for line in text.splitlines() if not line.endswith(" listed")]
    assert 1 <= len(said) <= 3, text
    (kept,) = folder.glob("*.error")
    assert str(kept) in text
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "Traceback" in kept.read_text()


def fail(
    sandbox: Sandbox, target: Target, caplog: pytest.LogCaptureFixture, run: Children, folder: Path
) -> str:
    """Load in this process and in one of its own, which both fail, and look at all that they say."""
    log = logging.getLogger("dlt")
    log.addHandler(caplog.handler)
    try:
        with pytest.raises(DocrunsError) as caught:
            load_runs(connect(sandbox, "extend"), target)
    finally:
        log.removeHandler(caplog.handler)
    look(str(caught.value), working_folder(target).parent)
    assert PLANTED not in caplog.text
    # what Python prints where nobody catches it
    assert PLANTED not in "".join(traceback.format_exception(caught.value))
    words = [
        "--destination",
        target.destination,
        "--dataset",
        target.dataset,
        "--base-url",
        sandbox.extend_url,
    ]
    if target.traits.has_file:
        words += ["--database", str(target.database)]
    ended = run.run(folder, "load", "extend", *words)
    assert (ended.code, ended.out) == (1, "")
    look(ended.err, folder / "dlt" / "docruns")
    return str(caught.value)


def test_postgres_lacks_letters(server: str, refused: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database in LATIN1 is refused before the first request, and nothing is stored in it."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", database_in(server, "LATIN1"))
    with pytest.raises(ConfigError, match="the database has the encoding LATIN1") as caught:
        load_runs(connect(refused, "extend"), Target("extend", destination="postgres"))
    assert str(caught.value).startswith("destination.postgres.credentials: ")
    assert refused.stats.requests == 0
    schema = "SELECT 1 FROM pg_namespace WHERE nspname = 'extend'"
    assert rows(server.replace("/postgres?", "/in_latin1?"), schema) == []


def test_sqlite_refuses_a_row(
    refused: Sandbox,
    children: Children,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rule that somebody has added: SQLAlchemy quotes the rows that the statement inserts, and nobody else does."""
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", f"sqlite:///{tmp_path / 'runs.sqlite'}")
    target = Target("extend", destination="sqlalchemy")
    load_runs(connect(refused, "extend", until="2020-01-01"), target)
    with closing(sqlite3.connect(tmp_path / "runs__extend_staging.sqlite")) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS workflow_runs (name text)")
        connection.execute(
            f"CREATE TRIGGER plain BEFORE INSERT ON workflow_runs WHEN NEW.name LIKE '%{PLANTED}%' "
            f"BEGIN SELECT raise(ABORT, '{PLANTED}'); END"
        )
    text = fail(refused, target, caplog, children, tmp_path / "child")
    assert "failed in rows of workflow_runs (IntegrityError)" in text


def test_postgres_refuses_a_row(
    server: str,
    refused: Sandbox,
    children: Children,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A constraint that somebody has added: PostgreSQL quotes the whole row, and nobody else does. A load that
    succeeds deletes the file of the error."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server)
    target = Target("extend", destination="postgres")
    load_runs(connect(refused, "extend", until="2020-01-01"), target)
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS extend.workflow_runs (name text)")
        cursor.execute(f"ALTER TABLE extend.workflow_runs ADD CONSTRAINT plain CHECK (name !~ '{PLANTED}')")
    assert "SQLSTATE 23514" in fail(refused, target, caplog, children, tmp_path / "child")
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE extend.workflow_runs DROP CONSTRAINT plain")
    load_runs(connect(refused, "extend"), target)
    assert not [*working_folder(target).parent.glob("*.error")]


def test_postgres_without_an_encoding(server: str, refused: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database in SQL_ASCII, which knows no letters, gives back those that it got."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", database_in(server, "SQL_ASCII"))
    target = Target("extend", destination="postgres")
    load_runs(connect(refused, "extend"), target)
    assert not verify_runs(connect(refused, "extend"), target, deep=100).differs


def test_duckdb_refuses_a_text(
    refused: Sandbox, children: Children, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A column that somebody has given another type: no cell is on stdout, on stderr or in a log, also where a
    value has the words of a damaged file."""
    database = tmp_path / "d.duckdb"
    load_runs(connect(refused, "extend", until="2020-01-01"), Target("extend", database))
    with duckdb.connect(str(database)) as connection:
        connection.execute("ALTER TABLE extend.workflow_runs ALTER name TYPE INTEGER USING NULL")
    text = fail(refused, Target("extend", database), caplog, children, tmp_path / "child")
    assert "failed in rows of workflow_runs (ConversionException)" in text


def test_a_query_of_a_push_that_cannot_convert(loaded: Path) -> None:
    """The error of a query for `push` quotes no value; one about a name still says which."""
    target = Target("extend", loaded)
    with pytest.raises(ConfigError, match="ConversionException, about a value") as caught:
        read_rows("SELECT id, (id || 'PLANTED')::INTEGER AS name FROM extend.workflow_runs", target, "extend")
    assert PLANTED not in str(caught.value)
    with pytest.raises(ConfigError, match="nothing"):
        read_rows("SELECT nothing FROM extend.workflow_runs", target, "extend")
