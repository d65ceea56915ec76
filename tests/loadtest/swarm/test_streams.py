"""What a generator makes of what servers do to its streams, against a real server that does it."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import struct
import subprocess
import time
from dataclasses import dataclass, replace

import pytest

from loadtest.messages import Close, Cut, Group, Mark, Open, Published, Settle, Slow
from loadtest.models import MODELS, Loss, Wait
from loadtest.swarm.connection import PIECE
from tests.loadtest.swarm.driving import PATIENCE, Driven, now_version
from tests.sdk_client.scripted import V1, V2, V3, Peer, Script, ScriptedServer, answers, cuts, event, follow
from tests.servers import free_port, missing

pytestmark = pytest.mark.asyncio


@dataclass
class TlsServer(ScriptedServer):
    """The same over TLS."""

    context: ssl.SSLContext | None = None

    async def listen(self) -> None:
        self._peers = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]


async def ends(peer: Peer) -> None:
    await peer.head()
    await peer.event(peer.server.version)
    await peer.end()


async def breaks(peer: Peer) -> None:
    await peer.head()
    await peer.event(peer.server.version)
    await peer.cut()


async def resets(peer: Peer) -> None:
    await peer.head()
    await peer.event(peer.server.version)
    peer._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await peer.cut()


async def test_a_live_event_is_timed_from_the_moment_that_its_version_names() -> None:
    async with ScriptedServer() as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-js", 20)
        await driven.until(lambda told: told.now.open == 20 and told.counts["catch_ups"] == 20)
        version = now_version()
        await asyncio.sleep(0.2)  # what it takes to be published
        server.announce(version)
        told = await driven.until(lambda told: told.counts["deliveries"] == 20)
        assert 0.2 <= (told.histograms["delivery"].percentile(0.0) or 0) <= told.longest("delivery") < 10
        assert told.times("staleness") == 20
        assert (told.counts["events"], told.counts["duplicates"], told.counts["out_of_order"]) == (40, 0, 0)
        assert (await driven.stop()).lost == [0]
    assert driven.status == 0


async def test_versions_of_others_are_taken_but_not_measured() -> None:
    async with ScriptedServer() as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-js", signature=137)
        await driven.until(lambda told: told.now.open == 1)
        server.announce(now_version() // 1000 * 1000 + 138)
        await driven.until(lambda told: told.counts["events"] == 2)
        server.announce(now_version() // 1000 * 1000 + 1137)
        told = await driven.until(lambda told: told.counts["events"] == 3)
        assert told.counts["deliveries"] + told.counts["catch_ups"] == 1


async def test_duplicates_and_disorder_on_one_stream_are_faults_and_a_replay_on_the_next_is_none() -> None:
    async def disorderly(peer: Peer) -> None:
        await peer.head()
        for version in (V1, V3, V2, V2, V3, V3):
            await peer.event(version)
        await peer.end()

    async def repeats(peer: Peer) -> None:
        await peer.head()
        await peer.send(event(V1) + event(V2) + b": ping\n\n" + event(V3))
        await peer.hold()

    async with ScriptedServer(scripts=[disorderly, repeats]) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-python")
        told = await driven.until(lambda told: told.counts["events"] == 9)
        counts = told.counts
        assert (counts["out_of_order"], counts["duplicates"], counts["replays"]) == (2, 2, 3)
        assert (counts["catch_ups"], counts["heartbeats"], counts["opened"]) == (2, 1, 2)
        assert told.lost == {Loss.CLEAN: 1}


async def test_events_are_the_same_however_the_bytes_are_cut() -> None:
    async def drips(peer: Peer) -> None:
        whole = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        for version in (V1, V2, V3):
            body = event(version)
            whole += b"%x\r\n%s\r\n" % (len(body) - 9, body[:-9]) + b"9\r\n%s\r\n" % body[-9:]
        for at in range(0, len(whole), 7):
            await peer.raw(whole[at : at + 7])
            await asyncio.sleep(0)
        await peer.hold()

    async with ScriptedServer(scripts=[drips]) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-go", 3)
        told = await driven.until(lambda told: told.counts["events"] == 9)
        assert (told.counts["duplicates"], told.counts["invalid"], told.lost) == (0, 0, {})


@pytest.mark.parametrize(
    ("script", "loss", "words"),
    [
        pytest.param(breaks, Loss.CUT, "cut off without an end", id="cut"),
        pytest.param(resets, Loss.CUT, "connection reset", id="reset"),
        pytest.param(cuts, Loss.REFUSED, "closed without an answer", id="closed before the head"),
        pytest.param(answers(503), Loss.STATUS, "status 503", id="503"),
        pytest.param(answers(200, b"{}"), Loss.STATUS, "an answer that is not an event stream", id="not a stream"),
    ],
)
async def test_each_loss_is_counted_by_its_kind_and_in_words(script: object, loss: Loss, words: str) -> None:
    async with ScriptedServer(scripts=[script, follow]) as server, Driven() as driven:  # type: ignore[list-item]
        await driven.open(server.port, "flagsmith-go")
        told = await driven.until(lambda told: told.now.open == 1 and bool(told.lost))
        assert told.lost == {loss: 1}
        assert told.errors == {words: 1}


async def test_python_is_readmitted_a_second_after_it_was_cut() -> None:
    async with ScriptedServer(scripts=[breaks, follow]) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-python")
        told = await driven.until(lambda told: told.counts["opened"] == 2)
        assert told.lost == {Loss.CUT: 1}
        (readmitted,) = told.readmission.values()
        assert 1.0 <= (readmitted.percentile(1.0) or 0) < 10  # it waits a second


async def test_what_is_lost_is_counted_for_the_fault_that_hurt_and_a_clean_end_for_none() -> None:
    async with ScriptedServer() as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-go", 10)
        await driven.until(lambda told: told.now.open == 10)
        driven.say(Mark(fault=3))
        driven.say(Cut(share=1.0))
        told = await driven.until(lambda told: told.counts["opened"] == 20)
        assert {mark: times.count for mark, times in told.readmission.items()} == {3: 10}
        assert sum(sample.groups[0].broken.get(3, 0) for sample in told.samples) == 10
        assert max(sample.groups[0].hurt.get(3, 0) for sample in told.samples) > 0
        assert told.now.hurt == {}
        assert (told.lost, told.times("gap")) == ({Loss.CUT: 10}, 0)


async def test_what_a_cut_breaks_before_it_is_a_stream_is_an_attempt_and_no_stream_lost() -> None:
    async def silent(peer: Peer) -> None:
        await peer.hold()

    async with ScriptedServer(scripts=[silent, follow]) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-go")
        await driven.until(lambda told: told.now.connecting == 1 and len(server.streams) == 1)
        driven.say(Cut(share=1.0))
        told = await driven.until(lambda told: told.counts["opened"] == 1)
        assert (told.lost, told.readmission) == ({Loss.REFUSED: 1}, {})


async def test_a_cut_breaks_connections_that_are_kept_for_the_next_stream() -> None:
    broken = asyncio.Event()

    async def ends_and_listens(peer: Peer) -> None:
        await ends(peer)
        with pytest.raises(ConnectionResetError):
            await peer._reader.read()
        broken.set()
        peer._writer.close()

    thoughtful = replace(MODELS["flagsmith-go"], clean=Wait(fixed=3600.0))
    async with ScriptedServer(scripts=[ends_and_listens]) as server, Driven() as driven:
        await driven.open(server.port, thoughtful)
        await driven.until(lambda told: told.lost[Loss.CLEAN] == 1)
        assert not broken.is_set()
        driven.say(Cut(share=1.0))
        async with asyncio.timeout(PATIENCE):
            await broken.wait()
        told = await driven.report()
        assert (told.counts["connections"], told.now.waiting, told.lost) == (1, 1, {Loss.CLEAN: 1})


async def test_an_android_client_that_was_cut_never_comes_back_and_is_counted() -> None:
    async with ScriptedServer(scripts=[breaks]) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-android", 5)
        told = await driven.until(lambda told: told.now.gave_up == 5)
        assert len(server.streams) == 5
        assert told.now.hurt == {}  # nobody waits for them
        driven.say(Published(versions=[(0, now_version())]))
        told = await driven.report()
        assert told.now.behind == 0  # who has given up does not follow
        driven.say(Close(group=0, count=2))
        told = await driven.report()
        assert (told.now.clients, told.now.gave_up, told.counts["given_up"], told.counts["left"]) == (3, 3, 5, 2)
        assert (await driven.stop()).lost == [0]


async def test_who_misses_a_version_is_behind_until_it_holds_it() -> None:
    async with ScriptedServer() as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-js", 8)
        await driven.until(lambda told: told.counts["catch_ups"] == 8)
        version = now_version()
        driven.say(Published(versions=[(0, version)]))
        told = await driven.until(lambda told: told.now.behind == 8)
        server.announce(version)
        told = await driven.until(lambda told: told.now.behind == 0)
        assert told.times("staleness") == 8
        longest = told.longest("staleness")
        assert 0 < told.counts["behind_us"] / 1e6 <= 8 * longest * 1.02  # buckets are that wide
        driven.say(Published(versions=[(0, now_version())]))  # which the server never tells of
        await driven.until(lambda told: told.now.behind == 8)
        assert (await driven.stop()).lost == [8]


async def test_a_connection_that_is_kept_serves_the_next_stream() -> None:
    async with ScriptedServer(scripts=[ends, follow]) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-go")
        told = await driven.until(lambda told: told.counts["opened"] == 2)
        assert (told.counts["connections"], told.lost, told.times("gap")) == (1, {Loss.CLEAN: 1}, 1)


async def test_a_kept_connection_that_closes_as_it_is_asked_costs_no_loss() -> None:
    async def ends_and_closes(peer: Peer) -> None:
        await ends(peer)
        peer._writer.close()

    async with ScriptedServer(scripts=[ends_and_closes, follow]) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-go")
        told = await driven.until(lambda told: told.counts["opened"] == 2)
        assert (told.counts["connections"], told.lost) == (2, {Loss.CLEAN: 1})


async def test_ours_leaves_a_stream_only_when_the_next_one_is_live() -> None:
    async def lives(peer: Peer) -> None:
        await peer.head(X_Stream_Lifetime="3", X_Stream_Join_Window="1")
        await peer.event(V1)
        await peer.hold()

    async with ScriptedServer(scripts=[lives]) as server, Driven() as driven:
        await driven.open(server.port, "flagstream", 10)
        told = await driven.until(lambda told: told.counts["replaced"] >= 10)
        opened = [sample.groups[0].open for sample in told.samples]
        assert min(opened[opened.index(10) :]) == 10
        assert told.lost == {}


async def test_a_stream_over_at_once_makes_ours_wait_and_flagsmith_python_ask_again_at_once() -> None:
    async with ScriptedServer(scripts=[ends]) as server, Driven() as driven:
        began = time.monotonic()
        await driven.open(server.port, "flagstream")
        told = await driven.until(lambda told: told.counts["opened"] >= 3)
        assert time.monotonic() - began > 2
        assert told.errors["a stream that was over at once"] >= 2


async def test_a_target_that_refuses_is_counted_and_tried_again() -> None:
    async with Driven() as driven:
        await driven.open(free_port(), "flagsmith-js", 3)
        told = await driven.until(lambda told: told.lost[Loss.REFUSED] >= 5)
        assert set(told.errors) == {"connection refused"}
        assert (told.now.open, told.now.connecting + told.now.waiting) == (0, 3)


async def test_a_server_that_says_nothing_is_left_by_who_watches_for_it() -> None:
    async def silent(peer: Peer) -> None:
        await peer.hold()

    hurried = Wait(fixed=0.01)
    impatient = replace(MODELS["flagstream"], open_timeout=0.5, silence=0.5, refused=hurried, silent=hurried)
    async with ScriptedServer(scripts=[silent, follow]) as server, Driven() as driven:
        await driven.open(server.port, impatient)
        told = await driven.until(lambda told: told.lost[Loss.SILENT] >= 1)
        # More than one is refused where somebody is held up for half a second.
        assert told.lost == {Loss.REFUSED: told.errors["no answer in time"], Loss.SILENT: told.errors["silent"]}
        assert told.errors["no answer in time"] >= 1
        assert told.counts["requests"] >= 2


async def test_clients_that_stay_a_while_are_replaced_by_others() -> None:
    async with ScriptedServer() as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-js", 20, stays=(0.1, 0.3), away=(0.05, 0.1))
        # Some leave before their streams are there, where somebody is held up for as long as they stay.
        told = await driven.until(lambda told: told.counts["left"] >= 60 and told.counts["opened"] >= 60)
        assert max(sample.groups[0].clients for sample in told.samples) <= 20
        assert told.lost == {}
        driven.say(Settle())
        left = (await driven.report()).counts["left"]
        await asyncio.sleep(0.5)  # in which every one of them would have left
        assert (await driven.report()).counts["left"] == left
        assert (await driven.stop()).lost == [0]


async def test_a_body_without_chunks_ends_with_its_connection() -> None:
    async def plain(peer: Peer) -> None:
        await peer.raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + event(V1))
        peer._writer.close()

    async with ScriptedServer(scripts=[plain, follow]) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-go")
        told = await driven.until(lambda told: told.counts["opened"] == 2)
        assert told.lost == {Loss.CLEAN: 1}


async def test_a_slow_reader_takes_its_time_and_misses_nothing_in_the_end() -> None:
    async with ScriptedServer() as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-js", slow=Slow(reads_every=0.3))
        await driven.until(lambda told: told.now.open == 1)
        server.announce(now_version())
        told = await driven.until(lambda told: told.counts["events"] == 2)
        assert told.now.behind == 0


async def test_a_slow_reader_reads_as_much_at_once_as_it_may_whatever_a_piece_is() -> None:
    async def tells_much(peer: Peer) -> None:
        await peer.head()
        for _ in range(1_000):
            await peer.send(b": " + b"x" * 1_000 + b"\n\n")
        await peer.hold()

    async with ScriptedServer(scripts=[tells_much]) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-js", slow=Slow(reads_every=0.5, bytes=1 << 20))
        told = await driven.until(lambda told: told.now.bytes > 2 * PIECE)  # in one sample, and so in one read
        assert told.lost == {}


async def test_versions_that_a_stream_passes_over_are_told_apart_from_those_between_two_streams() -> None:
    async def passes_over(peer: Peer) -> None:
        await peer.head()
        await peer.event(V1)
        await peer.event(V3)
        await peer.end()

    async def goes_on(peer: Peer) -> None:
        await peer.head()
        await peer.event(V3 + 3)
        await peer.hold()

    async with ScriptedServer(scripts=[passes_over, goes_on]) as server, Driven() as driven:
        driven.start(server.port, groups=[Group(name="g", model=MODELS["flagsmith-ios"], target=0, first=0, count=1)])
        driven.say(Published(versions=[(0, version) for version in (V1, V2, V3, V3 + 1, V3 + 2, V3 + 3)]))
        driven.say(Open(group=0, first=0, count=1, over=0.0))
        told = await driven.until(lambda told: told.counts["events"] == 3)
        assert (told.counts["skipped"], told.counts["skipped_in_stream"]) == (3, 1)


async def test_a_client_that_gave_up_leaves_like_any_other_and_another_comes() -> None:
    is_broken = True

    async def breaks_at_first(peer: Peer) -> None:
        await (breaks if is_broken else follow)(peer)

    async with ScriptedServer(scripts=[breaks_at_first]) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-android", 2, stays=(0.2, 0.3))
        await driven.until(lambda told: told.counts["given_up"] >= 4)
        is_broken = False
        told = await driven.until(lambda told: told.now.open == 2)
        assert (told.now.gave_up, told.now.clients) == (0, 2)
        assert told.counts["left"] >= told.counts["given_up"]
        driven.say(Close(group=0, count=2))
        told = await driven.report()
        assert (told.now.clients, told.now.open, told.now.waiting) == (0, 0, 0)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type:text/event-stream;charset=utf-8\r\n"


async def test_answers_are_read_as_http_has_them_whoever_wrote_them() -> None:
    def says(text: bytes) -> Script:
        async def script(peer: Peer) -> None:
            await peer.raw(text)
            if b": 1000" in text:
                peer._writer.close()

        return script

    async def after_hints(peer: Peer) -> None:
        body = b"%x\r\n%b\r\n" % (len(event(V1)), event(V1))
        whole = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + HEAD
        whole += b"transfer-encoding:\tchunked\r\nX-Long: " + b"x" * 60_000 + b"\r\n\r\n" + body
        for at in range(0, 200, 11):
            await peer.raw(whole[at : at + 11])
            await asyncio.sleep(0)
        await peer.raw(whole[209:])
        await peer.hold()

    scripts = [
        says(HEAD + b"Content-Length: %d\r\n\r\n" % len(event(V1)) + event(V1)),
        says(HEAD + b"Content-Length: 0\r\n\r\n"),
        says(HEAD + b"Content-Length: 1000\r\n\r\n" + event(V1)),
        says(HEAD + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b"),
        says(HEAD + b"X-Long: " + b"x" * 70_000),
        after_hints,
    ]
    eager = replace(MODELS["flagsmith-go"], cut=Wait(fixed=0.01), status=Wait(fixed=0.01))
    async with ScriptedServer(scripts=scripts) as server, Driven() as driven:
        await driven.open(server.port, eager)
        told = await driven.until(lambda told: told.counts["events"] == 3 and told.now.open == 1)
        assert told.lost == {Loss.CLEAN: 2, Loss.CUT: 1, Loss.STATUS: 2}
        assert told.errors == {
            "cut off without an end": 1,
            "an event stream that is compressed, which nobody asked for": 1,
            "an answer without an end to its head": 1,
        }
        assert (told.counts["opened"], told.counts["connections"]) == (4, 4)  # bodies with an end keep theirs


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's, with a certificate that nobody trusts."""
    if shutil.which("openssl") is None:
        missing("openssl", "openssl")
    folder = tmp_path_factory.mktemp("tls")
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run([*request.split(), "-keyout", "key", "-out", "cert"], check=True, capture_output=True, cwd=folder)
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.load_cert_chain(folder / "cert", folder / "key")
    return made


