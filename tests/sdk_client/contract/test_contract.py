"""LaunchDarkly's sse-contract-tests, restated: every case of its suite, by its name there, over its own protocol.

Facts from github.com/launchdarkly/sse-contract-tests (Apache-2.0) as of 2.31.1: docs/service_spec.md,
docs/optional_features.md, ssetests/. The parsing cases are a table that any decoder can run:
tests/sdk_client/tables/sse_contract_tests.json.
"""

from __future__ import annotations

import base64
import os
import random
import shutil
import socket
import subprocess
from typing import Any

import httpx
import pytest

from sdk_client.decoder import Comment, Event, Item
from tests.sdk_client.contract.capabilities import CLAIMED, NOT_CLAIMED
from tests.sdk_client.contract.harness import Answer, Client, Harness, Script
from tests.sdk_client.tables.cases import Case, load

JSON_BODY = '{"hello": "world"}'
JSON_TYPE = {"content-type": "application/json; charset=utf-8"}


def needs(capability: str) -> None:
    if capability and capability not in CLAIMED:
        pytest.skip(f"{capability} is not claimed: {NOT_CLAIMED[capability]}")


def event(data: str, kind: str = "message", last_id: str = "") -> dict[str, str]:
    return {"type": kind, "data": data, "id": last_id}


def message(item: Item) -> dict[str, Any]:
    match item:
        case Event(kind, data, last_id):
            return {"kind": "event", "event": event(data, kind, last_id)}
        case Comment(text):
            return {"kind": "comment", "comment": text}
    raise AssertionError(item)


async def break_off(answer: Answer, how: str) -> None:
    """Break a stream as the harness does: it used to cut, and since 2.31.1 ends cleanly."""
    await (answer.cut() if how == "cut" else answer.end())


BROKEN = pytest.mark.parametrize("how", ["ended", "cut"])


# Basic parsing, comments, linefeeds, BOM.


@pytest.mark.asyncio
@pytest.mark.parametrize("case", load("sse_contract_tests"), ids=str)
async def test_parsing(harness: Harness, case: Case) -> None:
    needs(case.capability)
    endpoint = harness.endpoint()
    client = await harness.client(endpoint, tag=case.name)
    stream = await endpoint.connection()
    await stream.send(*case.pieces)
    for item in case.items:
        assert await client.message() == message(item)


def random_text(size: int) -> str:
    return base64.b64encode(random.randbytes(size)).decode()


@pytest.mark.asyncio
async def test_basic_parsing_large_message_in_one_chunk(harness: Harness) -> None:
    endpoint = harness.endpoint()
    client = await harness.client(endpoint)
    text = random_text(5 << 20)
    await (await endpoint.connection()).send(f"data: {text}\n\n".encode())
    same = (await client.event())["data"] == text
    assert same  # not in one line: nobody wants to read the difference


@pytest.mark.asyncio
async def test_basic_parsing_large_message_in_two_chunks(harness: Harness) -> None:
    endpoint = harness.endpoint()
    client = await harness.client(endpoint)
    first, second = random_text(5 << 20), random_text(5 << 20)
    await (await endpoint.connection()).send(f"data: {first}".encode(), f"{second}\n\n".encode())
    same = (await client.event())["data"] == first + second
    assert same


@pytest.mark.asyncio
async def test_payload_of_any_size_around_the_powers_of_two_is_delivered_promptly(harness: Harness) -> None:
    """The original goes on to 128 MiB, which passes as well but takes half a minute."""
    needs("payload-size-stress-testable")
    sizes = {(1 << power) + more for power in range(21) for more in (-1, 0, 1)} - {0}
    for size in sorted(sizes):
        endpoint = harness.endpoint()
        client = await harness.client(endpoint)
        await (await endpoint.connection()).send(b"data: %s\n\n" % (b"x" * size))
        assert len((await client.event())["data"]) == size


# HTTP behavior.


@pytest.mark.asyncio
async def test_http_behavior_default_method_and_headers(harness: Harness) -> None:
    endpoint = harness.endpoint()
    await harness.client(endpoint)
    request = (await endpoint.connection()).request
    assert request.method == "GET"
    assert request.headers["accept"] == "text/event-stream"
    assert request.headers["cache-control"] == "no-cache"
    assert "last-event-id" not in request.headers


