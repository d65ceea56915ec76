"""Documents to clients that take their time: what they cost is bounded, and they get every byte."""

from __future__ import annotations

import asyncio
import json

import pytest

from stream_server.documents.answers import PART
from tests.documents.upstream import CLIENT_KEY, Upstream
from tests.stream_server.connections import connected
from tests.stream_server.raw import running, settings_for, until

pytestmark = pytest.mark.asyncio


async def test_large_document_costs_a_client_that_does_not_read_two_parts_and_arrives_whole(
    upstream: Upstream,
) -> None:
    upstream.value = "x" * 16_000_000  # more than the kernel buffers
    request = f"GET /api/v1/flags/ HTTP/1.1\r\nHost: x\r\nX-Environment-Key: {CLIENT_KEY}\r\n\r\n".encode()
    async with running(settings_for(upstream_url=upstream.url)) as server, connected(server.url) as client:
        client.send(request)
        assert (await client.exactly(15)).startswith(b"HTTP/1.1 200")
        [connection] = server.server.server_state.connections
        transport = connection.transport
        await until(lambda: transport.get_write_buffer_size() > PART, "the end of what the kernel takes")
        await asyncio.sleep(0.1)
        assert transport.get_write_buffer_size() <= 2 * PART
        head, body = (await client.head()).lower(), b""
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await client.exactly(length)
        assert json.loads(body)[0]["feature_state_value"] == upstream.value
