"""`docruns load --backfill`: the lists are read once, each month is committed by itself, and a kill costs no month twice."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import docruns
from docruns.commands.calls.backfill import make_window
from docruns.core.errors import ConfigError
from docruns.sandbox import Sandbox
from proofs.children import Children
from support.loading import query

QUARTER_MS = 91 * 86_400_000
ALL = "2024-01..2025-12"


@pytest.fixture(scope="module")
def months() -> Iterator[Sandbox]:
    """A platform of two years. Each quarter has a new run, one that failed, and a review of an older one."""
    with Sandbox(
        runs=6, standalone=20, seed=4, document_size="light", plextera_runs=12, now="2024-03-01"
    ) as running:
        for _ in range(7):
            running.extend.add(1)
            running.extend.add(1, status="FAILED", kind="Supplier invoice intake")
            running.extend.review(1)
            running.extend.clock.advance(QUARTER_MS)
        yield running


@pytest.fixture(scope="module")
def at_once(months: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A database that one plain load has filled, and how many list requests it sent."""
    database = tmp_path_factory.mktemp("plain") / "plain.duckdb"
    months.stats.reset()
    assert docruns.load("extend", database=database, base_url=months.extend_url).complete
    return database, months.stats.lists


def test_lists_are_read_once_and_each_month_is_committed(
    months: Sandbox, at_once: tuple[Path, int], tmp_path: Path
) -> None:
    """A backfill of 24 months sends at most half as many list requests again as one load of all. Each month has packages
    of its own, in order. A load after it finds nothing missing, and every cell is that of one plain load."""
    packages: list[Any] = []
    stages: list[tuple[str, int, int | None]] = []

    def progress(stage: str, name: str, done: int, total: int | None) -> None:
        if stage == "part":
            stages.append((name, done, total))

    place: dict[str, Any] = {"database": tmp_path / "m.duckdb", "base_url": months.extend_url}
    months.stats.reset()
    summary = docruns.load(
        "extend", **place, backfill=ALL, by="month", on_package=packages.append, on_progress=progress
    )
    plain, list_requests = at_once
    assert months.stats.lists <= 1.5 * list_requests
    assert (summary.exit_code, summary.complete) == (0, True)
    parts = [package.part for package in packages]
    assert parts == sorted(parts) and len(set(parts)) >= 8
    # a month without runs is passed over
    assert [name for name, *_ in stages] == sorted(set(parts)) and {total for *_, total in stages} == {24}
    rows = query(
        tmp_path / "m.duckdb",
        "SELECT DISTINCT _dlt_load_id, strftime(updated_at AT TIME ZONE 'UTC', '%Y-%m') FROM extend.workflow_runs",
    )
    of_package = {package.load_id: package.part for package in packages}
    assert rows and all(month == of_package[load_id] for load_id, month in rows)
    again = docruns.load("extend", **place)
    assert (again.fetched, again.complete) == (0, True)
    found = docruns.verify("extend", database=tmp_path / "m.duckdb", against=plain)
    assert not found.differs, found.as_dict()


def kill_itself(moment: str, part: str, **options: Any) -> None:
    """Load in this process, which dies where the part begins, or right after its first package is committed."""

    def die(name: str | None) -> None:
        if name == part:
            os.kill(os.getpid(), signal.SIGKILL)

    if moment == "begins":
        options["on_progress"] = lambda stage, name, *_: stage == "part" and die(name)
    else:
        options["on_package"] = lambda package: die(package.part)
    docruns.load("extend", **options)


def test_kills(months: Sandbox, at_once: tuple[Path, int], tmp_path: Path) -> None:
    """After a kill inside of a part, and one between two parts, the same backfill goes on there: a part that is committed
    is complete, and is not fetched again."""
    database, (plain, _) = tmp_path / "k.duckdb", at_once
    options: dict[str, Any] = {"database": database, "base_url": months.extend_url, "chunk_runs": 10}
    window = {"backfill": ALL, "by": "year"}
    for moment, part in (("is committed", "2024"), ("begins", "2025")):
        killed = multiprocessing.get_context("fork").Process(
            target=kill_itself, args=(moment, part), kwargs={**options, **window}
        )
        killed.start()
        killed.join(120)
        assert killed.exitcode == -signal.SIGKILL
    by_year = (
        "SELECT count(*) FROM extend.workflow_runs WHERE updated_at %s TIMESTAMPTZ '2025-01-01 00:00:00Z'"
    )
    assert query(database, by_year % "<") == query(plain, by_year % "<")
    assert query(database, by_year % ">=") == [(0,)]
    rest = docruns.load("extend", **options, **window)
    assert rest.complete
    assert [(rest.rows["workflow_runs"],)] == query(plain, by_year % ">=")
    assert docruns.load("extend", **options).fetched == 0
    assert not docruns.verify("extend", database=database, against=plain).differs


