"""Scenario files: every fault at once, each with its line; the short form; what is given beside the file."""

# ruff: noqa: E501 - a text and its fault stand side by side

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from loadtest.scenario.reading import ScenarioError, names, read

Write = Callable[[str], Path]

WHOLE = """\
title = "t"
seconds = 60
[clients]
count = 10
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str) -> Path:
        path = tmp_path / "x.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return written


def faults(path: Path, **given: object) -> list[str]:
    """Return the faults of a file, without its name."""
    with pytest.raises(ScenarioError) as caught:
        read(path, overrides=given)
    assert str(caught.value) == "\n".join(caught.value.faults)
    return [fault.removeprefix(f"{path}:") for fault in caught.value.faults]


# Each: what stands after the whole scenario above (so from line 5 on), and the faults.
FAULTS = {
    "unknown key": ("opne_over = 1\n", ["5: clients.opne_over is not a key of [clients]; there are count, open_over, mix; did you mean open_over?"]),
    "unknown table": ("[locale]\n", ["5: locale is not a key of a scenario; there are title, about, seconds, settle, seed, local, environments, clients, publish, timeline, thresholds; did you mean local?"]),
    "unknown key within an inline table": (
        '[[clients.mix]]\nmodel = "flagstream"\nslow = { evry = 1 }\n',
        ["7: clients.mix.slow.evry is not a key of [clients.mix.slow]; there are every, bytes; did you mean every?"],
    ),
    "text for a number": ('open_over = "1"\n', ['5: clients.open_over = "1" must be a number']),
    "true for a number": ("[local]\nworkers = true\n", ["6: local.workers = true must be a whole number"]),
    "broken whole number": ("[local]\nworkers = 1.5\n", ["6: local.workers = 1.5 must be a whole number"]),
    "number for a switch": ("[local]\nredis = 1\n", ["6: local.redis = 1 must be true or false"]),
    "infinite": ("open_over = inf\n", ["5: clients.open_over = inf must be a finite number"]),
    "not a number": ("[publish]\nuntil = nan\n", ["6: publish.until = nan must be at least 0"]),
    "too small": ("[local]\nworkers = 0\n", ["6: local.workers = 0 must be at least 1"]),
    "too large": ("[publish]\nrate = 1e6\n", ["6: publish.rate = 1e+06 must be at most 10000"]),
    "not above": ('[[clients.mix]]\nmodel = "eventsource"\nshare = 0\n', ["7: clients.mix.share = 0 must be above 0"]),
    "number for text": ("[[clients.mix]]\nmodel = 3\n", ["6: clients.mix.model = 3 must be text in quotes"]),
    "unknown choice": ('[local]\nedge = "varnsh"\n', ['6: local.edge = "varnsh" must be "none" or "varnish"; did you mean varnish?']),
    "unknown deed": (
        '[[timeline]]\nat = 1\ndo = "kil"\npart = "worker"\n',
        ['7: timeline.do = "kil" must be "kill", "stop", "freeze", "deploy", "cut", "clients", "rate" or "run"; did you mean kill?'],
    ),
    "unknown part": (
        '[[timeline]]\nat = 1\ndo = "kill"\npart = "postgres"\n',
        ['8: timeline.part = "postgres" must be "worker", "workers", "stream_server", "edge", "waiting_room", "publisher", "nats" or "redis"'],
    ),
    "name with a space": ('[[clients.mix]]\nmodel = "eventsource"\nname = "a b"\n', ['7: clients.mix.name = "a b" must be at most 64 letters, digits, - and _']),
    "bad key of an environment": (
        '[environments]\nkeys = [\n  "ok",\n  "a.b",\n]\n',
        ['8: environments.keys = "a.b" must be 1 to 128 letters, digits, - and _: the client-side key of an environment'],
    ),
    "one number for a range": (
        '[[clients.mix]]\nmodel = "eventsource"\nstays = 5\n',
        ["7: clients.mix.stays = 5 must be two numbers of seconds: [least, most]"],
    ),
    "half a range": (
        '[[clients.mix]]\nmodel = "eventsource"\nstays = [5]\n',
        ["7: clients.mix.stays = [5] must be two numbers of seconds: [least, most]"],
    ),
    "three numbers for a range": (
        '[[clients.mix]]\nmodel = "eventsource"\nstays = [5, 6, 7]\n',
        ["7: clients.mix.stays = [5, 6, 7] must be two numbers of seconds: [least, most]"],
    ),
    "one table for a list of tables": ("[timeline]\nat = 1\n", ["5: timeline = a table must be a table of its own, begun with [[timeline]]"]),
    "a number for a table of a list": ("mix = [3]\n", ["5: clients.mix = 3 must be a table of its own, begun with [[clients.mix]]"]),
    "a list for a table": ("[[local]]\n", ["5: local = a list of tables must be a table of its own, begun with [local]"]),
    "text for a list": ('[environments]\nkeys = "a"\n', ['6: environments.keys = "a" must be a list: ["first", "second"]']),
    "missing keys of a table": (
        "[[timeline]]\nabout = 'x'\n[[timeline]]\nat = 3\n",
        [
            "5: timeline.at is missing: say at which second of the run",
            "5: timeline.do is missing: say what is done: kill, stop, freeze, deploy, cut, clients, rate or run",
            "7: timeline.do is missing: say what is done: kill, stop, freeze, deploy, cut, clients, rate or run",
        ],
    ),
    "number for a condition": ("[thresholds]\nlost = 0\n", ['6: thresholds.lost = 0 must be a condition in quotes, as "== 0"']),
    "faults of several kinds, in the order of lines": (
        'open_over = -1\n[publish]\nstart = 90\n[[timeline]]\nat = 99\ndo = "deploy"\n[thresholds]\nlots = "== 0"\n',
        [
            "5: clients.open_over = -1 must be at least 0",
            "7: publish.start = 90 must be before the end of the run, seconds = 60; for a run without changes write rate = 0",
            "9: timeline.at = 99 must be before the end of the run, seconds = 60",
            "12: lots is no figure: lots is not among seconds, streams, delivery, opening, gap, readmission, staleness, lost, duplicates, out_of_order, invalid, faults, requests, fetches, publishing, errors, groups, server, generator, drift; did you mean lost?",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_told_with_its_line_and_what_is_allowed(write: Write, case: str) -> None:
    text, expected = FAULTS[case]
    assert faults(write(WHOLE + text)) == [f"{fault}" for fault in expected]


def test_an_unknown_model_is_told_with_those_there_are_and_the_nearest(write: Write) -> None:
    (fault,) = faults(write(WHOLE + '[[clients.mix]]\nmodel = "flagsmith-pyton"\n'))
    assert fault.startswith('6: clients.mix.model = "flagsmith-pyton": there is no such client model; there are ')
    assert fault.endswith("; did you mean flagsmith-python?")


def test_what_a_fault_makes_unclear_is_not_held_to_further_rules(write: Write) -> None:
    # "twice" would need `edge` to be known, and `worker` the number of workers.
    text = '[local]\nedge = "fastly"\n[[timeline]]\nat = 1\ndo = "kill"\npart = "edge"\n'
    assert len(faults(write(WHOLE + text))) == 1


def test_missing_keys_of_the_whole_are_at_its_first_line_and_those_of_a_table_at_its_own(write: Write) -> None:
    assert faults(write("# nothing yet\nseed = 1\n[clients]\nopen_over = 1\n")) == [
        "1: title is missing: say in a line what is tried",
        "1: seconds is missing: say how long the run is",
        "3: clients.count is missing: say how many clients there are",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("title = \n", "1: is not TOML: invalid value at column 9"),
        ("a = 1\na = 2\n", "2: is not TOML: cannot overwrite a value at column 6"),
        ('title = "x"\n\nb = [1,\n', "3: is not TOML: invalid value"),
        ("", "1: is empty; a scenario has at least title, seconds and, under [clients], count"),
        ("# only\n\n", "1: is empty; a scenario has at least title, seconds and, under [clients], count"),
        (WHOLE + "[[short]]\n", "5: short = a list of tables must be a table: [short]"),
        ("a = " + "[" * 100_000, " is nested too deeply to be read"),
        ("a = " + "1" * 5_000, "1: is not TOML: exceeds the limit (4300 digits) for integer string conversion"),
    ],
    ids=["syntax", "key twice", "end too early", "empty", "only comments", "short is a list", "deep", "digits"],
)
def test_what_cannot_be_read_as_toml_is_one_fault(write: Write, text: str, fault: str) -> None:
    (found,) = faults(write(text))
    assert found.startswith(fault)


def test_a_file_that_cannot_be_had_is_one_clear_sentence(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b'title = "x"\nabout = "caf\xe9"\n')
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    assert faults(bad) == ["2: is not UTF-8: there is a byte 0xe9; save the file as UTF-8 text"]
    assert faults(tmp_path) == [" is a folder; name the file of a scenario in it"]
    assert faults(tmp_path / "none.toml") == [" there is no such file"]
    assert faults(Path("/dev/zero")) == [" is larger than 256 KiB; is it the file of a scenario?"]
    assert faults(loop) == [" cannot be read: Too many levels of symbolic links"]


def test_a_byte_order_mark_and_windows_line_ends_are_borne(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xef\xbb\xbf" + WHOLE.replace("\n", "\r\n").encode() + b"cont = 1\r\n")
    assert [fault[:2] for fault in faults(path)] == ["5:"]


def test_an_unknown_name_is_told_with_those_there_are() -> None:
    with pytest.raises(ScenarioError, match=r"^strom: there is no such scenario; .*storm.*; did you mean storm\?$"):
        read("strom")


def test_text_with_a_slash_or_the_suffix_is_a_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(WHOLE)
    assert read(str(path)).title == "t"
    monkeypatch.chdir(path.parent)
    assert read("x.toml") == read("./x.toml") == read(path)


def test_the_short_form_is_merged_over_the_rest_and_its_lists_replace(write: Write) -> None:
    path = write(
        WHOLE
        + """\
