"""Where each page is, and what stands around every one of them: signing in first, and a page for what goes wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from flagstream.logs import get_logger
from publisher.dashboard.pages import Pages
from publisher.dashboard.rendering import STATIC, Renderer
from publisher.dashboard.sessions import Sessions
from publisher.dashboard.signing import Signing, sign_in_path
from publisher.errors import NotFoundError
from publisher.settings import PublisherSettings
from publisher.store import Store

__all__ = ["fault_page", "page_or", "routes"]

_log = get_logger(__name__)

Page = Callable[[Request, str], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]
Handler = Callable[[Request, Exception], Awaitable[Response]]


def routes(store: Store, settings: PublisherSettings, sessions: Sessions) -> list[BaseRoute]:
    """Return the dashboard's routes."""
    renderer = Renderer(settings.public_stream_url)
    pages = Pages(renderer, store, settings.public_stream_url)
    signing = Signing(renderer, sessions)

    def page(path: str, show: Page) -> Route:
        return Route(path, _guarded(show, renderer, sessions), methods=["GET"])

    return [
        Route("/sign-in", signing.show, methods=["GET"]),
        Route("/sign-in", signing.sign_in, methods=["POST"]),
        Route("/sign-out", signing.sign_out, methods=["POST"]),
        Route("/session", signing.session, methods=["GET"]),
        # Files of the browser client, which is found and not imported: it would bring what only apps in Python need.
        Mount("/static/client", _Revalidated(StaticFiles(packages=[("sdk_client", "js")])), name="client"),
        Mount("/static", _Revalidated(StaticFiles(directory=STATIC)), name="static"),
        page("/", pages.projects),
        page("/projects/{project}", pages.project),
        page("/projects/{project}/environments", pages.environments),
        page("/changes", pages.changes),
    ]


def _guarded(show: Page, renderer: Renderer, sessions: Sessions) -> Endpoint:
    """Return `show` for those who are signed in; others are asked to."""

    async def endpoint(request: Request) -> Response:
        actor = None
        try:
            actor = await sessions.actor_of(request)
            if actor is None:
                return RedirectResponse(sign_in_path(request), 303, headers={"Cache-Control": "no-store"})
            return await show(request, actor)
        except NotFoundError as error:
            text = f"There is no {error.kind} here. It may have been deleted, or the address is not complete."
            return renderer.page("error.html", status=404, title="Not found", text=text, actor=actor)
        except (SQLAlchemyError, OSError) as error:
            _log.error("database failed", error=type(error).__name__)
            text = "The database cannot be reached now. Nothing was changed. Reload the page in a moment."
            return renderer.page("error.html", status=503, title="Out of reach", text=text, actor=actor)

    return endpoint


def page_or(otherwise: Handler, settings: PublisherSettings) -> Handler:
    """Return a handler of HTTP errors: a page for people at addresses of pages, `otherwise` for all else."""
    renderer = Renderer(settings.public_stream_url)

    async def handle(request: Request, error: Exception) -> Response:
        of_programs = request.url.path.startswith(("/api", "/sse", "/static", "/health", "/metrics"))
        if of_programs or not isinstance(error, HTTPException) or "text/html" not in request.headers.get("accept", ""):
            return await otherwise(request, error)
        text = "There is no page at this address. It may have moved, or the address is not complete."
        title = "Not found" if error.status_code == HTTPStatus.NOT_FOUND else error.detail
        return renderer.page("error.html", status=error.status_code, title=title, text=text, actor=None)

    return handle


def fault_page(settings: PublisherSettings) -> Handler:
    """Return the handler of faults of ours; the server logs them."""
    renderer = Renderer(settings.public_stream_url)

    async def handle(request: Request, error: Exception) -> Response:
        del request, error
        text = "Something went wrong on our side, and the log says what. Nothing was changed by looking at this page."
        return renderer.page("error.html", status=500, title="Out of order", text=text, actor=None)

    return handle


class _Revalidated:
    """Files that a browser may keep but asks about each time, so that an upgrade shows at once."""

    def __init__(self, app: StaticFiles) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message["headers"] if pair[0] != b"cache-control"]
                message["headers"] = [*kept, (b"cache-control", b"no-cache"), (b"x-content-type-options", b"nosniff")]
            await send(message)

        await self._app(scope, receive, send_with_headers)
