"""Harness that compiles a project like `apply` and runs its workflows in one process.

Called by `replay`, by the command `test` and by projects' tests. Mocked tasks end at once; scripts, shell
commands and functions without a mock are run; an HTTP call that is neither mocked nor covered by `endpoints`
ends the test, not the run, so that no `try` can hide it. When no effect is under way, the clock jumps to the
next due time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from iogate import documents
from iogate import functions as registry
from iogate.compiler import program as programs
from iogate.compiler.compile import compile_documents
from iogate.compiler.program import Program
from iogate.compiler.resources import lock
from iogate.compiler.revision import Bundle
from iogate.compiler.workflows import precedence
from iogate.documents.problems import render_all
from iogate.effects import EffectContext, Effects
from iogate.effects.document_fetcher import make_fetcher
from iogate.errors import InvalidFiles, NotFound, StillRunning
from iogate.settings import Settings
from iogate.testing.clock import FakeClock
from iogate.testing.outcome import Arrival, Mocks, Outcome
from iogate.testing.stage import Cast, Stage

NO_INPUT: Any = {}
"""Input of a call without a body."""
UID = "213996969363910656"


@dataclass(kw_only=True)
class Harness:
    """A compiled project, ready to run its workflows."""

    bundle: Bundle
    settings: Settings = field(default_factory=Settings)
    functions: registry.Registry = field(default_factory=registry.Registry)
    secrets: Mapping[str, Any] | None = None
    """Values of `use.secrets`; None gives each one a placeholder."""
    root: Path = Path()
    _programs: dict[str, Program] = field(default_factory=dict)

    @classmethod
    def load(cls, root: Path, *, settings: Settings | None = None) -> Self:
        """Compile the documents of a project's folder.

        Raises InvalidFiles, with every problem in its message, if they are not valid.
        """
        settings = settings or Settings(allow_run=("script", "shell"))
        functions = registry.load(settings.functions, root)
        read = documents.load(root)
        compiled = compile_documents(
            read,
            settings,
            root=root,
            functions=functions,
            fetch=lock.load(root).guard(make_fetcher(settings, root)),
        )
        if compiled.bundle is None:
            raise InvalidFiles(render_all(compiled.errors, read.sources))
        return cls(bundle=compiled.bundle, settings=settings, functions=functions, root=root)

    async def run(
        self,
        workflow: str,
        input: Any = NO_INPUT,  # noqa: A002 - the DSL's word
        *,
        mocks: Mocks | None = None,
        events: Sequence[Mapping[str, Any] | Arrival] = (),
        clock: FakeClock | None = None,
        uid: str = UID,
        offline: bool = True,
        limit_s: float = 60.0,
    ) -> Outcome:
        """Run a workflow, `namespace/name` or `namespace/name:version`, to its end.

        `events` arrive one after the other, each once all runs wait and one of them listens.

        Raises Unmocked, NotFound for an unknown workflow, and StillRunning after `limit_s` of real time.
        """
        async with Effects(
            settings=self.settings, resources=self._resource, functions=self.functions
        ) as effects:
            stage = Stage(
                effects=effects,
                cast=self._cast,
                mocks=mocks or {},
                clock=clock or FakeClock(),
                offline=offline,
                secrets=self.secrets,
                error_types=self.settings.error_types,
                events=events,
            )
            try:
                async with asyncio.timeout(limit_s):
                    return await stage.play(workflow, uid, input)
            except TimeoutError:
                raise StillRunning(f"{workflow} is still running after {limit_s:g} s") from None

    def _cast(self, workflow: str) -> Cast:
        digest = self._digest(workflow)
        return Cast(digest=digest, program=self.program(digest))

    def _digest(self, workflow: str) -> str:
        known = self.bundle.revision.workflows
        named = [name for name in known if name == workflow or name.startswith(workflow + ":")]
        if not named:
            raise NotFound(f"no workflow {workflow}; there are: {', '.join(sorted(known)) or 'none'}")
        return known[max(named, key=lambda name: precedence(name.rpartition(":")[2]))].program

    def program(self, digest: str) -> Program:
        """Return the loaded program of a digest."""
        if digest not in self._programs:
            self._programs[digest] = programs.load(json.loads(self.bundle.programs[digest]))
        return self._programs[digest]

    async def _resource(self, _: EffectContext, uri: str) -> bytes:
        return self.bundle.contents[self.bundle.revision.resources[uri]]
