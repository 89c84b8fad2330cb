"""Listed runs in little memory behave as dicts and lists of them do."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docruns.sync import listed
from docruns.sync.listed import OLDEST, Dates, Ids, ListedRun, ListedRuns, Selection
from docruns.sync.plan import State
from support.plans import plan_runs

START = datetime(2026, 1, 1, tzinfo=UTC)

TIMES = (
    st.none()
    | st.just(OLDEST)
    | st.datetimes(timezones=st.just(UTC))
    | st.integers(0, 3).map(lambda minute: START + timedelta(minutes=minute))
)
IDS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from("abcdé")
RUNS = st.builds(
    ListedRun,
    IDS,
    st.none() | st.sampled_from(["PROCESSED", "FAILED"]),
    TIMES,
    TIMES,
    st.booleans(),
    st.none() | st.builds(lambda text: {"row": text}, st.text(max_size=3)),
    st.none() | st.sampled_from(["API", "STUDIO"]),
)

Hash = Callable[[bytes], int]
HASHES = pytest.mark.parametrize("hashing", [hash, lambda _: 7, lambda _: -1], ids=["own", "one", "last"])
"""Texts with hashes of their own, and with one hash for all: the first slot is then never free."""


@contextmanager
def hashes(hashing: Hash) -> Iterator[None]:
    """Take another hash."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listed, "hash", hashing, raising=False)
        yield


@HASHES
@settings(max_examples=100, deadline=None)
@given(rows=st.lists(RUNS, max_size=40), other=IDS)
def test_rows_are_as_they_came(hashing: Hash, rows: list[ListedRun], other: str) -> None:
    """The first row of an id stays until it is replaced, and ids have the order in which they came."""
    with hashes(hashing):
        runs, truth = ListedRuns(), dict[str, ListedRun]()
        for row in rows:
            is_new = row.id not in truth
            truth.setdefault(row.id, row)
            number = runs.add(row)
            assert number == list(truth).index(row.id)
            assert runs.at(number) == truth[row.id]
            if not is_new:
                runs.replace(number, row)
                truth[row.id] = row
        assert list(runs.items()) == list(truth.items())
        assert (runs.get(other), other in runs) == (truth.get(other), other in truth)
        everything = Selection(runs, range(len(truth)))
        assert everything == list(truth.values())
        assert everything[::-1] == [*truth.values()][::-1]
        oldest_first = sorted(truth.values(), key=lambda run: (run.changed, run.id))
        assert runs.oldest_first(range(len(truth))) == oldest_first


def test_a_selection_is_taken_from_its_end() -> None:
    """What is taken out is gone from the selection, and still known by its id."""
    runs = ListedRuns(ListedRun(name, None, None, START) for name in "abc")
    left = runs.oldest_first(range(3))[::-1]
    assert [run.id for run in left] == ["c", "b", "a"]
    assert left[-1].id == "a"
    del left[-1]
    assert (left[-1].id, len(left), bool(left)) == ("b", 2, True)
    assert [run.id for run in left[-5:]] == ["c", "b"]
    assert runs["a"] == ListedRun("a", None, None, START)
    assert not Selection()
    assert left != [runs["c"]]
    assert left != [runs["c"], runs["a"]]


@HASHES
@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.tuples(IDS, TIMES, st.booleans()), max_size=40))
def test_dates_are_a_dict(hashing: Hash, steps: list[tuple[str, datetime | None, bool]]) -> None:
    """Ids are set, removed and set again as in a dict."""
    with hashes(hashing):
        dates, truth = Dates(), dict[str, Any]()
        for id_, at, is_removed in steps:
            if is_removed:
                assert dates.pop(id_, "none") == truth.pop(id_, "none")
            elif at is not None and at.microsecond % 2:
                dates.keep_latest(id_, at)
                truth[id_] = max(filter(None, (truth.get(id_), at)))
            else:
                dates[id_] = truth[id_] = at
            assert (id_ in dates, len(dates)) == (id_ in truth, len(truth))
        assert dict(dates) == truth
        assert {id_: dates.at(number) for number, id_ in dates.numbered()} == truth
        assert not truth or max(number for number, _ in dates.numbered()) < len(dates.marks())


@HASHES
@settings(max_examples=100, deadline=None)
@given(texts=st.lists(IDS, max_size=60))
def test_ids_are_a_set_with_numbers(hashing: Hash, texts: list[str]) -> None:
    """A text has the number of its first appearance."""
    with hashes(hashing):
        ids, truth = Ids(texts), list(dict.fromkeys(texts))
        assert list(ids) == truth
        assert [ids.number(text) for text in truth] == [ids.add(text) for text in truth]
        assert [ids.number(text) for text in truth] == [*range(len(truth))]
        ids.clear()
        assert (len(ids), "a" in ids) == (0, False)


def test_values_that_no_rows_share_are_kept() -> None:
    """Where more combinations come than are looked for, each row still has its own values."""
    rows = [ListedRun(str(n), None, None, START, True, {"row": str(n)}) for n in range(25_000)]
    assert Selection(ListedRuns(rows), range(25_000)) == rows


def test_a_plan_takes_little_memory() -> None:
    """A plan takes at most 250 bytes a run while it is made, and 130 when it is done: a million runs take 300 MB."""
    number = 20_000

    def rows() -> Iterator[ListedRun]:
        for n in range(number):
            at = START - timedelta(seconds=n)
            yield ListedRun(f"workflow_run_{n:021}", "PROCESSED", at, at)

    tracemalloc.start()
    try:
        plan = plan_runs(State(), rows(), timedelta(hours=1))
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(plan.due) == number
    assert kept / number <= 130
    assert peak / number <= 250
