"""Plextera's HTTP API: address, key and errors; `pages` reads its lists. No rows, no dlt.

GET /workflow-runs, GET /workflow-runs/{id}
GET /document-insights/extractions, GET /document-insights/extractions/{id}
"""

from __future__ import annotations

from collections.abc import Mapping

from ...core.errors import ApiError
from ...core.payload import Payload
from ..answers import check_answer, explain_refusal

BASE_URL = "https://api.plextera.com/api/public/v1"
FINAL_RUN_STATUS = frozenset({"COMPLETED", "FAILED", "CLOSED"})
FINAL_EXTRACTION_STATUS = frozenset({"COMPLETED", "FAILED", "REJECTED"})


def bare_key(api_key: str) -> str:
    """The key without its `api-key` prefix."""
    prefix, _, rest = api_key.strip().partition(" ")
    return (rest if prefix.lower() == "api-key" else api_key).strip()


def headers(api_key: str) -> dict[str, str]:
    """The headers of every request. `api_key` may have its `api-key` prefix."""
    return {
        "authorization": f"api-key {bare_key(api_key)}",
        "accept": "application/json",
        "user-agent": "docruns",
    }


def check(body: bytes, request: str) -> None:
    """ShapeError where the body of a 200 is no usable answer."""
    # the `error` of a failed run is data: such a body has an id and a status too
    data_keys = (b'"data"', b'"status"')
    check_answer(body, request, data_keys, lambda answer: "error" in answer and "id" not in answer)


def explain(status: int, headers: Mapping[str, str], body: bytes, request: str) -> ApiError:
    """The error of a refused request.

    {"error": {"code": "NOT_FOUND", "message": "…", "requestId": "req_…", "retryable": false,
               "details": […]}}
    """
    return explain_refusal(status, headers, body, request, "x-request-id", _message)


def _message(_: Payload, inner: Payload) -> str | None:
    message, details = inner.text("message"), inner.json("details")
    return message if details is None else f"{message or ''} {details[:500]}".strip()
