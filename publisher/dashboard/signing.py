"""Signing in and out: the only forms that are sent as forms."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from publisher.dashboard.origin import is_same_origin, own_path
from publisher.dashboard.rendering import Renderer
from publisher.dashboard.sessions import Sessions, cookie_name

__all__ = ["Signing", "sign_in_path"]

LONGEST_FORM = 16_384
"""Bytes; a token has 47."""

FAILURE_DELAY = 0.3
"""Seconds that a wrong token costs whoever tries it."""


def sign_in_path(request: Request) -> str:
    """Return the address of the sign-in page that leads back to the page asked for."""
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return "/sign-in" if asked == "/" else f"/sign-in?next={quote(asked, safe='/')}"


class Signing:
    """The sign-in page and the two forms."""

    def __init__(self, renderer: Renderer, sessions: Sessions) -> None:
        self._renderer = renderer
        self._sessions = sessions

    async def show(self, request: Request) -> Response:
        """Show the form, or go on at once if this browser is signed in."""
        following = own_path(request.query_params.get("next", "/"))
        if await self._sessions.actor_of(request) is not None:
            return RedirectResponse(following, HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"})
        over = bool(request.cookies.get(cookie_name(request)))
        notice = "Your session is over. Sign in again to go on." if over else ""
        return self._page(following, notice=notice)

    async def sign_in(self, request: Request) -> Response:
        """Open a session for the token in the form."""
        if not is_same_origin(request):
            return self._page("/", fault="This form was sent from another site. Sign in here.", status=403)
        form = await _form(request)
        if form is None:
            return self._page("/", fault="The form is too large to hold a token.", status=413)
        following = own_path(form.get("next", "/"))
        token = form.get("token", "").strip()
        if not token:
            return self._page(following, fault="Enter a token.", status=422)
        cookie = await self._sessions.open(token)
        if cookie is None:
            await asyncio.sleep(FAILURE_DELAY)
            fault = "This token is unknown or revoked. Check that it was copied whole."
            return self._page(following, fault=fault, status=401)
        response = RedirectResponse(following, HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"})
        self._sessions.give(request, response, cookie)
        return response

    async def sign_out(self, request: Request) -> Response:
        """End this browser's session."""
        if not is_same_origin(request):
            text = "The request to sign out came from another site, so nothing was done."
            return self._renderer.page("error.html", status=403, title="Refused", text=text, actor=None)
        response = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"})
        self._sessions.take(request, response)
        return response

    async def session(self, request: Request) -> Response:
        """Tell the sign-in page whether this browser is signed in after all.

        A strict cookie is left out when a link on another site leads here, so the first request looks signed out.
        """
        signed_in = await self._sessions.actor_of(request) is not None
        return Response(None, 204, headers={"Cache-Control": "no-store", "X-Signed-In": str(int(signed_in))})

    def _page(self, following: str, *, fault: str = "", notice: str = "", status: int = 200) -> Response:
        return self._renderer.page(
            "sign_in.html", status=status, following=following, fault=fault, notice=notice, actor=None
        )


async def _form(request: Request) -> dict[str, str] | None:
    """Return the fields of a urlencoded form, None when it is too large."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            return None
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}
