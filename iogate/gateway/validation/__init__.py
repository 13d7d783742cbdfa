"""Validation of requests by the JSON Schema of their API, on the event loop or in a process."""
