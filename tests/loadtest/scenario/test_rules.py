"""Rules between keys, each at the line of the key that breaks it."""

# ruff: noqa: E501 - a text and its fault stand side by side

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.scenario.reading import ScenarioError, read

TOP = 'title = "t"\nseconds = 60\n'
CLIENTS = "[clients]\ncount = 10\n"


def entry(text: str) -> str:
    return f"{TOP}{CLIENTS}[[timeline]]\nat = 1\n{text}\n"


def mix(text: str) -> str:
    return f'{TOP}{CLIENTS}[[clients.mix]]\nmodel = "eventsource"\n{text}\n'


BROKEN = {
    "kill without part": (entry('do = "kill"'), '5: do = "kill" needs part: say which'),
    "stop without part": (entry('do = "stop"'), '5: do = "stop" needs part: say which'),
    "freeze without part": (entry('do = "freeze"\ndown = 1'), '5: do = "freeze" needs part: say which'),
    "freeze without down": (entry('do = "freeze"\npart = "nats"'), '5: do = "freeze" needs down: say for how many seconds'),
    "freeze for no time": (entry('do = "freeze"\npart = "nats"\ndown = 0'), '9: do = "freeze" needs down: say for how many seconds'),
    "deploy with part": (entry('do = "deploy"\npart = "worker"'), '8: timeline.part says nothing with do = "deploy": it takes no more keys'),
    "cut with part": (entry('do = "cut"\npart = "edge"'), '8: timeline.part says nothing with do = "cut": it takes share'),
    "kill with lasts": (entry('do = "kill"\npart = "nats"\nlasts = 2'), '9: timeline.lasts says nothing with do = "kill": it takes part, down'),
    "run without command": (entry('do = "run"'), '5: do = "run" needs command: give it as a list: ["systemctl", "restart", "flagstream"]'),
    "run with an empty command": (entry('do = "run"\ncommand = []'), '8: do = "run" needs command: give it as a list: ["systemctl", "restart", "flagstream"]'),
    "run nothing": (entry('do = "run"\ncommand = ["", "x"]'), '8: timeline.command must begin with a program, not with ""'),
    "run with a zero byte": (entry('do = "run"\ncommand = ["a", "\\u0000"]'), r'8: timeline.command: "\u0000" has a zero byte, which no program can be given'),
    "a title that a terminal obeys": (f'title = "\\u001b[2J"\nseconds = 60\n{CLIENTS}', r'1: title = "\u001b[2J" must be one line of printable characters'),
    "clients without times": (entry('do = "clients"\nlasts = 2'), '5: do = "clients" needs times: say how many times as many'),
    "clients without lasts": (entry('do = "clients"\ntimes = 2'), '5: do = "clients" needs lasts: say for how many seconds'),
    "clients that are not more": (entry('do = "clients"\ntimes = 1\nlasts = 2'), '8: timeline.times = 1 must be above 1 with do = "clients": 2 is as many again'),
    "rate without times": (entry('do = "rate"\nlasts = 2'), '5: do = "rate" needs times: say how many times as fast'),
    "rate without lasts": (entry('do = "rate"\ntimes = 0.5'), '5: do = "rate" needs lasts: say for how many seconds'),
    "no edge": (entry('do = "kill"\npart = "edge"'), '8: timeline.part = "edge": the stack has none: write edge = "varnish" under [local]'),
    "no waiting room": (entry('do = "kill"\npart = "waiting_room"'), '8: timeline.part = "waiting_room": the stack has none: write edge = "varnish" under [local]'),
    "no redis": (entry('do = "stop"\npart = "redis"'), '8: timeline.part = "redis": the stack has none: write redis = true under [local]'),
    "no second worker": (entry('do = "kill"\npart = "worker"'), '8: timeline.part = "worker": the stack has no second one: write workers = 2 under [local], or part = "workers"'),
    "workers that stay down": (entry('do = "kill"\npart = "workers"\ndown = 3'), '9: timeline.down = 3: a supervisor starts others at once; leave it out, or write part = "stream_server"'),
    "after the end": (f'{TOP}{CLIENTS}[[timeline]]\nat = 60\ndo = "deploy"\n', "6: timeline.at = 60 must be before the end of the run, seconds = 60"),
    "out of order": (
        f'{TOP}{CLIENTS}[[timeline]]\nat = 9\ndo = "deploy"\n[[timeline]]\nat = 8\ndo = "deploy"\n',
        "9: timeline.at = 8 comes before the entry above it, at = 9: put the timeline in order, by which its entries are numbered",
    ),
    "publishing that ends first": (f"{TOP}{CLIENTS}[publish]\nstart = 9\nuntil = 9\n", "7: publish.until = 9 must be after publish.start = 9"),
    "publishing that never begins": (
        f"{TOP}{CLIENTS}[publish]\nstart = 60\n",
        "6: publish.start = 60 must be before the end of the run, seconds = 60; for a run without changes write rate = 0",
    ),
    "opening past the end": (f"{TOP}{CLIENTS}open_over = 60\n", "5: clients.open_over = 60 must be less than seconds = 60: the run would end before all have come"),
    "stays the wrong way round": (mix("stays = [9, 2.5]"), "7: clients.mix.stays = [9, 2.5] must begin with the lesser: [2.5, 9]"),
    "away the wrong way round": (mix("stays = [1, 2]\naway = [3, 2]"), "8: clients.mix.away = [3, 2] must begin with the lesser: [2, 3]"),
    "staying no time": (mix("stays = [0, 0]"), "7: clients.mix.stays = [0, 0] must be above 0: nobody would ever be there"),
    "away without stays": (mix("away = [0, 2]"), "7: clients.mix.away says nothing without stays, after which clients leave: give both or neither"),
    "via an edge that is not there": (mix('via = "edge"'), '7: clients.mix.via = "edge" needs an edge: write edge = "varnish" under [local]'),
    "two mixes of one default name": (mix('[[clients.mix]]\nmodel = "eventsource"'), '7: there are two mixes named "eventsource": give this one a name of its own, name = …'),
    "two mixes of one name": (mix('name = "a"\n[[clients.mix]]\nname = "a"\nmodel = "flagstream"'), '9: there are two mixes named "a": give this one a name of its own, name = …'),
    "no keys": (f"{TOP}{CLIENTS}[environments]\nkeys = []\n", "6: environments.keys = [] must have at least one key; leave it out to have some made"),
    "a key twice": (f'{TOP}{CLIENTS}[environments]\nkeys = [\n"a",\n"b",\n"a"]\n', '9: environments.keys has "a" twice'),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_told_at_its_line(tmp_path: Path, case: str) -> None:
    text, fault = BROKEN[case]
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        read(path)
    assert caught.value.faults == (f"{path}:{fault}",)


KEPT = {
    "every part that is there": "".join(
        f'[[timeline]]\nat = 1\ndo = "{do}"\npart = "{part}"\ndown = {0 if "worker" in part and do != "freeze" else 2}\n'
        for part in ("stream_server", "edge", "waiting_room", "publisher", "nats", "redis", "worker", "workers")
        for do in ("kill", "stop", "freeze")
        if "worker" not in part or do == "freeze"
    )
    + '[[timeline]]\nat = 1\ndo = "kill"\npart = "worker"\n[[timeline]]\nat = 1\ndo = "stop"\npart = "workers"\n',
    "what takes no part": '[[timeline]]\nat = 1\ndo = "deploy"\nabout = "x"\n[[timeline]]\nat = 2\ndo = "cut"\nshare = 0.1\n'
    '[[timeline]]\nat = 3\ndo = "rate"\ntimes = 0.5\nlasts = 3\n[[timeline]]\nat = 4\ndo = "run"\ncommand = ["true"]\n'
    '[[timeline]]\nat = 5\ndo = "clients"\ntimes = 5\nover = 1\nlasts = 3\n',
}  # fmt: skip


@pytest.mark.parametrize("case", KEPT)
def test_what_keeps_the_rules_is_read(tmp_path: Path, case: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(f'{TOP}{CLIENTS}[local]\nworkers = 2\nedge = "varnish"\nredis = true\n{KEPT[case]}')
    assert read(path).timeline
