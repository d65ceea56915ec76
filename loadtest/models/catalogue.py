"""The kinds of clients that there are, with what was measured of each; docs/loadtest-models.md has the sources."""

from __future__ import annotations

from typing import Final

from loadtest.models.model import Fetching, Loading, Model, Wait

__all__ = ["AT_ONCE", "MODELS"]

AT_ONCE: Final = Wait(fixed=0.005)
"""What a client takes that waits for nothing; measured with Flagsmith's Python SDK, assumed for phones."""

_IOS: Final = Wait(fixed=1.0, fixed_factor=2.0, cap=60.0)
_GO: Final = Wait(fixed=0.2, fixed_factor=2.0, cap=51.2, adds_fraction=True)
_JS: Final = Wait(random=3.0)
_OURS: Final = Wait(fixed=1.0, random=1.0, random_factor=2.0, cap=30.0, obeys_retry=True)

_ALL: Final = (
    Model(
        name="flagsmith-python",
        title="Flagsmith Python 6",
        clean=AT_ONCE,
        cut=Wait(fixed=1.0),
        refused=Wait(fixed=1.0),
        status=Wait(fixed=0.001),
        short=1.0,
        loads=Loading.BEFORE,
        fetches_document=True,
    ),
    Model(
        name="flagsmith-python-5",
        title="Flagsmith Python 3 to 5",
        clean=AT_ONCE,
        cut=Wait(fixed=0.0015),
        refused=Wait(fixed=0.0005),
        status=Wait(fixed=0.001),
        short=1.0,
        loads=Loading.BEFORE,
        fetches_document=True,
    ),
    Model(
        name="flagsmith-js",
        title="Flagsmith JS",
        clean=_JS,
        cut=_JS,
        refused=_JS,
        status=_JS,
        keeps_connection=True,
        drops_while_fetching=True,
        deaf_after_failed_fetch=True,
    ),
    Model(
        name="flagsmith-ios",
        title="Flagsmith iOS",
        clean=AT_ONCE,
        cut=_IOS,
        refused=_IOS,
        status=AT_ONCE,
        silent=AT_ONCE,
        silence=60.0,
        open_timeout=60.0,
        keeps_connection=True,
        fetching=Fetching.EVERY,
    ),
    Model(
        name="flagsmith-android",
        title="Flagsmith Android",
        clean=AT_ONCE,
        cut=None,
        refused=None,
        status=None,
        silent=None,
        silence=600.0,
        open_timeout=600.0,
        connect_timeout=6.0,
        keeps_connection=True,
        forgets_failed_fetch=True,
    ),
    Model(
        name="flagsmith-go",
        title="Flagsmith Go",
        clean=Wait(fixed=0.0003),
        cut=_GO,
        refused=_GO,
        status=_GO,
        connect_timeout=30.0,
        keeps_connection=True,
        loads=Loading.BEFORE,
        fetches_document=True,
        reload=_GO,
    ),
    Model(
        name="eventsource",
        title="a browser's EventSource",
        clean=Wait(obeys_retry=True),
        cut=Wait(obeys_retry=True),
        refused=Wait(obeys_retry=True),
        status=None,
        default_retry=3.0,
        keeps_connection=True,
        fetching=Fetching.NEVER,
        loads=Loading.NEVER,
    ),
    Model(
        name="flagstream",
        title="Flagstream",
        clean=Wait(random=2.0),
        cut=_OURS,
        refused=_OURS,
        status=_OURS,
        silent=_OURS,
        longest_retry=60.0,
        longest_retry_after=300.0,
        short=1.0,
        proven=10.0,
        replaces=True,
        silence=45.0,
        overdue=5.0,
        open_timeout=10.0,
        connect_timeout=5.0,
        keeps_connection=True,
        fetches_version=True,
        fetches_apart=0.2,
        refetch=Wait(random=0.5, random_factor=2.0, cap=30.0),
        settle=0.05,
    ),
)

MODELS: Final = {model.name: model for model in _ALL}
"""Every model by its name."""
