"""Counts of runs by hour, and groups of equal errors."""
