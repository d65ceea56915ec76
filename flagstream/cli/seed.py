"""The demo project of a first `flagstream up`, made through the public API like anybody would."""

from __future__ import annotations

from typing import Any

import httpx

__all__ = ["FEATURE", "seed"]

FEATURE = "banner"


async def seed(publisher_url: str, admin_token: str) -> dict[str, str]:
    """Make a project with two environments and a feature that is on with the value ``"a"``.

    Returns the first environment: ``{"key": …, "server_key": …, "feature": …}``. Raises `httpx.HTTPError`.
    """
    headers = {"Authorization": f"Bearer {admin_token}"}
    async with httpx.AsyncClient(base_url=publisher_url, headers=headers, timeout=10) as client:

        async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            response = await client.post(path, json=body)
            response.raise_for_status()
            made: dict[str, Any] = response.json()
            return made

        project = await post("/api/projects", {"name": "Demo"})
        environments = f"/api/projects/{project['id']}/environments"
        first = await post(environments, {"name": "Development"})
        await post(environments, {"name": "Production"})
        await post(
            f"/api/projects/{project['id']}/features",
            {"name": FEATURE, "description": "The line at the top of the page", "enabled": True, "value": "a"},
        )
    return {"key": first["key"], "server_key": first["server_key"], "feature": FEATURE}
