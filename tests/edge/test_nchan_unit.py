"""The feeder's systemd unit, its command line, and the numbers that it shares with nginx.conf."""

from __future__ import annotations

import asyncio
import configparser
import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from cdn.nchan.connection import Address
from cdn.nchan.feeder import LAST_POSTS
from cdn.nchan.outbox import Outbox
from cdn.nchan.slots import CYCLE, Numbers, beats
from tests.edge.nchan_servers import CONFIG
from tests.programs import COMMAND, environment

UNIT = Path(__file__).parent.parent.parent / "deploy" / "systemd" / "flagstream-nchan-feeder.service"


def numbers() -> Numbers:
    found = re.search(r"return 200 '(\{.*\})'", CONFIG.read_text())
    assert found
    return msgspec.json.decode(found[1].replace("$msec", "1795249778.123"), type=Numbers)


def test_the_unit_starts_a_command_that_there_is() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(UNIT)
    service = unit["Service"]
    assert float(service["TimeoutStopSec"]) >= LAST_POSTS + 10
    assert service["Restart"] == "always"
    [_, program, *arguments] = service["ExecStart"].split()
    assert program == "flagstream"
    done = subprocess.run(
        [*COMMAND, *arguments, "--check"], check=False, capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, done.stderr
    assert "nats_url" in done.stdout
    assert arguments[-1] in CONFIG.read_text().replace("listen ", "http://"), "the port of nginx.conf's second server"


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8085", "https://nginx:1", "http://nginx:1/path", "http://", "http://nginx:x"]
)
def test_an_nginx_that_is_no_url_is_refused_in_words(url: str) -> None:
    command = [*COMMAND, "edge", "feed-nchan", "--nginx", url]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment(), timeout=30)
    assert done.returncode == 2
    assert done.stderr.startswith("flagstream: --nginx: ")
    assert "Traceback" not in done.stderr


def test_an_address_reads_as_it_was_written() -> None:
    assert str(Address.of("http://10.0.0.1:8085")) == "10.0.0.1:8085"
    assert str(Address.of("http://[::1]:8085/")) == "[::1]:8085"
    assert Address.of("http://nginx").port == 80


def test_nginx_conf_splits_streams_over_the_lifetimes_that_it_tells_the_feeder() -> None:
    split = re.search(r"split_clients \$request_id \$lifetime \{(.*?)\}", CONFIG.read_text(), re.DOTALL)
    assert split
    assert [int(each.split()[1]) for each in split[1].split(";") if each.strip()] == numbers().lifetimes
    assert max(numbers().lifetimes) - numbers().silence <= 15


def test_a_stream_hears_one_heartbeat_so_that_its_silence_ends_it_no_earlier_than_it_says() -> None:
    told = numbers()
    assert f"nchan_subscriber_timeout {told.silence};" in CONFIG.read_text()
    for lifetime in told.lifetimes:
        opened = 1_795_249_999  # its last two digits are the channel's
        moments = [
            second - opened for second in range(opened, opened + CYCLE) if f"/beat/99-{lifetime}" in beats(second, told)
        ]
        [beat] = moments
        assert beat - 1 + told.silence == lifetime, "opened at the very end of that second it has lived its lifetime"
        assert beat + 1 < told.silence, "else silence ends it before"
        assert 2 * lifetime < CYCLE, "the next streams of that name come when these have ended"


@pytest.mark.parametrize(
    "wrong", [{"silence": 0}, {"lifetimes": []}, {"lifetimes": [35]}, {"lifetimes": [18]}, {"lifetimes": "30"}]
)
def test_numbers_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises((msgspec.ValidationError, ValueError)):
        msgspec.convert({"now": 1.0, "silence": 18, "lifetimes": [30], **wrong}, type=Numbers)


@pytest.mark.asyncio
async def test_an_outbox_posts_the_newest_only_and_one_post_of_a_key_at_a_time() -> None:
    newest = {"a": 1, "b": 5}
    outbox = Outbox(newest, 0)
    outbox.want("a")
    outbox.want("a")
    assert await outbox.take() == ("a", 1)
    newest["a"] = 2
    outbox.want("a")
    newest["a"] = 3
    outbox.want("a")
    outbox.want("b")
    assert await outbox.take() == ("b", 5), "a is being posted"
    outbox.told("a", 1)
    assert await outbox.take() == ("a", 3)
    outbox.told("a", 3)
    outbox.told("b", 5)
    assert outbox.unsent == 0
    outbox.want("a")
    assert outbox.unsent == 0, "it was confirmed"
    outbox.want_everything()
    assert {await outbox.take(), await outbox.take()} == {("a", 3), ("b", 5)}


@pytest.mark.asyncio
async def test_what_may_not_have_arrived_is_posted_again_and_everything_includes_what_is_being_posted() -> None:
    newest = {"a": 1}
    outbox = Outbox(newest, 0)
    outbox.want("a")
    await outbox.take()
    outbox.doubt("a")
    assert await outbox.take() == ("a", 1)
    outbox.want_everything()
    outbox.told("a", 1)
    assert outbox.unsent == 1, "that post may have gone to an nginx that has forgotten it"
    assert await outbox.take() == ("a", 1)


@pytest.mark.asyncio
async def test_a_key_that_was_posted_rests_and_is_counted_while_it_lacks_something() -> None:
    newest = {"a": 1}
    outbox = Outbox(newest, 0.05)
    outbox.want("a")
    await outbox.take()
    outbox.told("a", 1)
    newest["a"] = 2
    outbox.want("a")
    assert outbox.unsent == 1
    async with asyncio.timeout(30):
        assert await outbox.take() == ("a", 2)
    outbox.close()
