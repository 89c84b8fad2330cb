"""With `hash` and `drop`, no text of a document and no person's name is written anywhere; counts stay."""

from __future__ import annotations

import json
import logging
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dlt
import duckdb
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docruns import extend, plextera
from docruns.commands import load
from docruns.commands.load import Summary, load_runs
from docruns.commands.reconcile.verify import verify_runs
from docruns.core.errors import ConfigError, DocrunsError
from docruns.core.flatten.flatten import rebuild
from docruns.core.privacy import Privacy, holds_json, make_privacy
from docruns.core.tables import TABLES, Column, Table
from docruns.models import questions
from docruns.sandbox import Sandbox
from docruns.sandbox.kinds import CITIES, COMPANIES, GOODS, PEOPLE
from docruns.store import pipeline
from docruns.store.target import Target
from docruns.sync import quarantine
from docruns.sync.plan import Failure, ListedRun, State
from proofs.children import Children
from support.leftovers import cells, everything, parquet_cells, quoted
from support.loading import FEW_LISTED, connect, query

KEY = "a long random text of somebody's own"
RUNS: Any = {"runs": 16, "plextera_runs": 16, "seed": 5, "document_size": "heavy", "corpus": FEW_LISTED}
SOURCES: dict[str, Any] = {"extend": extend, "plextera": plextera}
VERSIONS = ("2026-02-09", "2025-04-21", "2024-12-23", "v1")

# text columns without information about documents or persons: ids, codes, and names that a customer
# gave to workflows, steps, processors and fields. For each new column, decide: public here, or
# private in the model.
PUBLIC = {
    "workflow_runs": """
        id workspace api_version status workflow_id workflow_name workflow_version_id
        workflow_version batch_id failure_code dashboard_url parent_run_id parent_step_id
        root_run_id
    """,
    "workflow_steps": """
        workflow_run_id step_run_id step_id name type status processor_run_id processor_run_ids nested_run_ids
    """,
    "processor_runs": """
        id workspace api_version type status processor_id processor_name processor_version_id
        processor_version base_processor base_version workflow_run_id source source_id batch_id
        parse_run_id failure_code output_format dashboard_url risk_level
    """,
    "fields": "processor_run_id workflow_run_id path initial_path field name parent_path kind type edit_kind",
    "insights": "processor_run_id output path type",
    "citations": "processor_run_id output path file_id",
    "splits": "processor_run_id split_id file_id",
    "run_files": "run_id run_kind file_id type parent_file_id",
    "charges": "run_id run_kind charged_run_id charged_run_type product unit",
    "workflows": "id workspace api_version name",
    "workflow_versions": "id workspace api_version workflow_id version name",
    "processors": "id workspace api_version type name",
    "processor_versions": "id workspace api_version processor_id type version",
    "evaluation_sets": "id workspace api_version name processor_id processor_name processor_type",
    "evaluation_items": "id evaluation_set_id file_ids",
    "expected_fields": "evaluation_item_id path field name kind type",
    "quarantine": "resource id error message",
    "syncs": "load_id provider left_out incomplete_lists privacy",
    "pushes": "push_id id outcome reason",
}


def settings(field_values: str, **more: Any) -> dict[str, Any]:
    """The keywords of a source."""
    key = {"hash_key": KEY} if field_values == "hash" else {}
    return {"field_values": field_values, **key, **more}


PARSED = {"include_parse_output": True}
"""For Extend: load the whole text of the pages too."""


def load_into(sandbox: Sandbox, provider: str, database: Path, **options: Any) -> Summary:
    """Load a platform into the dataset with its name."""
    return load_runs(connect(sandbox, provider, **options), Target(provider, database))


