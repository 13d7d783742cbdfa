"""Evaluation of the authentication policy of a call.

Used by `call`, for every kind of call that authenticates. Evaluated policies live in memory only. A token
that has to be requested is not known before the call; `Performed` brings it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iogate.compiler.endpoints import Policy
from iogate.engine.commands import Authentication
from iogate.engine.expression_scope import Scope
from iogate.engine.tasks.uri_templates import build_url
from iogate.errors import WorkflowError
from iogate.json_values import type_name

_MEMBERS = {
    "basic": ("username", "password"),
    "bearer": ("token",),
    "digest": ("username", "password"),
    "oauth2": ("authority", "grant"),
    "oidc": ("authority", "grant"),
}


def evaluate_policy(policy: Policy, scope: Scope) -> Authentication:
    """Return the authentication policy of a call, evaluated or read from a secret.

    Raises WorkflowError if the policy is undefined, its secret is missing, or an expression fails.
    """
    if policy.missing:
        raise WorkflowError(
            "configuration", detail=f'authentication "{policy.missing}" is not defined in use.authentications'
        )
    if policy.secret:
        return Authentication(scheme=policy.scheme, parameters=_secret(policy, scope))
    members = policy.members.evaluate(scope.input, scope) if policy.members is not None else {}
    if not isinstance(members, Mapping):
        raise WorkflowError(
            "expression",
            detail=f"the {policy.scheme} authentication must be an object, not {type_name(members)}",
        )
    if policy.authority is None:
        return Authentication(scheme=policy.scheme, parameters=members)
    paths = {name: build_url(endpoint, scope) for name, endpoint in policy.endpoints.items()}
    named = (policy.authority, *policy.endpoints.values())
    return Authentication(
        scheme=policy.scheme,
        parameters={**members, "authority": build_url(policy.authority, scope), "endpoints": paths},
        computed=any(each.computed for each in named),
        foreign=any(each.foreign for each in named),
    )


def _secret(policy: Policy, scope: Scope) -> Mapping[str, Any]:
    """Return the authentication policy of a call from one secret: an object, or the token of `bearer`."""
    secret = scope.secrets().get(policy.secret)
    if secret is None:
        raise WorkflowError(
            "authorization", detail=f'secret "{policy.secret}" is not declared in use.secrets'
        )
    if policy.scheme == "bearer" and isinstance(secret, str):
        return {"token": secret}
    wanted = _MEMBERS.get(policy.scheme, ())
    if not isinstance(secret, Mapping) or any(name not in secret for name in wanted):
        raise WorkflowError(
            "authorization",
            detail=f'secret "{policy.secret}" must be an object with {" and ".join(wanted)}',
        )
    return secret
