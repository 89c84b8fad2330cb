"""The settings of the models, and which models they make tables.

the command, else the setting, else what is there ──► the models that are tables
"""

from __future__ import annotations

import json
from collections.abc import Set
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, NamedTuple

import dlt

from ...core.errors import ConfigError
from ...models.dialects import Critical
from ...models.model import ALWAYS_VIEWS, LARGE, ORDER
from ...models.per_processor import PREFIX
from ...providers.settings import refuse_unknown_keys

SECTION = "answers"
"""The section of the configuration."""

VIEW, TABLE = "view", "table"

STORABLE = frozenset(ORDER) - ALWAYS_VIEWS
"""The models that can be tables."""


class AnswerSettings(NamedTuple):
    """`views`: loads make the models. `materialized`: view, table, or the models that are tables; None: as they are, at
    first views. `critical`: the fields that decide whether a document is right, by processor."""

    views: bool
    materialized: str | list[str] | None
    critical: Critical


class Materialization(NamedTuple):
    """What a command makes of the models, or of one alone: view or table."""

    kind: str
    name: str | None = None


def answer_settings() -> AnswerSettings:
    """The settings in the section `answers`. ConfigError for an unknown key, and for a value of another kind."""
    refuse_unknown_keys((SECTION,), AnswerSettings._fields)
    views, materialized, critical = (_setting(name) for name in AnswerSettings._fields)
    if not isinstance(views, bool | None):
        raise ConfigError(f"{SECTION}.views", f"is {views!r}.", "Write true or false.")
    if isinstance(materialized, list):
        for name in materialized:
            require_storable(name, f"{SECTION}.materialized")
    elif materialized not in (None, VIEW, TABLE):
        raise ConfigError(
            f"{SECTION}.materialized",
            f"is {materialized!r}.",
            f'Write {VIEW} or {TABLE}, or a list of models, such as ["lineage"].',
        )
    if critical is not None and not (
        isinstance(critical, dict)
        and all(isinstance(fields, list) for fields in critical.values())
        and all(isinstance(field, str) for fields in critical.values() for field in fields)
    ):
        raise ConfigError(
            f"{SECTION}.critical",
            "is not a table of lists.",
            'Write, below [answers.critical], a line such as: "Supplier invoice" = ["total", "due_date"].',
        )
    return AnswerSettings(views is not False, materialized, critical or {})


def _setting(name: str) -> Any:
    found: Any = dlt.config.get(f"{SECTION}.{name}")
    if isinstance(found, str):
        # of an environment variable
        with suppress(ValueError):
            return json.loads(found.lower() if name == "views" else found)
    return found


def require_storable(name: object, key: str) -> None:
    """ConfigError, which names `key`, unless `name` is a model that can be a table."""
    if isinstance(name, str) and name in STORABLE:
        return
    if name == "backlog":
        raise ConfigError(key, "backlog is always a view: it says how old runs are at this moment.")
    if isinstance(name, str) and name.startswith(PREFIX):
        raise ConfigError(key, f"{name} is always a view, as all views of processors are.")
    close = get_close_matches(str(name), STORABLE, n=1)
    hint = (
        f"Did you mean {close[0]}?"
        if close
        else f"Models are {', '.join(m for m in ORDER if m in STORABLE)}."
    )
    raise ConfigError(key, f"{name!r} is no model that can be a table.", hint)


def choose_tables(
    wanted: Materialization | None, setting: str | list[str] | None, there: Set[str]
) -> Set[str]:
    """The models that are to be tables. `there`: those that are."""
    if wanted is not None and wanted.name is not None:
        return there | {wanted.name} if wanted.kind == TABLE else there - {wanted.name}
    kind = setting if wanted is None else wanted.kind
    if isinstance(kind, list):
        return {*kind}
    if kind == TABLE:
        # a large one that somebody has made a table stays one
        return STORABLE - LARGE | there
    return there if kind is None else frozenset()


def choose_filled(wanted: Materialization | None, stored: Set[str]) -> Set[str]:
    """The tables that a command fills although no run has changed."""
    if wanted is None or wanted.kind != TABLE:
        return frozenset()
    return stored if wanted.name is None else {wanted.name}