@pytest.fixture(scope="module")
def platform() -> Iterator[Sandbox]:
    """Long documents, with reviewed, rejected, failed and split ones among them; no test changes it."""
    with Sandbox(**RUNS) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def kept(platform: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database loaded with the default `keep`."""
    return loaded(platform, tmp_path_factory, "keep")


@pytest.fixture(scope="module")
def hashed(platform: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database loaded with `hash`."""
    return loaded(platform, tmp_path_factory, "hash")


@pytest.fixture(scope="module")
def dropped(platform: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database loaded with `drop`."""
    return loaded(platform, tmp_path_factory, "drop")


def loaded(platform: Sandbox, factory: pytest.TempPathFactory, mode: str) -> Path:
    """Load both platforms into `<mode>/d.duckdb`, with copies of every spool, log and database state beside
    it.

    The copies are made before a load removes its working folder and before it empties the database's log.
    """
    folder = factory.mktemp(mode)
    database = folder / "d.duckdb"
    copies = 0
    remove, checkpoint = shutil.rmtree, pipeline.checkpoint_aside

    def put_by(path: Path) -> None:
        nonlocal copies
        copies += 1
        shutil.copytree(path, folder / f"spool_{copies}", ignore_dangling_symlinks=True)

    def removed(path: Any, **how: Any) -> None:
        if Path(path).is_dir():
            put_by(Path(path))
        remove(path, **how)

    def before_checkpoint(*arguments: Any) -> Any:
        for path in folder.glob("d.duckdb*"):
            shutil.copy(path, folder / f"seen_{path.name}")
        return checkpoint(*arguments)

    log = logging.FileHandler(folder / "log")
    levels = {name: logging.getLogger(name).level for name in ("", "dlt", "asyncio", "docruns")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        patch.setenv("LOAD__DELETE_COMPLETED_JOBS", "false")
        patch.setattr("docruns.store.pipeline.shutil.rmtree", removed)
        patch.setattr(load, "checkpoint_aside", before_checkpoint)
        logging.getLogger().addHandler(log)
        for name in levels:
            logging.getLogger(name).setLevel(logging.DEBUG)
        try:
            for provider in SOURCES:
                parsed = PARSED if provider == "extend" else {}
                load_into(platform, provider, database, **settings(mode, **parsed))
        finally:
            logging.getLogger().removeHandler(log)
            log.close()
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
    assert list(folder.glob("spool_*/**/*.parquet"))
    assert list(folder.glob("seen_*.wal"))
    return database


SAYS = frozenset(
    [
        "value",
        "originalValue",
        "editedValue",
        "normalizedValue",
        "text",
        "referenceText",
        "content",
        "notes",
        "reasoning",
        "identifier",
        "observation",
        "reviewedByUser",
        "reviewedBy",
        "email",
        "rejectionNote",
        "failureMessage",
        "fileName",
        "printed_name",
    ]
)
"""Keys whose values quote a document or name a person."""


def said(payload: Any, quoted: bool = False) -> Iterator[str]:
    """The texts and fractions in a payload that come from documents, reviewers and files."""
    if isinstance(payload, dict):
        is_file = payload.get("object") == "file" or "mimeType" in payload
        for key, inner in payload.items():
            yield from said(inner, quoted or key in SAYS or (is_file and key == "name"))
    elif isinstance(payload, list):
        for inner in payload:
            yield from said(inner, quoted)
    elif quoted and isinstance(payload, str):
        yield payload
    elif quoted and isinstance(payload, float):
        yield repr(payload)


NAMED = frozenset(
    [
        "workflow",
        "workflowVersion",
        "step",
        "extractor",
        "classifier",
        "splitter",
        "extractorVersion",
        "processor",
    ]
)


def called(payload: Any, key: str = "") -> Iterator[str]:
    """The public texts: keys, kinds, and the names of workflows, steps, processors and fields."""
    if isinstance(payload, dict):
        yield from payload
        names = ["type", "status", "object", "label", "fieldId", "processorName"]
        names += ["name"] if key in NAMED or "fieldCount" in payload or key == "fields" else []
        yield from (str(payload[name]) for name in names if name in payload)
        for name, inner in payload.items():
            yield from called(inner, name)
    elif isinstance(payload, list):
        for inner in payload:
            yield from called(inner, key)


def payloads(sandbox: Sandbox) -> Iterator[Any]:
    """Every run of both platforms in full, Extend's runs in every version."""
    resources = {
        "workflow_runs": VERSIONS,
        **dict.fromkeys(("extract_runs", "classify_runs", "split_runs", "edit_runs"), VERSIONS[:1]),
    }
    with httpx.Client(timeout=60) as client:
        for run in list(sandbox.extend.truth()):
            for version in resources.get(run["resource"], ()):
                headers = {
                    "authorization": "Bearer k",
                    "x-extend-api-version": "2024-11-14" if version == "v1" else version,
                }
                url = f"{sandbox.extend_url}/{run['resource']}/{run['id']}"
                yield client.get(url, headers=headers).raise_for_status().json()
        for path in ("/workflow-runs", "/document-insights/extractions"):
            headers = {"authorization": "api-key k"}
            listed = f"{sandbox.plextera_url}{path}?page=0&size=100"
            for row in client.get(listed, headers=headers).raise_for_status().json()["data"]:
                url = f"{sandbox.plextera_url}{path}/{row['id']}"
                yield client.get(url, headers=headers).raise_for_status().json()


@pytest.fixture(scope="module")
def secrets(platform: Sandbox) -> set[str]:
    """Every text of at least four characters that comes from a document or is a person's name.

    Words that are also names of fields or classes are left out.
    """
    found = {*COMPANIES, *PEOPLE, *GOODS, *CITIES}
    names: set[str] = set()
    for payload in payloads(platform):
        found.update(said(payload))
        names.update(called(payload))
    common = "\n".join(names)
    found = {text for text in found if len(text) >= 4}
    public = {text for text in found if text in common}
    # a payment method that is also a field's name, and two types
    assert public == {"card", "string", "null"}
    return found - public


def words(secrets: set[str]) -> set[str]:
    """The secrets that can be searched for as substrings.

    A number or a date may occur by chance, so it is searched for as a whole cell.
    """
    return {text for text in secrets if any(map(str.isalpha, text))}


def test_the_document_names_what_stays_readable() -> None:
    """docs/privacy.md lists the text columns that `hash` and `drop` leave as they are, all of them and no others."""
    text = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text()
    lines = text.partition("columns that stay readable text")[2].partition("\n\n")[0].splitlines()[2:]
    told = {}
    for line in lines:
        table, *names = re.findall(r"`(\w+)`", line)
        told[table] = names
    for mode in ("hash", "drop"):
        privacy = make_privacy(mode, KEY, None, "x")
        assert told == {
            table.name: [
                c.name
                for c in table.columns
                if c.type in ("text", "json") and c.name not in privacy.rewrites(table)
            ]
            for table in TABLES
        }


def test_every_column_is_decided(capsys: pytest.CaptureFixture[str]) -> None:
    """Each text column is private in the model or public in this file; JSON and typed copies of values are
    private."""
    for table in TABLES:
        texts = [c for c in table.columns if c.type in ("text", "json")]
        assert {c.name for c in texts if not c.private} == set(PUBLIC[table.name].split()), table.name
        assert [c.name for c in texts if c.type == "json" and not c.private] == []
        # key columns are never private: rows are merged by them
        assert [name for name in table.key if columns(table)[name].private] == []
    typed = {"value_number", "value_boolean", "value_date"}
    others = {c.name for t in TABLES for c in t.columns if c.type not in ("text", "json") and c.private}
    assert others == typed


def columns(table: Table) -> dict[str, Column]:
    """A table's columns by name."""
    return {column.name: column for column in table.columns}


def test_the_search_finds_what_is_there(kept: Path, secrets: set[str]) -> None:
    """The secrets that the tests below search for are in the database, its log and the spool with `keep`."""
    whole = {text for _, _, _, texts in cells(kept) for text in texts}
    assert len(secrets) > 3000 and len(words(secrets)) > 1500
    assert len(secrets & whole) > 0.8 * len(secrets)
    found = quoted(everything(kept.parent), words(secrets))
    assert len(found[f"{kept}!"]) > 0.95 * len(words(secrets))
    assert len(found[str(kept)]) > 500
    assert {Path(name).name for name in found} >= {"d.duckdb", "seen_d.duckdb.wal"}
    spool = set[str]().union(*(some for name, some in found.items() if "spool" in name))
    assert len(spool) > 0.95 * len(words(secrets))


@pytest.mark.parametrize("mode", ["hash", "drop"])
def test_nothing_is_written(mode: str, secrets: set[str], request: pytest.FixtureRequest) -> None:
    """No text of a document and no person's name is in a cell, in the database file and its log, in the spool
    or its traces, or in a log at level DEBUG."""
    database: Path = request.getfixturevalue({"hash": "hashed", "drop": "dropped"}[mode])
    found = everything(database.parent)
    assert {Path(name).name for name in found} >= {"seen_d.duckdb.wal", "log", "trace.pickle"}
    assert quoted(found, words(secrets)) == {}
    spooled = [cell for path in database.parent.rglob("*.parquet") for cell in parquet_cells(path)]
    for table, column, type_, texts in (*cells(database), *spooled):
        if type_ in ("VARCHAR", "JSON", "string"):
            assert not secrets.intersection(texts), (table, column)


@pytest.mark.parametrize(
    ("mode", "moment"),
    [
        ("keep", "dlt.pipeline.pipeline:Pipeline.load"),
        ("hash", "dlt.pipeline.pipeline:Pipeline.normalize"),
        ("hash", "dlt.pipeline.pipeline:Pipeline.load"),
        ("hash", "dlt.destinations.job_client_impl:SqlLoadJob.run"),
        ("drop", "dlt.destinations.job_client_impl:SqlLoadJob.run"),
    ],
)
def test_a_killed_load_leaves_nothing_either(
    mode: str, moment: str, platform: Sandbox, secrets: set[str], children: Children, tmp_path: Path
) -> None:
    """The spool and the database log that a kill leaves quote no document, with settings from the
    environment."""
    options = {f"SOURCES__EXTEND__{name.upper()}": str(value) for name, value in settings(mode).items()}
    environment = {"RUNTIME__LOG_LEVEL": "DEBUG", "PYTHONASYNCIODEBUG": "1", **options}
    command = ("load", "extend", "--base-url", platform.extend_url)
    ended = children.run(tmp_path / "killed", *command, environment=environment, point=moment)
    assert ended.code == -9, ended.err
    found = everything(tmp_path / "killed")
    assert any(".parquet" in name or ".duckdb.wal" in name for name in found)
    assert (quoted(found, words(secrets)) == {}) == (mode != "keep")


def counted(database: Path, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query in a fixed order."""
    return sorted(query(database, sql), key=repr)


def test_equal_stays_equal(kept: Path, hashed: Path) -> None:
    """Comparisons, joins and groups by texts give the same result: within a column, across columns and across
    platforms."""
    for sql in (
        "SELECT processor_run_id, path, value_json = initial_json, value_json = reviewed_json, "
        "initial_json = reviewed_json, value_json IS NULL, initial_json IS NULL, "
        "value_json = 'null', "
        "value = '', edited FROM extend.fields",
        "SELECT field, count(DISTINCT value), count(DISTINCT value_json), "
        "count(DISTINCT currency_code) "
        "FROM extend.fields GROUP BY ALL",
        "SELECT f.path, count(*) FROM extend.fields f "
        "JOIN extend.citations c ON f.value = c.reference_text "
        "GROUP BY ALL",
        "SELECT e.path, count(*) FROM extend.fields e JOIN plextera.fields p USING (value) "
        "GROUP BY ALL",
        "SELECT id, classification = initial_classification, edited_count "
        "FROM extend.processor_runs",
        "SELECT count(*) FROM extend.workflow_runs GROUP BY reviewed_by",
        "SELECT count(DISTINCT name), count(DISTINCT extra) FROM extend.run_files",
        "SELECT list(id ORDER BY id) FROM extend.processor_runs GROUP BY config",
    ):  # fmt: skip
        assert counted(hashed, sql) == counted(kept, sql), sql
        assert len(counted(kept, sql)) > 0


@pytest.mark.parametrize("mode", ["hash", "drop"])
def test_all_else_stays(mode: str, kept: Path, request: pytest.FixtureRequest) -> None:
    """A public column has the same cells as with `keep`; a private one is empty or has hashes, as JSON where
    it was JSON, and typed copies are empty."""
    database: Path = request.getfixturevalue({"hash": "hashed", "drop": "dropped"}[mode])
    seen = set()
    with (
        duckdb.connect(str(kept), read_only=True) as ours,
        duckdb.connect(str(database), read_only=True) as theirs,
    ):
        there = "SELECT table_schema, table_name FROM information_schema.tables"
        names = set(ours.execute(there).fetchall())
        for provider, table in ((p, t) for p in SOURCES for t in TABLES if t.name != "syncs"):
            if (provider, table.name) not in names:
                continue
            wanted = [column for column in table.columns if column.name != "_cleared"]
            some = ", ".join(f'"{column.name}"' for column in wanted)
            sql = f"SELECT {some} FROM {provider}.{table.name} ORDER BY {', '.join(table.key)}"
            before, after = (c.execute(sql).fetchall() for c in (ours, theirs))
            assert len(before) == len(after)
            for place, column in enumerate(wanted):
                one, other = ([row[place] for row in rows] for rows in (before, after))
                if not column.private:
                    assert one == other
                    continue
                assert all(is_right(*pair, column, mode) for pair in zip(one, other, strict=True))
                seen |= {column.name for cell in one if cell is not None}
    assert seen >= {
        "value",
        "value_number",
        "value_date",
        "value_boolean",
        "currency_code",
        "reviewed_by",
    }
    assert seen >= {
        "reference_text",
        "content",
        "edit_note",
        "rejection_note",
        "failure_message",
        "config",
    }


def is_right(before: Any, after: Any, column: Column, mode: str) -> bool:
    """Whether a private cell has the right replacement."""
    if before is None or mode == "drop" or column.type not in ("text", "json"):
        return after is None
    nothing = ("null", '""', "[]", "{}") if holds_json(column) else ("",)
    if before in nothing:
        return bool(after == before)
    digits = json.loads(after) if holds_json(column) else after
    return len(digits) == 32 and not digits.strip("0123456789abcdef")


def test_shapes_can_be_rebuilt(kept: Path, hashed: Path) -> None:
    """The rebuilt outputs of a run have the same objects, lists and nulls, with hashes for values."""
    sql = "SELECT path, value_json FROM extend.fields WHERE processor_run_id = ? ORDER BY position"

    def shape(value: Any) -> Any:
        if isinstance(value, dict) and "amount" not in value and "is_signed" not in value:
            return {key: shape(inner) for key, inner in value.items()}
        return [*map(shape, value)] if isinstance(value, list) else value is None

    runs = query(kept, "SELECT DISTINCT processor_run_id FROM extend.fields ORDER BY 1 LIMIT 10")
    for run in runs:
        assert shape(rebuild(query(hashed, sql, *run))) == shape(rebuild(query(kept, sql, *run)))
    assert len(runs) == 10


@pytest.mark.parametrize("mode", ["hash", "drop"])
def test_questions_are_answered(mode: str, kept: Path, request: pytest.FixtureRequest) -> None:
    """The command's questions have the same answers: they use scores, edits and credits."""
    database: Path = request.getfixturevalue({"hash": "hashed", "drop": "dropped"}[mode])
    for provider in SOURCES:
        with duckdb.connect(str(database), read_only=True) as connection:
            found = questions.ask(connection, provider)
        with duckdb.connect(str(kept), read_only=True) as connection:
            assert found == questions.ask(connection, provider)


@pytest.mark.parametrize("mode", ["hash", "drop"])
def test_notebook_runs(
    mode: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The notebooks run on hashed and on dropped databases."""
    database: Path = request.getfixturevalue({"hash": "hashed", "drop": "dropped"}[mode])
    for name in ("explore", "quality", "operations"):
        notebook = str(Path(__file__).parents[2] / "notebooks" / f"{name}.py")
        # as a script, but not in a process of its own, half of whose time are imports
        monkeypatch.setattr(sys, "argv", [notebook, "--database", str(database), "--dataset", "extend"])
        runpy.run_path(notebook, run_name="__main__")
        assert f"{database}, dataset extend" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["hash", "drop"])
@pytest.mark.parametrize("provider", list(SOURCES))
def test_verify_agrees(mode: str, provider: str, platform: Sandbox, request: pytest.FixtureRequest) -> None:
    """A deep verify finds every cell of every run equal, because it reads and stores the runs in the same
    way."""
    database: Path = request.getfixturevalue({"hash": "hashed", "drop": "dropped"}[mode])
    parsed = PARSED if provider == "extend" else {}
    options = settings(mode, **parsed)
    found = verify_runs(connect(platform, provider, **options), Target(provider, database), deep=10_000)
    assert not found.differs, found.as_dict()
    assert found.rows_compared > 1000


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        (settings("hash", hash_key="another key, as long as the first"), "hash_key"),
        (settings("keep"), "field_values"),
        (settings("drop"), "field_values"),
    ],
)
def test_a_dataset_is_stored_in_one_way(
    options: dict[str, Any], setting: str, platform: Sandbox, hashed: Path, tmp_path: Path
) -> None:
    """Load and verify refuse another key or another mode, whose rows could not be compared or would quote
    documents, before they request any run."""
    database = tmp_path / "d.duckdb"
    shutil.copy(hashed, database)
    make, target = connect(platform, "extend", **options), Target("extend", database)
    before = counted(database, "SELECT * FROM extend.workflow_runs")
    for act in (lambda: load_runs(make, target), lambda: verify_runs(make, target, deep=3)):
        with pytest.raises(ConfigError) as caught:
            act()
        assert caught.value.key == f"sources.extend.{setting}"
        assert options.get("hash_key", KEY) not in str(caught.value)
    assert counted(database, "SELECT * FROM extend.workflow_runs") == before


def test_a_database_of_before_is_kept(sandbox: Sandbox, tmp_path: Path) -> None:
    """Rows that were loaded before the setting existed count as `keep`, in load and verify."""
    database = tmp_path / "d.duckdb"
    load_into(sandbox, "extend", database)
    with duckdb.connect(str(database)) as connection:
        connection.execute("ALTER TABLE extend.syncs DROP COLUMN privacy")
    for options in (settings("hash"), settings("drop")):
        with pytest.raises(ConfigError):
            load_into(sandbox, "extend", database, **options)
        make = connect(sandbox, "extend", **options)
        with pytest.raises(ConfigError):
            verify_runs(make, Target("extend", database), deep=3)
    found = verify_runs(connect(sandbox, "extend"), Target("extend", database), deep=3)
    assert not found.differs


def test_the_way_is_told(hashed: Path, dropped: Path, kept: Path) -> None:
    """`syncs` has the mode of each package, with a fingerprint of the key and not the key."""
    sql = "SELECT DISTINCT privacy FROM extend.syncs UNION SELECT privacy FROM plextera.syncs"
    assert query(kept, sql) == [("keep",)]
    assert query(dropped, sql) == [("drop",)]
    ((mark,),) = query(hashed, sql)
    assert mark == make_privacy("hash", KEY, None, "").mark
    assert mark != make_privacy("hash", KEY + "!", None, "").mark
    assert quoted(everything(hashed.parent), [KEY]) == {}


def test_an_ordinary_pipeline(sandbox: Sandbox, secrets: set[str], tmp_path: Path) -> None:
    """In a user's own pipeline the rows are the same, in any file format."""
    names = "SELECT name FROM docs.run_files ORDER BY run_id, position"
    for file_format in ("parquet", "insert_values"):
        pipeline = dlt.pipeline(
            f"mine_{file_format}",
            destination=dlt.destinations.duckdb(str(tmp_path / f"{file_format}.duckdb")),
            dataset_name="docs",
            pipelines_dir=str(tmp_path / "pipelines"),
        )
        source = extend(base_url=sandbox.extend_url, **settings("hash"))
        pipeline.run(source, loader_file_format=file_format)
    found = [query(tmp_path / f"{form}.duckdb", names) for form in ("parquet", "insert_values")]
    assert found[0] == found[1] != []
    assert all(len(name) == 32 for (name,) in found[0])


SECRET_RUN = "Jane Q. Patient, born 1961-04-02"


@pytest.mark.parametrize("mode", ["keep", "hash", "drop"])
def test_failures_quote_nothing(mode: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """Neither quarantine nor dlt's state keeps a word of an unreadable run, its list row or the platform's
    error; the run is recorded, retried, and loaded once it is readable."""
    row = {"status": "PROCESSED", "reviewedByUser": f"{SECRET_RUN}@x", "rejectionNote": SECRET_RUN}
    bodies = {
        "workflow_run_other": json.dumps({"id": SECRET_RUN, "object": "workflow_run"}),
        "workflow_run_without": json.dumps({"object": "workflow_run", "name": SECRET_RUN}),
    }
    for id_, body in bodies.items():
        sandbox.extend.put(body, {"id": id_, **row})
    database = tmp_path / "d.duckdb"
    for attempt in (1, 2):
        summary = load_into(sandbox, "extend", database, **settings(mode))
        assert summary.quarantined == 2
        found = query(
            database,
            "SELECT id, error, attempts, message, detail FROM extend.quarantine ORDER BY id",
        )
        assert [(id_, error, n) for id_, error, n, *_ in found] == [
            (id_, "ShapeError", attempt) for id_ in sorted(bodies)
        ]
        everywhere = everything(database, tmp_path / "dlt")
        assert (quoted(everywhere, [SECRET_RUN]) == {}) == (mode != "keep")
        if mode == "drop":
            assert {detail for *_, detail in found} == {None}
    for id_ in bodies:
        sandbox.extend.put(json.dumps({"id": id_, "status": "PROCESSED"}), {"id": id_, **row})
    assert load_into(sandbox, "extend", database, **settings(mode)).quarantined == 0
    assert query(database, "SELECT count(*) FROM extend.quarantine WHERE resolved_at IS NULL") == [(0,)]
    assert (quoted(everything(database), [SECRET_RUN]) == {}) == (mode != "keep")


def test_a_state_remembers_no_more_than_ids() -> None:
    """With `keep`, the state keeps a failed run's list row for the retry; with `hash` and `drop` it keeps
    only ids and names, and not the whole row."""
    said = {"processorId": "ex_1", "reviewedByUser": SECRET_RUN, "row": SECRET_RUN}
    at = datetime(2026, 5, 1, tzinfo=UTC)
    run = ListedRun("run_1", "PROCESSED", at, at, True, said)
    failed = {"run_1": Failure(run, at, 1, "ShapeError", SECRET_RUN)}
    assert quarantine.redact_failures(failed, Privacy()) is failed
    for mode in ("hash", "drop"):
        found = quarantine.redact_failures(failed, make_privacy(mode, KEY, None, ""))["run_1"]
        assert found.run.summary == {"processorId": "ex_1", "row": ""}
        assert found._replace(run=run, message=SECRET_RUN) == failed["run_1"]
        assert SECRET_RUN not in json.dumps(State(failed={"run_1": found}).save())


def test_an_error_that_ends_a_load_quotes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every run fails a load gives up; its error, which dlt writes into its trace, contains only the run's
    id."""
    kept_trace = tmp_path / "trace"
    remove = shutil.rmtree

    def removed(path: Any, **how: Any) -> None:
        for trace in Path(path).rglob("trace.pickle"):
            shutil.copy(trace, kept_trace)
        remove(path, **how)

    monkeypatch.setattr("docruns.store.pipeline.shutil.rmtree", removed)
    with Sandbox(runs=0, standalone=0, plextera_runs=0) as sandbox:
        for n in range(25):
            body = json.dumps({"id": SECRET_RUN, "status": "PROCESSED"})
            sandbox.extend.put(body, {"id": f"workflow_run_{n}", "status": "PROCESSED"})
        for mode in ("keep", "hash"):
            with pytest.raises(DocrunsError) as caught:
                load_into(sandbox, "extend", tmp_path / f"{mode}.duckdb", **settings(mode))
            told = str(caught.value) + repr(caught.value) + repr(vars(caught.value))
            assert (SECRET_RUN in told) == (mode == "keep")
            assert (SECRET_RUN.encode() in kept_trace.read_bytes()) == (mode == "keep")


def test_columns_can_be_left_empty(sandbox: Sandbox, tmp_path: Path) -> None:
    """`drop_columns` empties columns in one table or in all, private or not, and verify accepts that."""
    database = tmp_path / "d.duckdb"
    options = {"drop_columns": ["fields.value", "extra", "dashboard_url"]}
    load_into(sandbox, "extend", database, **options)
    for table in ("workflow_runs", "processor_runs", "fields", "run_files"):
        assert query(database, f"SELECT count(extra) FROM extend.{table}") == [(0,)]
    (counts,) = query(database, "SELECT count(value), count(value_json) FROM extend.fields")
    assert counts[0] == 0 < counts[1]
    assert query(database, "SELECT count(dashboard_url) FROM extend.workflow_runs") == [(0,)]
    make = connect(sandbox, "extend", **options)
    assert not verify_runs(make, Target("extend", database), deep=20).differs


def test_other_empty_columns_are_warned_of(
    sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When `drop_columns` changes, loaded rows keep their cells, and a load reports that once."""
    database = tmp_path / "d.duckdb"
    load_into(sandbox, "extend", database)
    assert "drop_columns" not in caplog.text
    load_into(sandbox, "extend", database, drop_columns=["extra"])
    assert caplog.text.count("sources.extend.drop_columns has changed") == 1
    load_into(sandbox, "extend", database, drop_columns=["extra"])
    assert caplog.text.count("sources.extend.drop_columns has changed") == 1


@pytest.mark.parametrize("provider", list(SOURCES))
@pytest.mark.parametrize(
    ("options", "setting", "word"),
    [
        ({"field_values": "mask"}, "field_values", "mask"),
        ({"field_values": "hash"}, "hash_key", "openssl"),
        ({"field_values": "hash", "hash_key": " "}, "hash_key", "openssl"),
        ({"drop_columns": ["no_such"]}, "drop_columns", "no_such"),
        ({"drop_columns": ["fields.no_such"]}, "drop_columns", "fields.no_such"),
        ({"drop_columns": ["no_such.value"]}, "drop_columns", "no_such.value"),
        ({"drop_columns": ["value", "path"]}, "drop_columns", "fields.path is a key"),
        ({"drop_columns": ["processor_runs.id"]}, "drop_columns", "is a key"),
        ({"drop_columns": ["position"]}, "drop_columns", "is a key"),
        ({"drop_columns": ["_cleared"]}, "drop_columns", "_cleared"),
        ({"drop_columns": ["updated_at"]}, "drop_columns", "workflow_runs.updated_at"),
        ({"drop_columns": ["syncs.watermark"]}, "drop_columns", "syncs.watermark"),
    ],
)  # fmt: skip
def test_wrong_settings_name_their_key(
    provider: str, options: dict[str, Any], setting: str, word: str
) -> None:
    """An invalid setting is refused before any request, with the name it has in the file."""
    with pytest.raises(ConfigError) as caught:
        SOURCES[provider](api_key="k", **options)
    assert caught.value.key == f"sources.{provider}.{setting}"
    assert word in str(caught.value)


def test_settings_come_from_files(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list in `.dlt/config.toml` and a key in `.dlt/secrets.toml` work; printed settings show neither the
    key nor the key derived from it."""
    Path(".dlt").mkdir()
    Path(".dlt/config.toml").write_text(
        '[sources.extend]\nfield_values = "hash"\ndrop_columns = ["extra", "fields.edit_note"]\n'
    )
    Path(".dlt/secrets.toml").write_text(f'[sources.extend]\nhash_key = "{KEY}"\n')
    Path(".dlt/secrets.toml").chmod(0o600)
    script = (
        "from docruns.providers.extend import connect_extend\n"
        "settings = connect_extend(base_url='http://127.0.0.1:1').settings\n"
        "print(settings.privacy.mark, settings.privacy.emptied, repr(settings))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert make_privacy("hash", KEY, None, "").mark in done.stdout
    assert "'fields.edit_note', 'fields.extra'" in done.stdout
    key = make_privacy("hash", KEY, None, "")._key
    assert KEY not in done.stdout + done.stderr
    assert key.hex() not in done.stdout and repr(key) not in done.stdout


@given(st.text(), st.text())
def test_a_hash_is_a_function_of_text_and_key(one: str, other: str) -> None:
    """Equal texts and keys give equal hashes, others different ones; an empty text stays empty."""
    ours, theirs = (make_privacy("hash", key, None, "") for key in ("our key", "their key"))
    assert (ours.hashed(one) == ours.hashed(other)) == (one == other)
    assert ours.hashed(one) == make_privacy("hash", "our key", None, "").hashed(one)
    assert (ours.hashed(one) == theirs.hashed(one)) == (one == "")
    assert json.loads(ours.hashed_json(json.dumps(one))) in (
        "",
        ours.hashed(json.dumps(one)),
    )


def test_keep_changes_nothing() -> None:
    """With `keep` no table has columns to rewrite, so no cell is processed."""
    assert all(Privacy().rewrites(table) == {} for table in TABLES)
    assert Privacy().mark == "keep"
