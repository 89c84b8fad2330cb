"""What a platform gives a load: its lists of runs, how each is walked, and how answers are parsed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from ..core.errors import ApiError, MissingError, RefusedError, UnreachableError, stops_everything
from ..core.parsed import NestedLink, ParentStep, ParsedRun
from ..core.settings import Settings
from ..net.client import Client
from ..net.messages import Outcome, Reply, Request
from ..net.stored import Answers, RecordingClient
from ..store.archive.writing import ArchiveWriter, Entry
from .listed import ListedRun
from .plan import Order, State, floor, scan


@dataclass
class KnownRuns:
    """What a load knows of a run beside its own answer. All are keyed by run id.

    `listed`: processor runs as their lists show them. `parents`: the steps that made processor runs. `links`: the
    places of nested workflow runs. `sources`: what made the runs that do not say it. `risk_levels`: what the
    destination holds of verify runs.
    """

    listed: Mapping[str, ListedRun] = field(default_factory=dict)
    parents: dict[str, ParentStep] = field(default_factory=dict)
    links: dict[str, NestedLink] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    risk_levels: dict[str, str] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget what this load knows; `listed` is replaced as a whole."""
        for known in (self.parents, self.links, self.sources, self.risk_levels):
            known.clear()


class Sample(NamedTuple):
    """Load these runs and no others. `parents` are the steps that made the processor runs among them."""

    ids: frozenset[str]
    parents: Mapping[str, ParentStep]


SOURCE_PAGES = 10
FEWEST_ROWS = 20
"""Of a list that is filtered by source, a load reads ten pages and one for each twenty runs that are due."""

Parse = Callable[[bytes, ListedRun, KnownRuns], ParsedRun]
"""Turns the answer to a detail request into rows. Pure: ApiError, ValueError or RecursionError where it cannot."""


def is_about_list(error: ApiError) -> bool:
    """The error of a list, and not one that every other list would get too."""
    return not (stops_everything(error) or isinstance(error, UnreachableError))


def left_out_stage(error: ApiError) -> str:
    """Why a list is left out: the platform has none, the key may not read it, or it failed."""
    if isinstance(error, MissingError):
        return "unavailable"
    return "refused" if isinstance(error, RefusedError) else "failed"


@dataclass(frozen=True)
class RunList:
    """One list of runs, as a provider describes it.

    `pages(status)` yields all runs page by page, or those of one status where `by_status`. An empty page
    means that the next page is on its way: the caller may do something else meanwhile. `parse` turns an
    answer into rows. A list without `detail` has complete rows: `parse` gets the row in place of an answer.
    `is_ordered()` tells, once a page has arrived, whether the newest change comes first. `optional`: a load goes
    on without the list, if the platform lacks it or refuses it, and names it. `is_stored`: the rows are those of
    the destination, which has the runs already. `doubt()` says, once all pages have arrived, why they may lack
    runs; None where they are proved whole. `other_pages()` reads the list in another way than `pages`, for a
    check. `of_source(source)` yields the runs that one of `sources` has made: no run of the list says it.
    """

    name: str
    pages: Callable[[str | None], Iterator[list[ListedRun]]]
    parse: Parse
    detail: Callable[[str], Request] | None
    is_ordered: Callable[[], bool] = lambda: True
    by_status: bool = True
    optional: bool = False
    is_stored: bool = False
    doubt: Callable[[], str | None] = lambda: None
    other_pages: Callable[[], Iterator[list[ListedRun]]] | None = None
    sources: tuple[str, ...] = ()
    of_source: Callable[[str], Iterator[list[ListedRun]]] = lambda _: iter(())

    def pages_since(
        self,
        state: State,
        overlap: timedelta,
        since: datetime | None,
        order: Order,
        tell: Callable[[int, None], None],
    ) -> Iterator[list[ListedRun]]:
        """The list's pages down to the floor, then those unfinished runs that the pages did not show.

        Where `order` or the state says that the server does not keep the order, all pages are read.
        """
        missing, seen = dict(state.unfinished), 0

        def may_end() -> bool:
            return order.is_kept and not state.is_unordered and self.is_ordered()

        for page in scan(self.pages(None), floor(state, overlap, since), may_end):
            order.see(page)
            for run in page:
                missing.pop(run.id, None)
            seen += len(page)
            if page:
                tell(seen, None)
            yield page
        statuses = {status for status, _ in missing.values() if status}
        for status in sorted(statuses) if self.by_status else ():
            for page in self.pages(status):
                rows = [run for run in page if missing.pop(run.id, None) is not None]
                if rows or not page:
                    yield rows
        # neither in the overlap nor in the old status: only the details tell how such a run has gone on
        if missing and self.detail is not None:
            yield [ListedRun(id_, None, None, at, False) for id_, (_, at) in missing.items()]

    def find_sources(self, due: Mapping[str, datetime | None], found: dict[str, str]) -> Iterator[None]:
        """Find out what made the runs that are due, as far as the list says it: it is filtered by one source after
        another, down to the oldest change of these runs, until all are found. Stops after each source.

        A server that ignores the filter sends the same first page for two sources: then nothing is known.
        """
        firsts: list[set[str]] = []
        down_to = min(filter(None, due.values()), default=None)
        budget = SOURCE_PAGES + len(due) // FEWEST_ROWS
        for source in self.sources if due else ():
            pages = filter(None, scan(self.of_source(source), down_to, self.is_ordered))
            for number, page in enumerate(islice(pages, budget)):
                ids = {run.id for run in page if run.id}
                if number == 0:
                    if any(ids & other for other in firsts):
                        found.clear()
                        return
                    firsts.append(ids)
                found |= dict.fromkeys(due.keys() & ids, source)
                if len(found) == len(due):
                    break
            # a second source shows whether the server filters
            if len(firsts) > 1:
                yield

    def parse_outcome(self, run: ListedRun, outcome: Outcome, known: KnownRuns) -> ParsedRun:
        """The run as rows. ApiError, ValueError or RecursionError where its answer cannot be parsed."""
        if not isinstance(outcome, Reply):
            raise outcome
        return self.parse(self.body(run, outcome), run, known)

    def body(self, run: ListedRun, outcome: Outcome) -> bytes:
        """What there is to parse of a run: its answer, or its row where the list has no details."""
        if self.detail is None:
            return str((run.summary or {})["row"]).encode()
        return outcome.body if isinstance(outcome, Reply) else b""


