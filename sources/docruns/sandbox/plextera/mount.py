"""The entry to Plextera: request id, Accept, key, then the endpoint."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import ceil
from typing import Final

from ..chance import mix
from ..faults import PAGE_KINDS, Fault, retry_headers
from ..wire import Reply, Request, encode
from .errors import RefusedError, error_body, error_reply
from .platform import Plextera
from .routes import Routes


class PlexteraMount:
    """Plextera below its prefix.

    `make` creates the workspace on first use, since many sandboxes never need it.
    """

    name: Final = "plextera"
    prefix: Final = "/plextera/api/public/v1"

    def __init__(self, make: Callable[[], Plextera], seed: int, api_keys: set[str] | None) -> None:
        self._make = make
        self._seed = seed
        self._api_keys = api_keys
        self._making = threading.Lock()
        self._made: tuple[Plextera, Routes] | None = None

    @property
    def platform(self) -> Plextera:
        return self._parts()[0]

    def _parts(self) -> tuple[Plextera, Routes]:
        with self._making:
            if self._made is None:
                platform = self._make()
                self._made = platform, Routes(platform)
            return self._made

    def below(self, path: str) -> str:
        """The path below the mount."""
        return path.removeprefix(self.prefix)

    def template(self, method: str, path: str) -> str | None:
        """The route under which the statistics count a request."""
        found = Routes.match(method, path)
        return None if isinstance(found, int) else found[0]

    def answer(self, request: Request, path: str, number: int, wait: float, fault: Fault | None) -> Reply:
        """The reply to request `number`: a 429 when it must wait, a fault's reply, or a correct one."""
        request_id = request.headers.get("x-request-id") or f"req_{mix(self._seed, number, 21):026X}"
        headers = (("x-request-id", request_id),)
        if wait:
            return error_reply(429, "", request_id, (*headers, ("retry-after", str(ceil(wait)))))
        if fault is not None and fault.kind == "status":
            return error_reply(fault.status, "", request_id, (*headers, *retry_headers(fault)))
        if fault is not None and fault.kind == "error_200":
            return Reply(200, encode(error_body(fault.status, "", request_id)), headers)
        twist = fault.kind if fault is not None and fault.kind in PAGE_KINDS else ""
        try:
            self._admit(request)
            found = Routes.match(request.method, path)
            if isinstance(found, int):
                raise RefusedError(found)
            if request.method != "GET":
                # feedback cannot be read back: the sandbox counts the request and stores nothing
                raise RefusedError(405)
            platform, routes = self._parts()
            with platform.lock:
                return Reply(200, routes.answer(request, *found, twist), headers)
        except RefusedError as refused:
            return error_reply(refused.status, refused.message, request_id, headers)

    def _admit(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        known = self._api_keys is None or key in self._api_keys
        if scheme != "api-key" or not key or " " in key or not known:
            raise RefusedError(401)
        if not _takes_json(request.headers.get("accept", "*/*")):
            raise RefusedError(406)


def _takes_json(accept: str) -> bool:
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if kind in ("*/*", "application/*", "application/json") and "q=0" not in parameters:
            return True
    return False
