from __future__ import annotations

import pytest

from tests.sdk_client.programs import Program
from tests.sdk_client.scripted import V2
from tests.sdk_client.scripted_thread import served

pytest.importorskip("gevent")


def test_under_gevent_greenlets_run_while_one_waits_and_none_of_them_seems_to_be_on_a_loop() -> None:
    patch = "from gevent import monkey; monkey.patch_all(); import gevent\n"
    code = """
import asyncio
turns = []
def turn():
    while True:
        turns.append(asyncio._get_running_loop())
        gevent.sleep(0.001)
gevent.spawn(turn)
client.on_change(lambda change: say("called with", change.value))
begin()
changes = client.changes()
say(client.value("banner"))
before = len(turns)
say(changes.get(20).value, len(turns) > before, set(turns))
client.identity("user")
client.close()
"""
    with served() as server, Program(server, code, before=patch) as program:
        assert program.hear() == "a"
        server.announce(V2, banner="b")
        assert {program.hear(), program.hear()} == {"called with b", "b True {None}"}
        program.end()
        server.await_connections(0)
