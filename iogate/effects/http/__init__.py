"""One request over HTTP: how it is built, where it may go, how it is sent, what its answer is, how it fails.

Nothing here knows authentication, or what kind of call it is for: `calls`, `authentication` and `openapi`
stand on it.
"""
