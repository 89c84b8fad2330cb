"""What a push did, or would do: for people, or as JSON where nobody looks.

    workflow_run_8fK2 (row 3)
      name                scan_0417.pdf → HP-20417 (March)
      metadata.ledger_id  417
      metadata.checked    false → true

Of a dry run a line of JSON for each run, {"row": 3, "id": …, "before": {…}, "change": {…}}, then the counts.
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
    from .push import Pushed


LONG = 60
"""Characters of a value after which it is cut."""


def show(pushed: Pushed, target: object, *, dry_run: bool, as_json: bool) -> None:
    """Print what happened on stdout; a dry run's differences for people on a terminal only."""
    if dry_run and (as_json or not sys.stdout.isatty()):
        for change in pushed.differences:
            print(line(change))
        as_json = True
    elif dry_run:
        console = Console(highlight=False, soft_wrap=True)
        for text in drawn(pushed.differences):
            console.print(text)
    if as_json:
        print(json.dumps(pushed.as_dict()))
    elif dry_run:
        print(
            f"extend: {pushed.changes:,} of {pushed.rows:,} runs would change, "
            f"{pushed.unchanged:,} are so already; nothing was sent"
        )
        if pushed.refused:
            print(f"  {pushed.refused:,} cannot be read now, and would be left out")
    else:
        _print_done(pushed, target)


def _print_done(pushed: Pushed, target: object) -> None:
    print(
        f"extend: {pushed.confirmed:,} of {pushed.rows:,} runs changed, "
        f"{pushed.unchanged:,} were so already, "
        f"{pushed.requests:,} requests in {pushed.seconds:.1f} s"
    )
    if pushed.before:
        print(f"  {pushed.before:,} of them before the push was interrupted")
    if pushed.refused:
        print(f"  {pushed.refused:,} were refused")
    if pushed.unconfirmed:
        print(f"  {pushed.unconfirmed:,} were sent, and no answer came")
    print(f"  push {pushed.push_id} in {target}, table pushes")


def line(change: Change) -> str:
    """A change as JSON."""
    what = {"row": change.wish.row, "id": change.wish.id}
    head = number_text(what)[:-1]
    return f'{head},"before":{change.undo()},"change":{change.body().decode()}}}'


def drawn(changes: list[Change]) -> Iterator[Text]:
    """Changes with colours: red is what goes, green what comes."""
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
    """What changes, what it was where it was something, and what it will be."""
    if change.name is not None:
        yield "name", _short(change.before.name), _short(change.name) or ""
    for key, value in change.metadata.items():
        there = key in change.before.metadata
        before = _short(change.before.metadata[key], "null") if there else None
        yield f"metadata.{key}", before, _short(value, "null") or ""


def _short(value: JSON, null: str | None = None) -> str | None:
    if value is None:
        return null
    text = value if isinstance(value, str) else number_text(value)
    # no control character reaches the terminal
    text = "".join(sign if sign.isprintable() else "·" for sign in text)
    return text if len(text) <= LONG else f"{text[: LONG - 1]}…"
