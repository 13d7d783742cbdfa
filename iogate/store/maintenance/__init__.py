"""Upkeep of the store: audit, checks of its server, drain before a failover, presence of processes."""
