"""The edge: what lets millions of clients share a handful of origin streams.

``varnish/`` and ``fastly/`` are configurations that collapse the stream requests of an environment into one, ``nchan/``
is a fan-out for those who run no CDN. The Python here fills them in from the settings, reports what a Varnish does, and
feeds nchan from the broker. It may import the settings of the stream server, whose numbers must agree with the edge's,
and what follows the broker; it serves no stream itself.
"""
