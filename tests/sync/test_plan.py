from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docruns.sync.plan import OLDEST, Failure, ListedRun, Plan, State, floor, scan
from support.plans import plan_runs

START = datetime(2026, 1, 1, tzinfo=UTC)
OVERLAP = timedelta(minutes=10)


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def run(id_: str, minute: float, status: str = "PROCESSED", **more: Any) -> ListedRun:
    return ListedRun(id_, status, None, at(minute), status == "PROCESSED", **more)


def saved(state: State) -> State:
    """The state as the next load reads it."""
    return State.load(json.loads(json.dumps(state.save())))


def load_all(state: State, rows: list[ListedRun], now: float = 1000, **bounds: Any) -> Plan:
    """A whole load in which every run can be loaded as it is listed."""
    found = plan_runs(state, rows, OVERLAP, **bounds)
    for each in found.due:
        state.loaded(each, each.is_final, OVERLAP, at(now))
    state.finished(found, OVERLAP, at(now))
    return found


def ids(runs: list[ListedRun]) -> list[str]:
    return [each.id for each in runs]


# what is due


def test_a_first_load_takes_all_oldest_change_first() -> None:
    """Without a watermark every run is due; equal times are ordered by id."""
    rows = [run("d", 9), run("c", 5), run("b", 5), run("a", 7)]
    found = plan_runs(State(), rows, OVERLAP)
    assert (ids(found.due), found.unchanged, found.top, found.listed) == (
        ["b", "c", "a", "d"],
        [],
        at(9),
        4,
    )


def test_a_second_load_right_after_takes_nothing() -> None:
    """A finished run is never fetched twice, inside the overlap or below it."""
    state, rows = State(), [run("c", 60), run("b", 55), run("a", 1)]
    load_all(state, rows)
    again = load_all(saved(state), rows)
    assert (again.due, ids(again.unchanged)) == ([], ["c", "b", "a"])


@pytest.mark.fault(26)
def test_ties_at_the_watermark_are_told_apart() -> None:
    """Of runs with the newest loaded timestamp, those that are not loaded are due."""
    state = State()
    load_all(state, [run("a", 60)])
    assert state.watermark == at(60)
    assert ids(plan_runs(saved(state), [run("a", 60), run("b", 60)], OVERLAP).due) == ["b"]


@pytest.mark.fault(27)
@pytest.mark.parametrize(("minute", "due"), [(59, True), (50, True), (49.9, False), (1, False)])
def test_a_late_row_inside_the_overlap_is_due(minute: float, due: bool) -> None:
    """Lists may show a run after newer ones: it is due down to watermark minus overlap, inclusive."""
    state = State()
    load_all(state, [run("a", 60)])
    assert ids(plan_runs(saved(state), [run("a", 60), run("late", minute)], OVERLAP).due) == ["late"] * due


def test_a_changed_run_is_due_wherever_it_changed_to() -> None:
    """A later or an earlier time than the loaded one is a change."""
    state = State()
    load_all(state, [run("a", 55), run("b", 58), run("c", 60)])
    found = plan_runs(saved(state), [run("a", 70), run("b", 57), run("c", 60)], OVERLAP)
    assert ids(found.due) == ["b", "a"]


def test_a_run_listed_twice_counts_once_with_its_newest_change() -> None:
    """Rows move between pages while a list is walked."""
    rows = [run("a", 70), run("b", 65), run("a", 60), run("b", 66)]
    found = plan_runs(State(), rows, OVERLAP)
    assert (found.due, found.listed) == ([run("b", 66), run("a", 70)], 4)


def test_an_unfinished_run_is_due_only_when_it_moved() -> None:
    """A new status or time makes it due, below the overlap too.

    An unchanged one costs no request.
    """
    state = State()
    load_all(state, [run(name, 1, "PENDING") for name in "abc"] + [run("z", 60)])
    assert state.unfinished == {name: ("PENDING", at(1)) for name in "abc"}
    rows = [run("a", 1, "PENDING"), run("b", 1, "PROCESSED"), run("c", 2, "PENDING")]
    found = plan_runs(saved(state), rows, OVERLAP)
    assert (ids(found.due), ids(found.unchanged)) == (["b", "c"], ["a"])


