"""Environment keys: client keys, which streams are named by, and server keys, which begin with ``ser.``."""

from __future__ import annotations

import re
from typing import Any, Final

from sdk_client.errors import ConfigurationError

__all__ = ["SERVER_KEY_PREFIX", "check_client_key", "check_key", "is_client_key"]

SERVER_KEY_PREFIX: Final = "ser."
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


def is_client_key(key: str) -> bool:
    """Tell whether `key` is 1 to 128 letters, digits, ``-`` or ``_``: a dot would be another subject at the broker."""
    return _KEY.fullmatch(key) is not None


def check_client_key(key: Any, argument: str = "client_key") -> str:
    """Return `key`, or raise ConfigurationError unless it is ``[A-Za-z0-9_-]{1,128}``."""
    if not isinstance(key, str) or not is_client_key(key):
        raise ConfigurationError(argument, "must be 1 to 128 letters, digits, '-' or '_'")
    return str(key)


def check_key(key: Any) -> str:
    """Return an environment key of either kind, or raise ConfigurationError."""
    client_key = key.removeprefix(SERVER_KEY_PREFIX) if isinstance(key, str) else key
    check_client_key(client_key, "environment_key")
    return str(key)
