"""Harness that compiles a project like `apply` and runs its workflows in one process.

Called by `case_replay`, by the command `test` and by projects' tests. Mocked tasks end at once; scripts,
shell commands and functions without a mock are run; an HTTP call that is neither mocked nor covered by
`endpoints` ends the test, not the run, so that no `try` can hide it. When no effect is under way, the clock
jumps to the next due time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from iogate import documents
from iogate import functions as registry
from iogate.compiler import program as programs
from iogate.compiler.compile import compile_documents
from iogate.compiler.program import Program
from iogate.compiler.resources import lock_file
from iogate.compiler.revision import Bundle
from iogate.documents.problems import render_all
from iogate.effects import Effects
from iogate.effects.document_fetcher import make_fetcher
from iogate.errors import InvalidFiles, NotFound, StillRunning
from iogate.settings import Settings
from iogate.store.runs.intake import AcceptRequest
from iogate.store.state_codec import encode_data
from iogate.testing.clock import FakeClock, VirtualClock
from iogate.testing.defaults import GivenSecrets, object_placeholders
from iogate.testing.memory_store import MemoryRevisions
from iogate.testing.mocks import Family, MockedChildren, MockedEffects
from iogate.testing.outcome import Arrival, Mocks, Outcome
from iogate.testing.simulation import Simulation
from iogate.value_types.semantic_versions import version_precedence
from iogate.worker.events.sinks import Sinks
from iogate.worker.runs.children import ChildResolver
from iogate.worker.runs.loader import Loader
from iogate.worker.runs.programs import Programs

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
    files: Mapping[str, bytes | memoryview] = field(default_factory=dict)
    """Files of the call, by the digest of their content."""

    def __post_init__(self) -> None:
        revisions = MemoryRevisions(self.bundle)
        self._loaded = Programs(revisions)
        self._children = ChildResolver(revisions)

    @classmethod
    def load(cls, root: Path, *, settings: Settings | None = None) -> Self:
        """Compile the documents of a project's folder for the harness.

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
            fetch=lock_file.load(root).guard(make_fetcher(settings, root)),
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
        """Run a workflow in the harness, `namespace/name` or `namespace/name:version`, to its end.

        `events` arrive one after the other, each once all runs wait and one of them listens.

        Raises Unmocked, NotFound for an unknown workflow, and StillRunning after `limit_s` of real time.
        """
        name, digest = self._find(workflow)
        request = AcceptRequest(
            uid=uid,
            api="test",
            digest="",
            revision=1,
            workflow=name,
            program=digest,
            input=encode_data(input, "the input"),
        )

        family = Family(mocks=mocks or {}, failure=asyncio.get_running_loop().create_future())
        async with Effects(
            settings=self.settings,
            resources=self._loaded.resource,
            functions=self.functions,
            files=self._read_file,
            outside=family.refuse if offline else None,
        ) as effects:
            virtual, secrets = VirtualClock(clock or FakeClock()), self.given_secrets()
            simulation = Simulation(
                effects=MockedEffects(
                    effects,
                    family,
                    offline=offline,
                    pointer=lambda uid, frame: simulation.pointer(uid, frame),  # noqa: PLW0108 - it follows
                ),
                children=MockedChildren(self._children, family),
                family=family,
                clock=virtual,
                secrets=secrets,
                loader=Loader(self._loaded, Sinks(), virtual, modes=None, record_progress=None),
            )
            try:
                async with asyncio.timeout(limit_s):
                    return await simulation.play(request, events)
            except TimeoutError:
                raise StillRunning(f"{workflow} is still running after {limit_s:g} s") from None

    async def _read_file(self, _: str, sha256: str) -> bytes:
        return bytes(self.files[sha256])

    def _find(self, workflow: str) -> tuple[str, str]:
        """Return full name and program of a workflow in the harness; without a version, of the newest one."""
        known = self.bundle.revision.workflows
        named = [name for name in known if name == workflow or name.startswith(workflow + ":")]
        if not named:
            raise NotFound(f"no workflow {workflow}; there are: {', '.join(sorted(known)) or 'none'}")
        found = max(named, key=lambda name: version_precedence(name.rpartition(":")[2]))
        return found, known[found].program

    def given_secrets(self) -> GivenSecrets:
        """Return the secrets that a test gives to the runs of its harness."""
        return GivenSecrets(
            values=self.secrets,
            objects=self._object_secrets,
            error_types=self.settings.error_types,
            public_url=self.settings.public_url,
        )

    @cached_property
    def _object_secrets(self) -> Mapping[str, Any]:
        return object_placeholders(self.bundle.programs.values())

    def program(self, digest: str) -> Program:
        """Return the program of a digest in the harness."""
        return programs.load(json.loads(self.bundle.programs[digest]))