def test_an_unfinished_run_that_is_not_listed_stays_known() -> None:
    """It is neither due nor dropped: the scan did not reach down to it."""
    state = State()
    load_all(state, [run("a", 1, "PENDING"), run("z", 60)])
    assert load_all(state, [run("z", 60)]).due == []
    assert state.unfinished == {"a": ("PENDING", at(1))}


def test_a_run_that_came_to_an_end_is_no_longer_unfinished() -> None:
    """The details decide, not the list that was read before them."""
    state = State()
    state.loaded(run("a", 1, "PENDING"), True, OVERLAP, at(2))
    assert state.unfinished == {}
    state.loaded(run("b", 1), False, OVERLAP, at(2))
    assert state.unfinished == {"b": ("PROCESSED", at(1))}


@pytest.mark.fault(28)
def test_a_run_without_any_date_is_due_until_it_is_known() -> None:
    """It counts as the oldest. Without a time it is always due, because a change cannot be seen."""
    bare = ListedRun("a", "PROCESSED", None, None)
    assert bare.changed == OLDEST
    assert ListedRun("b", None, at(3), None).changed == at(3)
    state = State()
    assert ids(load_all(state, [run("z", 60), bare]).due) == ["a", "z"]
    late = bare._replace(id="late")
    assert ids(plan_runs(saved(state), [run("z", 60), bare, late], OVERLAP).due) == ["a", "late"]


@pytest.mark.parametrize(
    ("bounds", "due"),
    [
        ({"since": at(5)}, ["b", "c"]),
        ({"until": at(5)}, ["a"]),
        ({"since": at(5), "until": at(9)}, ["b"]),
        ({"since": at(10)}, []),
    ],
)
def test_bounds_hold_from_inclusive_to_exclusive(bounds: dict[str, datetime], due: list[str]) -> None:
    """`since` is inclusive, `until` exclusive. Rows out of bounds only count as listed."""
    found = plan_runs(State(), [run("c", 9), run("b", 5), run("a", 1)], OVERLAP, **bounds)
    assert (ids(found.due), found.unchanged, found.listed) == (due, [], 3)
    assert found.top == max((each.changed for each in found.due), default=None)


def test_the_watermark_stays_below_until() -> None:
    """The watermark covers only what was scanned: the next load continues there."""
    state, rows = State(), [run("c", 90), run("b", 50), run("a", 1)]
    load_all(state, rows, until=at(60))
    assert state.watermark == at(50)
    assert ids(load_all(saved(state), rows).due) == ["c"]


minutes = st.integers(0, 300)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(minutes, min_size=1, max_size=12),
    st.lists(st.tuples(st.none() | minutes, st.none() | minutes), max_size=4),
)
def test_after_any_windows_a_plain_load_has_everything(
    changes: list[int], windows: list[tuple[int | None, int | None]]
) -> None:
    """Windows above, below, within or over what is loaded leave no gap that later loads take for loaded."""
    rows = [run(f"r{n}", minute) for n, minute in sorted(enumerate(changes), key=lambda one: -one[1])]
    state, loaded = State(), set[str]()
    for since, until in [*windows, (None, None)]:
        bounds = {
            name: at(minute) for name, minute in (("since", since), ("until", until)) if minute is not None
        }
        pages = scan(([row] for row in rows), floor(state, OVERLAP, bounds.get("since")))
        found = plan_runs(state, list(chain.from_iterable(pages)), OVERLAP, **bounds)
        loaded |= set(ids(found.due))
        if not found.is_disjoint:
            for each in found.due:
                state.loaded(each, True, OVERLAP, at(1000))
            state.finished(found, OVERLAP, at(1000))
        state = saved(state)
    assert loaded == {row.id for row in rows}


