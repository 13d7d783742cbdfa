"""Programs and files that a run is pinned to, independent of its revision."""

from __future__ import annotations

import hashlib

from iogate.auth.model import NoAuth
from iogate.compiler.revision import Api, Bundle, Revision, Workflow, canonical, digest_of, resource_uri
from iogate.compiler.variables import embed
from iogate.store import keys
from tests.worker.site import Site, decoded, until, workflow


async def test_a_script_is_found_by_its_digest_without_its_revision(site: Site) -> None:
    script = b"print('pinned', end='')"
    digest = hashlib.sha256(script).hexdigest()
    uri = resource_uri("scripts/a b.py", digest)
    definition = workflow(
        "scripted", {"one": {"run": {"script": {"language": "python", "source": {"endpoint": uri}}}}}
    )
    program = digest_of(definition)
    name = "test/scripted"
    api = Api(id=name, workflow=f"{name}:1.0.0", program=program, auth=NoAuth(), enabled=True)
    revision = Revision(
        apis={name: api}, workflows={f"{name}:1.0.0": Workflow(program=program)}, resources={uri: digest}
    )
    site.revision = await site.store.revisions.publish(
        Bundle(revision=revision, programs={program: canonical(definition)}, contents={digest: script})
    )
    site.apis = {name: api}
    uid = await site.call("scripted")
    await site.store.call("DEL", f"{keys.REVISION}{site.revision}")
    await site.worker(allow_run=("script",))
    run = await site.ended(uid)
    assert (run.status, decoded(run.output)) == ("completed", "pinned"), run.error


async def test_a_missing_script_faults_the_run_with_a_reason(site: Site) -> None:
    uri = resource_uri("scripts/lost.py", hashlib.sha256(b"").hexdigest())
    await site.publish(
        workflow("lost", {"one": {"run": {"script": {"language": "python", "source": {"endpoint": uri}}}}})
    )
    await site.worker(allow_run=("script",))
    run = await site.ended(await site.call("lost"))
    assert run.status == "faulted"
    error = decoded(run.error)
    assert error["title"] == "Resource not found"
    assert (
        error["detail"] == f'task "one": {uri} is not stored with this workflow\'s revision; apply it again'
    )


async def test_a_run_keeps_the_variables_of_its_revision(site: Site) -> None:
    definition = workflow(
        "pinned",
        {"wait": {"listen": {"to": {"one": {"with": {"type": "go"}}}}}},
        {"read": {"set": "${ $runtime.vars }"}},
    )
    go = workflow("go", {"say": {"emit": {"event": {"with": {"source": "/t", "type": "go"}}}}})
    await site.publish(embed(definition, {"region": "eu"}), go)
    await site.worker()
    first = await site.call("pinned")
    await until(lambda: is_waiting(site, first))
    await site.publish(embed(definition, {"region": "us"}), go)
    second = await site.call("pinned")
    await until(lambda: is_waiting(site, second))
    await site.worker()
    await site.call("go")
    outputs = [decoded((await site.ended(uid)).output) for uid in (first, second)]
    assert outputs == [{"region": "eu"}, {"region": "us"}]


async def is_waiting(site: Site, uid: str) -> bool:
    return (await site.view(uid)).status == "waiting"
