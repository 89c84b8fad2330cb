"""The commands that read a database: `docruns status | doctor | models | sql | report | notebook`."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ...core.codec import rfc3339
from ...core.errors import ConfigError, DocrunsError
from ...core.settings import DESTINATION
from ...store.process.memory import hide_pandas
from . import console
from .console import report_wait
from .logs import say
from .options import DEFAULT_DATABASE, AsJson, Database, Destination, Provider, TableFormat, Untested
from .streams import print_answer, require_output

app = typer.Typer()

AnyDataset = Annotated[
    str | None, typer.Option(help="Schema of the tables.", show_default="the only one, or the first")
]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV.", show_default="where the output is piped")]
AsLines = Annotated[bool, typer.Option("--json", help="Print one JSON object a row.")]
Output = Annotated[Path | None, typer.Option(help="Write a Parquet file.", show_default=False)]


class Kind(StrEnum):
    """What the models are."""

    VIEW = "view"
    TABLE = "table"


@app.command()
def status(
    database: Database = DEFAULT_DATABASE,
    destination: Destination = DESTINATION,
    table_format: TableFormat = None,
    untested: Untested = False,
    dataset: Annotated[
        str | None, typer.Option(help="Schema of the tables.", show_default="all that are found")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a database holds.

    For each dataset: runs, watermark, unfinished, deleted and quarantined runs, and the process that is using
    it. In other destinations than DuckDB these are the datasets extend and plextera, or the one that is named.
    """
    from ...store.target import lock_holders, require_database
    from ..calls.connect import make_target
    from ..health.elsewhere import reports_elsewhere
    from ..health.status import reports

    names = [each.value for each in Provider] if dataset is None else [dataset]
    targets = [make_target(name, database, destination, name, table_format, untested) for name in names]
    require_database(targets[0])
    with hide_pandas(unless=targets[0].traits.may_use_pandas):
        if targets[0].traits.has_file:
            datasets = reports(database, lambda: lock_holders(database), dataset)
        else:
            datasets = reports_elsewhere(targets)
    print_answer(
        json.dumps(datasets, default=rfc3339) if as_json else console.as_report(datasets, str(targets[0]))
    )


