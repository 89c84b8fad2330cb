"""Remove runs from everywhere that docruns has put them: the archive, the tables, the published copy.

    ids ──► with what ran inside them ──► archive, rewritten ──► DELETEs and a record, in one transaction
        ──► stored models, filled anew ──► the DuckDB file, written anew ──► the published copy, replaced

A command that was stopped is run again: the archive comes first, because the tables say what ran inside a run. What
only the archive says of it is in the answer about the outer run, which is removed after the runs inside.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from ...core.errors import ApiError, ConfigError
from ...core.tables import BY_NAME, RUN_TABLES, Table
from ...providers.answers import Read
from ...providers.extend import workflow_runs
from ...providers.extend.processor_runs import Context
from ...providers.identity import require_runs
from ...providers.plextera import runs as plextera_runs
from ...store import lookup
from ...store.archive.folder import Folder
from ...store.archive.reading import PartReader, Row
from ...store.archive.rewriting import remove_runs
from ...store.destinations import sql_client
from ...store.duckdb.publish import check_place, publish_copy
from ...store.duckdb.rewrite import rewrite_database
from ...store.failures import translate_errors
from ...store.pipeline import commit_state, open_pipeline
from ...store.process.environment import private_files
from ...store.target import Target, exclusive, refuse_views, working_folder
from ...sync.listed import ListedRun
from ..answers.settings import answer_settings
from ..answers.views import refill_tables

logger = logging.getLogger("docruns")

_AT_ONCE = 500
"""Ids in a statement."""

RECORD = "forgotten"
"""The table with a row for each time that runs were forgotten."""

_BY_ID = ("workflow_runs", "processor_runs", "quarantine", "pushes")
"""Tables whose column `id` is the run's; in the others it is the column of the set."""


@dataclass
class Forgotten:
    """What was removed. `runs`: the named runs that were found, and those inside them. `unknown`: named runs of which no
    table had a row. `answers`: rows of the archive."""

    runs: int = 0
    unknown: int = 0
    rows: int = 0
    answers: int = 0
    tables: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def read_ids(given: Iterable[str], source: Path | None) -> set[str]:
    """The ids of the options. ConfigError where there is none."""
    ids = {text.strip() for text in given}
    if source is not None:
        try:
            ids |= {line.strip() for line in source.read_text().splitlines()}
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError("--from", f"{source} cannot be read as text: {error}") from error
    ids.discard("")
    if not ids:
        raise ConfigError("--id", "names no run.", "Give --id, or a file of ids with --from.")
    return ids


