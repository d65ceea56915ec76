"""Input that once ended in a traceback: each is refused in words, with nothing logged and nothing changed."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.programs import ADMIN_TOKEN, publisher

pytestmark = pytest.mark.slow


def test_an_origin_that_is_no_url_and_keys_with_nul_are_refused_quietly(tmp_path: Path, database_url: str) -> None:
    program = publisher(tmp_path, nats_url="nats://127.0.0.1:1", database_url=database_url).start()
    try:
        with httpx.Client(base_url=program.url, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}) as client:
            for path in ("/sign-in", "/sign-out"):
                assert client.post(path, headers={"Origin": "http://["}).status_code == 403
            for key in ("%00", "KEY%00"):
                assert client.get(f"/api/environments/{key}/features/banner").status_code == 404
            lost = client.post("/sse/environments//queue-change")
            assert (lost.status_code, lost.headers["content-type"]) == (404, "application/json")
            assert "queue-change" in lost.json()["detail"]
        assert "Traceback" not in program.output()
        assert '"error"' not in program.output()
    finally:
        program.stop()
