"""Scenarios: their schema, their reading with every fault by its line, and the ones that come with the package."""
