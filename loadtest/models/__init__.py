"""How each kind of client behaves when its stream ends, is cut, is refused or goes silent: the makings of a storm.

A model is data, so that the swarm, which plays it with real connections, and the planner, which plays millions of them
in arrays, play the same one. docs/loadtest-models.md says where each figure is from, and what is only near the truth.
"""

from __future__ import annotations

from loadtest.models.catalogue import MODELS
from loadtest.models.model import Fetching, Loading, Loss, Model, Wait

__all__ = ["MODELS", "Fetching", "Loading", "Loss", "Model", "Wait"]