async def test_a_slow_reader_over_tls_reads_what_is_meant(context: ssl.SSLContext) -> None:
    async with TlsServer(context=context) as server, Driven() as driven:
        slow = Slow(reads_every=0.2)
        await driven.open(server.port, "flagsmith-go", slow=slow, where={"tls": True, "verify": False})
        await driven.until(lambda told: told.now.open == 1)
        server.announce(now_version())
        told = await driven.until(lambda told: told.counts["events"] == 2)
        assert told.lost == {}


@pytest.mark.parametrize("verify", [False, True], ids=["not verified", "verified"])
async def test_streams_and_flags_over_tls_are_had_only_from_who_proves_its_name(
    context: ssl.SSLContext, verify: bool
) -> None:
    async with TlsServer(context=context) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-go", 3, fetches=True, where={"tls": True, "verify": verify})
        if verify:
            told = await driven.until(lambda told: told.lost[Loss.REFUSED] >= 3)
            assert set(told.errors) == {"TLS: certificate verify failed"}
            return
        await driven.until(lambda told: told.counts["catch_ups"] == 3 and told.counts["fetches"] == 3)
        server.announce(now_version())
        told = await driven.until(lambda told: told.counts["deliveries"] == 3 and told.counts["fetches"] == 6)
        assert (told.lost, told.errors) == ({}, {})


