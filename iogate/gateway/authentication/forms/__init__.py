"""Forms of authentication of callers: one module for each, and `table`, which lists them.

Each form says whether a request has its credential, verifies it, and names the caller and the challenge of a
401 (`form`). `authenticator` composes the forms that an API accepts. No form knows another one.
"""
