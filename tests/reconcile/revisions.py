"""Revisions for the tests of diff and apply."""

from __future__ import annotations

from typing import Any

from iogate.auth.model import NoAuth
from iogate.compiler.revision import Api, Bundle, Revision, Workflow, canonical, digest_of


def api(identity: str = "orders/submit", **fields: Any) -> Api:
    return Api(
        **{"id": identity, "workflow": "shop/order:1.0.0", "program": "p1", "auth": NoAuth(), **fields}
    )


def revision(*apis: Api, workflows: dict[str, str] | None = None, **resources: str) -> Revision:
    return Revision(
        apis={one.id: one for one in apis},
        workflows={name: Workflow(program=program) for name, program in (workflows or {}).items()},
        resources=resources,
    )


def bundle(*apis: Api) -> Bundle:
    definition = {"document": {"name": "order"}, "do": []}
    program = digest_of(definition)
    return Bundle(
        revision=revision(*apis, workflows={"shop/order:1.0.0": program}),
        programs={program: canonical(definition)},
    )
