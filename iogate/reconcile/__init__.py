"""Reconciliation of the live revision with the files: publish by compare-and-set, then wait for gateways.

Called by the command line with compiled bundles. Uses the store only.
"""
