"""Requests of operators with large bodies, each in a process of its own.

    large_requests   the gateway's side: starts a process for each request, and limits their number
    request_process  the process: decodes the body, executes the operation, returns the response
    job              messages between both, and the response to a body that is too costly

Small bodies are processed on the event loop, which they cannot hold for long.
"""
