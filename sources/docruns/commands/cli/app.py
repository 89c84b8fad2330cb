"""The command: `docruns demo | load | check | status | verify | sweep | push | tables | sandbox | notebook`.

Exit codes: 0 all due work is loaded; 1 failed; 2 wrong use or configuration (names the key);
3 loaded, but some runs are quarantined, or pushed, but some were refused; 4 the API refused the key.
Results go to stdout, progress and errors to stderr.
"""

from __future__ import annotations

import json
import os
import re
import sys
from enum import StrEnum
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.codec import rfc3339
from ...core.errors import ConfigError, DocrunsError
from . import console

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...store.target import Target
    from ...sync.sync import Sync
from .console import say

app = typer.Typer(
    help="Load every run of a document-AI platform into DuckDB or any dlt destination.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 all loaded, 1 failed, 2 wrong use or configuration, "
    "3 loaded but some runs are quarantined, or pushed but some were refused, 4 the API refused the key.",
)

QUARANTINED = 3

_OF_DLT = ("max_table_nesting", "root_key", "schema_contract", "section", "parallelized")
"""Settings that dlt takes for any source."""


class Provider(StrEnum):
    """The platforms that can be loaded."""

    extend = "extend"
    plextera = "plextera"


class Writable(StrEnum):
    """The platforms that take changes."""

    extend = "extend"


