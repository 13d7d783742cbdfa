"""Guard of an apply against the deletion of protected APIs, or of all APIs. Pure."""

from __future__ import annotations

from iogate.compiler.revision import Revision
from iogate.errors import Refused

PROTECTED = "IOG630"
EMPTY = "IOG631"


def check(before: Revision | None, after: Revision, *, allow_empty: bool) -> None:
    """Check that `after` deletes no protected API, and not all APIs.

    Raises Refused if it does.
    """
    if before is None:
        return
    gone = sorted(before.apis.keys() - after.apis.keys())
    protected = [identity for identity in gone if before.apis[identity].protect]
    if protected:
        one = len(protected) == 1
        raise Refused(
            f"{', '.join(protected)} {'is' if one else 'are'} protected and would be deleted",
            code=PROTECTED,
            hint="restore the file; or write protect: false, apply that, and then delete it",
        )
    if gone and not after.apis and not allow_empty:
        count = "the only API" if len(gone) == 1 else f"all {len(gone)} APIs"
        raise Refused(
            f"this would delete {count}: the files contain none",
            code=EMPTY,
            hint="check that this is the right folder; to delete them all, pass --allow-empty",
        )
