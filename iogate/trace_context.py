"""W3C Trace Context: the place of a call in the trace of its caller.

Read by the gateway, kept in the facts of a run, and sent by the effects with its HTTP calls. Pure. Without
`telemetry`, iogate adds no span of its own and passes on what it received, as the recommendation asks of a
system that does not take part in a trace (section 3.5).
"""

from __future__ import annotations

import re
from typing import Final

LONGEST_STATE: Final = 512
"""Characters of `tracestate` that are kept; a longer one is left out (section 3.3.1.5)."""
_PARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.DOTALL
)
_STATE: Final = re.compile(rb"[\x20-\x7e]{1,512}")


def read(traceparent: bytes, tracestate: bytes = b"") -> str:
    """Return the W3C trace context of two headers as one text; empty if `traceparent` is not valid.

    A newer version is read as the first one, whose fields it has (section 3.2.4).
    """
    found = _PARENT.fullmatch(traceparent)
    if found is None or (traceparent.startswith(b"00") and len(traceparent) != 55):
        return ""
    parent = b"00-%s-%s-%s" % (found[1], found[2], found[3])
    state = tracestate.strip()
    whole = parent + b" " + state if _STATE.fullmatch(state) else parent
    return whole.decode("ascii")


def headers(context: str) -> dict[str, str]:
    """Return the headers that pass a W3C trace context on; none for an empty one."""
    parent, _, state = context.partition(" ")
    if not parent:
        return {}
    return {"traceparent": parent, "tracestate": state} if state else {"traceparent": parent}


def is_sampled(context: str) -> bool:
    """Tell whether the caller records the trace, by the flag in its W3C trace context."""
    return bool(int(context[53:55], 16) & 1)


def trace_id(context: str) -> str:
    """Return the id of the trace in a W3C trace context; empty for an empty one."""
    found = _PARENT.match(context.encode())
    return "" if found is None else found[1].decode("ascii")
