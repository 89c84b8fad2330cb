"""PURE. The statements that make the models in the schema `<dataset>_answers`.

    what docruns has made there, what it makes now ──► what differs ──► DROP, CREATE, COMMENT, INSERT

The comment on a view or a table ends with a mark: of a model the fingerprint of all models, of a processor's view a hash
of its own. So one processor with new fields costs its own views, and a change of models costs all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import NamedTuple

from ...models.dialects import literal
from ...models.model import ORDER, View, digest, read_by_others, schema_name
from ...store.duckdb.file import quote

MADE = "Made by docruns"


class Made(NamedTuple):
    """What docruns has made, and the comment on it."""

    is_table: bool
    comment: str

    @property
    def mark(self) -> str:
        """What the comment says of the models that it was made from."""
        return self.comment.rpartition(f"\n{MADE}, ")[2]


NOTHING = Made(is_table=False, comment="")


class Making(NamedTuple):
    """What is to be made in the answers of a dataset: the functions, and each view after those that it reads.

    `base` is the fingerprint of the models, `state` what the database says of the rows that they were made from.
    """

    dataset: str
    functions: str
    views: Sequence[View]
    base: str
    state: str

    @property
    def first(self) -> str:
        """The mark of the first view, which tells the state of all: they are made in one transaction."""
        return f"{self.base} {self.state}"

    def changed(self, made: Mapping[str, Made]) -> list[View]:
        """The views that differ from what is there. Where others read one of them, these are all."""
        found = [view for view in self.views if not self._is_made(view, made.get(view.name, NOTHING))]
        return [*self.views] if any(view.name in read_by_others() for view in found) else found

    def _is_made(self, view: View, there: Made) -> bool:
        return there.is_table == view.is_table and there.mark.partition(" ")[0] == self._mark(view)

    def _mark(self, view: View) -> str:
        return self.base if view.name in ORDER else digest(self.base, view)

    def replace(self, made: Mapping[str, Made]) -> Iterator[str]:
        """Statements that drop what is there no more, or otherwise, and make what differs."""
        schema, changed = quote(schema_name(self.dataset)), self.changed(made)
        names = {view.name for view in changed}
        gone = made.keys() & names | made.keys() - {view.name for view in self.views}
        yield f"CREATE SCHEMA IF NOT EXISTS {schema}"
        # PostgreSQL drops no view that another one reads
        order = {name: place for place, name in enumerate(ORDER)}
        for name in sorted(gone, key=lambda name: -order.get(name, len(order))):
            yield f"DROP {'TABLE' if made[name].is_table else 'VIEW'} IF EXISTS {schema}.{quote(name)}"
        if names & order.keys():
            yield self.functions.strip().rstrip(";")
        for view in changed:
            yield f"CREATE {_kind(view)} {schema}.{quote(view.name)} AS {view.query}"
            yield self.describe(view)

    def fill(self, names: Set[str]) -> Iterator[str]:
        """Statements that give tables the rows of now. Whoever reads them meanwhile sees the rows of before, and what
        others have built on the tables stays."""
        schema = quote(schema_name(self.dataset))
        for view in self.views:
            if view.is_table and view.name in names:
                yield f"DELETE FROM {schema}.{quote(view.name)}"
                yield f"INSERT INTO {schema}.{quote(view.name)} {view.query}"

    def describe(self, view: View) -> str:
        """The statement that puts a view's description and mark into its comment."""
        mark = self.first if view == self.views[0] else self._mark(view)
        name = f"{quote(schema_name(self.dataset))}.{quote(view.name)}"
        text = f"{view.about}\n{MADE}, {mark}"
        return f"COMMENT ON {_kind(view)} {name} IS {literal(text)}"


def _kind(view: View) -> str:
    return "TABLE" if view.is_table else "VIEW"
