"""Cross-origin rules of the streams (WHATWG Fetch, "CORS protocol"): any page may listen, with no credentials."""

from __future__ import annotations

from typing import Final

__all__ = ["ALLOWED", "METHODS", "PREFLIGHT"]

METHODS: Final = "GET, HEAD, OPTIONS"

REQUEST_HEADERS: Final = (
    "Accept",
    "Authorization",
    "Cache-Control",
    "Content-Type",
    "Last-Event-ID",
    "X-Environment-Key",
    "Flagsmith-SDK-User-Agent",
    "Flagsmith-Application-Version",
)
"""What published SDKs and browsers ask to send."""

ALLOWED: Final = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"Age, Retry-After, X-Stream-Lifetime, X-Stream-Join-Window"),
]
"""Headers of every answer on a stream path."""

PREFLIGHT: Final = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", METHODS.encode()),
    (b"access-control-allow-headers", ", ".join(REQUEST_HEADERS).encode()),
    (b"access-control-max-age", b"86400"),
    (b"cache-control", b"public, max-age=86400"),
    (b"content-length", b"0"),
]
"""Headers of the answer to a preflight."""
