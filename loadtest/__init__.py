"""The load test: swarms of streams that reconnect as real clients do, scenarios, reports, and the capacity planner.

It holds more streams than the server that it tests and says when it was itself the limit. The swarm (`loadtest.swarm`)
is processes of one epoll loop each; the conductor (`loadtest.conductor`) leads them along a scenario's timeline,
publishes, and joins what they measured into results; `loadtest.plan` plays the same client models (`loadtest.models`)
at internet scale. It talks to servers as any client would: it may import the parts of `sdk_client` that do no I/O, the
client side of `publisher`, `flagstream.logs` and `flagstream.endings`; what brings a stack up and kills it belongs to
the command line.
"""
