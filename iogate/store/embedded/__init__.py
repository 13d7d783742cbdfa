"""The embedded store: a Redis server that `up` starts for itself."""