def redirect(status: int, headers: dict[str, str]) -> Script:
    async def script(answer: Answer) -> None:
        await answer.status(status, headers)

    return script


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [301, 307])
async def test_http_behavior_client_follows_redirect(harness: Harness, status: int) -> None:
    endpoint = harness.endpoint()
    client = await harness.client(harness.endpoint(redirect(status, {"Location": endpoint.url})))
    await (await endpoint.connection()).send(b"data: hello\n\n")
    assert await client.event() == event("hello")


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [301, 307])
@pytest.mark.parametrize("headers", [{"Location": ""}, {}], ids=["empty", "missing"])
async def test_http_behavior_client_handles_no_location(harness: Harness, status: int, headers: dict[str, str]) -> None:
    needs("empty-or-missing-location")
    endpoint = harness.endpoint(redirect(status, headers))
    client = await harness.client(endpoint, initialDelayMs=60_000)  # one try is counted, not the next as well
    await client.error()
    assert endpoint.answers.qsize() <= 6, "the request and five redirects"


@pytest.mark.asyncio
async def test_http_behavior_custom_headers(harness: Harness) -> None:
    needs("headers")
    endpoint = harness.endpoint()
    await harness.client(endpoint, headers={"header-name-1": "value-1", "header-name-2": "value-2"})
    headers = (await endpoint.connection()).request.headers
    assert (headers["header-name-1"], headers["header-name-2"]) == ("value-1", "value-2")


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["POST", "REPORT"])
async def test_http_behavior_request_with_a_body(harness: Harness, method: str) -> None:
    needs(method.lower())
    endpoint = harness.endpoint()
    await harness.client(endpoint, headers=JSON_TYPE, method=method, body=JSON_BODY)
    request = (await endpoint.connection()).request
    assert request.method == method
    assert request.headers["content-type"] == JSON_TYPE["content-type"]
    assert request.body == JSON_BODY.encode()


@pytest.mark.asyncio
async def test_http_behavior_sends_last_event_id_in_initial_request_if_set(harness: Harness) -> None:
    needs("last-event-id")
    endpoint = harness.endpoint()
    client = await harness.client(endpoint, lastEventId="abc")
    stream = await endpoint.connection()
    assert stream.request.headers["last-event-id"] == "abc"
    await stream.send(b"data: Hello\n\n")
    assert await client.event() == event("Hello", last_id="abc"), "as if an event before had set it"


# Reconnection.


@pytest.mark.asyncio
async def test_reconnection_caller_can_trigger_a_restart(harness: Harness) -> None:
    needs("restart")
    endpoint = harness.endpoint()
    client = await harness.client(endpoint, initialDelayMs=0)
    await (await endpoint.connection()).send(b"data: Hello\n\n")
    assert await client.event() == event("Hello")
    await harness.command(client, command="restart")
    await (await endpoint.connection()).send(b"data: Thanks\n\n")
    assert await client.event() == event("Thanks")


@pytest.mark.asyncio
@BROKEN
async def test_reconnection_sends_id_of_last_received_event(harness: Harness, how: str) -> None:
    endpoint = harness.endpoint()
    client = await harness.client(endpoint, initialDelayMs=0)
    stream = await endpoint.connection()
    assert "last-event-id" not in stream.request.headers
    await stream.send(b"id: abc\ndata: Hello\n\n")
    assert await client.event() == event("Hello", last_id="abc")
    await break_off(stream, how)
    assert (await endpoint.connection()).request.headers["last-event-id"] == "abc"


@pytest.mark.asyncio
@BROKEN
async def test_reconnection_sends_id_of_last_received_event_that_had_an_id(harness: Harness, how: str) -> None:
    endpoint = harness.endpoint()
    client = await harness.client(endpoint, initialDelayMs=0)
    stream = await endpoint.connection()
    await stream.send(b"id: abc\ndata: Hello\n\n", b"data: World\n\n")
    assert await client.event() == event("Hello", last_id="abc")
    assert await client.event() == event("World", last_id="abc")
    await break_off(stream, how)
    assert (await endpoint.connection()).request.headers["last-event-id"] == "abc"


@pytest.mark.asyncio
@BROKEN
async def test_reconnection_last_event_id_can_be_overridden_with_an_empty_value(harness: Harness, how: str) -> None:
    endpoint = harness.endpoint()
    client = await harness.client(endpoint, initialDelayMs=0)
    stream = await endpoint.connection()
    await stream.send(b"id: abc\ndata: Hello\n\n", b"id: \ndata: World\n\n")
    assert await client.event() == event("Hello", last_id="abc")
    assert await client.event() == event("World")
    await break_off(stream, how)
    assert "last-event-id" not in (await endpoint.connection()).request.headers


