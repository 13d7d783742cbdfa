"""Properties of the store, on every Redis server of this machine."""
