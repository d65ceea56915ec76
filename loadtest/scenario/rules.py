"""What a scenario's keys must be together, each rule at the key that breaks it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from loadtest.scenario.faults import Breach, shown
from loadtest.scenario.lines import Path
from loadtest.scenario.schema import Fault, Local, Mix, Part, Scenario
from loadtest.scenario.thresholds import condition_faults

__all__ = ["KEYS", "rules"]

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "kill": ("part", "down"),
    "stop": ("part", "down"),
    "freeze": ("part", "down"),
    "deploy": (),
    "cut": ("share",),
    "clients": ("times", "over", "lasts"),
    "rate": ("times", "lasts"),
    "run": ("command",),
}
"""What each deed takes beside `at`, `do` and `about`."""

_NEEDED: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "kill": (("part", "say which"),),
    "stop": (("part", "say which"),),
    "freeze": (("part", "say which"), ("down", "say for how many seconds")),
    "clients": (("times", "say how many times as many"), ("lasts", "say for how many seconds")),
    "rate": (("times", "say how many times as fast"), ("lasts", "say for how many seconds")),
    "run": (("command", 'give it as a list: ["systemctl", "restart", "flagstream"]'),),
}

_SECONDS: Final[Path] = ("seconds",)
_LOCAL: Final[Path] = ("local",)


def rules(scenario: Scenario) -> Iterator[Breach]:
    """Yield each rule between several keys that `scenario` breaks."""
    if not scenario.title.isprintable():  # a terminal would do what it says
        yield Breach(("title",), f"title = {shown(scenario.title)} must be one line of printable characters")
    yield from _environments(scenario)
    yield from _clients(scenario)
    yield from _publishing(scenario)
    before = 0.0
    for index, fault in enumerate(scenario.timeline):
        at: Path = ("timeline", index)
        yield from _deed(fault, at)
        yield from _part(fault, scenario.local, at)
        if fault.at >= scenario.seconds:
            says = f"timeline.at = {fault.at:g} must be before the end of the run, seconds = {scenario.seconds:g}"
            yield Breach((*at, "at"), says, (at, _SECONDS))
        if fault.at < before:
            says = (
                f"timeline.at = {fault.at:g} comes before the entry above it, at = {before:g}: put the timeline in "
                "order, by which its entries are numbered"
            )
            yield Breach((*at, "at"), says, (("timeline",),))
        before = max(before, fault.at)
    yield from condition_faults(scenario)


def _environments(scenario: Scenario) -> Iterator[Breach]:
    environments = scenario.environments
    at: Path = ("environments", "keys")
    if "keys" not in environments.model_fields_set:
        return
    if not environments.keys:
        yield Breach(at, "environments.keys = [] must have at least one key; leave it out to have some made")
    for index, key in enumerate(environments.keys):
        if key in environments.keys[:index]:
            yield Breach((*at, index), f"environments.keys has {shown(key)} twice")


def _clients(scenario: Scenario) -> Iterator[Breach]:
    clients = scenario.clients
    if clients.open_over >= scenario.seconds:
        says = (
            f"clients.open_over = {clients.open_over:g} must be less than seconds = {scenario.seconds:g}: the run "
            "would end before all have come"
        )
        yield Breach(("clients", "open_over"), says, (_SECONDS,))
    for index, mix in enumerate(clients.mix):
        at: Path = ("clients", "mix", index)
        if any(mix.name == other.name for other in clients.mix[:index]):
            says = f"there are two mixes named {shown(mix.name)}: give this one a name of its own, name = …"
            yield Breach((*at, "name"), says, (("clients", "mix"),))
        yield from _mix(mix, at)
        if mix.via == "edge" and scenario.local.edge == "none":
            yield Breach((*at, "via"), f'clients.mix.via = "edge" needs an edge: {_WITH_EDGE}', (at, _LOCAL))


def _mix(mix: Mix, at: Path) -> Iterator[Breach]:
    for name, range_ in (("stays", mix.stays), ("away", mix.away)):
        if range_ is not None and range_[0] > range_[1]:
            low, high = range_
            says = f"clients.mix.{name} = {shown(range_)} must begin with the lesser: [{high:g}, {low:g}]"
            yield Breach((*at, name), says)
    if mix.stays is not None and mix.stays[1] == 0:
        yield Breach((*at, "stays"), "clients.mix.stays = [0, 0] must be above 0: nobody would ever be there")
    if mix.stays is None and "away" in mix.model_fields_set:
        says = "clients.mix.away says nothing without stays, after which clients leave: give both or neither"
        yield Breach((*at, "away"), says, ((*at, "stays"),))


def _publishing(scenario: Scenario) -> Iterator[Breach]:
    publish = scenario.publish
    if publish.until <= publish.start:
        says = f"publish.until = {publish.until:g} must be after publish.start = {publish.start:g}"
        yield Breach(("publish", "until"), says, (("publish", "start"),))
    if publish.rate and publish.start >= scenario.seconds:
        says = (
            f"publish.start = {publish.start:g} must be before the end of the run, seconds = {scenario.seconds:g}; for "
            "a run without changes write rate = 0"
        )
        yield Breach(("publish", "start"), says, (_SECONDS,))


def _deed(fault: Fault, at: Path) -> Iterator[Breach]:
    """Yield the keys that what is done has no use for, and the ones that it lacks."""
    takes = KEYS[fault.do]
    for key in sorted(fault.model_fields_set - {"at", "do", "about", *takes}):
        uses = f"it takes {', '.join(takes)}" if takes else "it takes no more keys"
        yield Breach((*at, key), f'timeline.{key} says nothing with do = "{fault.do}": {uses}', (at,))
    for key, how in _NEEDED.get(fault.do, ()):
        if not getattr(fault, key) or key not in fault.model_fields_set:
            yield Breach((*at, key), f'do = "{fault.do}" needs {key}: {how}', (at,))
    for index, word in enumerate(fault.command):
        if not word and not index:
            yield Breach((*at, "command"), 'timeline.command must begin with a program, not with ""', (at,))
        if "\0" in word:
            says = f"timeline.command: {shown(word)} has a zero byte, which no program can be given"
            yield Breach((*at, "command"), says, (at,))
    if fault.do == "clients" and "times" in fault.model_fields_set and fault.times <= 1:
        says = f'timeline.times = {fault.times:g} must be above 1 with do = "clients": 2 is as many again'
        yield Breach((*at, "times"), says, (at,))


_WITH_EDGE: Final = 'write edge = "varnish" under [local]'


def _part(fault: Fault, local: Local, at: Path) -> Iterator[Breach]:
    if fault.part is None or "part" not in KEYS[fault.do]:
        return
    if fault.down and fault.do != "freeze" and fault.part in {"worker", "workers"}:
        says = 'a supervisor starts others at once; leave it out, or write part = "stream_server"'
        yield Breach((*at, "down"), f"timeline.down = {fault.down:g}: {says}", (at,))
    if lacks := _lacks(fault.part, local):
        yield Breach((*at, "part"), f'timeline.part = "{fault.part}": {lacks}', (at, _LOCAL))


def _lacks(part: Part, local: Local) -> str:
    match part:
        case "edge" | "waiting_room" if local.edge == "none":
            return f"the stack has none: {_WITH_EDGE}"
        case "redis" if not local.redis:
            return "the stack has none: write redis = true under [local]"
        case "worker" if local.workers == 1:
            return 'the stack has no second one: write workers = 2 under [local], or part = "workers"'
    return ""
