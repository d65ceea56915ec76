"""The test service as a process of its own, as the harness meets it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

ROOT: Final = Path(__file__).parents[3]


@contextmanager
def running_service() -> Iterator[str]:
    """Start the service on a free port, yield its URL, ask it to quit and see that it does."""
    command = [sys.executable, "-m", "tests.sdk_client.contract.service", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, process.communicate()[1]
            yield url
            assert httpx.delete(url, trust_env=False).is_success
            _, errors = process.communicate(timeout=20)
            assert (process.returncode, errors) == (0, "")
        finally:
            process.kill()
