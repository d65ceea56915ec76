"""Reports what a Varnish at the edge does: figures for Prometheus, and an answer for the dashboard over NATS.

It runs beside one Varnish, asks ``varnishstat`` once a second, and keeps of its hundreds of counters what an operator
of streams has to know, under names of ours. It changes nothing at the Varnish and sees no
request, so no environment's key.
"""
