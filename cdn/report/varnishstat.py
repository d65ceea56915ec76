"""Runs ``varnishstat``, which reads the counters from memory that it shares with varnishd."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from cdn.report.counters import Counters, UnreadableError, read

__all__ = ["AwayError", "counters"]

TIMEOUT: Final = 2.0
LONGEST_REASON: Final = 200
LARGEST_STDERR: Final = 4096

WANTED: Final = ("MAIN.*", "MEMPOOL.req*.live", "VBE.*", "SM?.*")
"""What is kept; varnishstat need not print the rest."""


class AwayError(Exception):
    """The counters cannot be had now; the message says why, fit for a log."""


async def counters(name: str) -> Counters:
    """Return the counters of the Varnish whose working folder is `name`; raises `AwayError`."""
    wanted = [option for each in WANTED for option in ("-f", each)]
    try:
        process = await asyncio.create_subprocess_exec(
            # Asked again in a second anyway: -t 0 has it not wait for a Varnish that is away.
            *("varnishstat", "-1", "-j", "-t", "0", "-n", name, *wanted),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise AwayError("varnishstat is not installed; on Debian it is in the package varnish") from None
    except OSError as error:
        raise AwayError(f"varnishstat cannot be run: {error.strerror}") from None
    try:
        async with asyncio.timeout(TIMEOUT):
            printed, complaint = await process.communicate()
    except TimeoutError:
        raise AwayError(f"varnishstat did not answer within {TIMEOUT:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        raise AwayError(_sentence(complaint) or f"varnishstat ended with status {process.returncode}")
    try:
        return read(printed)
    except UnreadableError as error:
        raise AwayError(str(error)) from None


def _sentence(complaint: bytes) -> str:
    """Return what varnishstat complained of as one line."""
    return " ".join(complaint[:LARGEST_STDERR].decode(errors="replace").split())[:LONGEST_REASON]
