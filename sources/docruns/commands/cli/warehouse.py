"""The commands about several destinations: `docruns copy`, and `docruns verify --against`."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...core.errors import ConfigError
from . import console
from .console import report_wait, say
from .options import (
    DEFAULT_DATABASE,
    QUARANTINED,
    AsJson,
    Database,
    Dataset,
    Destination,
    Provider,
    ProviderArgument,
    make_target,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...store.target import Target

app = typer.Typer()


@app.command()
def copy(
    provider: ProviderArgument,
    source: Annotated[Path, typer.Option("--from", help="DuckDB file that docruns has loaded.")],
    database: Database = DEFAULT_DATABASE,
    destination: Destination = "duckdb",
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
    from ...store.process.environment import disable_telemetry
    from ...store.process.memory import hide_pandas
    from ..copy import copy_runs
    from .progress import show_progress

    disable_telemetry()
    limit_arenas()
    target = make_target(provider, database, destination, dataset)
    loaded = make_target(provider, source, "duckdb", from_dataset or dataset)
    hidden = nullcontext() if target.traits.may_use_pandas else hide_pandas()
    with hidden, show_progress() as progress:
        summary = copy_runs(loaded, target, provider.value, progress, full=full, on_wait=report_wait)
    if as_json:
        print(json.dumps(summary.as_dict()))
    else:
        console.show_copy(summary, target)
    if summary.quarantined:
        say(f"docruns: {console.quarantine_notice(summary.quarantined, target)}")
        raise typer.Exit(QUARANTINED)


def verify_against(
    provider: Provider,
    target: Target,
    against: str,
    dataset: str | None,
    excluded: Sequence[str],
    as_json: bool,
) -> None:
    """Compare a target with another DuckDB file or destination. `excluded` are options that are given and are about
    the platform."""
    from ...store.process.environment import disable_telemetry
    from ..reconcile.against import verify_against
    from .progress import show_progress

    if excluded:
        raise ConfigError(
            "--against", f"excludes {' and '.join(excluded)}: it asks no platform.", "Choose one."
        )
    disable_telemetry()
    # the name of a destination has neither dot nor slash
    is_file = not against.isidentifier() or Path(against).exists()
    place = (Path(against), "duckdb") if is_file else (DEFAULT_DATABASE, against)
    other = make_target(provider, place[0], place[1], dataset or target.dataset)
    with show_progress() as progress:
        result = verify_against(provider, target, other, progress, on_wait=report_wait)
    if as_json:
        print(json.dumps(result.as_dict()))
    else:
        console.show_verify(result, target, other)
    if result.differs:
        raise typer.Exit(1)