# runs that fail


def test_a_failed_run_is_tried_again_whether_listed_or_not() -> None:
    """The watermark passes it, and each load tries it until it is loaded."""
    state = State()
    bad = run("bad", 1, summary={"reviewedByUser": "a@b.example"})
    assert state.not_loaded(bad, "ServerError", "500", OVERLAP, at(10)) == Failure(
        bad, at(10), 1, "ServerError", "500"
    )
    state.loaded(run("z", 60), True, OVERLAP, at(60))
    state = saved(state)
    assert plan_runs(state, [], OVERLAP).due == [bad]
    assert plan_runs(state, [], OVERLAP, since=at(30)).due == [bad]
    again = state.not_loaded(bad, "ShapeError", "?", OVERLAP, at(70))
    assert again == Failure(bad, at(10), 2, "ShapeError", "?")
    state = saved(state)
    assert state.loaded(bad, True, OVERLAP, at(80)) == again
    assert state.loaded(bad, True, OVERLAP, at(80)) is None
    assert (state.failed, plan_runs(state, [], OVERLAP).due) == ({}, [])


def test_a_failed_run_is_tried_as_it_is_listed_now() -> None:
    """A change since the failure counts. An older row does not replace it."""
    state = State()
    state.not_loaded(run("bad", 5), "E", "m", OVERLAP, at(10))
    assert plan_runs(state, [run("bad", 7)], OVERLAP).due == [run("bad", 7)]
    assert plan_runs(state, [run("bad", 3)], OVERLAP).due == [run("bad", 5)]


def test_a_failed_run_does_not_hold_the_watermark() -> None:
    """One bad run never stops a load, and the state stores a short message only."""
    state = State()
    state.not_loaded(run("bad", 5), "E", "m" * 10_000, OVERLAP, at(10))
    assert state.watermark == at(5)
    assert state.failed["bad"].message == "m" * 500


# the watermark


def test_the_watermark_never_passes_a_run_that_is_not_loaded() -> None:
    """Interrupted after any run, the next load finds exactly the rest."""
    rows = [run(f"r{minute:03}", minute - minute % 3) for minute in range(120)]
    for loaded_count in range(len(rows)):
        state = State()
        due = plan_runs(state, rows, OVERLAP).due
        for each in due[:loaded_count]:
            state.loaded(each, True, OVERLAP, at(1000))
        left = due[loaded_count:]
        assert not left or (state.watermark or OLDEST) <= left[0].changed
        assert plan_runs(saved(state), rows, OVERLAP).due == left


@pytest.mark.fault(28)
def test_a_change_in_the_future_does_not_hide_what_comes_after() -> None:
    """A wrong clock: the watermark stops at now, and the run itself is not fetched again."""
    state, rows = State(), [run("wrong", 9999), run("a", 60)]
    load_all(state, rows, now=61)
    assert state.watermark == at(61)
    found = plan_runs(saved(state), [*rows, run("b", 62), run("late", 55)], OVERLAP)
    assert ids(found.due) == ["late", "b"]


def test_the_watermark_only_moves_up() -> None:
    """Late rows and empty lists do not lower it."""
    state = State()
    load_all(state, [run("a", 60)])
    load_all(state, [run("late", 55)])
    load_all(state, [])
    assert state.watermark == at(60)


def test_nothing_listed_leaves_no_watermark() -> None:
    """The next load is a first load again."""
    state = State()
    load_all(state, [])
    assert (state, floor(state, OVERLAP)) == (State(), None)


def test_the_floor_is_the_watermark_less_the_overlap() -> None:
    """A large overlap reaches down to the earliest time."""
    state = State(watermark=at(60))
    assert floor(state, OVERLAP) == at(50)
    assert floor(state, timedelta.max) == OLDEST
    assert ids(plan_runs(state, [run("a", 1)], timedelta.max).due) == ["a"]


