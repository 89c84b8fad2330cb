"""The command: `docruns demo | load | check | verify | sweep | push | tables | sandbox`, and those of `answers` and
`warehouse`.

Results go to stdout, progress and errors to stderr.

Each command imports what it needs when it runs: dlt, DuckDB and pyarrow take seconds to import, and `--help`
and shell completion need none of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...core.errors import LACKS_RUNS, ConfigError
from ...core.settings import CONFIRM, DESTINATION
from ...store.process.memory import hide_pandas
from . import answers, console, warehouse
from .console import report_wait
from .logs import say
from .options import (
    DEFAULT_DATABASE,
    ApiVersion,
    Archive,
    AsJson,
    BaseUrl,
    Database,
    Dataset,
    Destination,
    LogFormat,
    LogFormatOption,
    ProviderArgument,
    TableFormat,
    Untested,
    WritableArgument,
)
from .streams import print_answer
from .surroundings import require_address_space

if TYPE_CHECKING:
    from ...sandbox import Sandbox

app = typer.Typer(
    help="Load every run of a document-AI platform into DuckDB or any dlt destination.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # help drawn with rich takes 0.4 s of CPU
    rich_markup_mode=None,
    context_settings={"max_content_width": 100},
    epilog="Exit codes: 0 everything is loaded, 1 failed, 2 wrong use or configuration, 3 loaded but some runs are "
    "quarantined, or pushed but some runs were refused or not confirmed, 4 the API refused the key.",
)


def _exit(code: int) -> None:
    if code:
        raise typer.Exit(code)


def _print_version(wanted: bool) -> None:
    if wanted:
        from ... import __version__

        print(f"docruns {__version__}")
        raise typer.Exit


@app.callback()
def global_options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 # its callback prints it
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Options of `docruns` itself."""
    if context.invoked_subcommand not in ("tables", "sandbox", "notebook"):
        require_address_space()


