"""What a run found, as its JSON has it: the one shape that reports, comparisons and thresholds read.

``_s`` and ``_ms`` name the unit, bytes and counts have none. Figures that there are none of are null: no delivery, no
percentile.
"""

from __future__ import annotations

from loadtest.results.around import Fetches, Generator, Process, Publishing, Requests
from loadtest.results.clients import Delivery, Fault, GroupResults, Readmission, Staleness, Streams
from loadtest.results.parts import Seconds, seconds
from loadtest.results.run import Results, Threshold, read, written
from loadtest.results.series import Series

__all__ = [
    "Delivery",
    "Fault",
    "Fetches",
    "Generator",
    "GroupResults",
    "Process",
    "Publishing",
    "Readmission",
    "Requests",
    "Results",
    "Seconds",
    "Series",
    "Staleness",
    "Streams",
    "Threshold",
    "read",
    "seconds",
    "written",
]
