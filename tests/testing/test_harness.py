"""The harness: a run in a test equals a run in production, except for effects and the clock."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest

from iogate.engine.commands import Perform
from iogate.errors import InvalidFiles, NotFound, StillRunning
from iogate.settings import Settings
from iogate.testing import FakeClock, Harness, Mock, Unmocked
from tests.effects.conftest import Site, site

__all__ = ["site"]


def project(root: Path, do: str, *, use: str = "", **settings: Any) -> Harness:
    """Create a project with one workflow `t/w` of these tasks."""
    (root / "workflows.d").mkdir(exist_ok=True)
    head = 'document: {dsl: 1.0.3, namespace: t, name: w, version: "VERSION"}\n' + use + "do:\n"
    for version in ("1.0.0", "1.10.0", "1.9.0"):
        text = head.replace("VERSION", version) + indent(dedent(do), "  ")
        (root / "workflows.d" / f"w{version}.yaml").write_text(text.replace("$VERSION", version))
    return Harness.load(root, settings=Settings(**{"allow_run": ("shell",), **settings}))


CALL = """
    - call:
        call: http
        with: {method: post, endpoint: "https://api.example.com/pay", body: {n: 1}}
"""


async def test_waits_take_no_time(tmp_path: Path) -> None:
    harness = project(tmp_path, "- nap: {wait: {days: 3}}\n- say: {set: {at: '${ now }'}}\n")
    clock = FakeClock(datetime(2026, 5, 1, tzinfo=UTC))
    outcome = await harness.run("t/w", clock=clock)
    assert (outcome.status, outcome.elapsed_s) == ("completed", 3 * 86_400)
    assert outcome.output == {"at": datetime(2026, 5, 4, tzinfo=UTC).timestamp()}
    assert clock.now == datetime(2026, 5, 4, tzinfo=UTC)


async def test_the_newest_version_runs_by_default(tmp_path: Path) -> None:
    harness = project(tmp_path, "- say: {set: {version: $VERSION}}\n")
    assert (await harness.run("t/w")).output == {"version": "1.10.0"}
    assert (await harness.run("t/w:1.9.0")).output == {"version": "1.9.0"}
    with pytest.raises(NotFound, match=r"^no workflow t/x; there are: t/w:1\.0\.0, "):
        await harness.run("t/x")


async def test_a_mock_replaces_a_call_and_is_recorded(tmp_path: Path) -> None:
    harness = project(tmp_path, CALL)
    outcome = await harness.run("t/w", mocks={"/do/0/call": Mock(output={"paid": True})})
    assert outcome.output == {"paid": True}
    (called,) = outcome.calls
    assert called.mocked
    assert called.perform.idempotency_key.startswith(f"{outcome.uid}/do/0/call/")


async def test_a_mocked_error_is_the_tasks_error(tmp_path: Path) -> None:
    error = {"type": "communication", "status": 503, "detail": "down"}
    outcome = await project(tmp_path, CALL).run("t/w", mocks={"/do/0/call": Mock(error=error)})
    assert outcome.status == "faulted"
    assert outcome.error is not None
    assert (outcome.error["status"], outcome.error["detail"]) == (503, 'task "call": down')
    assert outcome.error["instance"] == "/do/0/call"


async def test_a_call_without_a_mock_ends_the_test(tmp_path: Path) -> None:
    with pytest.raises(Unmocked) as caught:
        await project(tmp_path, CALL).run("t/w")
    assert caught.value.message == "/do/0/call calls out, and nothing stands in for it"
    assert "mocks: {/do/0/call: {output: …}}" in caught.value.hint


async def test_an_output_of_a_mock_that_is_not_json_ends_the_test(tmp_path: Path) -> None:
    call = "{call: http, with: {method: get, endpoint: 'https://a.example'}}"
    harness = project(tmp_path, f"- t: {{try: [{{call: {call}}}], catch: {{}}}}\n")
    with pytest.raises(ValueError, match="object is not a JSON type"):
        await harness.run("t/w", mocks={"/do/0/t/try/0/call": Mock(output={"a": object()})})


async def test_a_run_that_faults_writes_no_log_record_to_standard_error(tmp_path: Path) -> None:
    script = f"""
