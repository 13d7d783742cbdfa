"""Runs in the store: intake, leases, commits, the index and what is shown of a run."""
