"""The control plane: management API, dashboard, change log, outbox; and `Publisher`, the library.

`publisher.messages` is the contract with the broker and the only module of this package that other packages may
import. This package imports `flagstream.settings` and `flagstream.logs` and nothing else of ours. Importing it loads
neither the database nor the web framework, so an app that only announces needs neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from publisher.library import Publisher, PublisherClosedError, PublishError, PublishTimeoutError, SyncPublisher

__all__ = ["PublishError", "PublishTimeoutError", "Publisher", "PublisherClosedError", "SyncPublisher"]


def __getattr__(name: str) -> Any:
    """Load the library when it is asked for (PEP 562): the stream server imports only `publisher.messages`."""
    if name in __all__:
        from publisher import library  # noqa: PLC0415 - see above

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
