"""What all tables of a plan have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Amount", "Positive", "Seconds", "Table"]

Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class Table(BaseModel):
    """What all have: unknown keys are faults, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid")
