"""Plextera's lists and errors over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docruns import plextera
from docruns.core.errors import (
    ApiError,
    BusyError,
    ConfigError,
    InvalidError,
    MissingError,
    RefusedError,
    ServerError,
    ShapeError,
)
from docruns.net.client import Client
from docruns.net.messages import ConnectionSettings, Request, Retry
from docruns.net.shared_budget import Budget
from docruns.providers.plextera import api
from docruns.sandbox import Sandbox

PAYLOADS = Path(__file__).parents[1] / "support" / "payloads" / "plextera"


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    """A client with short waits."""
    retry = Retry(attempts=3, first=0.01, cap=0.02)
    settings = ConnectionSettings(sandbox.plextera_url, api.headers("k"), retry=retry, timeout=5.0)
    with Client(settings, Budget(None), api.explain, api.check) as made:
        yield made


def runs(**paging: Any) -> api.ListEndpoint:
    """The list of workflow runs."""
    return api.ListEndpoint(
        "workflow_runs", "/workflow-runs", api.FINAL_RUN_STATUS, api.Paging(**{"size": 7, **paging})
    )


def ids(client: Client, listed: api.ListEndpoint) -> list[str]:
    """All ids of a list, in the order of its pages."""
    return [run.id for page in api.run_pages(client, listed) for run in page]


def expected(sandbox: Sandbox) -> set[str]:
    """The ids of the platform's outermost runs."""
    return {
        run["id"]
        for run in sandbox.plextera.truth()
        if run["resource"] == "workflow_runs" and run["depth"] == 0
    }


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("error_400_invalid_request", InvalidError),
        ("error_401_unauthorized", RefusedError),
        ("error_403_forbidden", RefusedError),
        ("error_404_not_found", MissingError),
        ("error_409_conflict_retryable", ServerError),
        ("error_422_validation_failed", InvalidError),
        ("error_429_code_inferred", BusyError),
        ("error_500_code_inferred", ServerError),
    ],
)
def test_documented_errors_have_names(name: str, error: type[ApiError]) -> None:
    """Each error body gives its named error with code, request id and whether a retry may help."""
    body = (PAYLOADS / f"{name}.json").read_bytes()
    expected_error = json.loads(body)["error"]
    found = api.explain(int(name.split("_")[1]), {"retry-after": "3"}, body, "GET /x")
    assert type(found) is error
    assert found.code == expected_error["code"]
    assert found.request_id == expected_error["requestId"]
    assert found.retryable == (expected_error["retryable"] or error in (BusyError, ServerError))
    assert found.retry_after == 3.0
    assert all(d["field"] in str(found) for d in expected_error.get("details", []))


def test_error_that_is_no_json() -> None:
    """A proxy's page gives an error with the request id of the header."""
    found = api.explain(502, {"x-request-id": "req_1"}, b"<html>", "GET /x")
    assert type(found) is ServerError
    assert found.request_id == "req_1"


@pytest.mark.fault(18)
@pytest.mark.parametrize("kind", ["html", "empty", "truncated_json", "bad_json", "error_200"])
def test_nonsense_with_status_200_is_retried(sandbox: Sandbox, client: Client, kind: str) -> None:
    """A 200 without a usable body is requested again."""
    sandbox.fault(kind, "/workflow-runs", times=1, platform="plextera")
    assert set(ids(client, runs())) == expected(sandbox)
    assert client.usage.retries == 1


def test_error_in_a_run_is_data(sandbox: Sandbox, client: Client) -> None:
    """The `error` of a failed run in a 200 is not a failed request."""
    failed = next(
        run["id"]
        for run in sandbox.plextera.truth()
        if run["resource"] == "workflow_runs" and run["status"] == "FAILED" and run["depth"] == 0
    )
    assert b'"error"' in client.get(Request(f"/workflow-runs/{failed}")).body


@pytest.mark.parametrize("sort", ["accepted", "ignored", "refused"])
@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("info", ["full", "no_total_pages", "no_totals"])
@pytest.mark.parametrize("size", [1, 7, 40, 100])
def test_every_page_is_read(
    sandbox: Sandbox, client: Client, sort: str, base: int, info: str, size: int
) -> None:
    """All runs are listed with any order, page base, page information and page size."""
    sandbox.plextera.switch(runs_sort=sort, page_base=base, page_info=info)
    listed = runs(size=size)
    assert set(ids(client, listed)) == expected(sandbox)
    assert listed.sorted is False or sort == "accepted"
    assert listed.sorted or sort != "accepted" or size >= 40


def test_settings_save_the_probe(sandbox: Sandbox, client: Client) -> None:
    """With `sort_runs` set, true or false, no request is spent on finding out."""
    sandbox.plextera.switch(runs_sort="accepted")
    pages = -(-len(expected(sandbox)) // 7)
    for sort, requests in ((None, pages + 1), (True, pages), (False, pages)):
        before = client.usage.requests
        ids(client, runs(sort=sort))
        assert client.usage.requests - before == requests
    sandbox.plextera.switch(runs_sort="refused")
    with pytest.raises(InvalidError):
        ids(client, runs(sort=True))


@pytest.mark.fault(23)
def test_wrong_page_start_is_named(sandbox: Sandbox, client: Client) -> None:
    """A list that repeats the same page ends with an error that names the setting."""
    sandbox.fault("token_cycle", "/workflow-runs", times=999, platform="plextera")
    with pytest.raises(ShapeError, match="page_start"):
        ids(client, runs())


@pytest.mark.fault(24)
def test_rows_that_vanish_while_paging(sandbox: Sandbox, client: Client) -> None:
    """When runs are deleted during the walk, runs that move up a page are not missed."""
    found: list[str] = []
    gone: list[str] = []
    for page in api.run_pages(client, runs()):
        found += [run.id for run in page]
        if len(gone) < 3:
            gone.append(found[len(gone)])
            sandbox.plextera.delete(gone[-1])
    assert expected(sandbox) <= set(found)


def test_status_filter_that_is_ignored(sandbox: Sandbox, client: Client) -> None:
    """A server that ignores the filter gives no rows, rather than runs of another status."""
    for works in ("works", "ignored"):
        sandbox.plextera.switch(status_filter=works)
        pages = list(api.run_pages(client, runs(), "FAILED"))
        assert {run.status for page in pages for run in page} <= {"FAILED"}
        assert bool(pages) == (works == "works")


def test_wrong_settings_name_their_key() -> None:
    """An impossible setting is refused by its name."""
    with pytest.raises(ConfigError, match=r"sources\.plextera\.api_key"):
        plextera()
    with pytest.raises(ConfigError, match=r"sources\.plextera\.page_size"):
        plextera(api_key="k", page_size=101)


def test_key_is_sent_with_one_prefix() -> None:
    """`Authorization: api-key <token>`, with or without the prefix in the setting."""
    for key in ("t", "api-key t", "API-KEY t"):
        assert api.headers(key)["authorization"] == "api-key t"
