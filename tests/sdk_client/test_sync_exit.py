from __future__ import annotations

import signal
from contextlib import ExitStack

from tests.sdk_client.programs import Program
from tests.sdk_client.scripted import V2, Peer
from tests.sdk_client.scripted_thread import served

ENDS = {
    "at its last line": "",
    "by exit in a thread and in the main one": """
thread = threading.Thread(target=sys.exit)
thread.start()
thread.join()
sys.exit(0)
""",
    "while a thread reads changes": """
threading.Thread(target=list, args=(client.changes(),), daemon=True).start()
""",
    "while a name is looked up": """
import socket
other = SyncFlagClient(environment_key="other", api_url="http://example.invalid", require_ready=False)
looking = threading.Event()
socket.getaddrinfo = lambda *_, **__: looking.set() or time.sleep(60)
other.start()
looking.wait(20)
""",
}


def test_scripts_that_forget_to_close_end_at_once_without_a_word() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(served())
        programs = {way: stack.enter_context(Program(server, "begin()\n" + code)) for way, code in ENDS.items()}
        for way, program in programs.items():
            complaints = program.complaints()
            assert (way, complaints, program.process.returncode) == (way, "", 0)
        server.await_connections(0)


def test_a_callback_that_takes_its_time_does_not_hold_up_the_end() -> None:
    code = """
called = threading.Event()

def slow(change):
    say("called")
    called.set()
    time.sleep(60)
client.on_change(slow)
begin()
say("ready")
called.wait(20)  # a value is there before its callbacks are called, so the value is nothing to wait for
"""
    with served() as server, Program(server, code) as program:
        assert program.hear() == "ready"
        server.announce(V2, banner="b")
        assert program.hear() == "called"
        program.end()
        server.await_connections(0)


def test_an_exception_that_ends_a_script_is_all_that_is_to_be_read() -> None:
    with served() as server, Program(server, 'begin()\nraise ValueError("mine")') as program:
        complaints = program.complaints()
        assert program.process.returncode == 1
        assert complaints.count("Traceback") == 1
        assert complaints.endswith("ValueError: mine\n")
        server.await_connections(0)


def test_a_signal_ends_it_and_its_connections() -> None:
    with served() as server, Program(server, "begin()\nsay('ready')\nhear()") as program:
        assert program.hear() == "ready"
        program.process.send_signal(signal.SIGTERM)
        assert not program.complaints()
        assert program.process.returncode == -signal.SIGTERM
        server.await_connections(0)


def test_a_script_that_never_reached_its_server_ends_as_well() -> None:
    async def mute(peer: Peer) -> None:
        await peer.hold()

    with served([mute]) as server:
        server.server.document_scripts += [mute]
        program = Program(server, "client.start()\nuntil(lambda: client.counts.fetches)")
        program.end()
        server.await_connections(0)
