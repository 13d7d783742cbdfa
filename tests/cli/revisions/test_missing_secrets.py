"""`status` and `doctor` know which live workflows declare secrets that workers lack."""

from __future__ import annotations

from iogate.auth.model import NoAuth
from iogate.compiler.revision import Api, Bundle, Revision, Workflow, canonical, digest_of
from iogate.operators.secrets import missing_secrets
from iogate.store.maintenance.process_presence import Process
from iogate.store.store import Store


def worker(name: str, **detail: str) -> Process:
    return Process(kind="worker", id=name, pid=1, host="h", started_at_ms=1, detail=detail)


async def test_missing_secrets_of_workflows_are_reported_with_the_reason(store: Store) -> None:
    definitions = {
        "n/pays:1": {"use": {"secrets": ["key", "pin", "new"]}, "do": []},
        "n/reads:1": {"use": {"secrets": ["key"]}, "do": []},
        "n/plain:1": {"do": []},
    }
    programs = {name: digest_of(each) for name, each in definitions.items()}
    api = Api(id="a/b", workflow="n/pays:1", program=programs["n/pays:1"], auth=NoAuth())
    revision = Revision(
        apis={api.id: api}, workflows={name: Workflow(program=each) for name, each in programs.items()}
    )
    stored = {digest_of(each): canonical(each) for each in definitions.values()}
    await store.revisions.publish(Bundle(revision=revision, programs=stored))
    workers = [
        worker("w1", secrets="key\npin"),
        worker("w2", secrets="key", **{"unset:pin": "environment variable PIN is not set"}),
        worker("of an earlier release"),
    ]
    lacks, started = await missing_secrets.by_live_workflow(store, workers)
    assert started == {"a/b": "n/pays:1"}
    assert lacks == {
        "n/pays:1": [
            "secret pin: environment variable PIN is not set on 1 of 2 workers",
            'secret new: the setting "secrets" does not name it',
        ]
    }
    assert await missing_secrets.by_live_workflow(store, workers[2:]) == ({}, started), "nobody tells"
