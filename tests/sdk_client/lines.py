"""What a process of a test writes, line by line."""

from __future__ import annotations

import select
import subprocess


class Lines:
    """The lines of a process (started with ``bufsize=0``), each awaited for at most 30 s."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._stdout = process.stdout

    def until(self, line: str) -> list[str]:
        """Read up to `line`; return what was read."""
        seen: list[str] = []
        while not seen or seen[-1] != line:
            assert select.select([self._stdout], [], [], 30)[0], f"no {line!r} after {seen[-5:]}"
            seen.append(self._stdout.readline().decode().strip())
            assert seen[-1], f"ended before {line!r}"
        return seen
