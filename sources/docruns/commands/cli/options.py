"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ...core.settings import DATABASE
from .logs import set_format


class Provider(StrEnum):
    """The platforms that docruns loads."""

    extend = "extend"
    plextera = "plextera"


class Writable(StrEnum):
    """The platforms whose runs docruns can change."""

    extend = "extend"


ProviderArgument = Annotated[
    Provider, typer.Argument(metavar="extend|plextera", help="The platform.", show_default=False)
]
WritableArgument = Annotated[
    Writable, typer.Argument(metavar="extend", help="The platform.", show_default=False)
]
Database = Annotated[Path, typer.Option(help="DuckDB file.")]
Destination = Annotated[
    str, typer.Option(help="Name of any dlt destination. Set it up in dlt's configuration.")
]
Dataset = Annotated[
    str | None, typer.Option(help="Schema for the tables.", show_default="the platform's name")
]
AnyDataset = Annotated[
    str | None, typer.Option(help="Schema of the tables.", show_default="all that are found")
]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        help="Address of the API. `docruns sandbox` prints those of a sandbox.", show_default="the platform's"
    ),
]
ApiVersion = Annotated[
    str | None,
    typer.Option(
        help="Extend's API version: 2026-02-09, 2025-04-21, 2024-12-23 or v1.", show_default="newest"
    ),
]
Untested = Annotated[
    bool, typer.Option("--untested", help="Use a destination whose rows nobody has compared with DuckDB's.")
]
TableFormat = Annotated[
    str | None,
    typer.Option(
        help="delta or iceberg, for the destination filesystem; none: files, to which rows are only added.",
        show_default="the setting",
    ),
]
Archive = Annotated[
    str | None,
    typer.Option(
        help="Folder of raw answers: a path, or a URL such as s3://bucket/docruns.",
        show_default="the setting archive",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]


class LogFormat(StrEnum):
    """How a command writes on stderr."""

    text = "text"
    json = "json"


LogFormatOption = Annotated[
    LogFormat,
    typer.Option(
        "--log-format",
        help="Write lines of text on stderr, or JSON objects.",
        callback=set_format,
        is_eager=True,
    ),
]

DEFAULT_DATABASE = Path(DATABASE)
