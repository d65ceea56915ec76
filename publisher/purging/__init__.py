"""Purging edges before a change is announced, so that they may keep even unversioned documents for long.

Between the announcer and the edges: `PurgeFirst` is an announcer that purges first, `EdgePurges` the purges of one
edge, `varnish` and `fastly` how each kind is told. Nothing here knows the database: what is not announced yet waits in
the outbox, and repeating a purge does no harm.
"""

from publisher.purging.announcer import PurgeFirst
from publisher.purging.making import edges_of

__all__ = ["PurgeFirst", "edges_of"]
