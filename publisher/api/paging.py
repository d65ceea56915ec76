"""Query parameters that lists share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from publisher.api.operation import Query
from publisher.projects import LARGEST_ID

__all__ = ["Limit", "Page", "Position"]

Limit = Annotated[int, Field(ge=1, le=500, description="items in one answer")]
Position = Annotated[int, Field(ge=0, le=LARGEST_ID, description="go on after the item with this id")]


class Page(Query):
    """Which part of a list."""

    limit: Limit = 100
    after: Position = 0
