"""Varnish's configuration, filled in from the settings: what differs between sites, and how varnishd is started.

The rules are the same everywhere (``varnish/policy.vcl``) and are copied as they are.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Self

from jinja2 import DictLoader, Environment, StrictUndefined

from cdn.numbers import POOLS, Numbers
from cdn.settings import CdnSettings
from stream_server.settings import StreamServerSettings

__all__ = ["START", "varnish", "write"]

COPIED: Final = ("flagstream.vcl", "policy.vcl")
SITE: Final = "site.vcl"
START: Final = "start"

HOLDING_KEYS: Final = (
    *("ReqMethod", "ReqURL", "ReqHeader", "ReqUnset", "BereqMethod", "BereqURL", "BereqHeader", "BereqUnset"),
    *("Hash", "HttpGarbage", "BogoHeader"),
)
"""What of Varnish's log can hold an environment's key; the method too, where somebody swaps it with the path."""


@dataclass(frozen=True, slots=True)
class _Place:
    host: str
    port: str

    @classmethod
    def of(cls, address: str) -> Self:
        host, _, port = address.rpartition(":")
        return cls(host.strip("[]"), port)


def varnish(edge: CdnSettings, streams: StreamServerSettings) -> dict[str, str]:
    """Return the files of a configuration folder by name."""
    folder = files("cdn") / "varnish"
    templates = {name: (folder / "templates" / name).read_text(encoding="utf-8") for name in (SITE, START)}
    rendering = Environment(  # noqa: S701 - VCL and shell are no HTML
        loader=DictLoader(templates),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        finalize=_written,
    )
    values = _values(edge, Numbers.of(edge, streams))
    rendered = {name: rendering.get_template(name).render(values) for name in templates}
    return {**{name: (folder / name).read_text(encoding="utf-8") for name in COPIED}, **rendered}


def write(contents: dict[str, str], folder: Path) -> None:
    """Write the files into `folder`, which is made; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755 if name == START else 0o644)


def _values(edge: CdnSettings, numbers: Numbers) -> dict[str, Any]:
    host = f"[{edge.host}]" if ":" in edge.host else edge.host
    return {
        **dict(edge),
        **asdict(numbers),
        "origins": [_Place.of(address) for address in edge.origins],
        "waiting_room": _Place.of(edge.waiting_room) if edge.waiting_room else None,
        "tiers": [_acl_entry(network) for network in edge.tiers],
        "purgers": [_acl_entry(network) for network in edge.purgers],
        "listen": f"{host}:{edge.port}",
        "pools": POOLS,
        "masked": ",".join(f"-{tag}" for tag in HOLDING_KEYS),
    }


def _acl_entry(network: str) -> str:
    """VCL wants the address in quotes and the bits outside them."""
    address, slash, bits = network.partition("/")
    return f'"{address}"{slash}{bits}'


def _written(value: Any) -> Any:
    """Write 45.0 as 45."""
    return f"{value:g}" if isinstance(value, float) else value
