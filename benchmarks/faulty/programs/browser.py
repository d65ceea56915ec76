"""A Chromium with one page: prints what the page says, with the time that it says it.

    python -m benchmarks.faulty.programs.browser PAGE FOLDER NAME=VALUE...

FOLDER is served beside the page, and NAME=VALUE are the page's query.
"""

from __future__ import annotations

import http.server
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import sync_playwright

from tests.conftest import CHROMIUM_ARGUMENTS

PROGRAMS = Path(__file__).parent
SAY = "window.say = (value) => window.heard(`${Date.now() / 1000} ${value}`);"


class _Files(http.server.SimpleHTTPRequestHandler):
    """Pages of this folder below ``/pages/``, everything else from the folder given."""

    folder = ""

    def guess_type(self, path: str | os.PathLike[str]) -> str:
        """Name modules so that a browser takes them."""
        return "text/javascript" if str(path).endswith((".js", ".mjs")) else super().guess_type(path)

    def translate_path(self, path: str) -> str:
        plain = path.partition("?")[0]
        if plain.startswith("/pages/"):
            return str(PROGRAMS / Path(plain).name)
        return f"{self.folder}{plain}"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the library gives it
        del format, args


def _heard(text: str) -> None:
    print(text, flush=True)


def main(arguments: Sequence[str]) -> None:
    """Show the page until this process is ended."""
    page_name, _Files.folder, *query = arguments
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_ARGUMENTS)
        page = browser.new_page()
        page.expose_function("heard", _heard)
        page.add_init_script(SAY)
        page.on("pageerror", lambda error: print(f"the page failed: {error}", file=sys.stderr, flush=True))
        parameters = urlencode(dict(pair.split("=", 1) for pair in query))
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/pages/{page_name}?{parameters}")
        while True:
            page.wait_for_timeout(60_000)


if __name__ == "__main__":
    main(sys.argv[1:])