def test_nested_runs(months: Sandbox, tmp_path: Path) -> None:
    """A backfill of Plextera, whose runs hang in others, has the rows of one plain load."""
    for name, options in (("p", {}), ("b", {"backfill": "2023-12..2024-03"})):
        place = {"database": tmp_path / f"{name}.duckdb", "base_url": months.plextera_url}
        assert docruns.load("plextera", **place, **options).complete
    again = docruns.load("plextera", database=tmp_path / "b.duckdb", base_url=months.plextera_url)
    assert again.fetched == 0
    found = docruns.verify("plextera", database=tmp_path / "b.duckdb", against=tmp_path / "p.duckdb")
    assert not found.differs, found.as_dict()


def test_the_command(children: Children, few_runs: Sandbox, tmp_path: Path) -> None:
    """`--backfill` and `--by` say which part begins, and leave out what is newer."""
    where = ("--base-url", few_runs.extend_url, "--backfill", "2026-07..2026-08")
    ended = children.run(tmp_path, "load", "extend", *where, "--by", "month")
    assert ended.code == 0, ended.err
    assert "2026-08: part 2 of 2" in ended.err
    newest = query(tmp_path / "docruns.duckdb", "SELECT max(updated_at) FROM extend.workflow_runs")
    assert newest[0][0] < datetime(2026, 9, 1, tzinfo=UTC)
    refused = children.run(tmp_path, "load", "extend", *where, "--since", "2026-07-01")
    assert refused.code == 2 and "--backfill: is a window itself" in refused.err


@pytest.mark.parametrize(
    ("text", "by", "begin", "end", "names"),
    [
        ("2024-11..2025-02", None, "2024-11-01", "2025-03-01", ["2024-11", "2024-12", "2025-01", "2025-02"]),
        ("2024..2025", "year", "2024-01-01", "2026-01-01", ["2024", "2025"]),
        ("2024-02-28..2024-03-01", "day", "2024-02-28", "2024-03-02", ["2024-02-28", "2024-02-29", "2024-03-01"]),
        ("2024-01-30..2024-02", "month", "2024-01-30", "2024-03-01", ["2024-01", "2024-02"]),
        ("2024-12-31..2024-12-31", "month", "2024-12-31", "2025-01-01", ["2024-12"]),
    ],
)  # fmt: skip
def test_windows(text: str, by: str | None, begin: str, end: str, names: list[str]) -> None:
    """Both ends are included, and the parts meet."""
    window = make_window(text, by, None, None)
    assert (window.since, window.until) == (f"{begin}T00:00:00+00:00", f"{end}T00:00:00+00:00")
    assert [part.name for part in window.parts] == names
    assert window.parts[-1].until.isoformat() == window.until
    assert [part.until for part in window.parts] == sorted({part.until for part in window.parts})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("2024-01..2024-13", None, None, None), "--backfill: '2024-01..2024-13' is no range of time"),
        (("2024-01", None, None, None), "--backfill: '2024-01' is no range of time"),
        (("9999..9999", None, None, None), "--backfill: '9999..9999' is no range of time"),
        (("2024-02..2024-01", None, None, None), "--backfill: 2024-02..2024-01 ends before it begins"),
        (("2024-01..2024-02", "week", None, None), "--by: is 'week'."),
        (("2024-01..2024-02", None, "2024-01-01", None), "--backfill: is a window itself"),
        ((None, "month", None, None), "--by: divides a backfill"),
    ],
)
def test_wrong_windows(options: Any, said: str) -> None:
    """A window that makes no sense names its option."""
    with pytest.raises(ConfigError) as caught:
        make_window(*options)
    assert str(caught.value).startswith(said)
