"""A page that runs a published Flagsmith JavaScript SDK, served to a real browser."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import missing

SDKS = Path(__file__).parent.parent.parent / ".venv" / "flagsmith-js" / "node_modules"
PACKAGES = {"10": "flagsmith", "12": "@flagsmith/flagsmith"}

PAGE = """<!doctype html>
<title>SDK {version}</title>
<link rel="icon" href="data:,">
<output id="value">loading</output>
<script type="module">
  import flagsmith from "/{package}/index.mjs";
  const base = new URLSearchParams(location.search).get("base") ?? "{stream}";
  const shown = document.getElementById("value");
  const show = () => {{
    shown.textContent = JSON.stringify([flagsmith.hasFeature("{feature}"), flagsmith.getValue("{feature}")]);
  }};
  await flagsmith.init({{
    environmentID: "{key}",
    api: `${{base}}/api/v1/`,
    realtime: true,
    eventSourceUrl: `${{base}}/`,
    onChange: show,
  }});
  show();
</script>
"""

EVENT_SOURCE_PAGE = """<!doctype html>
<title>EventSource</title>
<link rel="icon" href="data:,">
<output id="value">0</output>
<script>
  const base = new URLSearchParams(location.search).get("base") ?? "{stream}";
  const source = new EventSource(`${{base}}/sse/environments/{key}/stream`);
  source.addEventListener("environment_updated", (event) => {{
    document.getElementById("value").textContent = JSON.parse(event.data).updated_at;
  }});
</script>
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the library gives it
        del format, args


@contextmanager
def served(folder: Path, *, stream: str, key: str, feature: str) -> Iterator[str]:
    """Serve a page for each SDK (`/10.html`, `/12.html`) and one for EventSource; yields the base URL.

    With `?base=URL` a page goes there instead of to `stream`.
    """
    if not SDKS.exists():
        missing("the published Flagsmith JavaScript SDK", "npm")
    for version, package in PACKAGES.items():
        page = PAGE.format(version=version, package=package, stream=stream, key=key, feature=feature)
        (folder / f"{version}.html").write_text(page)
        link = folder / package
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(SDKS / package)
    (folder / "event-source.html").write_text(EVENT_SOURCE_PAGE.format(stream=stream, key=key))
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
