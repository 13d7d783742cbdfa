"""References to secrets on a machine, `{env: NAME}` and `{file: PATH}`, in all forms of `auth`.

Used by `forms` and `jwt`. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from iogate.auth.model import EnvSecret, FileSecret, Secret
from iogate.value_types.collection_types import Key, ValueType, record
from iogate.value_types.scalar_types import matching_text


def references(*, env: str, file: str) -> Mapping[str, ValueType[Secret]]:
    """Return the type of each reference to a secret, by its key; `env` and `file` describe the keys."""
    return {
        "env": record(
            {
                "env": Key(
                    type=matching_text("the name of a variable", r"[A-Za-z_][A-Za-z0-9_]*"), description=env
                )
            },
            lambda env: EnvSecret(name=env),
        ),
        "file": record(
            {"file": Key(type=matching_text("the path of a file", r"(?s)[^\0]+"), description=file)},
            lambda file: FileSecret(path=file),
        ),
    }
