"""The fault matrix: the faults that a load survives, and the tests that prove it.

@pytest.mark.fault(5)          on a test, or among the marks of one parameter: it defends row 5
PYTHONPATH=tests .venv/bin/python -m support.faults
                               writes the table between its marks in tests/FAULTS.md
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
    """A fault, where it occurs, and the guaranteed outcome."""

    fault: str
    where: str
    outcome: str


ROWS = {
    1: Row("kill -9", "while runs are fetched", "the next load fetches them again; no document stays on disk"),
    2: Row("kill -9", "everything is fetched, nothing is normalized", "the chunk is fetched again, in the same command as the new runs"),
    3: Row("kill -9", "between dlt's rename and its delete", "later loads are not blocked: one load repairs the database"),
    4: Row("kill -9", "a file is ready to be merged but not marked as ready", "no table has a row twice"),
    5: Row("kill -9", "inside a merge, after its DELETE", "the old rows stay visible; the next load brings the new ones"),
    6: Row("kill -9", "between the merges of two tables", "`status` reports the half-loaded package, `--publish` waits; one load repairs the database"),
    7: Row("kill -9", "the package is recorded in `_dlt_loads`", "nothing is loaded twice, no package counted twice"),
    8: Row("SIGTERM, SIGINT, SIGHUP", "at any moment", "the command ends within seconds, with exit code 143, 130 or 129 and one line; no document stays on disk; one load repairs the database"),
    9: Row("working folder lost", "between loads", "the load reads from the database what is loaded"),
    10: Row("another process has the database open", "for seconds, to read or to write", "the load waits, names the process, and continues"),
    11: Row("another process has the database open", "permanently", "one line with the process, exit code 1, no request sent"),
    12: Row("another process reads every 10 ms", "during loads", "loads succeed; a reader never sees an incomplete published copy"),
    13: Row("a second process", "on the same target, in PostgreSQL also on another machine", "it is refused with the first one's command, process id and start; the first one is not disturbed"),
    14: Row("a load of a window", "after a killed load of everything", "no run is lost, none is fetched without need"),
    15: Row("429", "with seconds, with a date, with an hour", "the load waits that long; past the deadline it fails with a named error, state unchanged"),
    16: Row("500, 502, 503, 504, 408", "any request", "the request is retried"),
    17: Row("connection refused or reset, no reply, a truncated body", "any request", "the request is retried"),
    18: Row("truncated gzip, bad JSON, HTML, an empty body, an error with 200", "any request", "the request is retried, then fails with a named error; never \"0 rows, ok\""),
    19: Row("a few bytes at a time", "any answer", "the request is cancelled and retried, then fails with a named error"),
    20: Row("401, 403", "401: any request; 403: every request", "the load stops with exit code 4; the key is in no output"),
    21: Row("404, 410", "one run's details", "all others load, exit code 3; the next load tries the run again, and marks it as deleted once no list contains it"),
    22: Row("redirect to another host", "any request", "the redirect is not followed; the key is sent to no other host"),
    23: Row("a repeated page token, a cycle of tokens, an empty token or page", "a list", "the load ends, or fails with a named error, after few requests"),
    24: Row("runs change or are deleted", "while a list is read", "this load or the next one has their current state"),
    25: Row("a page token expires", "in the middle of a list", "the list is read again, once; then the load fails with a named error, state unchanged"),
    26: Row("many runs with the same time, pages out of order", "at the watermark", "no run is lost, none is loaded twice"),
    27: Row("a run appears late", "below the watermark", "it is loaded within the overlap; `verify` finds runs that appear later"),
    28: Row("a date that is missing, null, in 2099 or odd", "a list's row", "the run is loaded; the watermark does not move"),
    29: Row("fewer children, then none", "a run that is read again", "the database has exactly the current children"),
    30: Row("an integer becomes text, a fraction, an object", "a field, between two loads", "every digit is kept; columns keep their types"),
    31: Row("2^63, NaN, 1e999, lone surrogates, NUL, depth, 10 MB", "a value", "the value is kept as text, or the run is in quarantine; all others load"),
    32: Row("field names that collide, are empty, odd or long", "a value", "field names are data, never columns"),
    33: Row("no space left", "the working folder's disk, the database's, the copy's", "one line with the path, exit code 1, state unchanged, the folder emptied; once there is space, one load repairs the database"),
    34: Row("a key with a line end, errors of all kinds", "configuration, requests", "the key is refused before use; it is in no file, table or output"),
    35: Row("other hosts on the network", "a whole load", "the load connects to the API's host only"),
    36: Row("`=`, `'`, `%`, `?`, blanks, backslashes, other alphabets", "a path", "the path works, or a named error refuses it before any request"),
    37: Row("200,000 fields in few runs; twenty loads in a row", "memory and disk", "memory stays below 600 MB; folder and database do not grow without new data"),
    38: Row("Python 3.11 to 3.14", "everything", "the same tests pass on each: `make PYTHON=python3.13 test`"),
    39: Row("no permission to write", "the folder of the database, of the copy, the working folder", "one line with the path, exit code 1, no request sent for the first"),
    40: Row("a damaged database", "truncated, overwritten, not a database", "one line that says what to do, exit code 1; the file is not changed"),
    41: Row("a damaged working folder", "left by a kill, then overwritten", "the load does not read it: one load repairs the database"),
    42: Row("a damaged state", "dlt's two tables in the database", "one line that says what to do; after that one load, which fetches nothing again"),
    43: Row("the clock jumps", "a day ahead or back, between and during loads", "no run is lost, none is fetched twice"),
    44: Row("pages that are capped, empty, refused or repeated; totals that are too small, 1 or missing; rows that move up a page", "Plextera's lists", "every run is loaded; a list that is not proved whole is named, `complete` is false, exit code 3, and the next load reads all of it"),
    45: Row("no stdout, no stderr, a full one", "any command", "the command does its work, and its exit code is that of the work"),
    46: Row("a proxy or a TLS handshake that hangs", "any connection", "15 s later one line says so, and the request is retried; then it fails with a named error"),
    47: Row("a file system without locks", "the working folder", "one line with the folder and the variable that moves it, exit code 2, no request sent"),
    48: Row("empty variables, settings for other pipelines, a byte order mark", "the environment, configuration", "the load does its work, or one line names the cause"),
    49: Row("32 open files, 500 MB of address space", "the process", "one line with the limit, exit code 1; with higher limits one load repairs the database"),
    50: Row("an older answer than the list shows", "a replica that lags", "the row keeps the older date, exit code 3; later loads read the run again"),
    51: Row("another order than was asked for", "a list", "the whole list is read; no run is lost"),
    52: Row("many unreadable runs in a row, 403 or no answer for single runs", "details", "they are in quarantine, all others load, exit code 3; where every run fails, the load ends with the error"),
    53: Row("400, 403, 404, 422, 5xx", "one list beside the workflow runs", "the load goes on without the list and names it; exit code 3 where the platform has the list and the key may read it"),
    54: Row("an update that is answered 200 and not applied", "a push", "the run is read again; the change counts as unconfirmed, the exit code is 3, and the next push sends it again"),
    55: Row("gzip of many members, with all optional headers and zeros behind; a head of 64 KB or 200 lines", "any answer", "the answer is read"),
    56: Row("an older copy of a run inside another run; a nested run that moves, or is in two runs; an extraction that two runs name", "Plextera's runs", "the newest version is stored, and the links follow a fixed rule, in any order of answers and of loads"),
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
    """The rows that a decorator marks a test or one of its parameters with."""
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
    """A document with the current table between its marks."""
    return re.sub(
        r"(<!-- faults -->).*?(<!-- /faults -->)",
        lambda marks: f"{marks[1]}\n{table()}\n{marks[2]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text()))
