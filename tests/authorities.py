"""One certificate authority instead of all of certifi's, which each HTTP client reads anew: 25 ms of CPU every time."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import certifi

NAME = "SSL_CERT_FILE"
PREFIX = "flagstream-authority-"
END = "-----END CERTIFICATE-----\n"


def trust_one() -> Path | None:
    """Make httpx trust one authority, in this process and those it starts, and return its file.

    None where the variable is set already: by whoever runs the tests, or by the process that started this one.
    Nothing here talks to the outside, and no server of a test has a certificate of a public authority.
    """
    if NAME in os.environ:
        return None
    first, end, _ = Path(certifi.where()).read_text().partition(END)
    descriptor, name = tempfile.mkstemp(prefix=PREFIX, suffix=".pem")
    with os.fdopen(descriptor, "w") as file:
        file.write(first + end)
    os.environ[NAME] = name
    return Path(name)


def of_the_outside() -> dict[str, str]:
    """Return the environment for a program that does talk to the outside."""
    return {name: value for name, value in os.environ.items() if name != NAME or PREFIX not in value}