@app.command()
def doctor(
    database: Database = DEFAULT_DATABASE,
    max_age: Annotated[str, typer.Option(help="The last load must not be older, e.g. 90m, 26h, 2d.")] = "1d",
    days: Annotated[int, typer.Option(help="Name runs that are not final for longer.", min=0)] = 30,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a DuckDB file and its loads, and what to do.

    Exits with 0 where nothing is to be done, 1 where somebody must act, 3 where runs are missing, 4 where a key is
    refused: a monitor can call it. Sends one request to each platform.
    """
    from datetime import timedelta

    from ...core.settings import duration
    from ...store.process.environment import disable_telemetry
    from ...store.target import Target, require_database
    from ..health.doctor import Limits, examine, exit_code

    disable_telemetry()
    require_database(Target("", database))
    findings = examine(database, Limits(duration(max_age, "--max-age"), timedelta(days=days)))
    code = exit_code(findings)
    if as_json:
        print_answer(json.dumps({"exit_code": code, "findings": [each.as_dict() for each in findings]}))
    else:
        print_answer(console.as_page(findings))
    if code:
        raise typer.Exit(code)


@app.command()
def models(
    name: Annotated[
        str | None,
        typer.Argument(help="A model, to print its rows, or for --materialized.", show_default=False),
    ] = None,
    database: Database = DEFAULT_DATABASE,
    destination: Destination = DESTINATION,
    dataset: AnyDataset = None,
    materialized: Annotated[
        Kind | None,
        typer.Option(
            help="Make them, or the model NAME, views, or tables, which are read faster.",
            show_default="as they are",
        ),
    ] = None,
    show_sql: Annotated[bool, typer.Option("--sql", help="Print the SQL of the model.")] = False,
    as_csv: AsCsv = False,
    as_json: AsLines = False,
    output: Output = None,
    dbt: Annotated[
        Path | None,
        typer.Option(help="Write the models as a dbt project into this folder.", show_default=False),
    ] = None,
    over: Annotated[
        str | None,
        typer.Option(
            help="Make them over the tables of a lake, in a file for that alone.", show_default=False
        ),
    ] = None,
) -> None:
    """Make the models that answer questions, and list them; or print the rows of one.

    They are in the schema <dataset>_answers. A load renews them by itself.
    """
    from ...models.reader import datasets_of, open_dataset
    from ...store.process.environment import disable_telemetry
    from ...store.target import Target, require_database
    from ..answers.dataset_views import all_rows_of, renew_views, sql_of, views_of, write_dbt
    from ..answers.over_lake import view_lake

    disable_telemetry()
    rows = {"--csv": as_csv, "--json": as_json, "--output": output is not None}
    is_made = materialized is not None
    _refuse_mixed({"--materialized": is_made, "--dbt": dbt is not None, "--sql": show_sql, **rows})
    if name is not None and dbt is not None:
        raise ConfigError("--dbt", "writes all models.", "Leave out the name of one.")
    if name is None and (show_sql or any(rows.values())):
        raise ConfigError("NAME", "is missing: --sql, --csv, --json and --output are about one model.")
    target = Target(dataset or "extend", database, destination)
    if over is not None:
        _refuse_mixed({"--over": True, "NAME": name is not None, "--dbt": dbt is not None})
        say(f"docruns: {target.dataset}: {view_lake(target, over)} tables of {over}")
    require_database(target)
    if name is not None and not is_made:
        if not target.traits.has_file:
            raise ConfigError("--destination", f"docruns prints rows of DuckDB files, not of {destination}.")
        with hide_pandas():
            if show_sql:
                print_answer(sql_of(database, dataset, name))
            else:
                _print_rows(all_rows_of(database, dataset, name), database, dataset, as_csv, as_json, output)
        return
    targets = [target]
    if target.traits.has_file:
        with hide_pandas(), open_dataset(database, dataset, report_wait) as (connection, found):
            names = [found] if dataset or dbt else datasets_of(connection)
        targets = [Target(each, database, destination) for each in names]
    if dbt is not None:
        number = write_dbt(targets[0], dbt, report_wait)
        print_answer(
            f"{number} models in {dbt}: `dbt build --project-dir {dbt} --profiles-dir {dbt}` makes them"
        )
        return
    with hide_pandas(unless=target.traits.may_use_pandas):
        for each in targets:
            made = renew_views(each, report_wait, materialized, name)
            result = f"{made} models made" if made else "all models are up to date"
            say(f"docruns: {each.dataset}_answers: {result}")
    if target.traits.has_file and name is None:
        with hide_pandas():
            _, views = views_of(database, dataset)
        width = max((len(view.name) for view in views), default=0)
        print_answer("\n".join(f"{view.name:<{width}}  {view.row}" for view in views))


@app.command()
def sql(
    query: Annotated[
        str, typer.Argument(help="A query that only reads, or a file.sql that holds it.", show_default=False)
    ],
    database: Database = DEFAULT_DATABASE,
    dataset: AnyDataset = None,
    as_csv: AsCsv = False,
    as_json: AsLines = False,
    output: Output = None,
) -> None:
    """Run a query on a DuckDB file, which stays as it is.

    Tables and models need no schema before their names. Prints a table on a terminal, and CSV into a pipe.
    """
    from ...models.queries import KEY
    from ...store.duckdb.queries import read_text
    from ...store.target import Target, require_database

    _refuse_mixed({"--csv": as_csv, "--json": as_json, "--output": output is not None})
    require_database(Target("", database))
    if query.endswith(".sql") and not query.split()[1:]:
        if not Path(query).is_file():
            raise ConfigError(KEY, f"{query} does not exist.", "Name a file that does.")
        query = read_text(Path(query), KEY)
    _print_rows(query, database, dataset, as_csv, as_json, output)


@app.command()
def report(
    output: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    database: Database = DEFAULT_DATABASE,
    dataset: AnyDataset = None,
) -> None:
    """Write quality and operations into one HTML file, charts included.

    It opens without a network: mail it, or put it into a wiki.
    """
    from ..calls import public

    size = public.report(output, database=database, dataset=dataset)
    print_answer(f"{output}: {size / 1e6:.1f} MB")


def _refuse_mixed(options: Mapping[str, bool]) -> None:
    """ConfigError where more than one of some options is given."""
    given = [option for option, is_given in options.items() if is_given]
    if len(given) > 1:
        raise ConfigError(given[0], f"excludes {' and '.join(given[1:])}.", "Choose one.")


@hide_pandas()
def _print_rows(
    query: str, database: Path, dataset: str | None, as_csv: bool, as_json: bool, output: Path | None
) -> None:
    from ...models import queries

    if output is not None:
        number = queries.write_parquet(database, dataset, query, output, report_wait)
        say(f"docruns: {number:,} rows written to {output}")
    elif as_json or as_csv or not sys.stdout.isatty():
        with queries.query(database, dataset, query, report_wait) as rows:
            (queries.write_json if as_json else queries.write_csv)(rows, sys.stdout)
    else:
        queries.show_table(database, dataset, query, shutil.get_terminal_size().columns, report_wait)
    require_output()


class NotebookName(StrEnum):
    """The notebooks."""

    EXPLORE = "explore"
    QUALITY = "quality"
    OPERATIONS = "operations"


@app.command()
def notebook(
    name: Annotated[NotebookName, typer.Argument(help="The notebook.")] = NotebookName.EXPLORE,
    database: Database = DEFAULT_DATABASE,
    dataset: AnyDataset = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the page.", min=1, max=65_535, show_default="a free one")
    ] = None,
    edit: Annotated[
        bool, typer.Option("--edit", help="Show the code of the notebook, to change it.")
    ] = False,
) -> None:
    """Open a notebook in the browser.

    explore: a document, its fields, and where each was read. quality: accuracy, scores, thresholds. operations:
    throughput, failures, reviewers, cost. The address holds a token: nobody can read the page without it.
    """
    from ...models.reader import open_dataset

    with open_dataset(database, dataset, report_wait):
        pass
    path = _notebook_file(name)
    if path is None or find_spec("marimo") is None or find_spec("altair") is None:
        raise DocrunsError(
            "The notebooks need packages that are not installed: run pip install 'docruns[notebook]'."
        )
    mode = "edit" if edit else "run"
    command = [sys.executable, "-m", "marimo", mode, str(path), "--token-password-file", "-"]
    command += [] if port is None else ["--port", str(port)]
    command += ["--", "--database", str(database)]
    command += [] if dataset is None else ["--dataset", dataset]
    # other users of this machine reach the port, but may not read the database; marimo's own token for `run` is a
    # hash of the notebook. On stdin, because arguments are in the list of processes
    reader, writer = os.pipe()
    os.write(writer, secrets.token_urlsafe(32).encode())
    os.close(writer)
    os.dup2(reader, 0)
    os.execv(sys.executable, command)  # noqa: S606 # this interpreter; signals reach the notebook only


def _notebook_file(name: str) -> Path | None:
    """The file of a notebook: beside `sources` in a checkout, in the package where a wheel was installed."""
    package = Path(__file__).parents[2]
    places = (package / "notebooks", package.parents[1] / "notebooks")
    return next((place / f"{name}.py" for place in places if (place / f"{name}.py").exists()), None)