# the state


def test_the_state_survives_json_whole() -> None:
    """All values, to the microsecond, with odd ids, statuses and dates."""
    odd = ListedRun('"\N{GRINNING FACE}', None, at(1), None, False, {"row": '{"a":1}'})
    state = State(
        watermark=at(60) + timedelta(microseconds=1),
        recent={"a": at(59), "old": OLDEST, '"\N{GRINNING FACE}': at(60)},
        unfinished={"b": (None, at(3)), "c": ("PENDING", OLDEST)},
        failed={
            odd.id: Failure(odd, at(2), 3, "E", "m"),
            "d": Failure(run("d", 1), at(2), 1, "E", ""),
        },
    )
    assert saved(state) == state
    assert saved(State()) == State() == State.load({})


def test_the_state_stays_small() -> None:
    """It stores the overlap, not the history: at most twice the overlap during a load, and the overlap after
    it.
    """
    state = State()
    rows = [run(f"r{minute}", minute / 10) for minute in range(20_000)]
    found = plan_runs(state, rows, OVERLAP)
    largest = 0
    for each in found.due:
        state.loaded(each, True, OVERLAP, at(9999))
        largest = max(largest, len(state.recent))
    assert largest <= 513
    state.finished(found, OVERLAP, at(9999))
    assert len(state.recent) == 101
    assert len(json.dumps(state.save())) < 5000
    # and after the next load, that begins with the saved state
    load_all(state := saved(state), [run("z", 3000)], now=9999)
    assert list(state.recent) == ["z"]


# walking a list


def _scanned(*about: Any) -> Iterator[ListedRun]:
    return chain.from_iterable(scan(*about))


def test_a_scan_stops_after_a_whole_page_below_the_floor() -> None:
    """A page that is only nearly in order does not end it, nor does an empty one.

    No further page is requested.
    """
    asked = []

    def pages() -> Iterator[list[ListedRun]]:
        for page in ([9, 3, 8], [], [4, 6], [4, 3], [9]):
            asked.append(page)
            yield [run(str(minute), minute) for minute in page]

    assert [each.id for each in _scanned(pages(), at(5))] == ["9", "3", "8", "4", "6", "4", "3"]
    assert len(asked) == 4


def test_a_row_at_the_floor_keeps_a_scan_going() -> None:
    """The overlap is inclusive."""
    pages = [[run("a", 5)], [run("b", 4)], [run("c", 3)]]
    assert [each.id for each in _scanned(pages, at(5))] == ["a", "b"]


def test_a_first_scan_goes_all_the_way() -> None:
    """Without a floor every page is walked."""
    assert [each.id for each in _scanned([[run("a", 5)], [], [run("b", 4)]], None)] == ["a", "b"]


def test_a_scan_of_a_list_without_order_goes_all_the_way() -> None:
    """Old rows do not show what follows. The order is known only after the first page."""
    pages = [[run("a", 1)], [run("b", 9)]]
    assert [each.id for each in _scanned(pages, at(5), lambda: False)] == ["a", "b"]


# any sequence of changes, loads and crashes


class Platform:
    """Runs as (status, change). The clock often stands still, so equal times are common."""

    def __init__(self) -> None:
        self.now = 100
        self.runs: dict[str, tuple[str, int]] = {}
        self.broken: set[str] = set()

    def change(self, what: str, which: int, minutes: int) -> None:
        self.now += minutes
        names = sorted(self.runs)
        name = names[which % len(names)] if names else ""
        if what == "add":
            self.runs[f"r{len(names):03}"] = ("PENDING", self.now)
        elif what == "late":
            self.runs[f"r{len(names):03}"] = ("PROCESSED", self.now - which % 11)
        elif what == "future":
            self.runs[f"r{len(names):03}"] = ("PROCESSED", self.now + which % 40)
        elif what == "break" and name:
            self.broken ^= {name}
        elif what in ("PENDING", "PROCESSED") and name:
            # each change of a run has a later time than the one before; other runs may share it
            self.runs[name] = (what, max(self.now, self.runs[name][1] + 1))

    def listed(self, name: str) -> ListedRun:
        status, minute = self.runs[name]
        return run(name, minute, status)

    def newest_first(self) -> list[ListedRun]:
        return sorted(map(self.listed, self.runs), key=lambda r: (r.changed, r.id), reverse=True)


