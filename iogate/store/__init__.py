"""Redis: the only place where the product's state lives, and the only one that knows its keys.

Every move of a run is one Lua script, fenced and idempotent. Nothing here interprets a workflow:
frames, inputs and outputs are bytes.
"""