@pytest.mark.asyncio
@BROKEN
async def test_reconnection_resends_request_body_if_any(harness: Harness, how: str) -> None:
    needs("post")
    endpoint = harness.endpoint()
    await harness.client(endpoint, initialDelayMs=0, headers=JSON_TYPE, method="POST", body=JSON_BODY)
    for _ in range(2):
        stream = await endpoint.connection()
        assert (stream.request.method, stream.request.body) == ("POST", JSON_BODY.encode())
        await break_off(stream, how)


@pytest.mark.asyncio
async def test_reconnection_can_set_read_timeout(harness: Harness) -> None:
    needs("read-timeout")

    async def says_hello(answer: Answer) -> None:
        await answer.start()
        await answer.send(b"data: Hello\n\n")  # at once, for the time runs

    endpoint = harness.endpoint(says_hello)
    client = await harness.client(endpoint, initialDelayMs=0, readTimeoutMs=700)
    assert await client.event() == event("Hello")
    assert "silent" in await client.error()
    for _ in range(2):
        await endpoint.connection()


@pytest.mark.asyncio
@BROKEN
async def test_reconnection_discards_partial_messages_on_retry(harness: Harness, how: str) -> None:
    endpoint = harness.endpoint()
    client = await harness.client(endpoint, initialDelayMs=0)
    stream = await endpoint.connection()
    await stream.send(b"id: abc\ndata: Hello\n\nid: def\ndata: Goodbye")
    assert await client.event() == event("Hello", last_id="abc")
    await break_off(stream, how)
    await (await endpoint.connection()).send(b"data: We meet again\n\n")
    assert await client.event_after_an_error_or_none() == event("We meet again", last_id="abc")


@pytest.mark.asyncio
@BROKEN
async def test_reconnection_new_connection_after_breaking_previous_is_functional(harness: Harness, how: str) -> None:
    endpoint = harness.endpoint()
    client = await harness.client(endpoint, initialDelayMs=0)
    stream = await endpoint.connection()
    await stream.send(b"id: abc\ndata: Hello\n\n")
    assert await client.event() == event("Hello", last_id="abc")
    await break_off(stream, how)
    await (await endpoint.connection()).send(b"id: def\ndata: World\n\n")
    assert await client.event_after_an_error_or_none() == event("World", last_id="def")


# The service itself: docs/service_spec.md.


def test_the_service_says_what_it_can_do(service: str) -> None:
    answer = httpx.get(service, trust_env=False)
    assert (answer.status_code, answer.json()["capabilities"]) == (200, sorted(CLAIMED))
    assert not CLAIMED.keys() & NOT_CLAIMED.keys()


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("", "Expecting value"),
        ("[]", "object"),
        ("{}", "streamUrl"),
        ('{"streamUrl": "ftp://x/"}', "streamUrl"),
        ('{"streamUrl": "http://x/"}', "callbackUrl"),
        ('{"streamUrl": "http://x/", "callbackUrl": 5}', "callbackUrl"),
        ('{"streamUrl": "http://x/", "callbackUrl": "http://x/", "initialDelayMs": -1}', "initialDelayMs"),
        ('{"streamUrl": "http://x/", "callbackUrl": "http://x/", "readTimeoutMs": "1"}', "readTimeoutMs"),
        ('{"streamUrl": "http://x/", "callbackUrl": "http://x/", "headers": {"a": 1}}', "headers"),
    ],
    ids=["nothing", "a list", "no URL", "another scheme", "no callback", "a number", "below 0", "a text", "a header"],
)
def test_the_service_refuses_invalid_parameters_by_400(service: str, document: str, problem: str) -> None:
    answer = httpx.post(service, content=document, trust_env=False)
    assert (answer.status_code, problem in answer.json()["error"]) == (400, True), answer.text


@pytest.mark.asyncio
async def test_the_service_knows_no_other_command_and_no_other_stream(harness: Harness) -> None:
    client: Client = await harness.client(harness.endpoint())
    async with httpx.AsyncClient(trust_env=False) as http:
        for content in ('{"command": "listen", "listen": {"type": "a"}}', "[]", "no"):
            assert (await http.post(client.resource, content=content)).status_code == 400
        assert (await http.post(client.resource + "0", json={"command": "restart"})).status_code == 404
        assert (await http.delete(client.resource + "0")).status_code == 404


# The original.


@pytest.mark.timeout(900)
def test_the_original_harness_agrees(service: str) -> None:
    binary = os.environ.get("SSE_CONTRACT_TESTS", "")
    if not binary:
        pytest.skip("SSE_CONTRACT_TESTS names no binary of github.com/launchdarkly/sse-contract-tests")
    assert shutil.which(binary), f"SSE_CONTRACT_TESTS: {binary} cannot be run"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [binary, "--url", service, "--host", "127.0.0.1", "--port", str(port)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
