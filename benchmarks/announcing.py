"""How a benchmark tells a server of a version: by NATS (ours), or by ``POST /publish/{key}`` (the references).

Both are plain sockets: what is measured is the servers, and an announcement is one packet.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Protocol

from publisher.messages import STREAM, SUBJECTS, encode, now, subject

__all__ = ["Announcing", "HttpAnnouncing", "NatsAnnouncing"]


class Announcing(Protocol):
    """Tells a server of a version."""

    def announce(self, key: str) -> int:
        """Announce the version that this moment has, and return it."""

    def close(self) -> None:
        """Close the connection."""


class HttpAnnouncing:
    """Posts the announcement to a reference server on `port`, on one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._connection.connect()
        assert isinstance(self._connection.sock, socket.socket)
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def announce(self, key: str) -> int:
        """Announce the version that this moment has, and return it."""
        version = now()
        body = encode(version)
        head = f"POST /publish/{key} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        self._connection.sock.sendall(head.encode() + body)  # in one packet, which is all that the C floor reads
        with http.client.HTTPResponse(self._connection.sock, method="POST") as response:
            response.begin()
            response.read()
        if response.status >= 400:
            raise OSError(f"the server answered {response.status} to an announcement")
        return version

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class NatsAnnouncing:
    """Publishes to a NATS server on `port`, and makes the JetStream stream that a stream server reads."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._heard = b""
        self._until(b"INFO ")
        self._socket.sendall(b'CONNECT {"verbose": false, "headers": true}\r\nPING\r\n')
        self._until(b"PONG\r\n")
        self._create()

    def announce(self, key: str) -> int:
        """Announce the version that this moment has, and return it."""
        self._answer_pings()
        version = now()
        self._publish(subject(key), encode(version))
        return version

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _create(self) -> None:
        config = {"name": STREAM, "subjects": [SUBJECTS], "max_msgs_per_subject": 1, "storage": "memory"}
        inbox = f"_INBOX.{time.monotonic_ns()}"
        self._socket.sendall(f"SUB {inbox} 1\r\n".encode())
        self._publish(f"$JS.API.STREAM.CREATE.{STREAM}", json.dumps(config).encode(), reply=inbox)
        answer = self._until(b'"type":"io.nats.jetstream.api.v1.stream_create_response"')
        if b'"error"' in answer:
            raise OSError(f"NATS did not make the stream: {answer.decode()}")

    def _publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        self._socket.sendall(f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n")

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._heard:
            part = self._socket.recv(65536)
            if not part:
                raise OSError("NATS closed the connection")
            self._heard += part
        heard, self._heard = self._heard, b""
        return heard

    def _answer_pings(self) -> None:
        """Answer what NATS asked meanwhile; a client that does not is cut after four minutes."""
        self._socket.setblocking(False)
        try:
            if b"PING" in self._socket.recv(65536):
                self._socket.setblocking(True)
                self._socket.sendall(b"PONG\r\n")
        except BlockingIOError:
            pass
        finally:
            self._socket.settimeout(10)
