"""Frequent calls find their handler by the shape of their path alone, past the framework's routing and parsing.

Only what a route says of itself (`Operation.frequent`) comes here; every other request, and whatever does not look
exactly like such a call, takes the framework's way. Both ways end in the same handler.
"""

from typing import NamedTuple

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from milepost.openapi import Operation


class Shortcut(NamedTuple):
    """A handler, the places and names of its path parameters, and the rest of its path by place."""

    handler: HTTPRouteHandler
    template: str
    parameters: tuple[tuple[int, str], ...]
    fixed: tuple[tuple[int, str], ...]


class Shortcuts:
    """The frequent calls of an application, by method and number of segments."""

    def __init__(self, app: Litestar) -> None:
        self._known: dict[tuple[str, int], list[Shortcut]] = {}
        for route in app.routes:
            if isinstance(route, HTTPRoute):
                for handler in route.route_handlers:
                    self._learn(route, handler)

    def _learn(self, route: HTTPRoute, handler: HTTPRouteHandler) -> None:
        operation: Operation | None = handler.opt.get("operation")
        if operation is None or not operation.frequent:
            return
        parts = route.path_format.split("/")
        fixed = tuple((n, part) for n, part in enumerate(parts) if not part.startswith("{"))
        parameters = tuple((n, part[1:-1]) for n, part in enumerate(parts) if part.startswith("{"))
        shortcut = Shortcut(handler, route.path_format, parameters, fixed)
        for method in handler.http_methods:
            self._known.setdefault((str(method), len(parts)), []).append(shortcut)

    def find(self, method: str, path: str) -> tuple[Shortcut, dict[str, str]] | None:
        """The handler of a request and its arguments from the path; None: the framework has to look."""
        parts = path.split("/")
        for shortcut in self._known.get((method, len(parts)), ()):
            for place, part in shortcut.fixed:
                if parts[place] != part:
                    break
            else:
                arguments = {name: parts[place] for place, name in shortcut.parameters}
                return (shortcut, arguments) if all(arguments.values()) else None
        return None
