"""Programs and files that a run is pinned to, independent of its revision."""

from __future__ import annotations

import hashlib

from iogate.auth.model import NoAuth
from iogate.compiler.checks.processes import process_digest
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


async def test_a_worker_executes_only_the_processes_that_it_lists(site: Site) -> None:
    """The digest is the one that `apply` has computed, also of a function and of a stored script."""
    script = b"print('stored', end='')"
    digest = hashlib.sha256(script).hexdigest()
    uri = resource_uri("scripts/a.py", digest)
    listed = {"script": {"language": "python", "source": {"endpoint": uri}}}
    shell = {"shell": {"command": "printf '%s' \"$1\"", "arguments": ["${ .a }"]}}
    other = {"shell": {"command": "echo other"}}
    ok = workflow(
        "ok",
        {"one": {"run": listed, "export": {"as": "${ . }"}}},
        {"two": {"call": "f", "with": {"a": 1}}},
        {"both": {"set": "${ [$context, .] }"}},
        use={"functions": {"f": {"run": shell}}},
    )
    bad = workflow("bad", {"one": {"run": other}})
    programs = {digest_of(each): canonical(each) for each in (ok, bad)}
    apis = {
        f"test/{name}": Api(
            id=f"test/{name}",
            workflow=f"test/{name}:1.0.0",
            program=digest_of(each),
            auth=NoAuth(),
            enabled=True,
        )
        for name, each in (("ok", ok), ("bad", bad))
    }
    revision = Revision(
        apis=apis,
        workflows={api.workflow: Workflow(program=api.program) for api in apis.values()},
        resources={uri: digest},
    )
    site.revision = await site.store.revisions.publish(
        Bundle(revision=revision, programs=programs, contents={digest: script})
    )
    site.apis = apis
    digests = [process_digest(run) for run in (listed, shell)]
    await site.worker(allow_run={"script": [digests[0]], "shell": [digests[1]]})
    good = await site.ended(await site.call("ok"))
    assert (good.status, decoded(good.output)) == ("completed", ["stored", "1"]), good.error
    refused = await site.ended(await site.call("bad"))
    assert refused.status == "faulted"
    assert decoded(refused.error)["detail"] == (
        'task "one": the setting "allow_run" of this worker does not list this shell: '
        f"{process_digest(other)}"
    )
