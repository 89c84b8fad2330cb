"""The models: questions that people ask, as SQL views or tables in the schema `<dataset>_answers`.

    sql/*.sql, in DuckDB's dialect ──► dialects.translate ──► CREATE VIEW, in the destination's dialect

A model's file begins with what a row is, its grain and what it leaves out. `src.` names the dataset's tables,
`answers.` other models.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Set
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from ..core.tables import BY_NAME

ORDER = (
    "leaves",
    "scores",
    "documents",
    "edits",
    "field_accuracy",
    "calibration",
    "score_health",
    "threshold_advice",
    "review_effort",
    "straight_through",
    "ground_truth_accuracy",
    "drift",
    "throughput",
    "failures",
    "backlog",
    "reviews",
    "cost",
    "lineage",
)
"""Each model after those that it reads."""

ALWAYS_VIEWS = frozenset({"backlog"})
"""Models that are never tables: backlog says how old runs are at this moment."""

LARGE = frozenset({"leaves", "scores", "lineage"})
"""Models that are tables only where somebody names them: they have a row for each leaf, and would double the database."""

_READ = re.compile(r"\banswers\.(\w+)")

Existing = Mapping[str, Set[str]]
"""The columns of each table of the dataset."""


class Model(NamedTuple):
    """One model. `about` is the header of its file: what a row is, the grain, and what it leaves out."""

    name: str
    about: str
    sql: str

    @property
    def grain(self) -> str:
        """The columns that tell rows apart."""
        return next(line[7:] for line in self.about.splitlines() if line.startswith("grain: "))


@cache
def models() -> tuple[Model, ...]:
    """All models, each after those that it reads."""
    folder = files(__package__) / "sql"
    return tuple(_parse(name, (folder / f"{name}.sql").read_text()) for name in ORDER)


@cache
def read_by_others() -> frozenset[str]:
    """The models that other models, or the views of processors, read."""
    return frozenset({"documents", *(name for model in models() for name in _READ.findall(model.sql))})


def _parse(name: str, text: str) -> Model:
    lines = text.splitlines()
    header = [line[3:] for line in lines if line.startswith("-- ")]
    end = next(number for number, line in enumerate(lines) if not line.startswith("-- "))
    return Model(name, "\n".join(header[:end]), "\n".join(lines[end:]))


class View(NamedTuple):
    """A view: its name, its query, and what it is about, as lines of text. `is_table`: its rows are stored."""

    name: str
    query: str
    about: str
    is_table: bool = False


def schema_name(dataset: str) -> str:
    """The schema of a dataset's views."""
    return f"{dataset}_answers"


def fingerprint(*parts: object) -> str:
    """Of the models and of everything else that decides what their views are."""
    return digest([model.sql + model.about for model in models()], *parts)


def digest(*parts: object) -> str:
    """A short hash of the spelling of some values."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def known_columns(existing: Existing) -> dict[str, list[str]]:
    """The columns of the tables that models may read, as far as the dataset has them."""
    return {
        name: sorted(existing[name] & {*table.names}) for name, table in BY_NAME.items() if name in existing
    }
