"""Embedded store: a Redis server that `up` starts."""