open_over = 3
[[clients.mix]]
model = "eventsource"
[[clients.mix]]
model = "flagstream"
[local.settings]
lifetime = 30
retry = 1
[thresholds]
lost = "== 0"
delivery.p99_ms = "<= 5"
drift.open = "< 2"
[short]
seconds = 10
[short.clients]
count = 2
[[short.clients.mix]]
model = "flagsmith-js"
[short.local.settings]
lifetime = 6
[short.thresholds]
delivery.p99_ms = "<= 50"
drift.open = false
"""
    )
    whole, short = read(path), read(path, short=True)
    assert (whole.seconds, whole.clients.count, len(whole.clients.mix)) == (60, 10, 2)
    assert whole.thresholds == {"lost": "== 0", "delivery.p99_ms": "<= 5", "drift.open": "< 2"}
    assert (short.title, short.seconds) == ("t", 10)
    assert (short.clients.count, short.clients.open_over) == (2, 3)
    assert [mix.model for mix in short.clients.mix] == ["flagsmith-js"]
    assert short.local.settings == {"lifetime": 6, "retry": 1}
    assert short.thresholds == {"lost": "== 0", "delivery.p99_ms": "<= 50"}


def test_a_fault_of_the_short_form_is_told_whichever_form_is_read(write: Write) -> None:
    text = WHOLE + '[[timeline]]\nat = 30\ndo = "deploy"\n[short]\nseconds = 10\n[short.clients]\ncuont = 3\n'
    known = "[clients]; there are count, open_over, mix; did you mean count?"
    assert faults(write(text)) == [
        "6: in the short form, timeline.at = 30 must be before the end of the run, seconds = 10",
        f"11: in the short form, clients.cuont is not a key of {known}",
    ]


def test_a_fault_of_both_forms_is_told_once(write: Write) -> None:
    assert len(faults(write(WHOLE + "opne_over = 1\n[short]\nseconds = 20\n[short.clients]\nopen_over = 2\n"))) == 1


def test_a_threshold_that_only_the_short_form_leaves_out_is_a_fault(write: Write) -> None:
    text = WHOLE + "[short.thresholds]\nlots = false\n"
    assert faults(write(text)) == [
        '6: in the short form, thresholds.lots = false must be a condition in quotes, as "== 0"'
    ]


def test_overrides_win_over_the_file_and_over_its_short_form(write: Write) -> None:
    path = write(WHOLE + "[short.clients]\ncount = 5\n")
    given = {"clients.count": 7, "local.settings.lifetime": 4, "thresholds.delivery.p99_ms": "< 3"}
    for short in (False, True):
        scenario = read(path, short=short, overrides=given)
        assert scenario.clients.count == 7
        assert scenario.local.settings == {"lifetime": 4}
        assert scenario.thresholds == {"delivery.p99_ms": "< 3"}


def test_keys_that_are_given_win_over_a_number_of_environments() -> None:
    assert read("fanout", overrides={"environments.keys": ("a", "b")}).environments.keys == ("a", "b")


def test_faults_that_overrides_bring_are_told_with_the_line_of_what_they_clash_with(write: Write) -> None:
    path = write(WHOLE + '[[timeline]]\nat = 30\ndo = "deploy"\n')
    assert faults(path, **{"clients.cont": 7, "seconds": 20}) == [
        " with what was given beside the file, clients.cont is not a key of [clients]; there are count, open_over, mix; did you mean count?",
        "6: with what was given beside the file, timeline.at = 30 must be before the end of the run, seconds = 20",
    ]


def test_mixes_are_named_after_their_models_and_what_sets_them_apart(write: Write) -> None:
    text = """\
[local]
edge = "varnish"
[[clients.mix]]
model = "flagstream"
via = "edge"
[[clients.mix]]
model = "eventsource"
via = "origin"
[[clients.mix]]
model = "eventsource"
via = "edge"
slow = {}
[[clients.mix]]
model = "eventsource"
[[clients.mix]]
model = "eventsource"
name = "mine"
"""
    mixes = read(write(WHOLE + text)).clients.mix
    assert [mix.name for mix in mixes] == [
        *("flagstream", "eventsource-origin", "eventsource-edge-slow", "eventsource", "mine")
    ]


def test_without_a_mix_all_clients_are_ours_and_publishing_goes_on(write: Write) -> None:
    scenario = read(write(WHOLE))
    assert [(mix.model, mix.name) for mix in scenario.clients.mix] == [("flagstream", "flagstream")]
    assert scenario.publish.until == math.inf


def test_the_built_in_scenarios_are_those_of_the_folder() -> None:
    assert names() == ("burst", "churn", "deploy", "edge", "fanout", "slow-readers", "soak", "storm")
