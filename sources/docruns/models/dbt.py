"""The models as a dbt project, for those who build their warehouse with dbt.

    dbt_project.yml profiles.yml
    macros/docruns_functions.sql     the functions that models call, made before each run
    tests/generic/docruns_unique.sql no two rows agree in some columns
    models/sources.yml               the tables: descriptions, and tests of keys, references and values
    models/answers/*.sql, *.yml      the models: descriptions, and a test of each grain
    models/processors/*.sql          the views of processors, as they are now

dbt makes its views in a schema of its own, `<dataset>_dbt`, beside those of `docruns models`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from ..core.codec import encode
from ..core.errors import ConfigError
from ..core.tables import CLEARED, TABLES, Table
from ..store.duckdb.file import quote
from .dialects import WRITTEN_IN, Critical, fill_tables, functions, to_dialect
from .model import Existing, View, models, schema_name

NAME = "docruns_answers"

_FUNCTION = re.compile(r"\banswers\.(\w+)(?=\()")
_MODEL = re.compile(r"\banswers\.(\w+)")

_IN_JINJA = {
    "docruns_source": r"{{ source('docruns', '\1') }}",
    "docruns_function": r"{{ target.schema }}.\1",
    "docruns_ref": r"{{ ref('\1') }}",
}
"""By schema in the text that sqlglot translates, what stands in dbt's text."""

_RUNS = {"processor_run_id": "processor_runs", "workflow_run_id": "workflow_runs"}

_VALUES = {
    ("fields", "kind"): ["leaf", "object", "array", "item"],
    ("fields", "edit_kind"): ["changed", "added", "removed"],
}

_UNIQUE = """{% test docruns_unique(model, columns) %}
SELECT {{ columns | join(', ') }}
FROM {{ model }}
GROUP BY {{ columns | join(', ') }}
HAVING count(*) > 1
{% endtest %}
"""


def write_project(
    folder: Path,
    dataset: str,
    dialect: str,
    existing: Existing,
    critical: Critical,
    processor_views: Iterable[View] = (),
    database: Path | None = None,
) -> int:
    """Write the project. Returns how many models it has. ConfigError where the folder holds something else."""
    project = folder / "dbt_project.yml"
    if folder.exists() and any(folder.iterdir()) and not (project.exists() and NAME in project.read_text()):
        raise ConfigError("--dbt", f"{folder} holds something else.", "Name a new folder.")
    views = [*processor_views]
    files = {
        "dbt_project.yml": _yaml(_project()),
        "profiles.yml": _yaml(_profile(dataset, dialect, database)),
        "macros/docruns_functions.sql": _macro(dialect, dataset, critical),
        "tests/generic/docruns_unique.sql": _UNIQUE,
        "models/sources.yml": _yaml(_sources(dataset, existing)),
        "models/answers/answers.yml": _yaml(_properties((each.name, each.about) for each in models())),
        "models/processors/processors.yml": _yaml(_properties((each.name, each.about) for each in views)),
    }
    for model in models():
        files[f"models/answers/{model.name}.sql"] = _in_dbt(model.sql.strip(), dialect, existing)
    for view in views:
        files[f"models/processors/{view.name}.sql"] = _of_processor(view.query, dataset)
    for path in [*folder.glob("models/answers/*.sql"), *folder.glob("models/processors/*.sql")]:
        # a model that an earlier version had, or a view whose processor has another name now
        if path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.rstrip() + "\n")
    return len(models()) + len(views)


def _yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110))


def _project() -> dict[str, Any]:
    return {
        "name": NAME,
        "version": "1.0.0",
        "profile": NAME,
        "model-paths": ["models"],
        "macro-paths": ["macros"],
        "test-paths": ["tests"],
        "on-run-start": ["{{ docruns_functions() }}"],
        "models": {NAME: {"+materialized": "view"}},
    }


def _profile(dataset: str, dialect: str, database: Path | None) -> dict[str, Any]:
    if dialect == WRITTEN_IN:
        path = encode(str((database or Path("docruns.duckdb")).absolute())).decode()
        output: dict[str, Any] = {"path": "{{ env_var('DOCRUNS_DATABASE', " + path + ") }}"}
    else:
        names = ("host", "user", "password", "dbname")
        output = {name: "{{ env_var('DOCRUNS_" + name.upper() + "') }}" for name in names}
        output["port"] = "{{ env_var('DOCRUNS_PORT', '5432') | int }}"
    output = {"type": dialect, **output, "schema": f"{dataset}_dbt", "threads": 1}
    return {NAME: {"target": "docruns", "outputs": {"docruns": output}}}


def _macro(dialect: str, dataset: str, critical: Critical) -> str:
    text = functions(dialect, dataset, critical).replace(quote(schema_name(dataset)), "{{ target.schema }}")
    return "{% macro docruns_functions() %}\n" + text + "{% endmacro %}\n"


def _in_dbt(sql: str, dialect: str, existing: Existing) -> str:
    sql = fill_tables(sql, existing, "docruns_source.{}".format)
    sql = _MODEL.sub(r"docruns_ref.\1", _FUNCTION.sub(r"docruns_function.\1", sql))
    sql = to_dialect(sql, dialect)
    for schema, jinja in _IN_JINJA.items():
        sql = re.sub(rf"\b{schema}\.(\w+)", jinja, sql)
    return sql


def _of_processor(sql: str, dataset: str) -> str:
    sql = sql.replace(f"{quote(schema_name(dataset))}.documents", "{{ ref('documents') }}")
    return sql.replace(f"{quote(dataset)}.fields", "{{ source('docruns', 'fields') }}")


def _sources(dataset: str, existing: Existing) -> dict[str, Any]:
    tables = [_source(table) for table in TABLES if table.name in existing]
    return {"version": 2, "sources": [{"name": "docruns", "schema": dataset, "tables": tables}]}


def _source(table: Table) -> dict[str, Any]:
    columns = []
    for column in table.columns:
        if column.name == CLEARED:
            continue
        described: dict[str, Any] = {"name": column.name, "description": column.doc}
        if tests := [*_tests(table, column.name)]:
            described["data_tests"] = tests
        columns.append(described)
    found: dict[str, Any] = {"name": table.name, "description": table.doc, "columns": columns}
    if len(table.key) > 1:
        found["data_tests"] = [_unique(table.key)]
    return found


def _tests(table: Table, column: str) -> Iterator[Any]:
    if column in table.key:
        yield "not_null"
        if len(table.key) == 1:
            yield "unique"
    if column == table.set_of and column in _RUNS:
        to = f"source('docruns', '{_RUNS[column]}')"
        yield {"relationships": {"arguments": {"to": to, "field": "id"}}}
    if values := _VALUES.get((table.name, column)):
        yield {"accepted_values": {"arguments": {"values": values}}}


def _unique(columns: Iterable[str]) -> dict[str, Any]:
    return {"docruns_unique": {"arguments": {"columns": [*columns]}}}


def _properties(described: Iterable[tuple[str, str]]) -> dict[str, Any]:
    found = []
    for name, about in described:
        grain = next(line[7:] for line in about.splitlines() if line.startswith("grain: "))
        columns = [column.strip() for column in grain.partition(" (")[0].split(",")]
        found.append({"name": name, "description": about, "data_tests": [_unique(columns)]})
    return {"version": 2, "models": found}
