"""The OpenAPI document as a page that needs nothing from anywhere else: no scripts, no fonts, no network."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader

from publisher.api.problems import CODES

__all__ = ["page"]


@cache
def _templates() -> Environment:
    environment = Environment(loader=PackageLoader("publisher.api", "."), autoescape=True, trim_blocks=True)
    environment.filters["schema"] = _schema
    return environment


def page(document: dict[str, Any]) -> str:
    """Return the page of `document`, operations grouped by tag."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append({"method": method.upper(), "path": path, **operation})
    return _templates().get_template("docs.html").render(document=document, groups=groups, problems=CODES)


def _schema(schema: dict[str, Any]) -> str:
    """Return a schema in one line where it is a name, else as JSON."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    return json.dumps(schema, indent=2, ensure_ascii=False)
