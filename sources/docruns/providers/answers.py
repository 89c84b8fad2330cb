"""What the answers of all platforms have in common: their checks, their errors and the entries of lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from ..core.batch import Batch
from ..core.codec import clean
from ..core.errors import ApiError, ShapeError
from ..core.flatten.flatten import FlatRows
from ..core.parsed import ParsedRun
from ..core.payload import Payload
from ..core.tables import CHARGES, CITATIONS, FIELDS, INSIGHTS, RUN_FILES, SPLITS
from ..net.http_errors import refusal
from ..net.messages import Request
from ..sync.listed import ListedRun

Params = tuple[tuple[str, str | int], ...]
"""A query's parameters."""

MAX_STATUS = 100
"""Characters of a status in a list request. Servers limit the length of a URL."""

MAX_PAGES = 100_000
REPEATED_PAGES = 10
"""Pages in a row with nothing but the rows of earlier pages, after which a list goes in circles."""

PROCESSOR_RUN_TABLES = (FIELDS, INSIGHTS, CITATIONS, SPLITS, RUN_FILES, CHARGES)
"""Tables with the rows of a processor run, beside its own row."""

_decode_any = msgspec.json.Decoder(Raw).decode


Read = Callable[[bytes | None, ListedRun | Mapping[str, Any]], ParsedRun]
"""Turns the answer about a run into rows. The second argument is how a list has shown the run, or its row in an
archive. The answer is None for a run of a list without details."""


def as_listed(listed: ListedRun | Mapping[str, Any]) -> ListedRun:
    """A row of an archive as a list has shown the run: `summary` is JSON text or decoded, times are in UTC."""
    if isinstance(listed, ListedRun):
        return listed
    summary = listed.get("summary")
    told = dict((json.loads(summary) if isinstance(summary, str) else summary) or {})
    source = told.pop("source", None)
    return ListedRun(
        listed["id"],
        listed.get("status"),
        listed.get("created_at"),
        listed.get("updated_at"),
        bool(listed.get("is_final")),
        told or None,
        source,
    )


def body_of(body: bytes | None, listed: ListedRun) -> bytes:
    """The answer about a run, or its row in the list where there is none."""
    return body if body is not None else str((listed.summary or {}).get("row", "")).encode()


def check_answer(
    body: bytes, request: str, data_keys: tuple[bytes, bytes], is_error: Callable[[Payload], bool]
) -> None:
    """ShapeError where the body of a 200 is no usable answer: not JSON, cut off, or an error.

    A long body, or one with any of `data_keys`, is no error.
    """
    body = clean(body)
    try:
        _decode_any(body)
    except RecursionError as error:
        raise ShapeError("nested too deeply", request=request, retryable=False) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ShapeError(f"not JSON: {error}", request=request) from error
    if not body.lstrip().startswith(b"{"):
        raise ShapeError("not a JSON object", request=request)
    if (
        len(body) < 2000
        and not any(key in body for key in data_keys)
        and is_error(Payload(body, glance=True))
    ):
        raise ShapeError("an error with status 200", request=request)


def explain_refusal(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    request: str,
    id_header: str,
    message_of: Callable[[Payload, Payload], str | None],
) -> ApiError:
    """The error of a refused request, whatever its body looks like.

    `message_of` gets the answer, and the object in it that describes the error.
    """
    code = message = request_id = None
    retryable: bool | None = None
    try:
        answer = Payload(body, glance=True)
        inner = answer.object("error") or answer
        code, message = inner.text("code"), message_of(answer, inner)
        request_id, retryable = inner.text("requestId"), inner.boolean("retryable")
    except ShapeError:
        message = f"the answer is not JSON: {body[:80]!r}" if body else "empty answer"
    return refusal(
        status,
        request,
        message or "",
        code=code,
        request_id=request_id or headers.get(id_header),
        retryable=retryable,
        headers=headers,
    )


def inspect_entry(raw: Raw) -> Payload:
    """A list's entry, of which nothing is kept. One that is no object counts as an empty one."""
    try:
        return Payload(raw, glance=True)
    except ShapeError:
        return Payload(b"{}")


def check_id(run: Payload, listed: ListedRun, noun: str, *keys: str) -> str:
    """The id of a run. ShapeError where it is not the one that was requested."""
    id_ = run.text(*keys)
    if id_ is None:
        raise ShapeError(f"{noun} {listed.id}: the answer has no id")
    if id_ != listed.id:
        raise ShapeError(f"{noun} {listed.id}: the answer is about another {noun}, {id_}")
    return id_


def add_fields(batch: Batch, flat: FlatRows, output_format: str | None) -> dict[str, object]:
    """Add the rows of a run's fields. Gives the cells of its own row that describe them."""
    batch.extend(FIELDS, flat.fields)
    batch.extend(INSIGHTS, flat.insights)
    batch.extend(CITATIONS, flat.citations)
    return {"output_format": output_format, "field_count": flat.leaves, "edited_count": flat.edited}


class Circle:
    """Ends a list by page tokens that never ends by itself."""

    def __init__(self) -> None:
        self._tokens: set[str] = set()
        self._contents: set[int] = set()
        self._repeated = 0

    def check(self, rows: Sequence[Raw], token: str | None, request: Request) -> None:
        """ShapeError where a page has an earlier token, or is one of many in a row with the rows of earlier pages."""
        content = hash(tuple(map(bytes, rows)))
        self._repeated = self._repeated + 1 if rows and content in self._contents else 0
        problem = None
        if token in self._tokens:
            number = len(self._tokens)
            problem = f"the list goes in circles: page token number {number} repeats an earlier one"
        elif self._repeated >= REPEATED_PAGES:
            problem = (
                f"the list goes in circles: {self._repeated} pages in a row have the rows of earlier ones"
            )
        elif len(self._tokens) >= MAX_PAGES:
            problem = f"the list did not end after {MAX_PAGES} pages"
        if problem is not None:
            raise ShapeError(problem, request=str(request))
        self._tokens.add(token or "")
        self._contents.add(content)