ASTRAY = " astray"
"""The end of the name of a list of stored runs that lack their link."""


@dataclass(frozen=True)
class Replay:
    """A load from an archive. `states` are those of its lists, apart from dlt's: only `finish` gives dlt the states
    that the archive holds. dlt's pipeline is its argument."""

    finish: Callable[[Any], None]
    states: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Platform:
    """A platform that can be loaded: where it is, what it lists, how its answers are parsed.

    The first list is that of the workflow runs. `has_nested_runs`: workflow runs may hang in others.
    `resources(sync)` makes the dlt resources of one load. `clock` gives the time in UTC. A platform may be
    loaded many times.
    """

    name: str
    client: Client
    settings: Settings
    lists: tuple[RunList, ...]
    resources: Callable[[Any], list[Any]]
    has_nested_runs: bool = False
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    archive: ArchiveWriter | None = None
    """Where raw answers are kept."""
    replay: Replay | None = None
    """The answers come from an archive."""

    @property
    def workflow_runs(self) -> RunList:
        """The list of workflow runs."""
        return self.lists[0]

    @property
    def answers(self) -> Answers:
        """The client for what is not about a run; the archive keeps its answers."""
        if self.archive is None:
            return self.client
        return RecordingClient(self.client, self._keep_answer)

    def _keep_answer(self, request: Request, body: bytes) -> None:
        if self.archive is not None:
            self.archive.add_answer(*answer_key(request), body)

    def keep(self, run_list: RunList, run: ListedRun, outcome: Outcome | None, known: KnownRuns) -> None:
        """Keep in the archive what is listed of a run, and the answer about it where one was read."""
        if self.archive is not None:
            source = run.source or known.sources.get(run.id)
            summary = {**(run.summary or {}), **({"source": source} if source else {})}
            body = outcome.body if isinstance(outcome, Reply) and run_list.detail is not None else None
            name = run_list.name.removesuffix(ASTRAY)
            self.archive.add(Entry(name, *run[:5], summary or None), body)


def answer_key(request: Request) -> tuple[str, str]:
    """The feed and the id of an answer that is not about a run: the path, and the parameters but for the size of
    pages."""
    path = request.path.lstrip("/")
    params = [f"{name}={value}" for name, value in request.params if name not in ("maxPageSize", "limit")]
    return path.partition("/")[0], "&".join([path, *params])
