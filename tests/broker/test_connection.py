"""The connection and the readings, against a real nats-server that is killed, frozen and started again."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import nats.errors
import pytest

from publisher import messages
from publisher.messages import broker
from publisher.messages.jetstream import call
from publisher.provision import provision
from tests.broker.conftest import Link, linked, truth, until
from tests.servers import NatsServer, free_port

pytestmark = pytest.mark.asyncio

T0 = 1_735_229_888_760_122


async def put(link: Link, key: str, version: int) -> None:
    await link.client.request(messages.subject(key), messages.encode(version), timeout=5)


async def put_many(link: Link, versions: dict[str, int]) -> None:
    room = asyncio.Semaphore(200)

    async def one(key: str, version: int) -> None:
        async with room:
            await put(link, key, version)

    await asyncio.gather(*(one(key, version) for key, version in versions.items()))


async def test_connecting_does_not_wait_for_nats_and_goes_on_until_it_is_there(nats_server: NatsServer) -> None:
    nats_server.kill()
    async with linked(nats_server.url) as link:
        with pytest.raises(nats.errors.Error):
            await link.client.publish("any", b"")
        nats_server.start()
        await asyncio.wait_for(link.up.wait(), 30)
        await provision(link.client)


async def test_a_server_that_accepts_and_says_nothing_is_tried_until_it_speaks(nats_server: NatsServer) -> None:
    nats_server.pause()
    async with linked(nats_server.url) as link:
        await asyncio.sleep(2.5)  # one attempt has been given up, after nats-py's 2 s
        assert not link.up.is_set()
        nats_server.resume()
        await asyncio.wait_for(link.up.wait(), 30)


async def test_requests_that_fail_while_nats_is_away_leave_nothing_behind(nats_server: NatsServer, link: Link) -> None:
    nats_server.kill()
    await until(lambda: truth(link.lost == 1), "the loss")
    for _ in range(10):
        with pytest.raises(nats.errors.ConnectionReconnectingError):
            await link.client.request("any", b"")
    assert link.client._resp_map == {}


async def test_closing_ends_a_connection_that_was_never_made() -> None:
    async with linked(f"nats://127.0.0.1:{free_port()}") as link:
        assert not link.up.is_set()
    assert link.client.is_closed or not link.client.is_connected


async def test_closing_amid_a_reconnection_that_waits_for_its_old_socket_ends_without_a_fault(
    nats_server: NatsServer,
) -> None:
    async with linked(nats_server.url) as link:
        await link.up.wait()
        nats_server.pause()
        for _ in range(40):
            await link.client.publish("any", bytes(900_000))  # more than the kernel takes: the socket cannot end
        await until(lambda: truth(not link.client.pending_data_size), "handing everything to the socket")
        await link.client.force_reconnect()
        await asyncio.sleep(0)  # the reconnection's first turn, in which it begins to wait
        await link.client.close()
        assert link.client.is_closed
        assert link.lost == 1
        nats_server.resume()


async def test_a_server_that_comes_back_is_found_again_with_one_line_each_in_the_log(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "publisher.messages.client")
    async with linked(nats_server.url) as link:
        await link.up.wait()
        heard: list[bytes] = []

        async def listen(message: object) -> None:
            heard.append(message.data)  # type: ignore[attr-defined]  # a Msg

        await link.client.subscribe("topic", cb=listen)
        nats_server.kill()
        await until(lambda: truth(link.lost == 1), "the loss")
        await asyncio.sleep(1)  # many attempts fail meanwhile
        nats_server.start()
        await until(lambda: truth(link.connected == 2), "the return")
        await link.client.publish("topic", b"still subscribed")
        await until(lambda: truth(heard == [b"still subscribed"]), "the message")
    lines = [record.getMessage() for record in caplog.records if record.name == "publisher.messages.client"]
    assert lines == ["connected to NATS", "NATS connection lost, reconnecting", "connected to NATS"]
    assert not any(record.exc_info for record in caplog.records)


async def test_a_request_fails_at_once_when_its_connection_is_lost(nats_server: NatsServer, link: Link) -> None:
    await link.client.subscribe("silent")  # somebody listens and never answers
    request = asyncio.ensure_future(link.client.request("silent", b"", timeout=60))
    await link.client.flush()
    nats_server.kill()
    with pytest.raises(nats.errors.ConnectionReconnectingError):
        await asyncio.wait_for(request, 10)


async def test_a_flush_that_was_given_up_does_not_deafen_the_connection(nats_server: NatsServer, link: Link) -> None:
    nats_server.pause()

    async def gives_up() -> bool:
        try:
            await link.client.flush(timeout=0.1)
        except nats.errors.FlushTimeoutError:
            return True
        return False  # the signal has not taken effect yet

    await until(gives_up, "a flush that takes too long")
    nats_server.resume()
    await link.client.flush()
    assert link.lost == 0


async def test_credentials_without_the_package_that_reads_them_are_refused_with_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "nkeys", None)  # how Python is told that there is no such package
    with pytest.raises(ModuleNotFoundError, match="nkeys"):
        await broker.connect(
            ["nats://127.0.0.1:1"],
            name="test",
            credentials="/some/file.creds",
            on_connected=lambda: None,
            on_disconnected=lambda: None,
            on_error=lambda _: None,
        )


async def test_the_newest_of_every_subject_is_read_and_no_consumer_is_left(link: Link) -> None:
    with pytest.raises(broker.StreamMissingError):
        await broker.read_newest(link.client)
    with pytest.raises(broker.StreamMissingError):
        await broker.read_mark(link.client)
    await provision(link.client)
    assert (await broker.read_newest(link.client)).versions == {}
    versions = {f"e{number}": T0 + number for number in range(2000)}
    await put_many(link, versions)
    await put(link, "e7", T0 + 5_000_000)
    versions["e7"] = T0 + 5_000_000
    newest = await broker.read_newest(link.client)
    mark = await broker.read_mark(link.client)
    assert newest.versions == versions
    assert newest.sequences["e7"] == newest.last_sequence == mark.last_sequence == 2001
    assert newest.created == mark.created
    assert mark.messages == 2000
    assert b'"consumers":[]' in await call(link.client, "CONSUMER.NAMES.flags")


async def test_more_subjects_than_one_batch_are_all_read(link: Link) -> None:
    await provision(link.client)
    versions = {f"e{number}": T0 + number for number in range(broker.BATCH + 100)}
    await put_many(link, versions)
    assert (await broker.read_newest(link.client)).versions == versions


async def test_exactly_one_batch_is_read(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "BATCH", 8)
    await provision(link.client)
    for count in (7, 8, 9, 16, 17):
        await put_many(link, {f"e{number}": T0 + number for number in range(count)})
        assert len((await broker.read_newest(link.client)).versions) == count


async def test_what_is_no_announcement_is_counted_and_left_out(link: Link) -> None:
    await provision(link.client)
    await put(link, "good", T0)
    for key, payload in {"a": b"", "b": b"{}", "c": b'{"updated_at": 1e300}', "d": b"\xff"}.items():
        await link.client.request(messages.subject(key), payload, timeout=30)
    await link.client.request("flags.environment.k€y.updated", messages.encode(T0), timeout=30)
    newest = await broker.read_newest(link.client)
    assert newest.versions == {"good": T0}
    assert newest.invalid == 5
    assert newest.last_sequence == 6


async def test_a_reading_holds_everything_acknowledged_before_it_while_messages_arrive(link: Link) -> None:
    await provision(link.client)
    acknowledged = {f"e{number}": T0 for number in range(300)}
    await put_many(link, acknowledged)
    done = asyncio.Event()

    async def write() -> None:
        version = T0
        while not done.is_set():
            version += 1
            for key in list(acknowledged)[version % 10 :: 10]:
                await put(link, key, version)
                acknowledged[key] = version

    writing = asyncio.ensure_future(write())
    for _ in range(30):
        before = dict(acknowledged)
        newest = (await broker.read_newest(link.client)).versions
        assert newest.keys() == before.keys()
        assert all(newest[key] >= version for key, version in before.items())
    done.set()
    await writing


async def test_a_purged_last_message_does_not_pass_for_a_copy_that_lags(link: Link) -> None:
    await provision(link.client)
    await put(link, "e", T0)
    await put(link, "f", T0)
    await call(link.client, "STREAM.PURGE.flags", {"filter": messages.subject("f")})
    newest = await broker.read_newest(link.client)
    assert newest.versions == {"e": T0}
    assert newest.last_sequence == 2


async def test_a_stream_made_anew_has_another_mark(link: Link) -> None:
    await provision(link.client)
    before = await broker.read_mark(link.client)
    await call(link.client, "STREAM.DELETE.flags")
    await provision(link.client)
    assert (await broker.read_mark(link.client)).created != before.created


async def test_positions_are_read_from_both_forms_of_an_ack_subject() -> None:
    assert broker._positions("$JS.ACK.flags.newest.1.52.3.1795226521780475174.7") == (52, 7)
    assert broker._positions("$JS.ACK._.hash.flags.newest.1.52.3.1795226521780475174.7") == (52, 7)
    assert broker._positions("$JS.ACK.hub.hash.flags.newest.1.52.3.1795226521780475174.7.random") == (52, 7)


async def test_a_missing_permission_is_told_without_the_environment_key(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    nats_server.stop()
    config = tmp_path / "nats.conf"
    config.write_text('authorization { users: [{ user: u, password: p, permissions: { publish: "_INBOX.>" } }] }')
    nats_server.process.command += ["-c", str(config)]
    nats_server.start()
    async with linked(nats_server.url.replace("//", "//u:p@")) as link:
        await link.up.wait()
        await link.client.publish(messages.subject("Some-Key"), b"x")
        await until(lambda: heard(link), "the complaint")
        assert "flags.environment.*.updated" in str(link.errors[0])
        assert "some-key" not in str(link.errors).lower()


async def heard(link: Link) -> bool:
    return bool(link.errors)
