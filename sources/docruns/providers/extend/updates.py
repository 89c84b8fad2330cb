"""Extend's update call: reads runs as they are, sends changes on several threads, and gives their outcomes.

    POST /workflow_runs/{id}  {"name": "HP-1", "metadata": {"ledger_id": 417}}
        2026-02-09   {"object": "workflow_run", "id": …, "metadata": {…}}         without the name
        and older    {"success": true, "workflowRun": {"id": …, "name": …, "metadata": {…}}}

An update is idempotent, so it is tried again like a GET. A refused update concerns one run only: 400 where
finished runs take no updates, 404 where the run no longer exists. An error that would repeat for every other
run stops all updates.
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
"""The most updates at a time. The client may allow fewer requests."""

GIVE_UP_AFTER = 20
"""After so many failures in a row the platform, not the runs, counts as broken."""

GRACE_S = 1.0
"""How long a stop waits for answers to updates that were sent; longer than a thread takes to send one."""

STOPS = (RefusedError, BlockedError, BusyError)
"""Errors that do not depend on the run: the next update would fail too."""

Outcome = RemoteRun | ApiError


def detail(id_: str) -> Request:
    """The request for a run."""
    return Request(f"/workflow_runs/{segment(id_)}", subject=id_)


def known(body: bytes, id_: str) -> RemoteRun:
    """The run in an answer. ShapeError where the answer is about another run, or none."""
    answer = Payload(clean(body))
    run = answer.object("workflowRun") or answer
    if run.text("id") != id_:
        raise ShapeError(f"run {id_}: the answer is about another run, or none")
    raw = run.raw("metadata")
    metadata = {} if raw is None else decode_whole(raw)
    return RemoteRun(run.text("name"), metadata if isinstance(metadata, dict) else {})


def has(client: Client, ids: Iterable[str]) -> Iterator[tuple[str, Outcome]]:
    """The runs as the platform has them, by id. Raises an error that would stop all runs."""
    failures = Failures()
    for request, outcome in client.get_many(map(detail, ids)):
        failures.count(outcome)
        id_ = request.subject
        yield id_, outcome if isinstance(outcome, ApiError) else _known(outcome.body, id_)


def _known(body: bytes, id_: str) -> Outcome:
    try:
        return known(body, id_)
    except ShapeError as error:
        return error


def is_refusal(error: ApiError) -> bool:
    """Whether the platform has refused the update, so that it was certainly not done."""
    return error.status is not None and 400 <= error.status < 500 and not isinstance(error, ServerError)


class Failures:
    """Counts failures in a row, to distinguish broken runs from a broken platform."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def count(self, outcome: object) -> None:
        """Count an outcome. Raises it where it stops all runs, or is one failure in a row too many."""
        if isinstance(outcome, STOPS):
            raise outcome
        if isinstance(outcome, UnreachableError) and not outcome.sent:
            raise outcome
        if not isinstance(outcome, (ServerError, ShapeError, UnreachableError)):
            self._in_a_row = 0
            return
        self._in_a_row += 1
        if self._in_a_row >= GIVE_UP_AFTER:
            raise outcome


def send(
    client: Client,
    changes: Sequence[Change],
    begins: Callable[[Change], None],
    ended: Callable[[Change, Outcome], None],
) -> Iterator[Change]:
    """Send changes and give those that are answered, in the order of their answers.

    A thread calls `begins` right before it sends a change, and `ended` as soon as it is answered, before it
    sends its next one: so what these calls write is stored before anything else happens. Raises an error that
    stops all updates. Updates without an answer are then cut off: they have begun and not ended.
    """
    failures, counting, stopped = Failures(), Lock(), Event()
    waiting: SimpleQueue[Change] = SimpleQueue()
    results: SimpleQueue[Change | BaseException] = SimpleQueue()
    for change in changes:
        waiting.put(change)

    def lane() -> None:
        try:
            while not stopped.is_set():
                change = waiting.get_nowait()
                begins(change)
                outcome = _send_one(client, change)
                ended(change, outcome)
                with counting:
                    failures.count(outcome)
                results.put(change)
        except Empty:
            return
        except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
            results.put(error)

    lanes = [Thread(target=lane, name="docruns-push", daemon=True) for _ in range(LANES)]
    with client:
        try:
            for thread in lanes:
                thread.start()
            for _ in changes:
                result = results.get()
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            stopped.set()
            give_up = time.monotonic() + GRACE_S
            for thread in lanes:
                if thread.is_alive():
                    thread.join(max(0.0, give_up - time.monotonic()))


def _send_one(client: Client, change: Change) -> Outcome:
    request = detail(change.wish.id)._replace(body=change.body(), idempotent=True)
    try:
        return _known(client.get(request).body, change.wish.id)
    except ApiError as error:
        return error
