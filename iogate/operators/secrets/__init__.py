"""Secrets of running processes: those that are missing, and fingerprints of the values that differ."""
