"""`flagstream edge render varnish`: the configuration of a Varnish, filled in from the settings."""

from __future__ import annotations

__all__ = ["render"]


def render() -> None:
    """Write the VCL, its parameters and a start script for Varnish."""
