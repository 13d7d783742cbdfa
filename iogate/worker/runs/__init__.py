"""Execution of runs in a worker, from the claim to the last commit."""
