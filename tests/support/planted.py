"""A sandbox that answers some paths with given bytes, such as no platform would send, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from docruns.sandbox import Sandbox
from docruns.sandbox.wire import Reply, Request

Answer = bytes | Callable[[Request], Reply]


def plant(sandbox: Sandbox, answers: Mapping[str, Answer]) -> list[str]:
    """Answer requests for these paths (unquoted) with these bodies; returns the paths of all requests."""
    handle, asked = sandbox._gate.handle, list[str]()

    def planted(request: Request) -> Reply:
        asked.append(request.path)
        answer = answers.get(request.path)
        if answer is None:
            return handle(request)
        return Reply(200, answer) if isinstance(answer, bytes) else answer(request)

    sandbox._gate.handle = planted  # type: ignore[method-assign]
    return asked
