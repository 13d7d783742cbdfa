"""Publication of a plan that was shown: the last step of `apply` and `rollback`.

Invariant: exactly the revision that was shown replaces exactly the revision that it was compared with; a
repair replaces whatever is live.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iogate.cli.plans.plan_text import drift_lines, plan_lines
from iogate.cli.render import Output, Screen
from iogate.cli.session import Session
from iogate.errors import Refused
from iogate.messages import counted

if TYPE_CHECKING:
    from iogate.reconcile.live_plan import LivePlan
    from iogate.store.revisions.origin import Origin
    from iogate.store.store import Store

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


def note_faults(screen: Screen, found: LivePlan) -> None:
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


def shown_lines(found: LivePlan, *, clear_overrides: bool = False) -> list[str]:
    """Return the lines of a plan before it is confirmed, with the drift that a publish ends."""
    lines = plan_lines(found.plan, found.facts.gates, clear_overrides=clear_overrides)
    return [*drift_lines(found.drift), *lines]


async def publish(
    session: Session,
    store: Store,
    found: LivePlan,
    origin: Origin,
    *,
    schema: str,
    wait_s: float,
    rollback_on_failure: bool = False,
    clear_overrides: bool = False,
) -> None:
    """Publish a plan that was shown, wait for gateways and workers, and print the result.

    `schema` is the name of the command in its JSON. The other arguments are those of `publications.publish`.
    Raises Conflict if another revision went live since, NotTaken if a process has not loaded it in time.
    """
    from iogate.cli.revisions.folder_publication import describe_convergence, summarize
    from iogate.operators import publications
    from iogate.operators.access import command_actor
    from iogate.operators.secrets import missing_secrets

    actor = command_actor(origin.author)
    async with publications.recorded_publication(store, actor, found, origin) as note:
        done = await publications.publish(
            store,
            found,
            origin,
            wait_s=wait_s,
            clear_overrides=clear_overrides,
            rollback_on_failure=rollback_on_failure,
        )
        note(done.applied)
    applied, undone = done.applied, done.undone
    gates = await store.gates.states()
    for_programs = session.screen.output is not Output.TEXT  # a large plan takes a while
    session.screen.data(
        schema,
        done.to_json() if for_programs else {},
        [summarize(applied), describe_convergence(applied)],
    )
    closed = [api for api in applied.plan.ids("add", "api") if api in gates and not gates[api].enabled]
    if closed:
        session.screen.note(f"not enabled yet: iogate enable {' '.join(closed)}")
    for text in missing_secrets.lines(done.missing):
        session.screen.warn(text)
    if undone is not None:
        text = f"rolled back: revision {undone.number} has the content of revision {applied.previous}"
        session.screen.warn(f"{text}; {describe_convergence(undone)}")
    elif done.not_undone:
        session.screen.warn(f"not rolled back: {done.not_undone}")
    if done.late is not None:
        raise done.late if undone is None else done.late.rolled_back()


def question(found: LivePlan, verb: str) -> str:
    """Return the question before a plan is published, also for an empty plan."""
    if found.faults:
        return "Replace what is refused?"
    return f"{verb}?" if found.plan else f"Repair {counted(len(found.drift), 'difference')} of the store?"