@private_files()
def forget_runs(
    provider: str,
    ids: set[str],
    target: Target,
    *,
    archive: str | None = None,
    publish: Path | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Forgotten:
    """Remove runs, with all that ran inside them. Raises DocrunsError, and then the command is to be run again."""
    # a wrong setting would end the command between the tables and the models
    answer_settings()
    has_file = target.traits.has_file
    if not target.traits.forgets:
        raise ConfigError(
            "--destination",
            f"{target.destination} may keep what is deleted, in older versions of its tables. Nothing was removed.",
            "docruns forgets runs in DuckDB and PostgreSQL; elsewhere, delete the rows with the destination's own tools.",
        )
    if publish is not None:
        if not has_file:
            raise ConfigError("--publish", f"needs a DuckDB database, not {target.destination}.")
        check_place(target.database, publish)
    done, folder = Forgotten(), working_folder(target)
    with translate_errors(target, folder), exclusive(target, f"docruns forget {provider}"):
        if has_file and not target.database.exists():
            if archive is None:
                raise ConfigError(
                    "--database", f"{target.database} does not exist.", "Name it, or an --archive."
                )
            done.unknown = len(ids)
            _forget_answers(Folder(archive, provider), ids, done)
            return done
        with open_pipeline(provider, target, on_wait) as running:
            refuse_views(running, target)
            require_runs(provider, running, str(target))
            every = _with_inner_runs(running, ids)
            if archive is not None:
                every = _forget_answers(Folder(archive, provider), every, done)
            _forget_failures(running, provider, every)
            done.unknown = len(ids) - _delete(running, every, done, ids)
            with sql_client(running) as client:
                refill_tables(client, target.traits)
        if has_file:
            rewrite_database(target.database, on_wait=on_wait)
        if publish is not None:
            publish_copy(target.database, publish, folder.name, on_wait)
    return done


def _with_inner_runs(running: lookup.Pipeline, ids: set[str]) -> set[str]:
    """The runs and those inside them. ConfigError for a run inside another one, whose answer contains it."""
    workflows, processors = BY_NAME["workflow_runs"], BY_NAME["processor_runs"]
    rows = lookup.rows_of
    for row in rows(running, workflows, "id", sorted(ids), ("id", "parent_run_id", "root_run_id")):
        if row["parent_run_id"] is not None and row["root_run_id"] not in ids:
            raise _inside(row["id"], row["root_run_id"])
    for row in rows(running, processors, "id", sorted(ids), ("id", "workflow_run_id")):
        if row["workflow_run_id"] is not None and row["workflow_run_id"] not in ids:
            raise _inside(row["id"], row["workflow_run_id"])
    nested = {row["id"] for row in rows(running, workflows, "root_run_id", sorted(ids), ("id",))}
    outer = sorted(ids | nested)
    made = {row["id"] for row in rows(running, processors, "workflow_run_id", outer, ("id",))}
    steps = rows(running, BY_NAME["workflow_steps"], "workflow_run_id", outer, ("processor_run_id",))
    made |= {row["processor_run_id"] for row in steps if row["processor_run_id"] is not None}
    return ids | nested | made


def _forget_answers(folder: Folder, ids: set[str], done: Forgotten) -> set[str]:
    """Remove the runs from an archive, with those that its answers show inside them. Gives all of them."""
    parts = folder.parts()
    with closing(PartReader(folder, parts)) as reader:

        def rows() -> Iterator[Row]:
            return chain.from_iterable(map(reader.rows, range(len(parts))))

        extractions = {row.entry.id for row in rows() if row.entry.feed == "extractions"}
        levels, every = [ids], set(ids)
        while levels[-1]:
            inner: set[str] = set()
            for row in rows():
                if row.entry.feed == "workflow_runs" and row.has_body and row.entry.id in levels[-1]:
                    read = _reader_of(folder.provider, row.api_version, extractions)
                    inner |= _inner_runs(read, row.entry.id, reader.body(row.place))
            levels.append(inner - every)
            every |= inner
    # after a kill, the answers that are left still say what ran inside
    for level in reversed(levels[:-1]):
        done.answers += remove_runs(folder, level).rows
    return every


def _reader_of(provider: str, api_version: str, extractions: set[str]) -> Read:
    """The reader of a platform's answers about workflow runs."""
    if provider == "extend":
        return workflow_runs.reader(Context(api_version))
    return plextera_runs.reader(plextera_runs.Context(extraction_ids=extractions))


def _inner_runs(read: Read, id_: str, body: bytes) -> set[str]:
    """The runs that an answer shows inside a workflow run; none, with a warning, where no load can read it."""
    try:
        parsed = read(body, ListedRun(id_, None, None, None))
    except (ApiError, ValueError, RecursionError) as error:
        logger.warning(
            "%s: its answer in the archive cannot be read (%s): name the runs that ran inside it with --id too",
            id_,
            type(error).__name__,
        )
        return set()
    return {*parsed.nested_ids, *parsed.links, *parsed.parents}


def _inside(run_id: str, outer: str) -> ConfigError:
    return ConfigError(
        "--id",
        f"{run_id} ran inside {outer}, whose answer contains it.",
        f"Forget {outer}; nothing was removed.",
    )


def _forget_failures(running: lookup.Pipeline, provider: str, ids: set[str]) -> None:
    """Remove what dlt's state says of runs that failed: a message can quote a document."""
    running.sync_destination()
    sources: Mapping[str, Any] = running.state.get("sources", {})
    resources = dict(sources.get(provider, {}).get("resources", {}))
    others = resources.get("processor_runs", {})
    states = [resources.get("workflow_runs", {}), *others.values()]
    if not any(ids & state.get("failed", {}).keys() for state in states):
        return
    for state in states:
        state["failed"] = {id_: why for id_, why in state.get("failed", {}).items() if id_ not in ids}
    commit_state(running, provider, {"resources": resources})
    with sql_client(running) as client:
        name = client.make_qualified_table_name("_dlt_pipeline_state")
        client.execute_sql(f"DELETE FROM {name} WHERE version < (SELECT max(version) FROM {name})")


def _delete(running: lookup.Pipeline, ids: set[str], done: Forgotten, named: set[str]) -> int:
    """Delete all rows of the runs, and record it in the same transaction. Returns how many of the `named` had rows."""
    found = sorted(ids)
    known: set[str] = set()
    for name in ("workflow_runs", "processor_runs"):
        known |= {row["id"] for row in lookup.rows_of(running, BY_NAME[name], "id", found, ("id",))}
    done.runs = len(known)
    failed = {row["id"] for row in lookup.rows_of(running, BY_NAME["quarantine"], "id", found, ("id",))}
    with sql_client(running) as client, client.begin_transaction():
        for table in (*RUN_TABLES, BY_NAME["pushes"]):
            column = _column_of(table)
            if column is None or not lookup.has_column(running, table, column):
                continue
            name, key = client.make_qualified_table_name(table.name), client.escape_column_name(column)
            for start in range(0, len(found), _AT_ONCE):
                some = found[start : start + _AT_ONCE]
                where = f"{name} WHERE {key} IN ({', '.join(['%s'] * len(some))})"
                ((number,),) = client.execute_sql(f"SELECT count(*) FROM {where}", *some) or [(0,)]
                if number:
                    client.execute_sql(f"DELETE FROM {where}", *some)
                    done.tables[table.name] = done.tables.get(table.name, 0) + int(number)
        done.rows = sum(done.tables.values())
        record = client.make_qualified_table_name(RECORD)
        client.execute_sql(
            f"CREATE TABLE IF NOT EXISTS {record} "
            "(forgotten_at TIMESTAMP WITH TIME ZONE, runs BIGINT, deleted_rows BIGINT, archive_rows BIGINT)"
        )
        client.execute_sql(
            f"INSERT INTO {record} VALUES (%s, %s, %s, %s)",
            datetime.now(UTC),
            done.runs,
            done.rows,
            done.answers,
        )
    return len(named & (known | failed))


def _column_of(table: Table) -> str | None:
    return "id" if table.name in _BY_ID else table.set_of
