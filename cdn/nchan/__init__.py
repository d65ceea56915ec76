"""nchan as the fan-out, for those who run no CDN: nginx holds the streams, a feeder tells it of versions.

``nginx.conf`` works as it is. The feeder follows the broker with the stream server's own `Feed` and posts the newest
version of every environment to each nginx; it also posts the heartbeats, which nchan does not send by itself. It holds
no stream and answers nothing but its own health.
"""
