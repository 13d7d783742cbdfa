"""Saved plan: the file of `plan --out`, which `apply FILE` applies only if nothing has moved since.

Pure. Invariants: the file holds digests and the plan as it is shown, so no secret; a plan is applied only to
the store, the project, the live revision and the files that it was made for.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from iogate.errors import Misused, Refused
from iogate.reconcile.plan import Plan
from iogate.reconcile.wanted_revision import Scope
from iogate.security.control_characters import escape_line

SCHEMA: Final = "iogate.plan-file/v1"
NOT_A_PLAN = "IOG703"
FOREIGN = "IOG704"
STALE = "IOG705"
OTHER_FILES = "IOG706"
_NAMED: Final = 10


class SavedPlan(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Content of the file."""

    schema: str = SCHEMA
    version: str
    """Release of iogate that made it."""
    store: str
    """Random name of the store; empty if nothing was ever published there."""
    project: str
    select: str = ""
    keep_orphans: bool = False
    base: int
    """Number of the live revision; 0: none."""
    base_digest: str
    files: str
    """Digest of the compiled files."""
    wanted: str
    """Digest of the revision to publish."""
    plan: dict[str, Any]

    @property
    def scope(self) -> Scope:
        """The part of the files that the saved plan is about."""
        return Scope(select=self.select, keep_orphans=self.keep_orphans)


_encode = msgspec.json.Encoder(order="deterministic").encode
_decoder = msgspec.json.Decoder(SavedPlan)


def encode(saved: SavedPlan) -> bytes:
    """Return the content of the file of a saved plan: JSON in one canonical form."""
    return msgspec.json.format(_encode(saved), indent=1) + b"\n"


def load(data: bytes, name: str) -> SavedPlan:
    """Read the content of the file of a saved plan.

    Raises Misused if it is not a saved plan.
    """
    try:
        saved = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Misused(
            f"{name} is not a saved plan: {error}",
            code=NOT_A_PLAN,
            hint="`iogate plan --out FILE` writes one",
        ) from None
    if saved.schema != SCHEMA:
        raise Misused(
            f"{name} is not a saved plan: expected the schema {SCHEMA}, got {escape_line(saved.schema[:80])}",
            code=NOT_A_PLAN,
            hint="`iogate plan --out FILE` writes one",
        )
    return saved


def check_origin(saved: SavedPlan, *, store: str, project: str, version: str) -> None:
    """Check that a saved plan is of this release, store and project.

    Raises Refused if it is not.
    """
    for what, planned, here in (
        ("release", saved.version, version),
        ("project", saved.project, project),
        ("store", saved.store or "an empty store", store or "an empty store"),
    ):
        # Nothing was published to an empty store; its first publish gives it a name.
        if planned != here:
            raise Refused(
                f"the plan was made for another {what}: {escape_line(planned)}, and this is {here}",
                code=FOREIGN,
                hint="make a new plan here with `iogate plan --out FILE`",
            )


def check_base(saved: SavedPlan, number: int, moved: list[str]) -> None:
    """Check that the live revision is the base of a saved plan; `moved` tells the changes since.

    Raises Refused if it is another one.
    """
    if saved.base == number:
        return
    planned = f"revision {saved.base}" if saved.base else "an empty store"
    raise Refused(
        "\n  ".join((f"the plan is stale: it starts from {planned}, and revision {number} is live", *moved)),
        code=STALE,
        hint="make a new plan with `iogate plan --out FILE`, and review it",
    )


def check_files(saved: SavedPlan, *, files: str, wanted: str, plan: Plan) -> None:
    """Check that the documents are those of a saved plan: their digest, that of the revision, the changes.

    Raises Refused if they differ; the message names the objects with other changes.
    """
    if saved.files == files and saved.wanted == wanted:
        return
    planned, now = map(_by_object, (saved.plan.get("changes"), plan.to_json()["changes"]))
    differing = sorted(
        escape_line(f"{type_} {id_}")
        for type_, id_ in planned.keys() | now.keys()
        if planned.get((type_, id_)) != now.get((type_, id_))
    )
    named = ", ".join(differing[:_NAMED]) + (" …" if len(differing) > _NAMED else "")
    raise Refused(
        "the files are not those of the plan" + (f": other changes of {named}" if named else ""),
        code=OTHER_FILES,
        hint="check out the commit that was planned, or make a new plan with `iogate plan --out FILE`",
    )


def _by_object(changes: Any) -> dict[tuple[str, str], Any]:
    """Return the changes of a saved plan by type and id; edits of the file by a person are left out."""
    return {
        (str(each["type"]), str(each["id"])): each
        for each in (changes if isinstance(changes, list) else ())
        if isinstance(each, dict) and each.keys() >= {"type", "id"}
    }
