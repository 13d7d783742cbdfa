"""Calls of APIs: the routing table of the live revision and the accept path."""
