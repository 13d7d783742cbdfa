"""Runs in a worker, from the claim to the commit that lets them go."""
