"""The commands about stored rows and answers, which send no request: `docruns copy | maintain | replay | forget |
archive status | compact | expire`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...core.settings import DESTINATION
from ...store.process.memory import hide_pandas
from . import console
from .console import report_wait
from .logs import say
from .options import (
    DEFAULT_DATABASE,
    Archive,
    AsJson,
    Database,
    Dataset,
    Destination,
    Provider,
    ProviderArgument,
    TableFormat,
    Untested,
)

if TYPE_CHECKING:
    from ...store.archive.rewriting import Rewritten

app = typer.Typer()
parts = typer.Typer(help="Look after an archive of raw answers.", no_args_is_help=True)
app.add_typer(parts, name="archive")

AnyProvider = Annotated[
    Provider | None,
    typer.Argument(metavar="[extend|plextera]", help="The platform.", show_default="all in the archive"),
]


@app.command()
def copy(
    provider: ProviderArgument,
    source: Annotated[Path, typer.Option("--from", help="DuckDB file that docruns has loaded.")],
    database: Database = DEFAULT_DATABASE,
    destination: Destination = DESTINATION,
    table_format: TableFormat = None,
    untested: Untested = False,
    dataset: Dataset = None,
    from_dataset: Annotated[
        str | None, typer.Option(help="Schema of the tables in that file.", show_default="that of --dataset")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Copy every run again, also unchanged ones.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy what is loaded to another destination.

    Sends no request. The first time it copies everything, later only runs whose rows have changed. You can stop it
    at any time and run it again. `docruns load` can go on in the copy where the file was.
    """
    from ...store.duckdb.heap import limit_arenas
    from ..calls import public
    from ..calls.connect import make_target
    from .progress import show_progress

    limit_arenas()
    target = make_target(provider.value, database, destination, dataset, table_format, untested)
    with hide_pandas(unless=target.traits.may_use_pandas), show_progress() as progress:
        summary = public.copy(
            provider.value,
            source,
            database=database,
            destination=destination,
            table_format=table_format,
            untested=untested,
            dataset=dataset,
            from_dataset=from_dataset,
            full=full,
            on_progress=progress,
        )
    if as_json:
        print(json.dumps(summary.as_dict()))
    else:
        console.show_copy(summary, target)
    if summary.quarantined:
        say(f"docruns: {console.quarantine_notice(summary.quarantined, target)}")
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


@app.command()
def maintain(
    provider: ProviderArgument,
    database: Database = DEFAULT_DATABASE,
    destination: Destination = "filesystem",
    table_format: TableFormat = None,
    dataset: Dataset = None,
    as_json: AsJson = False,
) -> None:
    """Join the small files of Delta and Iceberg tables, and remove old versions.

    Run it once a day or week. Versions of the last 7 days stay, or of `[destination.filesystem] keep_days`.
    """
    from ...store.process.environment import disable_telemetry
    from ..calls.connect import make_target
    from ..warehouse.maintain import maintain_tables

    disable_telemetry()
    target = make_target(provider.value, database, destination, dataset, table_format)
    result = maintain_tables(provider.value, target)
    if as_json:
        print(json.dumps(result.as_dict()))
        return
    for name, (before, after) in result.files.items():
        say(f"  {name:<20} {before:>6,} files, now {after:,}")
    say(f"docruns: {len(result.files)} tables; versions of the last {result.keep_days} days stay")


