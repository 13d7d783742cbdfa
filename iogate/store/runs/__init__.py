"""Runs in the store: intake, leases, commits, index and views."""
