"""Admin tokens over HTTP."""

from __future__ import annotations

from starlette.responses import Response

from publisher import tokens
from publisher.api.bodies import Body
from publisher.api.operation import Call, Operation, json_response
from publisher.api.paging import Page
from publisher.api.projects import Name
from publisher.tokens import NewToken, Token

__all__ = ["OPERATIONS"]


class TokenNew(Body):
    """A token to make; its name is what the change log calls its owner."""

    name: Name


async def listed(call: Call) -> Response:
    page = call.query(Page)
    async with call.store.read() as session:
        found = await tokens.listed(session, after=page.after, limit=page.limit + 1)
    items = found[: page.limit]
    return call.page(items, items[-1].id if len(found) > page.limit else None)


async def create(call: Call) -> Response:
    body = await call.body(TokenNew)
    async with call.store.change(call.actor) as change:
        token = await tokens.create(change, body.name)
    return json_response(token, status=201)


async def revoke(call: Call) -> Response:
    async with call.store.change(call.actor) as change:
        await tokens.revoke(change, call.number("token", "token"))
    return Response(None, 204)


OPERATIONS = [
    Operation(
        method="GET",
        path="/api/tokens",
        handler=listed,
        summary="List tokens, revoked ones included, without their secrets",
        tag="tokens",
        answers={200: list[Token]},
        query=Page,
    ),
    Operation(
        method="POST",
        path="/api/tokens",
        handler=create,
        summary="Make a token; its secret is shown this once",
        tag="tokens",
        answers={201: NewToken},
        refusals=("duplicate",),
        body=TokenNew,
    ),
    Operation(
        method="DELETE",
        path="/api/tokens/{token}",
        handler=revoke,
        summary="Revoke a token",
        tag="tokens",
        answers={204: None},
        refusals=("not-found",),
    ),
]