@app.command()
def replay(
    provider: ProviderArgument,
    archive: Archive = None,
    database: Database = DEFAULT_DATABASE,
    destination: Destination = DESTINATION,
    table_format: TableFormat = None,
    untested: Untested = False,
    dataset: Dataset = None,
    since: Annotated[str | None, typer.Option(help="Only runs last changed at or after this time.")] = None,
    until: Annotated[str | None, typer.Option(help="Only runs last changed before this time.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that read answers.", show_default="one for each core"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load every table from an archive, without the API.

    Needs no key and sends no request. The next load goes on where the archive ends. Runs that the
    destination holds in a newer version stay as they are.
    """
    from ...store.duckdb.heap import limit_arenas
    from ..calls import public
    from ..calls.connect import make_target
    from .progress import show_progress

    target = make_target(provider.value, database, destination, dataset, table_format, untested)
    limit_arenas()
    with hide_pandas(unless=target.traits.may_use_pandas), show_progress() as progress:
        summary = public.replay(
            provider.value,
            archive=archive,
            database=database,
            destination=destination,
            table_format=table_format,
            untested=untested,
            dataset=dataset,
            since=since,
            until=until,
            workers=workers or _cores(),
            on_progress=progress,
        )
    if as_json:
        print(json.dumps(summary.as_dict()))
    else:
        console.show_summary(summary, target)
    for notice in console.notices(summary, target):
        say(f"docruns: {notice}")
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


def _archives(provider: Provider | None, archive: str | None) -> list[tuple[str, str]]:
    """The providers that a command is about, each with its archive."""
    from ..calls.stored import archive_url, find_archive

    wanted = list(Provider) if provider is None else [provider]
    found = [(each.value, url) for each in wanted if (url := find_archive(each.value, archive))]
    return found or [(wanted[0].value, archive_url(wanted[0].value, archive))]


@parts.command()
def status(provider: AnyProvider = None, archive: Archive = None, as_json: AsJson = False) -> None:
    """Show what an archive holds."""
    from ..archive.parts import held

    found = [each.as_dict() for name, url in _archives(provider, archive) for each in held(url, name)]
    if as_json:
        print(json.dumps(found))
        return
    for each in found:
        print(f"{each.pop('provider')}, workspace {each.pop('workspace') or '-'}")
        each["runs"] = ", ".join(f"{name} {number:,}" for name, number in each["runs"].items()) or "-"
        for name, value in each.items():
            print(f"  {name:<12} {value if value is not None else '-'}")
    if not found:
        print("no answers are kept there yet")


@parts.command()
def compact(provider: AnyProvider = None, archive: Archive = None) -> None:
    """Make one part of each day, with the newest answers only.

    Older answers about a run are removed. A replay gives the same tables as before. Run it while no load writes
    into the archive.
    """
    from ..archive.parts import compact_parts

    for name, url in _archives(provider, archive):
        _show(name, compact_parts(url, name), "rewritten")


@parts.command()
def expire(
    older_than: Annotated[
        str, typer.Option(help="Age of the answers to remove, e.g. 90d. Whole days of UTC count.")
    ],
    provider: AnyProvider = None,
    archive: Archive = None,
) -> None:
    """Remove answers that were fetched longer ago than this.

    A replay then lacks these runs, and the load after it asks the platform for them.
    """
    from ...core.settings import duration
    from ..archive.parts import expire_parts

    age = duration(older_than, "--older-than")
    for name, url in _archives(provider, archive):
        _show(name, expire_parts(url, name, age), "removed")


def _show(name: str, done: Rewritten, what: str) -> None:
    print(f"{name}: {done.parts:,} parts {what}, {done.rows:,} rows removed, {done.size:,} bytes less")


@app.command()
def forget(
    provider: ProviderArgument,
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="A run to forget; repeat it for more.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="File with the id of a run on each line.", show_default=False),
    ] = None,
    database: Database = DEFAULT_DATABASE,
    destination: Destination = DESTINATION,
    table_format: TableFormat = None,
    untested: Untested = False,
    dataset: Dataset = None,
    archive: Archive = None,
    publish: Annotated[
        Path | None, typer.Option(help="Published copy to replace too.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove runs from the tables, the archive and the published copy.

    Deletes all rows of the runs and of what ran inside them, and writes a DuckDB file anew, so that no byte of them is
    left in it. The table `forgotten` records when and how many. A run that the platform still has can come
    back with --full: delete it there first. Copies that others have made are theirs to delete.
    """
    from ..archive.forget import forget_runs, read_ids
    from ..calls.connect import make_target
    from ..calls.stored import find_archive

    target = make_target(provider.value, database, destination, dataset, table_format, untested)
    result = forget_runs(
        provider.value,
        read_ids(ids or [], source),
        target,
        archive=find_archive(provider.value, archive),
        publish=publish,
        on_wait=report_wait,
    )
    if as_json:
        print(json.dumps(result.as_dict()))
        return
    print(
        f"{provider.value}: {result.runs:,} runs forgotten, with {result.rows:,} rows and {result.answers:,} rows of the archive"
    )
    if result.unknown:
        say(
            f"docruns: {result.unknown:,} of the named runs are in no table: check their ids, and the dataset"
        )
    for name, number in result.tables.items():
        print(f"  {target.dataset}.{name:<20} {number:>12,} rows")


def _cores() -> int:
    """The cores that this process may use: in a container fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
