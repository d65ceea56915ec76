from __future__ import annotations

import json
import subprocess
import sys

import pytest

from flagstream.logs import key_id

PROGRAM = """
import logging, sys
from flagstream import logs
logs.configure(program="publisher", log_format=sys.argv[1], level="info")
logs.get_logger("here").info("something happened", key=logs.key_id("abc"), count=2)
logs.get_logger("here").debug("too quiet")
logging.getLogger("uvicorn.access").info("GET /secret")
logging.getLogger("somebody.else").warning("of %s", "the standard library")
try:
    token = "open-" + "sesame"
    raise ValueError("wrong")
except ValueError:
    logs.get_logger("here").exception("a fault")
"""


def lines(log_format: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, log_format], check=True, capture_output=True, text=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_where_stderr_is_no_terminal_each_line_is_json_whoever_logs_it() -> None:
    first, second, fault = map(json.loads, lines("auto"))
    assert first["event"] == "something happened"
    assert (first["program"], first["level"], first["count"], first["key"]) == ("publisher", "info", 2, key_id("abc"))
    assert first["timestamp"].endswith("Z")
    assert (second["event"], second["level"]) == ("of the standard library", "warning")
    assert "ValueError: wrong" in fault["exception"]


def test_text_is_for_people() -> None:
    first = lines("text")[0]
    assert "something happened" in first
    assert not first.startswith("{")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_traceback_shows_no_values_of_variables(log_format: str) -> None:
    text = "\n".join(lines(log_format))
    assert "ValueError: wrong" in text
    assert "open-sesame" not in text


def test_a_key_is_logged_as_a_short_digest_that_is_the_same_everywhere() -> None:
    assert key_id("abc") == key_id("abc") != key_id("abd")
    assert len(key_id("abc")) == 12
    assert "abc" not in key_id("abc")
