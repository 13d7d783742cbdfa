"""Authentication of callers, and signed links to runs."""
