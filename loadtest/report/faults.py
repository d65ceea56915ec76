"""What came of a fault, in words."""

from __future__ import annotations

from loadtest.report import figures
from loadtest.results import Fault, Results

__all__ = ["all_back"]


def all_back(results: Results, fault: Fault) -> str:
    """Return after how long all were back; where they were not, whether it was the next fault that came first."""
    if fault.error:
        return figures.NONE
    if not fault.lost:
        return "nothing lost"
    if fault.all_back_s is not None:
        return figures.s(fault.all_back_s)
    later = [each for each in results.faults if each.number > fault.number and each.at_s >= fault.at_s]
    return f"not before fault {later[0].number}" if later else "not by the end"
