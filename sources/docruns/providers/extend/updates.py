"""Extend's update call: what a run has, sending changes on some lanes, and what came of each.

    POST /workflow_runs/{id}  {"name": "HP-1", "metadata": {"ledger_id": 417}}
        2026-02-09   {"object": "workflow_run", "id": …, "metadata": {…}}         no name in it
        and older    {"success": true, "workflowRun": {"id": …, "name": …, "metadata": {…}}}

The same update twice is as good as once, so it is tried again like any reading. What it refuses is that run's affair:
400 where finished runs take no updates, 404 where the run is gone. What would refuse every other one stops all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread

from ...core.codec import clean, decode_whole
from ...core.errors import (
    ApiError,
    BlockedError,
    BusyError,
    RefusedError,
    ServerError,
    ShapeError,
    UnreachableError,
)
from ...core.payload import Payload
from ...net.client import Client
from ...net.messages import Request, segment
from ..changes import Change, RemoteRun

LANES = 16
"""Updates under way at most; the client allows as many requests as it is told."""

GIVE_UP_AFTER = 20
"""Calls that fail one after the other before the platform, not the runs, counts as broken."""

GRACE_S = 1.0
"""When all stops: how long updates under way may still be answered, and longer than it takes a lane to send one."""

STOPS = (RefusedError, BlockedError, BusyError)
"""Not this run's fault: the next one would fare no better."""

Outcome = RemoteRun | ApiError


def detail(id_: str) -> Request:
    """The request for a run."""
    return Request(f"/workflow_runs/{segment(id_)}", subject=id_)


def update(change: Change) -> Request:
    """The request for a change."""
    return detail(change.wish.id)._replace(body=change.body(), idempotent=True)


def known(body: bytes, id_: str) -> RemoteRun:
    """What an answer says of a run. ShapeError where it is about another one, or none."""
    whole = Payload(clean(body))
    run = whole.object("workflowRun") or whole
    if run.text("id") != id_:
        raise ShapeError(f"run {id_}: the answer is about another run, or none")
    raw = run.raw("metadata")
    metadata = {} if raw is None else decode_whole(raw)
    return RemoteRun(run.text("name"), metadata if isinstance(metadata, dict) else {})


def has(client: Client, ids: Iterable[str]) -> Iterator[tuple[str, Outcome]]:
    """What the platform has of some runs, read one by one. Raises what stops all."""
    failures = Failures()
    for request, outcome in client.get_many(map(detail, ids)):
        if isinstance(outcome, ApiError):
            failures.count(outcome)
            yield request.subject, outcome
            continue
        failures.count(None)
        yield request.subject, _known(outcome.body, request.subject)


def _known(body: bytes, id_: str) -> Outcome:
    try:
        return known(body, id_)
    except ShapeError as error:
        return error


def is_refusal(error: ApiError) -> bool:
    """Surely not done, whatever comes of the next try."""
    return (
        error.status is not None
        and 400 <= error.status < 500
        and not isinstance(error, ServerError)
    )


class Failures:
    """Tells broken runs from a broken platform."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def count(self, outcome: ApiError | None) -> None:
        """Note what came. Raises what stops all, and the last of too many failures in a row."""
        if isinstance(outcome, STOPS):
            raise outcome
        if isinstance(outcome, UnreachableError) and not outcome.sent:
            raise outcome
        failed = isinstance(outcome, (ServerError, ShapeError, UnreachableError))
        self._in_a_row = self._in_a_row + 1 if failed else 0
        if outcome is not None and self._in_a_row >= GIVE_UP_AFTER:
            raise outcome


def send(
    client: Client,
    changes: Sequence[Change],
    begins: Callable[[Change], None],
    ended: Callable[[Change, Outcome], None],
) -> Iterator[Change]:
    """Send changes and give those that are through, in the order of their answers.

    `begins` is called right before a change is sent, and `ended` as soon as it is answered, on a lane's own thread and
    before the lane sends its next one: what they write is there before anything else happens. Raises what stops all.
    What is under way then is cut off: it has begun, and not ended.
    """
    failures, counting, stopped = Failures(), Lock(), Event()
    left: SimpleQueue[Change] = SimpleQueue()
    through: SimpleQueue[Change | BaseException] = SimpleQueue()
    for change in changes:
        left.put(change)

    def lane() -> None:
        try:
            while not stopped.is_set():
                change = left.get_nowait()
                begins(change)
                outcome = _answered(client, change)
                ended(change, outcome)
                with counting:
                    failures.count(outcome if isinstance(outcome, ApiError) else None)
                through.put(change)
        except Empty:
            return
        except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
            through.put(error)

    lanes = [Thread(target=lane, name="docruns-push", daemon=True) for _ in range(LANES)]
    with client:
        try:
            for one in lanes:
                one.start()
            for _ in changes:
                came = through.get()
                if isinstance(came, BaseException):
                    raise came
                yield came
        finally:
            stopped.set()
            give_up = time.monotonic() + GRACE_S
            for one in lanes:
                if one.is_alive():
                    one.join(max(0.0, give_up - time.monotonic()))


def _answered(client: Client, change: Change) -> Outcome:
    try:
        return _known(client.get(update(change)).body, change.wish.id)
    except ApiError as error:
        return error