changes = st.tuples(
    st.sampled_from(["add", "add", "late", "future", "break", "PENDING", "PROCESSED", "PROCESSED"]),
    st.integers(0, 100),
    st.sampled_from([0, 0, 1, 3, 12]),
)


class Loader:
    """A load as `sync` runs it: data and state are committed together, and a crash loses both."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.saved: dict[str, Any] = {}
        self.rows: dict[str, tuple[str, int]] = {}
        self.seen: set[tuple[str, str | None, datetime]] = set()

    def _walk(self, state: State, meanwhile: Iterator[tuple[str, int, int]]) -> Iterator[ListedRun]:
        def pages() -> Iterator[list[ListedRun]]:
            offset = 0
            while page := self.platform.newest_first()[offset : offset + 3]:
                yield page
                offset += 3
                for change in [next(meanwhile, None)]:
                    if change:
                        self.platform.change(*change)

        missing = dict(state.unfinished)
        for each in _scanned(pages(), floor(state, OVERLAP)):
            missing.pop(each.id, None)
            yield each
        for each in self.platform.newest_first():
            if each.id in missing and missing.pop(each.id)[0] == each.status:
                yield each

    def load(
        self, chunk: int, crash_after: int | None, meanwhile: list[tuple[str, int, int]]
    ) -> list[ListedRun]:
        between = iter(meanwhile)
        state = State.load(json.loads(json.dumps(self.saved)))
        walked_at = at(self.platform.now)
        found = plan_runs(state, self._walk(state, between), OVERLAP)
        pending: dict[str, tuple[str, int]] = {}
        marks: list[tuple[str, str | None, datetime]] = []

        def commit() -> None:
            assert not self.seen.intersection(marks), "loaded twice"
            self.seen.update(marks)
            self.rows.update(pending)
            self.saved = state.save()
            pending.clear()
            marks.clear()

        for i, each in enumerate(found.due):
            if i == crash_after:
                return found.due
            if (change := next(between, None)) is not None:
                self.platform.change(*change)
            if each.id in self.platform.broken:
                state.not_loaded(each, "E", "m", OVERLAP, walked_at)
            else:
                pending[each.id] = self.platform.runs[each.id]
                marks.append((each.id, each.status, each.changed))
                is_final = pending[each.id][0] == "PROCESSED"
                state.loaded(each, is_final, OVERLAP, walked_at)
            if (i + 1) % chunk == 0:
                commit()
        state.finished(found, OVERLAP, walked_at)
        commit()
        return found.due


loads = st.tuples(st.integers(1, 5), st.none() | st.integers(0, 8), st.lists(changes, max_size=6))


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.lists(changes, max_size=8), loads), max_size=7))
def test_nothing_is_missed_and_nothing_is_loaded_twice(
    story: list[tuple[list[tuple[str, int, int]], tuple[int, int | None, list[tuple[str, int, int]]]]],
) -> None:
    """Runs change before and during loads that crash: after a final quiet load every run is correct."""
    platform = Platform()
    loader = Loader(platform)
    for happened, (chunk, crash_after, meanwhile) in story:
        for change in happened:
            platform.change(*change)
        loader.load(chunk, crash_after, meanwhile)
    platform.broken.clear()
    loader.load(3, None, [])
    assert loader.rows == platform.runs
    assert State.load(loader.saved).failed == {}
    assert loader.load(3, None, []) == []
