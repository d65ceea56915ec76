"""A scenario as TOML again."""

from __future__ import annotations

import math
import tomllib

from loadtest.report.toml_text import toml_text


def test_what_is_written_reads_as_what_it_was() -> None:
    values = {
        "title": 'a "quoted" \\ title\nof two lines \x7f ü',
        "seconds": 60.5,
        "until": math.inf,
        "count": 3,
        "on": True,
        "empty": [],
        "range": [1.0, 2],
        "names": ("a", "b"),
        "clients": {"count": 5, "mix": [{"model": "a", "slow": {"every": 0.5}}, {"model": "b"}]},
        "odd key.": {"delivery.p99_ms": "<= 500"},
        "mixed": [1, {"inline": "table"}],
    }
    assert tomllib.loads(toml_text(values)) == {**values, "names": ["a", "b"]}


def test_what_is_none_is_left_out() -> None:
    assert tomllib.loads(toml_text({"a": None, "b": {"c": None}, "d": [1, None]})) == {"b": {}, "d": [1]}
