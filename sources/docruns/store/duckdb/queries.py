"""A query that only reads, as somebody writes it, and what its errors say."""

from __future__ import annotations

from pathlib import Path

import duckdb

from ...core.errors import ConfigError


def only_query(connection: duckdb.DuckDBPyConnection, text: str, key: str) -> duckdb.Statement:
    """The one SELECT that a text is. ConfigError about `key` for anything else: EXPLAIN ANALYZE, for one, runs what it
    explains."""
    statements = connection.extract_statements(text)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = " and ".join(str(each.type).rpartition(".")[2] for each in statements)
        raise not_a_query(key, kinds or "nothing")
    return statements[0]


def not_a_query(key: str, kinds: str) -> ConfigError:
    """A text that is something else than one query."""
    return ConfigError(
        key,
        f"must be one query (SELECT …), but is {kinds}. Nothing was run.",
        "The query may only read: it must not change the database or write a file.",
    )


def query_error(key: str, error: Exception, failed: str = "fails") -> ConfigError:
    """A query that fails, on any database. What the database says of a value may quote it, and is left out."""
    # in every driver the class for values that cannot be converted, whose text quotes them
    is_about_values = any(kind.__name__ == "DataError" for kind in type(error).__mro__)
    text = (
        f"{type(error).__name__}, about a value. Select fewer rows to find it." if is_about_values else error
    )
    return ConfigError(key, f"{failed}: {text}")


def read_text(path: Path, key: str) -> str:
    """A file as text. ConfigError about `key` where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(key, f"{path}: not UTF-8: {error}.") from error
    except OSError as error:
        raise ConfigError(key, f"{path}: cannot be read: {error.strerror}.") from error
