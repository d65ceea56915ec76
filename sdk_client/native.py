"""The system's own threads, selectors and name look-ups, in programs that gevent has patched too.

A client's loop is no greenlet: asyncio knows one running loop for a thread, so that all other greenlets of the thread
would seem to run on it (Django refuses to do database work then), and whatever blocks one of them would stop the flags.
"""

from __future__ import annotations

import selectors
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["getaddrinfo", "new_selector", "start_thread"]


def new_selector() -> selectors.BaseSelector:
    """Return the best selector of the system."""
    selector: selectors.BaseSelector = _native("selectors", "DefaultSelector", selectors.DefaultSelector)()
    return selector


def getaddrinfo(host: Any, port: Any, **options: Any) -> Any:
    """Look a name up, blocking the thread (``socket.getaddrinfo``)."""
    return _native("socket", "getaddrinfo", socket.getaddrinfo)(host, port, **options)


def start_thread(run: Callable[[], None], name: str) -> Callable[[float], object]:
    """Start a daemon thread; return what waits for its end, for so many seconds at most."""
    start = _native("_thread", "start_new_thread", None)
    if start is None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread.join
    ended = threading.Event()

    def run_and_tell() -> None:
        try:
            run()
        finally:
            ended.set()

    start(run_and_tell, ())
    return ended.wait


def _native(module: str, name: str, otherwise: Any) -> Any:
    """Return what `module` called `name` before gevent patched it; `otherwise` where nothing has."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched(module):
        return otherwise
    return monkey.get_original(module, name)