@app.command()
def load(
    provider: ProviderArgument,
    database: Database = DEFAULT_DATABASE,
    destination: Destination = DESTINATION,
    table_format: TableFormat = None,
    untested: Untested = False,
    dataset: Dataset = None,
    base_url: BaseUrl = None,
    api_version: ApiVersion = None,
    since: Annotated[
        str | None, typer.Option(help="Load only runs last changed at or after this time.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Load only runs last changed before this time.")] = None,
    backfill: Annotated[
        str | None,
        typer.Option(help="Load runs last changed in these years, months or days: 2024-01..2026-06."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Load a backfill by day, month or year, oldest first.", show_default="month"),
    ] = None,
    max_runs: Annotated[int | None, typer.Option(help="Load at most this many runs.", min=1)] = None,
    full: Annotated[bool, typer.Option("--full", help="Fetch every run again, also unchanged ones.")] = False,
    publish: Annotated[
        Path | None, typer.Option(help="Copy the database to this file when all is loaded.")
    ] = None,
    metrics_file: Annotated[
        Path | None,
        typer.Option(help="Write the figures of the load to this file, in Prometheus' text format."),
    ] = None,
    archive: Archive = None,
    as_json: AsJson = False,
    log_format: LogFormatOption = LogFormat.text,  # noqa: ARG001 # its callback sets it
) -> None:
    """Load every new or changed run.

    You can stop it at any time, also with `kill -9`, and run it again: it continues after the last committed
    runs.
    """
    from ...store.duckdb.heap import limit_arenas
    from ..calls import public
    from ..calls.connect import make_target
    from .progress import show_progress

    target = make_target(provider.value, database, destination, dataset, table_format, untested)
    limit_arenas()
    with hide_pandas(unless=target.traits.may_use_pandas), show_progress() as progress:
        summary = public.load(
            provider.value,
            database=database,
            destination=destination,
            table_format=table_format,
            untested=untested,
            dataset=dataset,
            since=since,
            until=until,
            backfill=backfill,
            by=by,
            max_runs=max_runs,
            full=full,
            publish=publish,
            metrics_file=metrics_file,
            archive=archive,
            on_progress=progress,
            base_url=base_url,
            api_version=api_version,
        )
    if as_json:
        print(json.dumps(summary.as_dict()))
    else:
        console.show_summary(summary, target)
    if publish is not None:
        say(f"docruns: copied {target.database} to {publish}")
    for notice in console.notices(summary, target):
        say(f"docruns: {notice}")
    _exit(summary.exit_code)


@app.command()
def check(provider: ProviderArgument, base_url: BaseUrl = None, api_version: ApiVersion = None) -> None:
    """Test the key, the address and the API version.

    Reads the first page of each list, and prints how many runs the key can see there.
    """
    from ..calls.connect import connect_platform
    from ..health.check import check_access

    settings = {"base_url": base_url, "api_version": api_version}
    for line in check_access(connect_platform(provider.value, settings)):
        print(line)


@app.command()
def sweep(
    provider: ProviderArgument,
    database: Database = DEFAULT_DATABASE,
    destination: Destination = DESTINATION,
    table_format: TableFormat = None,
    untested: Untested = False,
    dataset: Dataset = None,
    base_url: BaseUrl = None,
    api_version: ApiVersion = None,
    archive: Archive = None,
    confirm: Annotated[
        int, typer.Option(help="Send at most this many requests for missing runs, or stop.", min=0)
    ] = CONFIRM,
    yes: Annotated[
        bool, typer.Option("--yes", help="Continue even if many runs, or all of a list, are missing.")
    ] = False,
    as_json: AsJson = False,
    log_format: LogFormatOption = LogFormat.text,  # noqa: ARG001 # its callback sets it
) -> None:
    """Mark runs that the platform has deleted.

    Sets `deleted_at` and deletes no row. Reads all lists to their ends, then sends one request for each run
    that is missing there. Only a run that answers 404 or 410 is marked, with the runs that were inside it.
    """
    from ..calls import public
    from ..calls.connect import make_target
    from .progress import show_progress

    target = make_target(provider.value, database, destination, dataset, table_format, untested)
    with hide_pandas(unless=target.traits.may_use_pandas), show_progress() as progress:
        result = public.sweep(
            provider.value,
            database=database,
            destination=destination,
            table_format=table_format,
            untested=untested,
            dataset=dataset,
            confirm=confirm,
            yes=yes,
            on_progress=progress,
            base_url=base_url,
            api_version=api_version,
            archive=archive,
        )
    if as_json:
        print(json.dumps(result.as_dict()))
    else:
        console.show_sweep(result, target)
    _exit(result.exit_code)


@app.command()
def verify(
    provider: ProviderArgument,
    database: Database = DEFAULT_DATABASE,
    destination: Destination = DESTINATION,
    table_format: TableFormat = None,
    untested: Untested = False,
    dataset: Dataset = None,
    base_url: BaseUrl = None,
    api_version: ApiVersion = None,
    deep: Annotated[int, typer.Option(help="Fetch this many runs again and compare every cell.", min=0)] = 0,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the --deep sample: the same seed picks the same runs.", show_default="random"
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Compare every cell with that of another DuckDB file or destination, without the platform.",
            show_default=False,
        ),
    ] = None,
    against_dataset: Annotated[
        str | None, typer.Option(help="Schema of the tables there.", show_default="that of --dataset")
    ] = None,
    as_json: AsJson = False,
    log_format: LogFormatOption = LogFormat.text,  # noqa: ARG001 # its callback sets it
) -> None:
    """Compare the database with the platform, or with another database.

    Compares id and last change of every run, and every cell of the --deep runs. Exits with 1 if they differ.
    Run it right after a load: runs that have changed since then count as differences.
    """
    from ..calls import public
    from ..calls.connect import make_target, other_target
    from .progress import show_progress

    target = make_target(provider.value, database, destination, dataset, table_format, untested)
    other = (
        None if against is None else other_target(provider.value, against, against_dataset or target.dataset)
    )
    may_use_pandas = any(each.traits.may_use_pandas for each in (target, other) if each is not None)
    with hide_pandas(unless=may_use_pandas), show_progress() as progress:
        result = public.verify(
            provider.value,
            database=database,
            destination=destination,
            table_format=table_format,
            untested=untested,
            dataset=dataset,
            deep=deep,
            seed=seed,
            against=against,
            against_dataset=against_dataset,
            on_progress=progress,
            base_url=base_url,
            api_version=api_version,
        )
    if as_json:
        print(json.dumps(result.as_dict()))
    else:
        console.show_verify(result, target, other)
    if result.quarantined and not result.differs:
        say(f"docruns: {console.quarantine_notice(len(result.quarantined), target)}")
    _exit(result.exit_code)


