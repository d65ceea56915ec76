"""Lines to paste into a terminal or an app, for one environment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from publisher.environments import Environment

__all__ = ["Snippet", "snippets"]


@dataclass(frozen=True, slots=True)
class Snippet:
    """A few lines of `language`; where `secret`, the server key belongs in place of ``SERVER_KEY``."""

    id: str
    label: str
    text: str
    secret: bool = False


def snippets(environment: Environment, stream_url: str) -> Sequence[Snippet]:
    """Return what to paste; documents and stream both come from the stream server."""
    base = stream_url.rstrip("/")
    key, url = json.dumps(environment.key), json.dumps(f"{base}/api/v1/")
    return (
        Snippet("curl", "curl", f"curl -N {base}/sse/environments/{environment.key}/stream"),
        Snippet(
            "client",
            "Python, FlagClient",
            "import asyncio\n"
            "from sdk_client import FlagClient\n\n"
            "async def main():\n"
            f"    async with FlagClient(\n        environment_key={key},\n        api_url={url},\n"
            f"        stream_url={json.dumps(base)},\n    ) as flags:\n"
            '        print(flags.value("FEATURE"))\n\n'
            "asyncio.run(main())",
        ),
        Snippet(
            "python",
            "Python, Flagsmith SDK",
            "from flagsmith import Flagsmith\n\n"
            "flagsmith = Flagsmith(\n"
            '    environment_key="SERVER_KEY",\n'
            f"    api_url={url},\n"
            f"    realtime_api_url={json.dumps(base)},\n"
            "    enable_local_evaluation=True,\n"
            "    enable_realtime_updates=True,\n"
            ")\n"
            'print(flagsmith.get_environment_flags().get_feature_value("FEATURE"))',
            secret=True,
        ),
        Snippet(
            "browser",
            "JavaScript, FlagClient",
            "// Take the file from here: /static/client/flagstream.js\n"
            'import { FlagClient } from "./flagstream.js"\n\n'
            "const flags = new FlagClient({\n"
            f"  environmentKey: {key},\n"
            f"  apiUrl: {url},\n"
            "  onChange() { console.log(flags.value('FEATURE')) },\n"
            "})\n"
            "await flags.ready()\n"
            "console.log(flags.value('FEATURE'))",
        ),
        Snippet(
            "javascript",
            "JavaScript, Flagsmith SDK",
            "import flagsmith from 'flagsmith'\n\n"
            "flagsmith.init({\n"
            f"  environmentID: {key},\n"
            f"  api: {url},\n"
            "  realtime: true,\n"
            f"  eventSourceUrl: {json.dumps(f'{base}/')},\n"
            "  onChange() { console.log(flagsmith.getValue('FEATURE')) },\n"
            "})",
        ),
    )