async def test_a_failed_fetch_makes_a_javascript_client_deaf_and_is_counted() -> None:
    async with ScriptedServer(document_scripts=[answers(500)]) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-js", fetches=True)
        told = await driven.until(lambda told: told.now.deaf == 1)
        assert (told.counts["fetches"], told.counts["fetches_failed"]) == (1, 1)
        assert told.errors == {"fetch: status 500": 1}


async def test_ours_asks_for_the_version_it_was_told_of_and_again_if_it_gets_an_older_one() -> None:
    async def older(peer: Peer) -> None:
        await answers(200, b"[]", X_Flagstream_Version=str(V1 - 5))(peer)

    async with ScriptedServer(document_scripts=[older]) as server, Driven() as driven:
        await driven.open(server.port, "flagstream", fetches=True)
        told = await driven.until(lambda told: told.counts["fetches"] == 2)
        assert (told.counts["fetches_older"], told.counts["fetches_failed"]) == (1, 0)
        assert [request.query for request in server.documents] == [f"v={V1}", f"v={V1}"]


async def test_an_app_that_starts_loads_its_flags_before_its_stream() -> None:
    async with ScriptedServer() as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-go", 4, fetches=True, loads=True)
        await driven.until(lambda told: told.counts["catch_ups"] == 4)
        assert server.requests[0].path == "/api/v1/flags/"
        assert (await driven.report()).counts["fetches"] == 4  # the version that streams begin with is what they have


async def test_a_generator_ends_when_its_conductor_is_gone() -> None:
    async with ScriptedServer() as server:
        async with Driven() as driven:
            await driven.open(server.port, "flagsmith-js", 5)
            await driven.until(lambda told: told.now.open == 5)
        assert driven.status == 0
