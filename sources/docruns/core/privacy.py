"""PURE. How documents' content and people's names change before any row is written.

    field_values   'Harbor & Pine Ltd'                  9.5 (a double)   {"po": "PO-9"} (JSON)
    keep           'Harbor & Pine Ltd'                  9.5              {"po": "PO-9"}
    hash           '0c71d5c1b8a0a1c9f6f0d0e0a2b94f11'   null             "5be1…", all of it as one
    drop           null                                 null             null

`tables.py` marks the private columns. All others stay as they are: ids, dates, counts, scores, what review
changed, the names of workflows, steps and processors, and paths, which are the names of fields. Where an
object's keys come from documents, they are part of paths and stay too.

A hash is BLAKE2b with a key, 128 bits as hexadecimal digits. Equal cells stay equal and different ones
different, in all columns and loads, as long as the key is the same. Empty cells are not hashed: an empty
text, null, and JSON's null, "", [] and {} stay as they are, so `rebuild` still gives the shape of an output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from types import MappingProxyType

from .errors import ConfigError
from .tables import BY_NAME, CLEARED, SYNCS, TABLES, Column, Table

MODES = ("keep", "hash", "drop")

Rewrite = Callable[[str], str]

_NOTHING = frozenset({"null", '""', "[]", "{}"})

# columns that later loads, sweep, verify and push read from the destination
_READ_BACK = {
    "workflow_runs": "workspace api_version status updated_at deleted_at "
    "parent_run_id parent_step_id root_run_id depth",
    "workflow_steps": "processor_run_id",
    "processor_runs": "workspace api_version type status updated_at deleted_at "
    "workflow_run_id workflow_step_position",
    "quarantine": "resolved_at",
    "syncs": " ".join(SYNCS.names),
    "pushes": "outcome done_at read_at",
}


@dataclass(frozen=True)
class Privacy:
    """How private columns are written, and which columns stay empty: {table: columns}."""

    field_values: str = "keep"
    dropped: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    _key: bytes = field(default=b"", repr=False)

    @property
    def keeps(self) -> bool:
        """Documents' content may be written."""
        return self.field_values == "keep"

    @property
    def mark(self) -> str:
        """An identifier of how private columns are stored, e.g. `hash 1f3c9a02`; it differs between keys."""
        if not self._key:
            return self.field_values
        return f"{self.field_values} {blake2b(b'mark', key=self._key, digest_size=4).hexdigest()}"

    @property
    def emptied(self) -> list[str]:
        """The columns that stay empty, as `table.column`."""
        return sorted(f"{table}.{name}" for table, some in self.dropped.items() for name in some)

    def rewrites(self, table: Table) -> dict[str, Rewrite | None]:
        """By column, the function that changes each text; None where the column stays empty."""
        dropped = self.dropped.get(table.name, frozenset())
        found: dict[str, Rewrite | None] = {}
        for column in table.columns:
            if column.name in dropped or (column.private and self.field_values == "drop"):
                found[column.name] = None
            elif column.private and self.field_values == "hash":
                hashed = self.hashed_json if holds_json(column) else self.hashed
                found[column.name] = hashed if column.type in ("json", "text") else None
        return found

    def hashed(self, text: str) -> str:
        """A text's hash; an empty text stays empty."""
        return blake2b(text.encode(), key=self._key, digest_size=16).hexdigest() if text else text

    def hashed_json(self, text: str) -> str:
        """The hash of a whole JSON text, as JSON."""
        return text if text in _NOTHING else f'"{self.hashed(text)}"'


KEEP = Privacy()


def holds_json(column: Column) -> bool:
    """A column whose cells are JSON texts: type json, or a text column named *_json."""
    return column.type == "json" or (column.type == "text" and column.name.endswith("_json"))


def make_privacy(
    field_values: str, hash_key: str | None, drop_columns: Iterable[str] | None, section: str
) -> Privacy:
    """The privacy settings of a source; `section` is their place in the configuration. ConfigError names the
    wrong setting."""
    if field_values not in MODES:
        raise ConfigError(f"{section}.field_values", f"{field_values!r} is none of {', '.join(MODES)}.")
    key = b""
    if field_values == "hash":
        if not hash_key or not hash_key.strip():
            raise ConfigError(
                f"{section}.hash_key",
                "is not set, and field_values = hash needs it.",
                "Put a long random text, e.g. of `openssl rand -hex 32`, into .dlt/secrets.toml.",
            )
        # accepts a key of any length, and keeps the key itself out of tracebacks that show variables
        key = blake2b(hash_key.encode(), digest_size=32, person=b"docruns").digest()
    return Privacy(field_values, _dropped(drop_columns or (), f"{section}.drop_columns"), key)


def _dropped(names: Iterable[str], setting: str) -> Mapping[str, frozenset[str]]:
    if isinstance(names, str):
        names = names.replace(",", " ").split()
    found: dict[str, set[str]] = {}
    for name in names:
        head, dot, tail = str(name).partition(".")
        column = tail if dot else head
        tables = [BY_NAME[head]] if dot and head in BY_NAME else [] if dot else list(TABLES)
        tables = [table for table in tables if column in table.names and column != CLEARED]
        if not tables:
            raise ConfigError(setting, f"{name!r} is no column of any table.", "`docruns tables` lists them.")
        for table in tables:
            if column in table.key:
                raise ConfigError(setting, f"{name!r}: {table.name}.{column} is a key.")
            if column in _READ_BACK.get(table.name, "").split():
                raise ConfigError(setting, f"{name!r}: later loads need what {table.name}.{column} says.")
            found.setdefault(table.name, set()).add(column)
    return MappingProxyType({table: frozenset(some) for table, some in found.items()})


def refuse_archive(privacy: Privacy, section: str) -> None:
    """ConfigError where an archive, which holds whole answers, would keep what the settings hash or drop."""
    key = None
    if not privacy.keeps:
        key, is_ = "field_values", f"is {privacy.field_values}"
    elif private := [name for name in privacy.emptied if _is_private(name)]:
        key, is_ = "drop_columns", f"drops {private[0]}"
    if key is not None:
        raise ConfigError(
            f"{section}.{key}",
            f"{is_}, and {section}.archive would keep these values in the answers as they came.",
            f"Remove {section}.archive (or --archive), or keep the values.",
        )


def _is_private(name: str) -> bool:
    table, _, column = name.partition(".")
    return any(each.name == column and bool(each.private) for each in BY_NAME[table].columns)


def storage_mode_error(before: str, now: str, section: str) -> ConfigError:
    """The error for rows that were stored in another way; the marks show which setting changed."""
    old, new = before.split()[0], now.split()[0]
    name, what = "field_values", f"is {new}, and was {old} for what is loaded."
    if old == new:
        name, what = "hash_key", "is not the one that what is loaded was hashed with."
    return ConfigError(
        f"{section}.{name}",
        what,
        "Rows that are there would stay as they are: load into another database or dataset.",
    )
