"""A sandbox that answers some paths with bytes of ours: what no platform would send, over real HTTP."""

from __future__ import annotations

from collections.abc import Mapping

from docruns.sandbox import Sandbox
from docruns.sandbox.wire import Reply, Request


def plant(sandbox: Sandbox, answers: Mapping[str, bytes]) -> list[str]:
    """Answer requests of these paths, unquoted, with these bodies; gives the paths of all requests."""
    handle, asked = sandbox._gate.handle, list[str]()

    def planted(request: Request) -> Reply:
        asked.append(request.path)
        body = answers.get(request.path)
        return handle(request) if body is None else Reply(200, body)

    sandbox._gate.handle = planted  # type: ignore[method-assign]
    return asked
