"""Parts of `apply` and `rollback`: checks before a publication, confirmation, report of the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iogate.cli.plans.confirmation import confirm
from iogate.cli.plans.plan_text import drift_lines, plan_lines
from iogate.cli.render import Output, Screen
from iogate.cli.session import Session
from iogate.errors import Refused
from iogate.messages import counted

if TYPE_CHECKING:
    from iogate.operators.publication_plan import PublicationPlan
    from iogate.operators.publications import Publication
    from iogate.store.revisions.origin import Origin

DIRTY = "IOG707"


def check_clean(origin: Origin) -> None:
    """Check before a publication that the folder is as in its git commit.

    Raises Refused if it is not, or if it is in no repository.
    """
    if not origin.commit:
        raise Refused(
            "--require-clean: this folder has no git commit",
            code=DIRTY,
            hint="apply from a clone of the repository",
        )
    if origin.dirty:
        raise Refused(
            f"--require-clean: the folder has changes that commit {origin.commit[:12]} lacks",
            code=DIRTY,
            hint="`git status` lists them; commit or stash them",
        )


def note_faults(screen: Screen, found: PublicationPlan) -> None:
    """Print the faults that `--repair` has found, and the revision that the plan starts from."""
    for fault in found.faults:
        screen.warn(fault)
    if not found.faults:
        screen.note(
            f"nothing is refused: live revision {found.number} and its record are authentic"
            if found.number
            else "nothing was applied yet"
        )
    elif found.number:
        screen.note(f"the plan starts from revision {found.number}, the newest authentic one that is kept")
    else:
        screen.note("the plan starts from nothing: no revision that is kept is authentic")


def confirm_plan(
    session: Session, found: PublicationPlan, verb: str, *, yes: bool, clear_overrides: bool = False
) -> None:
    """Confirm the publication of a plan that changes something; `verb` begins the question.

    Raises Misused without a terminal and `yes`, Refused if the answer is no.
    """
    if not found.changes and not (clear_overrides and found.overrides):
        return
    lines = plan_lines(found.plan, found.overrides, clear_overrides=clear_overrides)
    confirm(session.screen, [*drift_lines(found.drift), *lines, ""], question(found, verb), yes=yes)


def report(session: Session, done: Publication, schema: str) -> None:
    """Print the result of `apply` or `rollback`; `schema` is the name of the command in its JSON.

    Raises NotTaken if a process has not loaded the revision in time.
    """
    from iogate.cli.revisions.folder_publication import describe_convergence, summarize
    from iogate.operators.secrets import missing_secrets

    applied, undone = done.applied, done.undone
    for_programs = session.screen.output is not Output.TEXT  # a large plan takes a while
    session.screen.data(
        schema,
        done.to_json() if for_programs else {},
        [summarize(applied), describe_convergence(applied.convergence)],
    )
    if done.closed:
        session.screen.note(f"not enabled yet: iogate enable {' '.join(done.closed)}")
    for text in missing_secrets.lines(done.missing):
        session.screen.warn(text)
    if undone is not None:
        text = f"rolled back: revision {undone.number} has the content of revision {applied.previous}"
        session.screen.warn(f"{text}; {describe_convergence(undone.convergence)}")
    elif done.not_undone:
        session.screen.warn(f"not rolled back: {done.not_undone}")
    if done.late is not None:
        raise done.late if undone is None else done.late.rolled_back()


def question(found: PublicationPlan, verb: str) -> str:
    """Return the question before a plan is published, also for an empty plan."""
    if found.faults:
        return "Replace what is refused?"
    return f"{verb}?" if found.plan else f"Repair {counted(len(found.drift), 'difference')} of the store?"
