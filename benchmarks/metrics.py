"""What a server says of itself under ``/metrics``."""

from __future__ import annotations

import http.client
import re

__all__ = ["figure"]


def figure(port: int, name: str) -> int:
    """Return a figure without labels of the server on a port of this host, -1 where there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return int(float(found[1])) if found else -1
