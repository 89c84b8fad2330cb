from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from docruns.sandbox import Sandbox

VERSIONS = ("2026-02-09", "2025-04-21", "2024-12-23", "2024-11-14")

Client = Callable[..., httpx.Client]


@pytest.fixture(scope="session")
def calm() -> Iterator[Sandbox]:
    """A sandbox that no test changes."""
    with Sandbox(runs=170, seed=3) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox for one test."""
    with Sandbox(runs=40, seed=5) as sandbox:
        yield sandbox


@pytest.fixture
def client() -> Iterator[Client]:
    """A function that makes HTTP clients for a sandbox; they are closed after the test."""
    made: list[httpx.Client] = []

    def make(sandbox: Sandbox, version: str = "2026-02-09", **headers: str) -> httpx.Client:
        sent = {"authorization": "Bearer sk_test", "x-extend-api-version": version, **headers}
        made.append(httpx.Client(base_url=sandbox.extend_url, headers=sent, timeout=5))
        return made[-1]

    yield make
    for each in made:
        each.close()


def rows(reply: Any) -> list[dict[str, Any]]:
    """The rows of a list reply in any version."""
    return next(value for value in reply.values() if isinstance(value, list))


def walk(client: httpx.Client, path: str, size: str = "maxPageSize", **params: Any) -> list[dict[str, Any]]:
    """Every row of a list, page by page."""
    found: list[dict[str, Any]] = []
    token: str | None = None
    while True:
        reply = client.get(
            path,
            params={
                **params,
                size: params.get(size, 50),
                **({"nextPageToken": token} if token else {}),
            },
        )
        assert reply.status_code == 200, reply.text
        found += rows(reply.json())
        token = reply.json().get("nextPageToken")
        if not token:
            return found


@pytest.fixture
def plextera() -> Iterator[Callable[..., httpx.Client]]:
    """A function that makes HTTP clients for a sandbox's Plextera; they are closed after the test."""
    made: list[httpx.Client] = []

    def make(sandbox: Sandbox, **headers: str) -> httpx.Client:
        sent = {"authorization": "api-key sk_test", **headers}
        # a client that loads no certificates is created in a tenth of the time
        made.append(httpx.Client(base_url=sandbox.plextera_url, headers=sent, timeout=5, verify=False))
        return made[-1]

    yield make
    for each in made:
        each.close()


def turn_pages(
    http: httpx.Client, path: str, *, first: int = 0, size: int = 100, **params: Any
) -> list[dict[str, Any]]:
    """Every row of a numbered list, up to the first empty page."""
    found: list[dict[str, Any]] = []
    page = first
    while True:
        reply = http.get(path, params={**params, "page": page, "size": size})
        assert reply.status_code == 200, reply.text
        if not reply.json()["data"]:
            return found
        found += reply.json()["data"]
        page += 1
