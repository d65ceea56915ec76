"""Whether a certificate and its key can be used, found out before anything is started with them."""

from __future__ import annotations

import ssl
from typing import Final

__all__ = ["certificate_fault"]

NO_PEM: Final = "one of the files holds nothing in PEM of its kind; they may have been swapped"
NO_PAIR: Final = "the key does not belong to the certificate"
ENCRYPTED: Final = "the key is encrypted; give one without a password"


def certificate_fault(certificate: str, key: str) -> str:
    """Say what is wrong with the two PEM files, in words; empty if they can be used.

    An encrypted key is refused: there is nobody to ask for its password when a server is started.
    """
    asked = False

    def no_password() -> str:
        nonlocal asked
        asked = True
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        fault = NO_PAIR if error.reason == "KEY_VALUES_MISMATCH" else NO_PEM
    except (OSError, ValueError) as error:
        fault = str(error)
    else:
        return ""
    return ENCRYPTED if asked else fault