@app.command()
def push(
    provider: WritableArgument,
    source: Annotated[
        str, typer.Option("--from", help="Rows to push: a query, or a .csv, .jsonl, .parquet or .sql file.")
    ],
    database: Database = DEFAULT_DATABASE,
    destination: Destination = DESTINATION,
    untested: Untested = False,
    dataset: Dataset = None,
    base_url: BaseUrl = None,
    api_version: ApiVersion = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and send nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write names and metadata back to Extend.

    The rows have the column `id`, and `name`, `metadata` (a JSON object) or `metadata.<key>`. Only
    differences are sent, and each one once. You can stop it at any time and run it again.
    """
    from ..calls.connect import connect_platform, make_target
    from ..push import report
    from ..push.push import push_rows
    from .progress import show_progress

    target = make_target(provider.value, database, destination, dataset, None, untested, is_database=True)
    platform = connect_platform(provider.value, {"base_url": base_url, "api_version": api_version})
    with show_progress() as progress:
        result = push_rows(platform, target, source, progress, dry_run=dry_run, on_wait=report_wait)
    report.show(result, target, dry_run=dry_run, as_json=as_json)
    _exit(LACKS_RUNS if result.refused or result.unconfirmed else 0)


@app.command()
def tables(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
) -> None:
    """Explain every table and column."""
    from .console import as_markdown, as_text

    print_answer(as_markdown() if markdown else as_text())


@app.command()
def sandbox(
    port: Annotated[
        int, typer.Option(help="Port on 127.0.0.1; 0 picks a free one.", min=0, max=65_535)
    ] = 8899,
    runs: Annotated[int, typer.Option(help="Workflow runs at the start.", min=0)] = 200,
    seed: Annotated[int, typer.Option(help="The same seed makes the same runs.")] = 7,
) -> None:
    """Serve invented runs of both platforms on this machine.

    Use it to try every command without a key. It runs until you stop it.
    """
    from ...sandbox import Sandbox, serve_forever

    def print_addresses(server: Sandbox) -> None:
        for name, url in (("extend", server.extend_url), ("plextera", server.plextera_url)):
            print(f"{name:<10}{url}", flush=True)
        print(f"try       docruns load extend --base-url {server.extend_url}", flush=True)

    try:
        serve_forever(Sandbox(runs=runs, seed=seed, port=port), print_addresses)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError("--port", f"{port}: {reason}.", "Use another port, or 0 for a free one.") from error


@app.command()
def demo(
    runs: Annotated[int, typer.Option(help="Number of workflow runs to invent.", min=1)] = 300,
    database: Database = DEFAULT_DATABASE,
) -> None:
    """Load invented runs, and answer three questions.

    Needs no key. The database stays: open it with DuckDB or any notebook.
    """
    from ..calls.demo import run_demo
    from .progress import show_progress

    with show_progress() as progress:
        for line in run_demo(runs, database, progress):
            print(line, flush=True)


app.add_typer(answers.app)
app.add_typer(warehouse.app)
