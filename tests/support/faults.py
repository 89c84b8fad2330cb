"""The fault matrix: what a load survives, and the tests that say so.

@pytest.mark.fault(5)          on a test, or among the marks of one parameter: it defends row 5
PYTHONPATH=tests .venv/bin/python -m support.faults    writes the table into tests/FAULTS.md, between its marks
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parents[1]
DOCUMENT = TESTS / "FAULTS.md"


class Row(NamedTuple):
    """A fault, where it strikes, and the outcome that is promised."""

    fault: str
    where: str
    outcome: str


ROWS = {
    1: Row("kill -9", "while runs are fetched", "the next load fetches them again; no document stays on disk"),
    2: Row("kill -9", "all is fetched, nothing normalized", "the chunk is fetched again, in the same command as what is new"),
    3: Row("kill -9", "between dlt's rename and its delete", "no wedge: one load heals"),
    4: Row("kill -9", "a file is ready to be merged and not marked as such", "no row twice, in no table"),
    5: Row("kill -9", "inside a merge, after its DELETE", "the old rows stay visible; the next load brings the new ones"),
    6: Row("kill -9", "between the merges of two tables", "`status` tells of the half-loaded package, `--publish` waits; one load heals"),
    7: Row("kill -9", "the package is entered in `_dlt_loads`", "nothing is loaded twice, no package counted twice"),
    8: Row("SIGTERM, SIGINT", "at any moment", "ends within seconds, with 143 or 130 and one line; no document stays on disk; one load heals"),
    9: Row("working folder lost", "between loads", "what is loaded is known from the database"),
    10: Row("somebody has the database open", "for seconds, to read or to write", "the load waits, says for whom, and goes on"),
    11: Row("somebody has the database open", "for good", "one line with the process, exit code 1, no request sent"),
    12: Row("somebody reads every 10 ms", "during loads", "loads succeed; of the published copy no half is ever seen"),
    13: Row("a second process", "on the same target", "is refused with who is at work; the first one is not disturbed"),
    14: Row("a load of a window", "after a killed load of everything", "no run is lost, none is fetched in vain"),
    15: Row("429", "with seconds, with a date, with an hour", "waits so long; past the deadline it fails by name, state unchanged"),
    16: Row("500, 502, 503, 504, 408", "any request", "tried again"),
    17: Row("refused, reset, silence, a body cut off", "any request", "tried again"),
    18: Row("cut gzip, bad JSON, HTML, nothing, an error with 200", "any request", "tried again, then fails by name; never \"0 rows, ok\""),
    19: Row("a few bytes at a time", "any answer", "cut off, tried again, then fails by name"),
    20: Row("401, 403", "any request", "stops at once with exit code 4; the key is in no output"),
    21: Row("404, 410", "one run's details", "the run counts as gone, unless a later list shows it again; all others load, exit code 0"),
    22: Row("redirect to another host", "any request", "not followed; the key goes nowhere else"),
    23: Row("a page token again, tokens in a circle, an empty one", "a list", "ends, or fails by name, after few requests"),
    24: Row("runs change or go away", "while a list is walked", "this load or the next one has them as they are"),
    25: Row("a page token expires", "in the middle of a list", "the list is walked again, once; then it fails by name, state unchanged"),
    26: Row("many runs share a moment, pages out of order", "at the watermark", "none lost, none twice"),
    27: Row("a run shows up late", "below the watermark", "within the overlap it is loaded; `verify` finds what came later still"),
    28: Row("a date that is missing, null, in 2099 or odd", "a list's row", "loaded; the watermark is not moved by it"),
    29: Row("fewer children, then none", "a run that is read again", "exactly the children that it has now"),
    30: Row("int becomes text, a fraction, an object", "a field, between two loads", "kept to the digit; columns stay as they are"),
    31: Row("2^63, NaN, 1e999, lone surrogates, NUL, depth, 10 MB", "a value", "kept as text, or that run is in quarantine; all others load"),
    32: Row("field names that collide, are empty, odd or long", "a value", "names are data, never columns"),
    33: Row("no space left", "the working folder's disk, the database's, the copy's", "one line with the path, exit code 1, state unchanged, the folder emptied; with space, one load heals"),
    34: Row("a key with a line end, errors of all kinds", "configuration, requests", "refused before use; in no file, table or output"),
    35: Row("anybody else on the network", "a whole load", "only the API's host is spoken to"),
    36: Row("`=`, `'`, `%`, `?`, blanks, backslashes, other alphabets", "a path", "works, or is refused by name before any request"),
    37: Row("200,000 fields in few runs; twenty loads on end", "memory and disk", "below 600 MB; folder and database do not grow without new data"),
    38: Row("Python 3.11 to 3.14", "everything", "the same tests pass on each: `make PYTHON=python3.13 test`"),
    39: Row("may not be written", "the folder of the database, of the copy, of the work", "one line with the path, exit code 1, no request sent for the first"),
    40: Row("a damaged database", "cut short, overwritten, no database at all", "one line with the way out, exit code 1; the file is left as it is"),
    41: Row("a damaged working folder", "left by a kill, then scribbled over", "it is not read: one load heals"),
    42: Row("a damaged state", "dlt's two tables in the database", "one line with the way out; then one load, and nothing is fetched again"),
    43: Row("the clock jumps", "a day ahead or back, between and during loads", "nothing lost, nothing fetched twice"),
}  # fmt: skip


def covered(folder: Path = TESTS) -> dict[int, list[str]]:
    """The tests of each row, as `file::name`, in the order of their files."""
    found: dict[int, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                name = f"{path.relative_to(folder).as_posix()}::{node.name}"
                for row in sorted({row for mark in node.decorator_list for row in _rows(mark)}):
                    found.setdefault(row, []).append(name)
    return found


def _rows(decorator: ast.expr) -> Iterator[int]:
    """The rows that a decorator marks a test with, or one of its parameters."""
    for node in ast.walk(decorator):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "fault"
            and ast.unparse(node.func.value) == "pytest.mark"
        ):
            yield from (ast.literal_eval(argument) for argument in node.args)


def table() -> str:
    """The matrix as Markdown."""
    lines = ["| | fault | where it strikes | outcome | tests |", "| --- | --- | --- | --- | --- |"]
    tests = covered()
    for number, (fault, where, outcome) in sorted(ROWS.items()):
        names = "<br>".join(f"`{name}`" for name in tests.get(number, []))
        lines.append(f"| {number} | {fault} | {where} | {outcome} | {names} |")
    return "\n".join(lines)


def written(text: str) -> str:
    """A document with the table between its marks."""
    return re.sub(
        r"(<!-- faults -->).*?(<!-- /faults -->)",
        lambda marks: f"{marks[1]}\n{table()}\n{marks[2]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text()))
