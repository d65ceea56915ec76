"""``python -m loadtest.swarm DESCRIPTOR``: one generator, led over the socket that it inherits as that descriptor."""

from __future__ import annotations

import signal
import socket
import sys

from loadtest.swarm.generator import Generator


def main() -> None:
    """Run a generator until its conductor is done with it."""
    # Ctrl-C is for the conductor, which still wants to hear what was measured.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Generator(socket.socket(fileno=int(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
