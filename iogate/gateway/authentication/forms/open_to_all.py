"""Form `none`: every caller is accepted, without a name."""

from __future__ import annotations

from collections.abc import Sequence

from iogate.auth.model import NoAuth
from iogate.gateway.authentication.forms.form import Form, Setup


class OpenToAll(Form):
    """The form of an API that needs no credentials."""

    @classmethod
    def build(cls, declared: Sequence[NoAuth], setup: Setup) -> OpenToAll:  # noqa: ARG003 - nothing to read
        """Build the form `none` of an API that is open to all."""
        return cls()
