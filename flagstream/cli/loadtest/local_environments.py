"""The environments of a local stack, made through the publisher's management API like anybody would."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httpx

from loadtest.messages import Environment

__all__ = ["make_environments"]

AT_ONCE: Final = 16
TIMEOUT: Final = 30.0

FEATURES: Final[tuple[dict[str, Any], ...]] = (
    {"name": "banner", "enabled": True, "value": "Welcome"},
    {"name": "checkout", "enabled": False, "value": 3},
    {"name": "search", "enabled": True, "value": {"engine": "new", "limit": 20}},
)


async def make_environments(publisher_url: str, admin_token: str, count: int) -> list[Environment]:
    """Make a project with three features and `count` environments; raises `httpx.HTTPError`."""
    headers = {"Authorization": f"Bearer {admin_token}"}
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=publisher_url, headers=headers, timeout=TIMEOUT, limits=limits) as client:

        async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            response = await client.post(path, json=body)
            response.raise_for_status()
            made: dict[str, Any] = response.json()
            return made

        project = await post("/api/projects", {"name": "Load test"})
        place = f"/api/projects/{project['id']}"
        for feature in FEATURES:
            await post(f"{place}/features", feature)
        made: list[Environment | None] = [None] * count
        numbers = iter(range(count))

        async def make_some() -> None:
            for number in numbers:
                answer = await post(f"{place}/environments", {"name": f"Environment {number + 1}"})
                made[number] = Environment(key=answer["key"], server_key=answer["server_key"])

        failed: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(AT_ONCE, count)):
                    tasks.create_task(make_some())
        except* httpx.HTTPError as errors:
            failed = errors.exceptions[0]
        if failed is not None:
            raise failed
    return [environment for environment in made if environment is not None]
