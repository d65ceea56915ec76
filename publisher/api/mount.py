"""From operations to routes: finds the operation, runs it, and turns what it raises into an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import perf_counter

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from publisher.api import problems
from publisher.api.operation import Call, Guard, Operation
from publisher.store import Store

__all__ = ["CORS", "Observe", "routes"]

Observe = Callable[[str, str, int, float], None]
"""Told of every answer: method, route template, status, seconds."""

CORS: Mapping[str, str] = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "X-Flagsmith-Document-Updated-At, X-Flagstream-Version, Age",
}
"""Headers of every answer to an app, errors included: without them a browser would not even show the error."""

PREFLIGHT: Mapping[str, str] = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": (
        "X-Environment-Key, Content-Type, Flagsmith-SDK-User-Agent, Flagsmith-Application-Name, "
        "Flagsmith-Application-Version"
    ),
    "Access-Control-Max-Age": "86400",
}


def routes(operations: Iterable[Operation], *, store: Store, guard: Guard, limit: int, observe: Observe) -> list[Route]:
    """Return one route a path; a method that a path does not know is a 405 that names those it knows."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [
        _route(path, methods, store=store, guard=guard, limit=limit, observe=observe)
        for path, methods in by_path.items()
    ]


def _route(
    path: str, methods: dict[str, Operation], *, store: Store, guard: Guard, limit: int, observe: Observe
) -> Route:
    for_apps = any(operation.access == "environment" for operation in methods.values())

    async def endpoint(request: Request) -> Response:
        began = perf_counter()
        if for_apps and request.method == "OPTIONS":
            return Response(None, 204, headers=dict(PREFLIGHT))
        operation = methods["GET" if request.method == "HEAD" else request.method]
        call = Call(operation, request, store, limit)
        response = await _run(operation, call, guard)
        if for_apps:
            response.headers.update(CORS)
        observe(request.method, path, response.status_code, perf_counter() - began)
        return response

    allowed = [*methods, *(["OPTIONS"] if for_apps else [])]
    return Route(path, endpoint, methods=allowed)


async def _run(operation: Operation, call: Call, guard: Guard) -> Response:
    try:
        if operation.access == "admin":
            call.actor = await guard.actor(call.request)
        return await operation.handler(call)
    except ClientDisconnect:
        return Response(None, 400)  # nobody reads it
    except Exception as error:  # noqa: BLE001 - a request must not take others with it; faults of ours are logged
        problem = problems.problem_of(error)
        return _detail(problem) if operation.details else problems.answer(problem)


def _detail(problem: problems.Problem) -> Response:
    """Answer as Flagsmith's API does: what calls these paths reads `detail` and no problem documents."""
    response = problems.answer(problem)
    response.status_code = 400 if problem.code == "invalid" else problem.status
    response.body = msgspec.json.encode({"detail": problem.detail})
    response.headers["Content-Length"] = str(len(response.body))
    response.headers["Content-Type"] = "application/json"
    return response
