"""nchan as the fan-out, for those who run no CDN: nginx holds the streams, a feeder tells it of versions.

``nginx.conf`` works as it is. The feeder follows the broker with the stream server's own `Feed` and posts the newest
version of every environment to each nginx; it also sends what nchan does not by itself, heartbeats and ends. It holds
no stream and answers nothing but its own health.
"""