import asyncio, pathlib
from iogate.testing import Harness, Mock
harness = Harness.load(pathlib.Path({str(tmp_path)!r}))
mocks = {{"/do/0/call": Mock(error={{"type": "https://a/b", "status": 500}})}}
outcome = asyncio.run(harness.run("t/w", mocks=mocks))
print(outcome.status)
"""
    project(tmp_path, CALL)
    ran = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True, timeout=50
    )
    assert (ran.stdout, ran.stderr) == ("faulted\n", "")


async def test_a_call_of_an_extension_has_one_mock_for_all_tasks(tmp_path: Path) -> None:
    """Its key is the reference that `runs show` prints."""
    use = (
        "use:\n  extensions:\n    - tell:\n        extend: set\n        before:\n"
        "          - log: {call: http, with: {method: post, endpoint: 'https://log.example'}}\n"
    )
    harness = project(tmp_path, "- a: {set: {n: 1}}\n- b: {set: {n: 2}}\n", use=use)
    with pytest.raises(Unmocked) as caught:
        await harness.run("t/w")
    key = "/use/extensions/0/tell/before/0/log"
    assert f"mocks: {{{key}: {{output: …}}}}" in caught.value.hint
    outcome = await harness.run("t/w", mocks={key: Mock(output=None)})
    assert (outcome.output, len(outcome.calls)) == ({"n": 2}, 2)


async def test_a_token_request_without_a_mock_ends_the_test(tmp_path: Path) -> None:
    policy = "{oauth2: {authority: 'https://login.example', grant: client_credentials}}"
    call = (
        "{call: http, with: {method: get, endpoint: "
        f"{{uri: 'https://api.example.com', authentication: {policy}}}}}}}"
    )
    endpoints = {"https://api.example.com": "http://127.0.0.1:1"}
    with pytest.raises(Unmocked) as caught:
        await project(tmp_path, f"[{{call: {call}}}]", endpoints=endpoints).run("t/w")
    said = "/do/0/call asks for a token, and nothing stands in for who gives it"
    assert caught.value.message == said


API = {"openapi": "3.0.0", "paths": {"/x": {"get": {"operationId": "x"}}}}
HTTP = "{call: http, with: {method: get, endpoint: 'https://api.example/', redirect: true}}"
OPENAPI = (
    "{call: openapi, with: {document: {endpoint: 'https://api.example/api.json'}, operationId: '${ \"x\" }'}}"
)
OIDC = (
    "{call: http, with: {method: get, endpoint: {uri: 'https://api.example/x', authentication: "
    "{oidc: {authority: 'https://api.example', grant: client_credentials}}}}}"
)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    ("call", "before"),
    [(HTTP, ["/"]), (OPENAPI, []), (OIDC, ["/.well-known/openid-configuration"])],
    ids=["redirect", "document", "discovery"],
)
async def test_a_host_that_a_test_host_names_is_not_called(
    tmp_path: Path, site: Site, call: str, before: list[str], *, own: bool
) -> None:
    named = site.url if own else f"http://localhost:{site.port}"
    site.redirect("/", f"{named}/x")
    site.respond("/api.json", text=json.dumps({**API, "servers": [{"url": named}]}))
    discovered = {"issuer": "https://api.example", "token_endpoint": f"{named}/token"}
    site.respond("/.well-known/openid-configuration", text=json.dumps(discovered))
    site.respond("/token", text=json.dumps({"access_token": "a", "token_type": "Bearer"}))
    tasks = f"- t: {{try: [{{call: {call}}}], catch: {{}}}}\n"
    harness = await asyncio.to_thread(
        lambda: project(
            tmp_path,
            tasks,
            endpoints={"https://api.example": site.url},
            allow_hosts=("127.0.0.1", "localhost"),
        )
    )
    site.seen.clear()
    if own:
        assert (await harness.run("t/w")).output == {"path": "/x"}
        return
    with pytest.raises(Unmocked) as caught:
        await harness.run("t/w")
    assert caught.value.message == f"/do/0/t/try/0/call calls {named}, and nothing stands in for it"
    assert "mocks: {/do/0/t/try/0/call: {output: …}}" in caught.value.hint
    assert [seen.path for seen in site.seen] == before


async def test_a_document_of_the_project_is_called_at_its_test_host(tmp_path: Path, site: Site) -> None:
    (tmp_path / "workflows.d").mkdir()
    api = {**API, "servers": [{"url": "https://api.example"}]}
    (tmp_path / "workflows.d/api.json").write_text(json.dumps(api))
    tasks = f"[{{call: {OPENAPI.replace('https://api.example/api.json', 'api.json')}}}]"
    with pytest.raises(Unmocked, match=r"^/do/0/call calls https://api"):
        await project(tmp_path, tasks).run("t/w")
    harness = project(tmp_path, tasks, endpoints={"https://api.example": site.url})
    assert (await harness.run("t/w")).output == {"path": "/x"}


async def test_endpoints_allow_calls_to_a_test_host(tmp_path: Path) -> None:
    harness = project(tmp_path, CALL, endpoints={"https://api.example.com": "http://127.0.0.1:1"})
    outcome = await harness.run("t/w")
    assert outcome.error is not None
    assert " failed: cannot connect" in outcome.error["detail"]
    assert "127.0.0.1" not in outcome.error["detail"], "callers read it"
    assert outcome.error["sentTo"] == "http://127.0.0.1:1"
    handler = "catch: {do: [{say: {set: {error: '${ $error }'}}}]}"
    caught = "- t:\n    try:\n" + indent(dedent(CALL), "    ") + indent(handler, "    ")
    (tmp_path / "caught").mkdir()
    outcome = await project(tmp_path / "caught", caught, endpoints=harness.settings.endpoints).run("t/w")
    assert outcome.status == "completed", outcome.error
    assert "cannot connect" in outcome.output["error"]["detail"]
    assert "127.0.0.1" not in repr(outcome.output), "a workflow may give an error as its output"


async def test_a_mock_can_answer_each_iteration_of_a_loop(tmp_path: Path) -> None:
    harness = project(
        tmp_path,
        """
        - loop:
            for: {in: '${ [1, 2, 3] }'}
            do:
              - call:
                  call: http
                  with: {method: get, endpoint: "https://api.example.com/"}
        """,
    )

    def answer(perform: Perform) -> Mock:
        return Mock(output=perform.reference)

    each = "/do/0/loop/for/do/0/call"
    special = "/do/0/loop/for/1/do/0/call"
    outcome = await harness.run("t/w", mocks={each: answer, special: Mock(output="special")})
    assert [called.performed.output for called in outcome.calls] == [
        "/do/0/loop/for/0/do/0/call",
        "special",
        "/do/0/loop/for/2/do/0/call",
    ]


async def test_a_mock_may_have_the_index_of_one_of_several_loops(tmp_path: Path) -> None:
    harness = project(
        tmp_path,
        """
        - outer:
            for: {in: '${ [range(3)] }', each: a}
            do:
              - inner:
                  for: {in: '${ [range(3)] }', each: b}
                  do:
                    - call:
                        call: http
                        with: {method: get, endpoint: "https://api.example.com/"}
        """,
    )
    mocks = {
        "/do/0/outer/for/do/0/inner/for/do/0/call": Mock(output="any"),
        "/do/0/outer/for/1/do/0/inner/for/do/0/call": Mock(output="outer"),
        "/do/0/outer/for/do/0/inner/for/2/do/0/call": Mock(output="inner"),
        "/do/0/outer/for/2/do/0/inner/for/2/do/0/call": Mock(output="both"),
    }
    outcome = await harness.run("t/w", mocks=mocks)
    assert [called.performed.output for called in outcome.calls] == [
        *("any", "any", "inner"),
        *("outer", "outer", "outer"),
        *("any", "any", "both"),
    ]


async def test_shell_commands_are_run(tmp_path: Path) -> None:
    harness = project(tmp_path, "- run: {run: {shell: {command: 'echo $1', arguments: ['${ .n }']}}}\n")
    assert (await harness.run("t/w", {"n": "five"})).output == "five\n"


async def test_declared_secrets_have_placeholders_unless_given(tmp_path: Path) -> None:
    do = "- say: {set: {key: '${ $secrets.apiKey }'}}\n"
    harness = project(tmp_path, do, use="use: {secrets: [apiKey]}\n", secrets={"apiKey": {"env": "NO_SUCH"}})
    assert (await harness.run("t/w")).output == {"key": "secret apiKey"}
    harness.secrets = {"apiKey": "k"}
    assert (await harness.run("t/w")).output == {"key": "k"}


@pytest.mark.parametrize("scheme", ["basic", "digest", "oauth2", "oidc", "bearer"])
async def test_a_secret_of_a_policy_has_a_placeholder_with_its_members(tmp_path: Path, scheme: str) -> None:
    use = f"use: {{secrets: [shop], authentications: {{login: {{{scheme}: {{use: shop}}}}}}}}\n"
    do = """
        - call:
            call: http
            with: {method: get, endpoint: {uri: "https://api.example.com", authentication: {use: login}}}
    """
    harness = project(tmp_path, do, use=use, secrets={"shop": {"env": "NO_SUCH"}})
    outcome = await harness.run("t/w", mocks={"/do/0/call": Mock(output={"ok": True})})
    assert outcome.output == {"ok": True}, outcome.error


async def test_a_secret_whose_members_are_read_has_a_placeholder_with_these(tmp_path: Path) -> None:
    do = "- say: {set: {list: '${ [$secrets.db.user, $secrets.db.tls.key, $secrets.key] }'}}\n"
    known = {name: {"env": "NO_SUCH"} for name in ("db", "key")}
    harness = project(tmp_path, do, use="use: {secrets: [db, key]}\n", secrets=known)
    assert (await harness.run("t/w")).output == {"list": ["secret db", "secret db", "secret key"]}


async def test_a_run_that_does_not_end_is_aborted(tmp_path: Path) -> None:
    harness = project(tmp_path, "- again: {set: {a: 1}, then: again}\n")
    with pytest.raises(StillRunning, match=r"^t/w is still running after 0\.05 s$"):
        await harness.run("t/w", limit_s=0.05)


def test_invalid_files_are_refused_with_their_positions(tmp_path: Path) -> None:
    with pytest.raises(InvalidFiles, match=r"workflows\.d/w1\.0\.0\.yaml:3:\d+: error"):
        project(tmp_path, "- say: {sett: {}}\n")


PARALLEL = """
    - all:
        metadata: {iogate: {parallel: 3, on_error: continue}}
        for: {in: '${ [range(5)] }', each: k}
        do:
          - nap: {wait: '${ "PT\\(10 - $k)S" }'}
          - call:
              call: http
              with: {method: get, endpoint: "https://api.example.com/"}
              output: {as: "[$k, .]"}
"""


async def test_iterations_of_a_parallel_loop_have_mocks_by_index(tmp_path: Path) -> None:
    mocks = {
        "/do/0/all/for/do/1/call": Mock(output="any"),
        "/do/0/all/for/1/do/1/call": Mock(output="one"),
        "/do/0/all/for/4/do/1/call": Mock(error={"type": "communication", "status": 503}),
    }
    outcome = await project(tmp_path, PARALLEL).run("t/w", mocks=mocks)
    assert outcome.output[:4] == [[0, "any"], [1, "one"], [2, "any"], [3, "any"]]
    assert outcome.output[4]["error"]["status"] == 503
    assert outcome.elapsed_s == 15, "three at a time"
    assert [called.perform.reference.split("/")[5] for called in outcome.calls] == ["2", "1", "0", "3", "4"]
