"""Flag documents from memory, against a plain Starlette route that queries SQLite, in one run.

    .venv/bin/python benchmarks/documents.py --requests 20000

Both are served by uvicorn with uvloop and httptools, one process each, and get the same requests over the same number
of keep-alive connections. Compared are requests a second and the server's own CPU for each request (from /proc), the
second being what does not depend on how fast the load can be made. The plain route is what one writes first: an
ordinary (threaded) Starlette function that opens SQLite, selects the same flags and answers a JSONResponse; the second
plain route keeps one connection open and queries it on the event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.programs import Up
from tests.servers import free_port, wait_until

CONNECTIONS = 32
FEATURES = 20

PLAIN = """
import json, sqlite3, sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

path, port = sys.argv[1], int(sys.argv[2])
QUERY = "select name, enabled, value from flags where environment = ? order by name"
shared = sqlite3.connect(path, check_same_thread=False)

def documents(connection, key):
    return [
        {"feature": {"id": n, "name": name, "type": "STANDARD"}, "enabled": bool(on), "feature_state_value": value}
        for n, (name, on, value) in enumerate(connection.execute(QUERY, [key]))
    ]

def opened(request):
    connection = sqlite3.connect(path)
    try:
        return JSONResponse(documents(connection, request.headers["x-environment-key"]))
    finally:
        connection.close()

async def held(request):
    return JSONResponse(documents(shared, request.headers["x-environment-key"]))

app = Starlette(routes=[Route("/opened", opened), Route("/held", held)])
uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")
"""


async def load(host: str, port: int, path: str, key: str, requests: int) -> float:
    """Send `requests` over `CONNECTIONS` keep-alive connections; return the seconds that it took."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Environment-Key: {key}\r\n\r\n".encode()

    async def connection(share: int) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for _ in range(share):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(connection(requests // CONNECTIONS) for _ in range(CONNECTIONS)))
    return time.perf_counter() - began


def cpu_seconds(pid: int) -> float:
    """Return the CPU that a process has used (proc(5), fields utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(name: str, pid: int, port: int, path: str, *, key: str, requests: int) -> dict[str, float]:
    asyncio.run(load("127.0.0.1", port, path, key, requests // 10))  # warm-up
    before = cpu_seconds(pid)
    seconds = asyncio.run(load("127.0.0.1", port, path, key, requests))
    used = (cpu_seconds(pid) - before) / requests * 1e6
    print(f"  {name:<44} {requests / seconds:8.0f} requests/s  {used:6.0f} µs CPU a request")
    return {"per_second": requests / seconds, "cpu_us": used}


def plain_database(path: Path, key: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table flags (environment text, name text, enabled int, value text)")
        rows = [(key, f"feature-{number}", 1, f"value {number}") for number in range(FEATURES)]
        connection.executemany("insert into flags values (?, ?, ?, ?)", rows)
        connection.execute("create index by_environment on flags (environment)")
    connection.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Documents from memory against a plain route over SQLite.")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name, Up(Path(name) / "data") as up:
        folder, demo = Path(name), up.stack["environment"]
        project = up.api("GET", "/api/projects")["items"][0]["id"]
        for number in range(FEATURES - 1):
            body = {"name": f"feature-{number}", "enabled": True, "value": f"value {number}"}
            up.api("POST", f"/api/projects/{project}/features", body)
        plain_database(folder / "plain.db", demo["key"])
        port = free_port()
        plain = subprocess.Popen([sys.executable, "-c", PLAIN, str(folder / "plain.db"), str(port)])
        try:

            def up_and_running() -> bool:
                try:
                    return httpx.get(f"http://127.0.0.1:{port}/held", headers={"X-Environment-Key": "k"}).is_success
                except httpx.TransportError:
                    return False

            wait_until(up_and_running, "the plain server")
            stream = int(up.stack["stream"].rpartition(":")[2])
            (pid,) = up.stack["pids"]["stream_server"]
            key = demo["key"]
            print(f"{FEATURES} flags, {CONNECTIONS} connections, load and servers on one machine")
            figures = {
                "documents": measured(
                    "documents, memory", pid, stream, "/api/v1/flags/", key=key, requests=options.requests
                ),
                "opened": measured(
                    "plain route, opens SQLite", plain.pid, port, "/opened", key=key, requests=options.requests // 4
                ),
                "held": measured(
                    "plain route, SQLite on the loop", plain.pid, port, "/held", key=key, requests=options.requests
                ),
            }
        finally:
            plain.terminate()
            plain.wait()
    for other in ("opened", "held"):
        rate = figures["documents"]["per_second"] / figures[other]["per_second"]
        cpu = figures[other]["cpu_us"] / figures["documents"]["cpu_us"]
        print(f"  documents against '{other}': {rate:.1f} x the requests/s, {cpu:.1f} x less CPU a request")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
