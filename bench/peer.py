"""The peer: what a good engineer writes by hand in an afternoon with the same parts.

A Litestar endpoint that checks a token and a JSON Schema and calls `Queue.enqueue`. Run by the same
server as the gateway: `granian --interface asgi bench.peer:app`.
"""

from __future__ import annotations

import hmac
import os
from typing import Annotated, Any

import jsonschema_rs
from litestar import Litestar, Response, post
from litestar.exceptions import HTTPException
from litestar.params import Parameter
from redis import Redis
from rq import Queue

SCHEMA = jsonschema_rs.validator_for(
    {
        "type": "object",
        "required": ["sku", "quantity"],
        "additionalProperties": False,
        "properties": {
            "sku": {"type": "string", "minLength": 1, "maxLength": 32},
            "quantity": {"type": "integer", "minimum": 1, "maximum": 1000},
        },
    }
)
TOKEN = os.environ.get("BENCH_TOKEN", "")
QUEUE = Queue("peer", connection=Redis.from_url(os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379")))


def noop(order: dict[str, Any]) -> dict[str, bool]:
    """The job: as little as the benchmark's workflow does."""
    del order
    return {"ok": True}


@post("/noop", status_code=202, sync_to_thread=True)
def accept(
    data: dict[str, Any], token: Annotated[str, Parameter(header="token")]
) -> Response[dict[str, Any]]:
    if not hmac.compare_digest(token, TOKEN):
        raise HTTPException(status_code=401)
    if not SCHEMA.is_valid(data):
        raise HTTPException(status_code=400)
    job = QUEUE.enqueue(noop, data)
    return Response({"response": {"uid": job.id}}, status_code=202)


app = Litestar([accept])
