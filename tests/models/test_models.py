"""The views of the models, on DuckDB and PostgreSQL."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest

from docruns.commands.answers import renew_views, views_of
from docruns.commands.load import load_runs
from docruns.models.model import ORDER, models
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from support.loading import connect, query


@pytest.fixture(scope="module")
def reviewed() -> Iterator[Sandbox]:
    """A platform of both providers with reviewed runs."""
    with Sandbox(runs=120, standalone=20, seed=18, document_size="light", plextera_runs=20) as running:
        yield running


@pytest.fixture(scope="module")
def database(reviewed: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both providers' runs in one file. Tests must not change it."""
    path = tmp_path_factory.mktemp("models") / "m.duckdb"
    for name in ("extend", "plextera"):
        load_runs(connect(reviewed, name), Target(name, path))
    return path


def test_a_load_makes_the_views(database: Path) -> None:
    """All models and the views of processors are there, with descriptions; a second time there is nothing to do."""
    name, views = views_of(database, None)
    assert name == "extend"
    assert [view.name for view in views[: len(ORDER)]] == list(ORDER)
    assert "doc_supplier_invoice" in {view.name for view in views}
    assert "doc_supplier_invoice__line_items" in {view.name for view in views}
    for view in views:
        assert view.row
        assert view.grain
    assert renew_views(Target("extend", database)) == 0


@pytest.mark.parametrize("dataset", ["extend", "plextera"])
@pytest.mark.parametrize("model", models(), ids=lambda model: model.name)
def test_grain(database: Path, dataset: str, model: Any) -> None:
    """No two rows of a model agree in the columns of its grain."""
    columns = re.sub(r"\(.*", "", model.grain).strip()
    view = f"{dataset}_answers.{model.name}"
    doubled = query(database, f"SELECT {columns}, count(*) FROM {view} GROUP BY ALL HAVING count(*) > 1")
    assert doubled == []
    if dataset == "extend":
        assert query(database, f"SELECT count(*) FROM {view}")[0][0] > 0


def test_the_same_rows_on_postgres(
    server: str, reviewed: Sandbox, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each view has the same columns and the same rows in PostgreSQL as in DuckDB."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server)
    for dataset in ("extend", "plextera"):
        load_runs(connect(reviewed, dataset), Target(dataset, destination="postgres"))
        assert renew_views(Target(dataset, destination="postgres")) == 0
        _, views = views_of(database, dataset)
        for view in views:
            name = f'{dataset}_answers."{view.name}"'
            columns, rows = rows_of_duckdb(database, name)
            found_columns, found = rows_of_postgres(server, name)
            assert found_columns == columns
            for in_postgres, in_duckdb in zip(found, rows, strict=True):
                assert in_postgres == in_duckdb, name


def rows_of_duckdb(database: Path, view: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        cursor = connection.execute(f"SELECT * FROM {view}")
        return plain([column[0] for column in cursor.description or ()], cursor.fetchall())


def rows_of_postgres(server: str, view: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {view}")
        return plain([column[0] for column in cursor.description or ()], cursor.fetchall())


def plain(columns: list[str], rows: list[tuple[Any, ...]]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Rows in an order that does not depend on the database; numbers to nine digits. The age of a run, which grows, is
    left out."""
    found = [
        tuple(cell(value) for name, value in zip(columns, row, strict=True) if name != "age_s")
        for row in rows
    ]
    return columns, sorted(found, key=repr)


def cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone().isoformat()
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        number = float(value)
        return number if number == 0 or not math.isfinite(number) else float(f"{number:.9g}")
    return value
