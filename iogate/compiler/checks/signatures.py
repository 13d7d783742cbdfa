"""Check that the input of a call is signed where the API accepts nothing but signatures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from iogate.auth.model import SignatureAuth, alternatives
from iogate.auth.signature_schemes import OF_TARGET, parts_of, scheme_of
from iogate.compiler.diagnostics import Document, problem_at
from iogate.documents.problems import Problem

if TYPE_CHECKING:
    from iogate.documents.api import Method
    from iogate.json_pointer import Pointer


def check(document: Document, pointer: Pointer, method: Method) -> Iterator[Problem]:
    """Report a method with GET if no signature of its auth covers the query."""
    accepted = method.auth
    forms = alternatives(accepted) if accepted is not None else ()
    signed = [form for form in forms if isinstance(form, SignatureAuth)]
    if "GET" not in (method.verbs or ()) or not signed or len(signed) < len(forms):
        return
    formats = [each for form in signed for each in scheme_of(form).formats]
    if any(part in OF_TARGET for each in formats for _, part in parts_of(each.signed)):
        return
    own = document.data["methods"][pointer[-1]]
    hint = "remove GET from verbs"
    if any(form.scheme == "meta" for form in signed):
        hint += "; the GET with which Meta tests the URL needs no verb"
    yield problem_at(
        document,
        (*pointer, "verbs") if "verbs" in own else ("verbs",),
        "IOG138",
        "a GET is refused, because the signature does not cover the query, which would be the input",
        hint=hint,
    )
