from __future__ import annotations

import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.command import answer
from tests.programs import COMMAND, Up, environment

pytestmark = pytest.mark.slow


def test_a_version_that_is_ahead_is_put_back_and_the_change_log_says_who_did_it(tmp_path: Path) -> None:
    with Up(tmp_path) as up:
        stack = up.stack
        ahead = time.time() + 250
        response = httpx.post(
            f"{stack['publisher']}/sse/environments/elsewhere/queue-change",
            json={"updated_at": ahead},
            headers={"Authorization": f"Token {stack['sse_token']}"},
        )
        assert response.status_code == 202

        command = [*COMMAND, "reset", "elsewhere", "--data", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("elsewhere is at updated_at ")
        assert abs(float(done.stdout.split()[-1]) - time.time()) < 30
        (line,) = up.api("GET", "/api/changes?action=version.reset")["items"]
        assert (line["actor"], line["environment_key"]) == ("admin", "elsewhere")
        assert line["pushed_at"] is not None

        unknown = answer("reset", "never-heard-of", "--data", str(tmp_path))
        assert unknown.returncode == 1
        assert unknown.stderr == "flagstream: there is no environment 'never-heard-of'\n"
        dotted = answer("reset", "a.b", "--data", str(tmp_path))
        assert dotted.returncode == 1
        assert "letters, digits" in dotted.stderr
