"""The cases of the web platform tests that are about the connection: types, statuses, redirects, request headers.

github.com/web-platform-tests/wpt, eventsource/. Where a browser closes for good, ours reports an error and goes on
trying (docs/client-rules.md, 9). What bytes become is tests/sdk_client/tables/web_platform_tests.json.
"""

from __future__ import annotations

import pytest

from tests.sdk_client.contract.harness import Answer, Harness, Script

EVENT = b"data: data\n\n"


def answers(status: int, content_type: str = "text/event-stream", **headers: str) -> Script:
    async def script(answer: Answer) -> None:
        body = b"" if status in (204, 205) else EVENT
        await answer.status(status, {"content-type": content_type, **headers}, body)

    return script


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "content_type",
    ["text/event-stream;", "text/event-stream;charset=windows-1252", "TEXT/Event-Stream ; charset=utf-8"],
    ids=["format-mime-trailing-semicolon", "format-utf-8", "capitals and space"],
)
async def test_the_type_is_known_whatever_its_parameters_and_text_is_utf_8(harness: Harness, content_type: str) -> None:
    endpoint = harness.endpoint(lambda answer: answer.start(content_type))
    client = await harness.client(endpoint)
    await (await endpoint.connection()).send("data:ok…\n\n".encode())
    assert (await client.event())["data"] == "ok…"


@pytest.mark.asyncio
@pytest.mark.parametrize("content_type", ["x bogus", "text/x-bogus", "", "text/event-streams", "text/html"])
async def test_another_type_is_an_error_and_its_body_is_not_read(harness: Harness, content_type: str) -> None:
    """format-mime-bogus, format-mime-valid-bogus."""
    client = await harness.client(harness.endpoint(answers(200, content_type)))
    assert "not an event stream" in await client.error()


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [204, 205, 210, 299, 404, 410, 503])
async def test_another_status_than_200_is_an_error_and_its_body_is_not_read(harness: Harness, status: int) -> None:
    """request-status-error."""
    client = await harness.client(harness.endpoint(answers(status)))
    assert str(status) in await client.error()


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(harness: Harness, status: int) -> None:
    """request-redirect."""
    endpoint = harness.endpoint()
    client = await harness.client(harness.endpoint(answers(status, location=endpoint.url)))
    await (await endpoint.connection()).send(EVENT)
    assert (await client.event())["data"] == "data"


@pytest.mark.asyncio
@pytest.mark.parametrize("location", ["ftp://127.0.0.1/", "data:text/event-stream,data: x\n\n", "http://"])
async def test_a_redirect_to_what_is_no_http_is_an_error(harness: Harness, location: str) -> None:
    client = await harness.client(harness.endpoint(answers(302, location=location.replace("\n", "%0A"))))
    await client.error()


@pytest.mark.asyncio
async def test_the_request_accepts_event_streams_and_nothing_else(harness: Harness) -> None:
    """request-accept. (request-cache-control is not ours: see followed.py.)"""
    endpoint = harness.endpoint()
    await harness.client(endpoint)
    assert (await endpoint.connection()).request.headers["accept"] == "text/event-stream"


@pytest.mark.asyncio
async def test_an_id_in_any_script_comes_back_and_is_kept_over_connections(harness: Harness) -> None:
    """format-field-id, format-field-id-2."""
    endpoint = harness.endpoint()
    client = await harness.client(endpoint, initialDelayMs=0)
    stream = await endpoint.connection()
    await stream.send("id: …\nretry: 200\ndata: hello\n\n".encode())
    assert (await client.event())["id"] == "…"
    for _ in range(2):
        await stream.end()
        stream = await endpoint.connection()
        assert stream.request.headers["last-event-id"] == "…"
        await stream.send("data: …\n\n".encode())
        assert await client.event_after_an_error_or_none() == {"type": "message", "data": "…", "id": "…"}


@pytest.mark.asyncio
@pytest.mark.parametrize("bad", ["a\x0bb", "a\x07b", "x" * 60_000], ids=["white space", "bell", "long"])
async def test_an_id_that_no_server_would_take_back_does_not_keep_the_client_out(harness: Harness, bad: str) -> None:
    endpoint = harness.endpoint()
    client = await harness.client(endpoint, initialDelayMs=0)
    stream = await endpoint.connection()
    await stream.send(f"id: {bad}\ndata: hello\n\n".encode())
    assert (await client.event())["id"] == bad
    await stream.end()
    stream = await endpoint.connection()
    assert "last-event-id" not in stream.request.headers
    await stream.send(b"data: again\n\n")
    assert (await client.event_after_an_error_or_none())["data"] == "again"


@pytest.mark.asyncio
async def test_a_stream_that_ended_is_opened_again(harness: Harness) -> None:
    """eventsource-reconnect."""
    endpoint = harness.endpoint()
    client = await harness.client(endpoint, initialDelayMs=0)
    stream = await endpoint.connection()
    await stream.send(b"retry: 2\ndata: ok\n\n")
    assert (await client.event())["data"] == "ok"
    await stream.end()
    await (await endpoint.connection()).send(EVENT)
    assert (await client.event_after_an_error_or_none())["data"] == "data"


@pytest.mark.asyncio
async def test_an_id_taken_back_on_a_later_stream_is_sent_no_more(harness: Harness) -> None:
    endpoint = harness.endpoint()
    client = await harness.client(endpoint, initialDelayMs=0)
    for body, last_id in ((b"id: 1\ndata: a\n\n", "1"), (b"id\ndata: b\n\n", ""), (b"data: c\n\n", "")):
        stream = await endpoint.connection()
        assert stream.request.headers.get("last-event-id", "") == ("1" if b"b" in body else "")
        await stream.send(body)
        assert (await client.event_after_an_error_or_none())["id"] == last_id
        await stream.end()
