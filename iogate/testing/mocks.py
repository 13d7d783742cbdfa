"""Mocks of a test in front of the effects and the child workflows of its runs.

Used by `simulation`. Invariant: a call that leaves the machine without a mock or a test host ends the test
and not the run, so that no `try` can hide it; so does an error of a mock itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn

import msgspec

from iogate import json_values
from iogate.compiler.openapi import Operation
from iogate.effects import EffectContext, Effects
from iogate.engine.commands import (
    Authentication,
    CallFunction,
    CallHttp,
    CallOpenApi,
    ChildEnded,
    Effect,
    Perform,
    Performed,
    StartChild,
)
from iogate.engine.errors import RaisedError
from iogate.errors import WorkflowError
from iogate.store.runs.claims import Claim
from iogate.testing.outcome import Called, Mock, Mocks, Unmocked
from iogate.worker.ports import Children, ResolvedChildren

_TURN = re.compile(r"/(for|foreach)/(\d+)/do(?=/)")
_performing: ContextVar[str] = ContextVar("performing")
"""Reference of the task whose effect makes a request, as a mock names it."""


@dataclass(eq=False, kw_only=True)
class Family:
    """The runs of a test: the requested one and its descendants, as mocks and outcomes name them."""

    mocks: Mocks
    failure: asyncio.Future[None]
    """Gets the error that ends the test."""
    paths: dict[str, str] = field(default_factory=dict)
    """Per run the references of the tasks that led to it, outermost first."""
    children: dict[str, list[str]] = field(default_factory=dict)
    """Per run the runs that it started, in their order."""
    calls: dict[str, list[Called]] = field(default_factory=dict)
    """Per run the effects that it has waited for, in the order of their ends."""

    def mock(self, uid: str, reference: str, *pointers: str) -> Any:
        """Find the mock of a task, also for one turn of a loop, or for the call of its function."""
        path = self.paths.get(uid, "")
        names, caller = [reference, *pointers, _shared(reference)], reference
        while "/use/functions/" in caller:
            caller = caller.rpartition("/use/functions/")[0]
            names += [caller, _shared(caller)]
        for name in names:
            known = self._known(path + name)
            if known is not None:
                return self.mocks[known]
        return None

    def _known(self, reference: str) -> str | None:
        """Return the key of the mock for a reference; it may leave out the turns of loops."""
        if reference in self.mocks:
            return reference
        if len(_TURN.findall(reference)) > 1:
            pattern = re.compile(_TURN.sub(r"/\1(?:/\2)?/do", re.escape(reference)))
            found = [each for each in self.mocks if pattern.fullmatch(each)]
            return max(found, key=lambda each: each.count("/"), default=None)  # the one with the most turns
        bare = static(reference)
        return bare if bare in self.mocks else None

    def result(self, mock: Any, asked: Perform | StartChild) -> Mock:
        """Return the result of a mock; a mock may be a function that takes the command.

        Raises ValueError for an output that is not JSON, and the error of such a function.
        """
        answer: Mock = mock(asked) if callable(mock) else mock
        json_values.check(answer.output)
        return answer

    def add(self, parent: str, uid: str, reference: str) -> None:
        """Add a run that a task without a mock started to the runs of the test."""
        self.paths[uid] = self.paths.get(parent, "") + _shared(reference)
        self.children.setdefault(parent, []).append(uid)

    async def fail(self, error: Exception) -> NoReturn:
        """End the test of the mocks with an error; never returns, so that the run does not go on."""
        if not self.failure.done():
            self.failure.set_exception(error)
        while True:
            await asyncio.Event().wait()

    async def refuse(self, origin: str) -> None:
        """End the test because of a request that only the effect knew of: a redirect, or one of a document.

        Never returns.
        """
        reference = _performing.get()
        said = f"{reference} calls {origin}, and nothing stands in for it"
        await self.fail(Unmocked(said, hint=_hint(reference)))


class MockedEffects:
    """Effects of a test: mocks, and the real effects for tasks without one."""

    def __init__(
        self, effects: Effects, family: Family, *, offline: bool, pointer: Callable[[str, int], str | None]
    ) -> None:
        """Put the mocks of a test in front of its effects.

        `pointer` returns the static pointer of a frame; `offline` forbids calls to the network.
        """
        self._effects = effects
        self._family = family
        self._offline = offline
        self._pointer = pointer

    async def perform(self, perform: Perform, *, run: EffectContext) -> Performed:
        """Return the result of the mock of an effect, or perform the effect if it has none."""
        pointer = self._pointer(run.uid, perform.frame) or perform.reference
        _performing.set(static(self._family.paths.get(run.uid, "") + pointer))
        try:
            mock, answer = self._answer(perform, run.uid, pointer)
        except Exception as error:  # noqa: BLE001 - an error of the test, not of the run
            await self._family.fail(error)
        performed = answer or await self._effects.perform(perform, run=run)
        if perform.await_result:
            called = Called(perform=perform, performed=performed, mocked=mock)
            self._family.calls.setdefault(run.uid, []).append(called)
        return performed

    def _answer(self, perform: Perform, uid: str, pointer: str) -> tuple[bool, Performed | None]:
        mock = self._family.mock(uid, perform.reference, pointer)
        if mock is not None:
            return True, _performed(perform, self._family.result(mock, perform))
        if self._offline:
            self._check_covered(perform)
        return False, None

    def _check_covered(self, perform: Perform) -> None:
        """Raise Unmocked for a call that leaves by its arguments; `Family.refuse` gets all others."""
        reference = _performing.get()
        address = _address(perform.effect)
        if address is not None and not self._effects.rewrites(address):
            raise Unmocked(f"{reference} calls out, and nothing stands in for it", hint=_hint(reference))
        for authority in _authorities(perform.effect):
            if not self._effects.rewrites(authority):
                said = f"{reference} asks for a token, and nothing stands in for who gives it"
                raise Unmocked(said, hint=_hint(reference))


class MockedChildren:
    """Child workflows of a test: mocks for whole children, and runs for the others."""

    def __init__(self, resolver: Children, family: Family) -> None:
        self._resolver = resolver
        self._family = family
        self._count = 0

    async def resolve(self, claim: Claim, starts: Sequence[StartChild]) -> ResolvedChildren:
        """Return the children to start, and the results of mocks and of children that are not started."""
        references: dict[int, str] = {}
        unmocked: list[StartChild] = []
        ended: list[ChildEnded] = []
        for start in starts:
            mock = self._family.mock(claim.uid, start.reference)
            if mock is None:
                unmocked.append(start)
                references[start.frame] = start.reference
                continue
            try:
                answer = self._family.result(mock, start)
            except Exception as error:  # noqa: BLE001 - an error of the test, not of the run
                await self._family.fail(error)
            if start.awaits:
                status = "completed" if answer.error is None else "faulted"
                ended.append(_ended(start, status, answer))
        resolved = await self._resolver.resolve(claim, unmocked)
        children = []
        for child in resolved.children:
            self._count += 1
            # The same in each test, and not drawn.
            uid = f"{claim.uid.partition('.')[0]}.{self._count}"
            children.append(msgspec.structs.replace(child, uid=uid))
            self._family.add(claim.uid, uid, references[child.frame])
        return ResolvedChildren(children=children, ended=[*ended, *resolved.ended])


def static(reference: str) -> str:
    """Return the reference of a mock without the turns of loops."""
    return _TURN.sub(r"/\1/do", reference)


def _shared(reference: str) -> str:
    """Return the reference of a mock for a task of a function or an extension, wherever it is used."""
    start = max(reference.rfind("/use/functions/"), reference.rfind("/use/extensions/"), 0)
    return reference[start:]


def _hint(reference: str) -> str:
    """Return the advice for a call without a mock; the mock stands in wherever the task is started from."""
    return f"mock it: mocks: {{{reference}: {{output: …}}}}, or name a test host in `endpoints`"


def _ended(start: StartChild, status: Any, answer: Mock) -> ChildEnded:
    return ChildEnded(frame=start.frame, number=0, status=status, output=answer.output, error=answer.error)


def _address(effect: Effect) -> str | None:
    """Return the address that an effect without a mock calls; None if it names none itself."""
    match effect:
        case CallHttp(url=url):
            return url
        case CallOpenApi(operation=Operation(url=url)):
            return url
        case _:
            return None


def _authorities(effect: Effect) -> Iterator[str]:
    """Yield the addresses of the token endpoints of a call without a mock."""
    match effect:
        case (
            CallHttp(authentication=Authentication() as policy)
            | CallOpenApi(authentication=Authentication() as policy)
        ):
            paths = policy.parameters.get("endpoints") or {}
            for address in (policy.parameters.get("authority"), *paths.values()):
                if isinstance(address, str) and "://" in address:
                    yield address


def _performed(perform: Perform, mock: Mock) -> Performed:
    """Return the result of an effect that a mock stands in for."""
    if mock.error is None:
        return Performed(frame=perform.frame, output=mock.output)
    known = dict(mock.error)
    # A mock of a function raises as the function would; other mocks fail as their effect does.
    kind = RaisedError if isinstance(perform.effect, CallFunction) else WorkflowError
    usual = "communication" if isinstance(perform.effect, CallHttp | CallOpenApi) else "runtime"
    error = kind(
        known.get("type", usual),
        status=known.get("status"),
        title=known.get("title"),
        detail=known.get("detail"),
        response=known.get("response"),
        process=known.get("process"),
    )
    return Performed(frame=perform.frame, error=error)
