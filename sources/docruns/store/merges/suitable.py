"""What must be right in a destination before the first row is loaded, whoever runs the pipeline.

can it hold every letter? ──► does dlt load from the right files? ──► are MySQL's text columns long enough?
"""

from __future__ import annotations

import warnings
from typing import Any

import dlt

from ...core.errors import ConfigError
from ..destinations import sql_client, traits_of


def prepare(pipeline: dlt.Pipeline) -> None:
    """Make dlt store text as it is. ConfigError where the destination cannot hold it; nothing is stored then."""
    traits = traits_of(pipeline)
    _require_file_format(pipeline, traits.file_format)
    if traits.encoding_query:
        with sql_client(pipeline) as client:
            ((encoding,),) = client.execute_sql(traits.encoding_query) or ((None,),)
        if encoding not in traits.encodings:
            raise _encoding_error(pipeline, "the database", encoding, "Create one with the encoding UTF8.")
    elif not traits.has_json_type:
        # dlt's own merges make SQLAlchemy say so, which is of no use to anybody
        warnings.filterwarnings(
            "ignore", "implicitly coercing SELECT", module="dlt.destinations.impl.sqlalchemy"
        )
        _prepare_mysql(pipeline)


def _encoding_error(pipeline: dlt.Pipeline, what: str, encoding: object, hint: str) -> ConfigError:
    key = f"destination.{pipeline.destination.destination_name}.credentials"
    return ConfigError(key, f"{what} has the encoding {encoding}, which lacks letters of documents.", hint)


def _require_file_format(pipeline: dlt.Pipeline, file_format: str | None) -> None:
    """Without a package that it needs, dlt takes another format and only logs so."""
    if file_format is None:
        return
    capabilities = pipeline.destination.capabilities()
    supported = capabilities.supported_loader_file_formats or ()
    if capabilities.loader_file_format_selector is not None:
        _, supported = capabilities.loader_file_format_selector(
            capabilities.preferred_loader_file_format, supported, table_schema={"name": ""}
        )
    if file_format not in supported:
        name = pipeline.destination.to_name(pipeline.destination.destination_type)
        raise ConfigError(
            f"destination.{pipeline.destination.destination_name}",
            f"needs packages that load {file_format} files.",
            f"pip install 'docruns[{name}]'",
        )


_COLLATIONS = ("utf8mb4_nopad_bin", "utf8mb4_0900_bin", "utf8mb4_bin")
"""Of MariaDB, of MySQL 8, and of older ones: all tell upper from lower case, and the first two a space at the end
from none. The default does neither, so of the fields Total and total one would be lost."""

_SERVER = """
SELECT (SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = %s),
@@character_set_server, @@sql_mode
"""


def _prepare_mysql(pipeline: dlt.Pipeline) -> None:
    """Columns for any text in MySQL and MariaDB. dlt's own end at 64 KB and compare without case."""
    with sql_client(pipeline) as client:
        if client.dialect_name not in ("mysql", "mariadb"):
            return
        ((existing, default, mode),) = client.execute_sql(_SERVER, client.dataset_name) or ((None, None, ""),)
        found: Any = client.execute_sql(
            "SELECT collation_name FROM information_schema.collations WHERE character_set_name = 'utf8mb4'"
        )
    if (existing or default) != "utf8mb4":
        verb, what = ("ALTER", "database") if existing else ("CREATE", "server")
        hint = f"Run in it: {verb} DATABASE {client.dataset_name} CHARACTER SET utf8mb4."
        raise _encoding_error(pipeline, f"the {what}", existing or default, hint)
    if "STRICT_TRANS_TABLES" not in mode and "STRICT_ALL_TABLES" not in mode:
        raise ConfigError(
            f"destination.{pipeline.destination.destination_name}.credentials",
            "the server cuts text that is too long without an error.",
            "Add STRICT_TRANS_TABLES to the server's sql_mode.",
        )
    from .mysql import text_types

    names = {name for (name,) in found}
    pipeline.destination.caps_params["type_mapper"] = text_types(next(n for n in _COLLATIONS if n in names))
