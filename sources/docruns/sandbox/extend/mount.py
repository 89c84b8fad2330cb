"""The entry to Extend: request id, key, workspace and version, then the endpoint."""

from __future__ import annotations

from math import ceil
from typing import Final

from ..chance import mix
from ..faults import PAGE_KINDS, Fault, retry_headers
from ..wire import Reply, Request, encode
from .call import VERSION, edition_of
from .errors import RefusedError, error_body, error_reply
from .platform import Extend
from .routes import Api


class ExtendMount:
    """Extend below its prefix, in every version."""

    name: Final = "extend"
    prefix: Final = "/extend"

    def __init__(self, platform: Extend, api_keys: set[str] | None) -> None:
        self.platform = platform
        self._api = Api(platform)
        self._api_keys = api_keys

    def below(self, path: str) -> str:
        """The path below the mount; the API accepts it with and without /v1."""
        return path.removeprefix(self.prefix).removeprefix("/v1")

    def template(self, method: str, path: str) -> str | None:
        """The route under which the statistics count a request."""
        found = self._api.route(method, path)
        return found[0].template if found else None

    def answer(self, request: Request, path: str, number: int, wait: float, fault: Fault | None) -> Reply:
        """The reply to request `number`: a 429 when it must wait, a fault's reply, or a correct one."""
        request_id = f"req_{mix(self.platform.seed, number, 21):020d}"
        version = request.headers.get("x-extend-api-version", "")
        edition = edition_of(version) if version else 2026
        headers: tuple[tuple[str, str], ...] = (
            ("x-extend-request-id", request_id),
            ("x-extend-api-version", version or "2026-02-09"),
        )
        if wait:
            return error_reply(429, "", edition, request_id, (*headers, ("retry-after", str(ceil(wait)))))
        if fault is not None and fault.kind == "status":
            return error_reply(fault.status, "", edition, request_id, (*headers, *retry_headers(fault)))
        if fault is not None and fault.kind == "error_200":
            return Reply(200, encode(error_body(fault.status, "", edition, request_id)), headers)
        try:
            self._admit(request, version)
            with self.platform.lock:
                found = self._api.route(request.method, path)
                if found is None:
                    raise RefusedError(404)
                self._check_parameters(request)
                twist = fault.kind if fault is not None and fault.kind in PAGE_KINDS else ""
                return Reply(200, self._api.answer(request, *found, edition, twist), headers)
        except RefusedError as refused:
            return error_reply(
                refused.status, refused.message, edition, request_id, headers, docs=refused.docs
            )

    def _admit(self, request: Request, version: str) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if (
            scheme.lower() != "bearer"
            or not key
            or (self._api_keys is not None and key not in self._api_keys)
        ):
            raise RefusedError(401)
        if key.startswith("org_") and not request.headers.get("x-extend-workspace-id"):
            raise RefusedError(400, "A workspace header is needed for organization-level keys.")
        if not VERSION.fullmatch(version):
            raise RefusedError(
                400,
                "The x-extend-api-version header is required.; Path: x-extend-api-version",
                docs=True,
            )

    def _check_parameters(self, request: Request) -> None:
        switches = self.platform.switches
        if switches.strict and request.param("limit") is not None:
            raise RefusedError(400, "Unrecognized key(s) in object: 'limit'", docs=True)
        size = request.param("maxPageSize") or ""
        if size.isdigit() and int(size) > switches.max_page_size:
            raise RefusedError(
                400, f"Expected a number from 1 to {switches.max_page_size}.; Path: maxPageSize", docs=True
            )
