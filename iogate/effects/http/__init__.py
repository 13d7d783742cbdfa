"""One HTTP request: construction, address policy, transport, response and errors.

This package does not depend on authentication or on the kind of call: `http_calls`, `authentication` and
`openapi` use it.
"""
