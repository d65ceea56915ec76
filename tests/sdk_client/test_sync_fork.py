from __future__ import annotations

from contextlib import ExitStack

from tests.sdk_client.programs import Program
from tests.sdk_client.scripted import V2, V3
from tests.sdk_client.scripted_thread import served


def test_a_child_has_the_flags_follows_on_its_own_and_the_parent_does_not_notice() -> None:
    code = """
begin()
child = os.fork()
if child:
    until(lambda: client.value("banner") == "b")
    say("parent", client.value("banner"))
    status = os.waitpid(child, 0)[1]
    until(lambda: client.value("banner") == "c")
    say("parent", client.value("banner"), status, client.counts.streams_opened, client.counts.stream_errors)
else:
    changes = client.changes()
    say("child", client.value("banner"), client.flags.source.value)
    until(lambda: client.is_current)
    say("child", changes.get(20).value, client.value("banner"))
"""
    with served() as server, Program(server, code) as program:
        assert program.hear() == "child a server"
        server.await_connections(4)
        server.announce(V2, banner="b")
        assert {program.hear(), program.hear()} == {"parent b", "child b b"}
        server.await_connections(2)
        server.announce(V3, banner="c")
        assert program.hear() == "parent c 0 1 0"
        program.end()
        assert len(server.server.streams) == 2


def test_a_connection_ends_with_the_parents_client_though_a_child_lives_on_which_has_no_part_in_it() -> None:
    code = """
before = descriptors(), threading.active_count()
begin()
hear()
child = os.fork()
if child:
    client.close()
    end(child)
hear()
say(descriptors() <= before[0], threading.active_count() == before[1])
hear()
say(client.value("banner"))
until(lambda: client.value("banner") == "b")
"""
    with served() as server, Program(server, code) as program:
        server.await_connections(2)
        program.tell()
        server.await_connections(0)
        program.tell()
        assert program.hear() == "True True"
        program.tell()
        assert program.hear() == "a"
        server.announce(V2, banner="b")
        program.end()


def test_a_child_with_callbacks_follows_at_once_and_each_process_calls_its_own() -> None:
    code = """
parent = os.getpid()
client.on_change(lambda change: say("parent" if os.getpid() == parent else "child", change.value))
begin()
child = os.fork()
hear()
if child:
    end(child)
"""
    with served() as server, Program(server, code) as program:
        server.await_connections(4)
        server.announce(V2, banner="b")
        assert {program.hear(), program.hear()} == {"parent b", "child b"}
        program.tell()
        program.tell()
        program.end()


# The child of a bare fork has CPython's lock of the interpreter as it was: with a thread that waits for it, which the
# child does not have, it hangs for good. So the client's thread stands still elsewhere, and gives that lock up nowhere
# before it gets there.
FORK_IN_C = """
import ctypes
def fork_in_c():
    until(lambda: len(os.listdir("/proc/self/task")) == 2)
    sys.setswitchinterval(1000)
    held, release = threading.Event(), threading.Event()
    client._background._loop.call_soon_threadsafe(lambda: (held.set(), release.wait()))
    held.wait()
    child = ctypes.PyDLL(None).fork()
    sys.setswitchinterval(0.005)
    release.set()
    return child
"""

WAYS = {
    "before the start": """
child = os.fork()
begin()
follow()
if child:
    end(child)
""",
    "from another thread while others read and wait": """
begin()
others = [threading.Thread(target=follow) for _ in range(4)]
others += [threading.Thread(target=client.changes().get, args=(20,)) for _ in range(4)]
def fork():
    child = os.fork()
    follow()
    if not child:
        os._exit(0)
    children.append(os.waitpid(child, 0)[1])
children = []
for other in [*others, threading.Thread(target=fork)]:
    other.start()
    if other not in others:
        other.join()
for other in others:
    other.join()
sys.exit(children[0])
""",
    "twice": """
begin()
child = os.fork()
if not child:
    grandchild = os.fork()
    follow()
    if grandchild:
        end(grandchild)
follow()
if child:
    end(child)
""",
    "in C, without a word to Python": f"""
{FORK_IN_C}
begin()
child = fork_in_c()
follow()
if child:
    end(child)
os._exit(0)
""",
    "by multiprocessing": """
import multiprocessing
begin()
worker = multiprocessing.get_context("fork").Process(target=follow)
worker.start()
follow()
worker.join()
sys.exit(worker.exitcode)
""",
}


def test_every_process_follows_however_it_was_forked() -> None:
    follow = """
def follow():
    known = client.value("banner")
    until(lambda: client.is_current)
    say(known)
    until(lambda: client.value("banner") == "b")
"""
    with ExitStack() as stack:
        servers = {way: stack.enter_context(served()) for way in WAYS}
        programs = {way: stack.enter_context(Program(servers[way], follow + code)) for way, code in WAYS.items()}
        for way, program in programs.items():
            followers = {"twice": 3, "from another thread while others read and wait": 6}.get(way, 2)
            assert (way, [program.hear() for _ in range(followers)]) == (way, ["a"] * followers)
            servers[way].announce(V2, banner="b")
        for way, program in programs.items():
            assert (way, program.complaints(), program.process.returncode) == (way, "", 0)


def test_a_child_that_python_was_not_told_of_leaves_the_parents_connections_at_its_first_use() -> None:
    code = f"""
{FORK_IN_C}
begin()
child = fork_in_c()
if child:
    hear()
    client.close()
    end(child)
until(lambda: client.value("banner") == "b")
os._exit(0)
"""
    with served() as server, Program(server, code) as program:
        server.await_connections(4)
        program.tell()
        server.await_connections(2)
        server.announce(V2, banner="b")
        program.end()


def test_a_child_does_not_go_back_to_older_flags() -> None:
    code = """
begin()
child = os.fork()
if child:
    end(child)
say("forked")
hear()
until(lambda: client.connected and client.counts.fetches)
client.wait_until_ready(20)
say(client.value("banner"), client.version)
"""
    with served(version=V3, features={"banner": (True, "c")}) as server, Program(server, code) as program:
        assert program.hear() == "forked"
        server.announce(V2, banner="b")
        program.tell()
        assert program.hear() == f"c {V3}"
        program.end()


def test_what_is_closed_begins_nothing_whether_it_was_closed_before_the_fork_or_after() -> None:
    code = """
begin()
child = os.fork()
if not child:
    client.close()
    say(client.value("banner"), client.status.value, threading.active_count())
    sys.exit()
os.waitpid(child, 0)
client.close()
child = os.fork()
say(client.value("banner"), client.status.value, threading.active_count())
if child:
    end(child)
"""
    with served() as server, Program(server, code) as program:
        assert [program.hear() for _ in range(3)] == ["a closed 1"] * 3
        program.end()
        assert len(server.server.streams) == 1


def test_reading_in_a_child_that_cannot_follow_answers_what_there_was() -> None:
    code = """
import httpx, logging
logging.basicConfig(stream=sys.stdout, format="%(message)s")
parent = os.getpid()
def make():
    if os.getpid() != parent:
        raise ValueError
    return httpx.AsyncClient()
client = SyncFlagClient(environment_key="env-key", api_url=sys.argv[1], http=make)
begin()
child = os.fork()
if child:
    end(child)
print(client.value("banner"))
"""
    with served() as server, Program(server, code) as program:
        lines = program.process.communicate(timeout=30)[0].splitlines()
        assert lines[0] == "flags are not followed in this forked process; they stay as they are"
        assert lines[-2:] == ["ValueError", "a"]
