"""What an apply refuses to take away: protected APIs, and everything at once. Pure."""

from __future__ import annotations

from iogate.compiler.revision import Revision
from iogate.errors import Refused

PROTECTED = "IOG630"
EMPTY = "IOG631"


def check(before: Revision | None, after: Revision, *, allow_empty: bool) -> None:
    """Raises Refused where `after` lacks what must not be deleted."""
    if before is None:
        return
    gone = sorted(before.apis.keys() - after.apis.keys())
    protected = [identity for identity in gone if before.apis[identity].protect]
    if protected:
        one = len(protected) == 1
        raise Refused(
            f"{', '.join(protected)} {'is' if one else 'are'} protected and would be deleted",
            code=PROTECTED,
            hint="bring the file back; or write protect: false, apply that, and delete it then",
        )
    if gone and not after.apis and not allow_empty:
        count = "the only API" if len(gone) == 1 else f"all {len(gone)} APIs"
        raise Refused(
            f"this would delete {count}: the files hold none",
            code=EMPTY,
            hint="is this the right folder? if it is meant so, pass --allow-empty",
        )
