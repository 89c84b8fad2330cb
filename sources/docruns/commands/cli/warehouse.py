"""The commands about destinations alone, which send no request: `docruns copy | maintain`."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from ...core.settings import DESTINATION
from . import console
from .logs import say
from .options import (
    DEFAULT_DATABASE,
    AsJson,
    Database,
    Dataset,
    Destination,
    ProviderArgument,
    TableFormat,
    Untested,
)

app = typer.Typer()


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
    from ...store.process.memory import hide_pandas
    from ..calls import public
    from ..calls.connect import make_target
    from .progress import show_progress

    limit_arenas()
    target = make_target(provider.value, database, destination, dataset, table_format, untested)
    hidden = nullcontext() if target.traits.may_use_pandas else hide_pandas()
    with hidden, show_progress() as progress:
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
