"""All endpoints: the answer to each path under each version."""

from __future__ import annotations

from ..wire import Request
from .call import Call, Route
from .catalog_routes import CatalogRoutes
from .classic import Classic
from .errors import RefusedError
from .evaluation_routes import EvaluationRoutes
from .modern import Modern
from .platform import Extend
from .run_routes import RunRoutes
from .side_routes import SideRoutes


class Api:
    """Answers requests from one platform's state; the caller holds the platform's lock."""

    def __init__(self, platform: Extend) -> None:
        modern = Modern(platform)
        classic = Classic(platform, modern)
        parts = (
            RunRoutes(platform, modern, classic),
            CatalogRoutes(platform, modern, classic),
            SideRoutes(platform, modern, classic),
            EvaluationRoutes(platform, modern),
        )
        self._by_shape: dict[tuple[str, int], list[Route]] = {}
        for part in parts:
            for route in part.table():
                self._by_shape.setdefault((route.method, route.template.count("/")), []).append(route)

    def route(self, method: str, path: str) -> tuple[Route, tuple[str, ...]] | None:
        """The route of a path and the ids in it; no route takes HEAD, as in the vendor's API."""
        parts = path.split("/")
        for route in self._by_shape.get((method, path.count("/")), ()):
            args = []
            for want, have in zip(route.template.split("/"), parts, strict=True):
                if want.startswith("{") and have:
                    args.append(have)
                elif want != have:
                    break
            else:
                return route, tuple(args)
        return None

    def answer(
        self, request: Request, route: Route, args: tuple[str, ...], edition: int, twist: str
    ) -> bytes:
        if not route.first <= edition <= route.last:
            raise RefusedError(404, f"No {request.method} {request.path} in this version.")
        return route.answer(Call(request, edition, args, twist))