ProviderArgument = Annotated[Provider, typer.Argument(help="The platform.", show_default=False)]
Database = Annotated[Path, typer.Option(help="DuckDB file.")]
Destination = Annotated[
    str, typer.Option(help="Any dlt destination by name; its settings are dlt's.")
]
Dataset = Annotated[
    str | None, typer.Option(help="Schema for the tables.", show_default="the platform's name")
]
BaseUrl = Annotated[
    str | None,
    typer.Option(help="API address; for a sandbox its printed one.", show_default="the platform's"),
]
ApiVersion = Annotated[
    str | None,
    typer.Option(help="Extend: 2026-02-09, 2025-04-21, 2024-12-23 or v1.", show_default="newest"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]

_DATABASE = Path("docruns.duckdb")


@app.command()
def load(
    provider: ProviderArgument,
    database: Database = _DATABASE,
    destination: Destination = "duckdb",
    dataset: Dataset = None,
    base_url: BaseUrl = None,
    api_version: ApiVersion = None,
    since: Annotated[
        str | None, typer.Option(help="Only runs last changed at or after this time.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Only runs last changed before this time.")
    ] = None,
    max_runs: Annotated[int | None, typer.Option(help="Stop after so many runs.", min=1)] = None,
    full: Annotated[bool, typer.Option("--full", help="Read every run again.")] = False,
    publish: Annotated[
        Path | None, typer.Option(help="Put a finished copy of the database here, for readers.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load what is due until nothing is; safe to kill, safe to repeat."""
    from ...store.memory import hide_pandas_from_pyarrow, limit_arenas
    from ..load import load_runs as run
    from . import progress

    target = _target(provider, database, destination, dataset)
    options = {
        "base_url": base_url,
        "api_version": api_version,
        "since": since,
        "until": until,
        "max_runs": max_runs,
        "full": full or None,
    }
    if destination == "duckdb":
        # another one may want data frames
        hide_pandas_from_pyarrow()
    limit_arenas()
    with progress.show_progress() as told:
        maker = _source_maker(provider, options)
        summary = run(maker, target, told, publish=publish, on_wait=_waiting)
    if as_json:
        print(json.dumps(summary.as_dict()))
    else:
        console.show_summary(summary, target)
    if publish is not None:
        say(f"docruns: {publish} is a copy of it")
    if summary.quarantined:
        say(f"docruns: {console.quarantine_notice(summary.quarantined, target)}")
        raise typer.Exit(QUARANTINED)


def _target(
    provider: Provider | Writable, database: Path, destination: str, dataset: str | None
) -> Target:
    """Where rows are; ConfigError for a name that dlt would change, so that no query finds what it says."""
    from ...store.target import Target

    if not destination:
        raise ConfigError("--destination", "is empty.", "Leave it out for DuckDB.")
    name = provider.value if dataset is None else dataset
    if not re.fullmatch("[a-z_][a-z0-9_]*", name) or "__" in name or name.endswith("_"):
        plain = re.sub("_+", "_", re.sub("[^a-z0-9]", "_", name.lower())).strip("_") or "runs"
        raise ConfigError("--dataset", f"{name!r} is no plain name.", f"{plain} would be one.")
    return Target(name, database, destination)


def _waiting(text: str) -> None:
    say(f"docruns: {text}")


def _source_maker(
    provider: Provider, options: dict[str, Any]
) -> Callable[[Callable[[Sync], None]], Any]:
    """The provider's source with those options that were given; the rest is dlt's configuration."""
    import dlt

    from ... import extend, plextera
    from ...providers.settings import refuse_unknown_settings
    from ...store.environment import disable_telemetry
    from ..load import CHUNK_RUNS

    # before dlt is asked for anything
    disable_telemetry()
    source: Any = {Provider.extend: extend, Provider.plextera: plextera}[provider]
    given = {key: value for key, value in options.items() if value is not None}
    refuse_unknown_settings(provider, [*signature(source).parameters, *_OF_DLT])
    if dlt.config.get(f"sources.{provider}.chunk_runs") is None:
        given.setdefault("chunk_runs", CHUNK_RUNS)
    if provider is Provider.plextera and given.pop("api_version", "v1") != "v1":
        raise ConfigError("--api-version", "Plextera's API has one version, v1.")
    return lambda on_sync: source(**given, on_sync=on_sync)


def _sync(provider: Provider, options: dict[str, Any]) -> Sync:
    """The provider's lists and client, without a load."""
    syncs: list[Sync] = []
    _source_maker(provider, options)(syncs.append)
    return syncs[0]


@app.command()
def check(
    provider: ProviderArgument, base_url: BaseUrl = None, api_version: ApiVersion = None
) -> None:
    """Try the key, the address and the version, and tell what they can see."""
    from ..check import check_access as run

    for line in run(_sync(provider, {"base_url": base_url, "api_version": api_version})):
        print(line)


@app.command()
def status(database: Database = _DATABASE, as_json: AsJson = False) -> None:
    """Tell what a database holds: runs, watermark, unfinished and quarantined ones."""
    from ...store.environment import disable_telemetry
    from ...store.target import Target, lock_holders, require_database
    from ..status import reports

    disable_telemetry()
    require_database(Target("", database))
    found = reports(database, lambda: lock_holders(database))
    if as_json:
        print(json.dumps(found, default=rfc3339))
        return
    if not found:
        print(f"{database}: nothing loaded yet")
    for one in found:
        print(f"{one.pop('dataset')}")
        for name, value in one.items():
            print(f"  {name:<22} {value if value is not None else '-'}")


@app.command()
def sweep(
    provider: ProviderArgument,
    database: Database = _DATABASE,
    destination: Destination = "duckdb",
    dataset: Dataset = None,
    base_url: BaseUrl = None,
    api_version: ApiVersion = None,
    confirm: Annotated[
        int, typer.Option(help="Refuse when more missing runs than this must be asked for.", min=0)
    ] = 1000,
    yes: Annotated[
        bool, typer.Option("--yes", help="Go on although much seems to be gone.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Mark runs that the platform has deleted (`deleted_at`); no row is deleted.

    Reads all lists to their ends and asks once for each run that is missing there: only a 404 counts.
    """
    from ..sweep import sweep_deleted as run
    from . import progress

    target = _target(provider, database, destination, dataset)
    with progress.show_progress() as told:
        sync = _sync(provider, {"base_url": base_url, "api_version": api_version})
        sync.progress = told
        swept = run(sync, target, confirm=confirm, yes=yes, on_wait=_waiting)
    if as_json:
        print(json.dumps(swept.as_dict()))
    else:
        console.show_swept(swept, target)


@app.command()
def verify(
    provider: ProviderArgument,
    database: Database = _DATABASE,
    destination: Destination = "duckdb",
    dataset: Dataset = None,
    base_url: BaseUrl = None,
    api_version: ApiVersion = None,
    deep: Annotated[
        int, typer.Option(help="Read so many runs again and compare every cell.", min=0)
    ] = 0,
    seed: Annotated[
        int | None, typer.Option(help="Same seed, same runs.", show_default="other runs each time")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the platform's lists with the database, by id and last change; ends with 1 if they differ.

    Run it right after a load: what has changed since then is a difference.
    """
    from ..verify import verify_runs as run
    from . import progress

    target = _target(provider, database, destination, dataset)
    options = {"base_url": base_url, "api_version": api_version}
    with progress.show_progress() as told:

        def on_sync(sync: Sync) -> None:
            sync.progress = told

        maker = _source_maker(provider, options)
        found = run(maker, target, deep=deep, seed=seed, on_sync=on_sync, on_wait=_waiting)
    if as_json:
        print(json.dumps(found.as_dict()))
    else:
        console.show_verified(found, target)
    if found.differs:
        raise typer.Exit(1)
    if found.quarantined:
        say(f"docruns: {console.quarantine_notice(len(found.quarantined), target)}")
        raise typer.Exit(QUARANTINED)


@app.command()
def push(
    provider: Annotated[Writable, typer.Argument(help="The platform.", show_default=False)],
    source: Annotated[
        str, typer.Option("--from", help="A query, or a .csv, .jsonl, .parquet or .sql file.")
    ],
    database: Database = _DATABASE,
    destination: Destination = "duckdb",
    dataset: Dataset = None,
    base_url: BaseUrl = None,
    api_version: ApiVersion = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write names and metadata back to workflow runs: what differs, and nothing twice; safe to kill.

    Rows have the columns `id`, and `name`, `metadata` (a JSON object) or `metadata.<key>`.
    """
    from ..push import report
    from ..push.push import push_rows as run
    from . import progress

    target = _target(provider, database, destination, dataset)
    with progress.show_progress() as told:
        options = {"base_url": base_url, "api_version": api_version}
        sync = _sync(Provider(provider), options)
        sync.progress = told
        pushed = run(sync, target, source, dry_run=dry_run, on_wait=_waiting)
    report.show(pushed, target, dry_run=dry_run, as_json=as_json)
    if pushed.refused or pushed.unconfirmed:
        raise typer.Exit(QUARANTINED)


@app.command()
def tables(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
) -> None:
    """The data dictionary: every table and column with its type and meaning."""
    from .console import as_markdown, as_text

    print(as_markdown() if markdown else as_text())


@app.command()
def sandbox(
    port: Annotated[
        int, typer.Option(help="Port on 127.0.0.1; 0 picks one.", min=0, max=65_535)
    ] = 8899,
    runs: Annotated[int, typer.Option(help="Workflow runs to begin with.", min=0)] = 200,
    seed: Annotated[int, typer.Option(help="Same seed, same runs.")] = 7,
) -> None:
    """Serve the platforms on this machine until stopped, with invented documents."""
    from ...sandbox import Sandbox, serve_forever

    def started(server: Sandbox) -> None:
        for name, url in (("extend", server.extend_url), ("plextera", server.plextera_url)):
            print(f"{name:<10}{url}", flush=True)
        print(f"try       docruns load extend --base-url {server.extend_url}", flush=True)

    try:
        serve_forever(Sandbox(runs=runs, seed=seed, port=port), started)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError("--port", f"{port}: {reason}.", "Name another one, or 0.") from error


@app.command()
def notebook(
    database: Database = _DATABASE,
    edit: Annotated[bool, typer.Option("--edit", help="With its code, to change it.")] = False,
) -> None:
    """Open the notebook on a database, in the browser: scores against correctness, corrected fields, cost."""
    from ...store.target import Target, require_database

    require_database(Target("", database))
    path = Path(__file__).parents[2] / "notebooks" / "explore.py"
    if not path.exists() or find_spec("marimo") is None:
        raise DocrunsError("The notebook comes with the repository: clone it, and `make setup`.")
    how = "edit" if edit else "run"
    command = [sys.executable, "-m", "marimo", how, str(path), "--", "--database", str(database)]
    os.execv(sys.executable, command)  # noqa: S606 # this interpreter; a signal is the notebook's alone


@app.command()
def demo(
    runs: Annotated[int, typer.Option(help="Workflow runs to invent.", min=1)] = 300,
    database: Database = _DATABASE,
) -> None:
    """Load invented runs into a database you can open, and answer three questions from it."""
    from ..demo import run_demo as run
    from . import progress

    with progress.show_progress() as told:
        for line in run(runs, database, told):
            print(line, flush=True)
