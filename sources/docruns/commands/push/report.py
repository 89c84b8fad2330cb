"""Prints what a push did or would do: as text for a terminal, as JSON otherwise.

    workflow_run_8fK2 (row 3)
      name                scan_0417.pdf → HP-20417 (March)
      metadata.ledger_id  417
      metadata.checked    false → true

A dry run prints a line of JSON for each run, {"row": 3, "id": …, "before": {…}, "change": {…}}, then the
counts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from ...core.codec import JSON, number_text
from ...providers.changes import Change

if TYPE_CHECKING:
    from .push import PushResult

LONG = 60
"""Longer values are cut to this many characters."""


def show(result: PushResult, target: object, *, dry_run: bool, as_json: bool) -> None:
    """Print what happened on stdout. Differences of a dry run are text on a terminal only."""
    if dry_run and (as_json or not sys.stdout.isatty()):
        for change in result.differences:
            print(as_json_line(change))
        as_json = True
    elif dry_run:
        console = Console(highlight=False, soft_wrap=True)
        for text in as_text(result.differences):
            console.print(text)
    if as_json:
        print(json.dumps(result.as_dict()))
    elif dry_run:
        print(
            f"extend: {result.changes:,} of {result.rows:,} runs would change, "
            f"{result.unchanged:,} already have these values; nothing was sent"
        )
        if result.refused:
            print(f"  {result.refused:,} cannot be fetched now, and would not be changed")
    else:
        _print_done(result, target)


def _print_done(result: PushResult, target: object) -> None:
    print(
        f"extend: {result.confirmed:,} of {result.rows:,} runs changed, "
        f"{result.unchanged:,} already had these values, "
        f"{result.requests:,} requests in {result.seconds:.1f} s"
    )
    if result.before:
        print(f"  {result.before:,} of them before the push was interrupted")
    if result.refused:
        print(f"  {result.refused:,} were refused, see the column reason")
    if result.unconfirmed:
        print(
            f"  {result.unconfirmed:,} were sent, but do not have it yet, see the column reason; push again"
        )
    print(f"  push {result.push_id} in {target}, table pushes")


def as_json_line(change: Change) -> str:
    """A change as a line of JSON."""
    head = number_text({"row": change.wish.row, "id": change.wish.id})[:-1]
    return f'{head},"before":{change.undo()},"change":{change.body().decode()}}}'


def as_text(changes: list[Change]) -> Iterator[Text]:
    """Changes with colours: old values are red, new values green."""
    for change in changes:
        yield Text(f"{change.wish.id} (row {change.wish.row})", style="bold")
        cells = list(_cells(change))
        width = max(len(name) for name, _, _ in cells)
        for name, before, after in cells:
            text = Text(f"  {name:<{width}}  ")
            if before is not None:
                text.append(before, style="red").append(" → ")
            yield text.append(after, style="green")


def _cells(change: Change) -> Iterator[tuple[str, str | None, str]]:
    """Name, old value (None if there was none) and new value of each changed cell."""
    if change.name is not None:
        yield "name", _short(change.before.name), _short(change.name) or ""
    for key, value in change.metadata.items():
        is_new = key not in change.before.metadata
        before = None if is_new else _short(change.before.metadata[key], "null")
        yield f"metadata.{key}", before, _short(value, "null") or ""


def _short(value: JSON, null: str | None = None) -> str | None:
    if value is None:
        return null
    text = value if isinstance(value, str) else number_text(value)
    # control characters must not reach the terminal
    text = "".join(sign if sign.isprintable() else "·" for sign in text)
    return text if len(text) <= LONG else f"{text[: LONG - 1]}…"
