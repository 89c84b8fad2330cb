"""Plextera's lists and errors over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
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
from docruns.providers.plextera import api, pages
from docruns.sandbox import Sandbox

PAYLOADS = Path(__file__).parents[1] / "support" / "payloads" / "plextera"


ClientOf = Callable[[Sandbox], Client]


@pytest.fixture
def client_of() -> Iterator[ClientOf]:
    """A function that makes clients of a sandbox with short waits."""
    with ExitStack() as stack:

        def make(sandbox: Sandbox) -> Client:
            retry = Retry(attempts=3, first=0.01, cap=0.02)
            settings = ConnectionSettings(sandbox.plextera_url, api.headers("k"), retry=retry, timeout=5.0)
            return stack.enter_context(Client(settings, Budget(None), api.explain, api.check))

        yield make


@pytest.fixture
def client(sandbox: Sandbox, client_of: ClientOf) -> Client:
    """A client with short waits."""
    return client_of(sandbox)


def runs(**paging: Any) -> pages.ListEndpoint:
    """The list of workflow runs."""
    return pages.ListEndpoint(
        "workflow_runs", "/workflow-runs", api.FINAL_RUN_STATUS, pages.Paging(**{"size": 7, **paging})
    )


def ids(client: Client, listed: pages.ListEndpoint) -> list[str]:
    """All ids of a list, in the order of its pages."""
    return [run.id for page in pages.run_pages(client, listed) for run in page]


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


@pytest.mark.fault(44)
@pytest.mark.parametrize(
    "switches",
    [
        {"page_cap": 3},
        {"page_cap": 3, "page_offset": "asked"},
        {"page_zero": "empty", "page_base": 1},
        {"page_zero": "first", "page_base": 1},
        {"past_end": "refused"},
        {"past_end": "missing"},
        {"past_end": "last"},
        {"rows_swap": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("info", ["full", "no_total_pages", "no_totals", "one_page_short", "ones", "own"])
def test_what_pages_say_ends_no_list(
    sandbox: Sandbox, client: Client, switches: dict[str, Any], info: str
) -> None:
    """Whatever pages say of their list, and however short they are, all runs are listed, and the walk is sure
    of it; a walk with other pages lists them too."""
    sandbox.plextera.switch(page_info=info, **switches)
    listed = runs()
    all_ids = expected(sandbox)
    assert set(ids(client, listed)) == all_ids
    assert listed.doubt is None
    other = {run.id for page in pages.other_pages(client, listed) for run in page}
    # of a list whose rows were swapped, the first one is gone by now
    assert len(all_ids - other) == bool(switches.get("rows_swap"))
    assert listed.doubt is None


@pytest.mark.fault(44)
@pytest.mark.parametrize("info", ["full", "no_totals", "ones"])
@pytest.mark.parametrize("runs_there", [0, 1, 7])
@pytest.mark.parametrize("past_end", ["empty", "refused", "missing", "last"])
def test_a_list_of_one_page_or_none(client_of: ClientOf, info: str, runs_there: int, past_end: str) -> None:
    """Nothing, one run or one full page is a whole list, however the platform answers behind its end."""
    with Sandbox(runs=1, plextera_runs=runs_there, seed=3) as small:
        small.plextera.switch(page_info=info, past_end=past_end)
        listed = runs()
        assert set(ids(client_of(small), listed)) == expected(small)
        is_disproved = runs_there == 0 and info == "ones"
        assert listed.doubt == ("the platform counts 1 and shows 0" if is_disproved else None)


@pytest.mark.fault(44)
def test_a_list_that_is_shorter_than_its_count(sandbox: Sandbox, client: Client) -> None:
    """A list that never shows all that the platform counts is walked twice; the walk says what is missing."""
    total = len(expected(sandbox))
    sandbox.fault("empty_page", "/workflow-runs", times=None, after=3, platform="plextera")
    listed = runs()
    assert len(set(ids(client, listed))) == 14
    assert listed.doubt == f"the platform counts {total} and shows 14"


@pytest.mark.fault(44)
@pytest.mark.parametrize("at", [0, 2, 4, 6])
@pytest.mark.parametrize("info", ["full", "no_totals"])
def test_an_empty_page_that_passes(sandbox: Sandbox, client: Client, info: str, at: int) -> None:
    """One page that comes empty once, at any place, loses no run."""
    sandbox.plextera.switch(page_info=info)
    sandbox.fault("empty_page", "/workflow-runs", times=1, after=at, platform="plextera")
    listed = runs()
    assert set(ids(client, listed)) == expected(sandbox)
    assert listed.doubt is None


@pytest.mark.fault(44)
@pytest.mark.parametrize(
    ("info", "said"),
    [("ones", "totalItems says 1,"), ("one_page_short", "totalPages says 5,"), ("full", "")],
)
def test_contradictions_are_named(
    sandbox: Sandbox, client: Client, caplog: pytest.LogCaptureFixture, info: str, said: str
) -> None:
    """Totals that the pages disprove are in the log, once; totals that are right are not."""
    sandbox.plextera.switch(page_info=info)
    ids(client, runs())
    messages = [record.getMessage() for record in caplog.records if record.name == "docruns"]
    assert [said in message for message in messages] == [True] * bool(said)


@pytest.mark.fault(44)
def test_an_order_that_is_ignored_after_all(sandbox: Sandbox, client: Client) -> None:
    """A list that is said to be sorted, and is not, is not believed to be."""
    listed = runs(sort=True)
    assert set(ids(client, listed)) == expected(sandbox)
    assert listed.sorted is False


def test_settings_save_the_probe(sandbox: Sandbox, client: Client) -> None:
    """With `sort_runs` set, true or false, no request is spent on finding out.

    The end of the list costs one request, and the first page, read again, one more.
    """
    sandbox.plextera.switch(runs_sort="accepted")
    number = -(-len(expected(sandbox)) // 7) + 2
    for sort, requests in ((None, number + 1), (True, number), (False, number)):
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
    for page in pages.run_pages(client, runs()):
        found += [run.id for run in page]
        if len(gone) < 3:
            gone.append(found[len(gone)])
            sandbox.plextera.delete(gone[-1])
    assert expected(sandbox) <= set(found)


def test_status_filter_that_is_ignored(sandbox: Sandbox, client: Client) -> None:
    """A server that ignores the filter gives no rows, rather than runs of another status."""
    for works in ("works", "ignored"):
        sandbox.plextera.switch(status_filter=works)
        found = list(pages.run_pages(client, runs(), "FAILED"))
        assert {run.status for page in found for run in page} <= {"FAILED"}
        assert bool(found) == (works == "works")


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
