"""`iogate doctor`: find problems of the installation before they cause failures.

Each check is a function that returns findings, and does not stop the others. Nothing is changed.
"""

from __future__ import annotations

import asyncio
import platform
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from iogate import __version__
from iogate.cli import panels
from iogate.cli.apis import credentials
from iogate.cli.documents.bundle import check_documents
from iogate.cli.processes import required_tools
from iogate.cli.processes.certificate_check import check_certificate
from iogate.cli.processes.doctor_finding import Finding
from iogate.cli.processes.operators_check import check_operators
from iogate.cli.processes.traces_check import check_traces
from iogate.cli.render import Table
from iogate.cli.revisions.status_command import describe_refusals
from iogate.cli.session import Session, command
from iogate.errors import InvalidFiles, IogateError, NoStore, Unreachable
from iogate.messages import conjoined, counted
from iogate.security.regular_files import is_exposed
from iogate.settings import LINK_KEY_FILE, permissions
from iogate.settings.urls import gateway_url, is_loopback
from iogate.store.integrity import newest_seals

if TYPE_CHECKING:
    from iogate.cli.documents.bundle import CheckResult
    from iogate.security.secrets import Unset
    from iogate.settings import Settings
    from iogate.store.store import Store

MAX_DRIFT_S = 1.0
MIN_OPEN_FILES = 4096


def register(app: typer.Typer) -> None:
    command(app, "doctor", rich_help_panel=panels.PROCESSES)(doctor)


async def doctor(session: Session) -> None:
    """Check settings, files, secrets, the store, its clock, and the processes.

    Raises:
        InvalidFiles: a check other than those of the store found an error.
        Unreachable: there is no store, or it is unreachable or unsafe.
    """
    settings = session.settings()
    findings = [*check_machine(settings), *check_certificate(settings), *check_traces()]
    checked: CheckResult | None = None
    try:
        checked = check_documents(settings, purpose="apply")
    except IogateError as error:
        findings.append(Finding(about="files", verdict="error", message=error.message, hint=error.hint))
    if checked is not None:
        findings += check_files(checked)
    findings += [*check_secrets(settings, checked), *check_operators(settings)]
    failed: IogateError | None = None
    try:
        async with session.store(settings) as store:
            findings += await check_store(store)
            findings += await check_processes(store)
            findings += await check_authenticity(settings, store)
    except IogateError as error:
        failed = error
        findings.append(Finding(about="store", verdict="error", message=error.message, hint=error.hint))
    session.screen.data(
        "doctor",
        {
            "findings": [
                {"about": each.about, "verdict": each.verdict, "message": each.message, "hint": each.hint}
                for each in findings
            ]
        },
        [
            Table(
                columns=("about", "verdict", "message", "hint"),
                rows=[(each.about, each.verdict, each.message, each.hint) for each in findings],
            )
        ],
    )
    if isinstance(failed, NoStore):
        raise failed
    if failed is not None:
        raise Unreachable("the store is unreachable or refused the connection")
    wrong = [each for each in findings if each.verdict == "error"]
    if any(each.about == "store" for each in wrong):
        raise Unreachable("the store is not safe to use")
    if wrong:
        raise InvalidFiles(f"doctor found {counted(len(wrong), 'error')}")


def check_machine(settings: Settings) -> Iterator[Finding]:
    """Check for `iogate doctor` versions, limits and the files that the settings name."""
    python = platform.python_version()
    yield Finding(
        about="iogate", verdict="ok", message=f"{__version__} on Python {python}, {platform.system()}"
    )
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < MIN_OPEN_FILES:
        yield Finding(
            about="limits",
            verdict="warning",
            message=f"{soft} open files per process",
            hint=f"raise the limit with ulimit -n {MIN_OPEN_FILES}: each connection needs a file",
        )
    scripts = permissions.allows_kind(settings.allow_run, "script")
    if scripts and settings.python is not None and not shutil.which(settings.python):
        yield Finding(
            about="python",
            verdict="error",
            message=f"{settings.python} is not an interpreter",
            hint="set python to an interpreter, or remove it to use that of the worker",
        )
    for kind, tool in (("script", required_tools.javascript()), ("container", required_tools.containers())):
        if permissions.allows_kind(settings.allow_run, kind):
            yield Finding(
                about=tool.about,
                # Scripts may all be in Python, but `container` in allow_run means that containers are used.
                verdict="ok" if tool.path is not None or kind == "script" else "warning",
                message=f"{tool.path} {tool.purpose}" if tool.path else f"no program here {tool.purpose}",
                hint="" if tool.path else tool.hint,
            )
    allowed = permissions.describe(settings.allow_run)
    yield Finding(about="allow_run", verdict="ok", message=f"workflows may start: {allowed}")
    if not is_loopback(settings.host):
        if settings.link_key is None:
            yield Finding(
                about="link_key",
                verdict="warning",
                message="not set: each machine generates its own",
                hint="set the same link_key on all machines with this store: another key is refused (IOG670)",
            )
        if settings.public_url is None:
            yield Finding(
                about="public_url",
                verdict="warning",
                message=f"not set: links start with {gateway_url(settings)}",
                hint="set public_url to the address that callers use",
            )
    lacks = newest_seals.fault(settings.data_dir)
    if lacks and (settings.redis_url is not None or settings.data_dir.exists()):
        yield Finding(
            about="data_dir",
            verdict="warning",
            message=f"{lacks}: processes that start later cannot refuse an earlier live revision",
            hint="set data_dir to a folder that gateways and workers can write, and that is kept",
        )
    if (damaged := newest_seals.damage(settings.data_dir)) is not None:
        yield Finding(about="data_dir", verdict="error", message=damaged.message, hint=damaged.hint)
    if is_exposed(key := settings.data_dir / LINK_KEY_FILE):
        yield Finding(
            about="link_key",
            verdict="error",
            message=f"{key} is readable by other users",
            hint=f"chmod 600 {key}",
        )


def check_files(checked: CheckResult) -> Iterator[Finding]:
    """Report to `iogate doctor` the problems of the documents, from a compilation for `apply`."""
    warnings = len(checked.problems) - checked.errors
    yield Finding(
        about="files",
        verdict="error" if checked.errors else "warning" if warnings else "ok",
        message=(
            f"{counted(len(checked.documents.sources), 'file')}: {counted(checked.errors, 'error')},"
            f" {counted(warnings, 'warning')}"
        ),
        hint="iogate validate" if checked.problems else "",
    )


def check_secrets(settings: Settings, checked: CheckResult | None) -> Iterator[Finding]:
    """Check for `iogate doctor` that this shell can resolve all secrets; gateways report their own."""
    from iogate.operators.secrets import missing_secrets
    from iogate.security.secrets import Unset, resolve
    from iogate.settings.events import has_literal, senders

    missing = 0
    sinks = {
        f"events.sinks.{name}: header {header}": value
        for name, sink in settings.events.get("sinks", {}).items()
        for header, value in sink["headers"].items()
        if not isinstance(value, str)
    }
    for name, reference in {**settings.secrets, **sinks}.items():
        ((kind, value),) = reference.items()
        try:
            resolve(kind, value, root=Path.cwd())
        except Unset as error:
            missing += 1
            message = f"{name}: {_in_this_shell(error)}"
            yield Finding(about="secrets", verdict="warning", message=message, hint=error.hint)
    bundle = checked.bundle if checked is not None else None
    guarded = {api.id: api.auth for api in (bundle.revision.apis.values() if bundle is not None else ())}
    if (accepted := senders(settings.events)) is not None:
        guarded["events"] = accepted
    for name, given in guarded.items():
        for lack in credentials.unset_secrets(given):
            missing += 1
            yield Finding(
                about="secrets",
                verdict="warning",
                message=f"{name}: {_in_this_shell(lack)}",
                hint="a gateway started from this shell responds with 503",
            )
    for api in bundle.revision.apis.values() if bundle is not None else ():
        try:
            credentials.resolve_callback(api)
        except (Unset, ValueError) as error:
            missing += 1
            reason = _in_this_shell(error) if isinstance(error, Unset) else str(error)
            hint = "a worker started from this shell sends none of its callbacks"
            if not isinstance(error, Unset):
                hint = f"{missing_secrets.remedy(reason)}; {hint}"
            yield Finding(
                about="secrets", verdict="warning", message=f"{api.id}: callback: {reason}", hint=hint
            )
    if has_literal(settings.events):
        yield Finding(
            about="secrets",
            verdict="warning",
            message="IOG501: the setting events has a secret in clear text",
            hint="use {env: NAME}, {file: PATH} or {hash: …}",
        )
    if not missing:
        yield Finding(about="secrets", verdict="ok", message="all secrets in the files are set here")


def _in_this_shell(error: Unset) -> str:
    """Return the message of `iogate doctor` about a variable that is unset in this shell."""
    return f"{error.message} in this shell" if error.kind == "env" else error.message


async def check_store(store: Store) -> list[Finding]:
    """Check for `iogate doctor` the durability of the store, and its clock against this machine's."""
    from iogate.store.embedded.binaries import describe

    info = await store.server_info()
    found = [
        Finding(
            about="store",
            verdict="ok",
            message=f"{store.shown_url}, {describe(info)}",
        )
    ]
    found += [
        Finding(about="store", verdict=each.level, message=each.message, hint=each.hint)
        for each in await store.findings()
    ]
    if info.get("role") == "slave":
        found.append(
            Finding(
                about="store",
                verdict="error",
                message="the server is a replica",
                hint="set redis_url to the primary",
            )
        )
    if info.get("redis_mode") == "cluster":
        found.append(
            Finding(
                about="store",
                verdict="error",
                message="the server is a cluster, which does not support scripts over many keys",
                hint="set redis_url to a server that is not a cluster",
            )
        )
    if info.get("aof_last_write_status", "ok") != "ok":
        found.append(
            Finding(
                about="store",
                verdict="error",
                message="the last write to disk failed",
                hint="free space on its disk, and check its log",
            )
        )
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if most and used > most * 0.8:
        found.append(
            Finding(
                about="store",
                verdict="warning",
                message=f"{used * 100 // most} % of the memory is used; calls are rejected above 90 %",
                hint="raise maxmemory (store_memory of the embedded store), or shorten retention",
            )
        )
    before = time.time()
    seconds, microseconds = await store.call("TIME")
    drift_s = int(seconds) + int(microseconds) / 1e6 - (before + time.time()) / 2
    found.append(
        Finding(
            about="clock",
            verdict="ok" if abs(drift_s) < MAX_DRIFT_S else "warning",
            message=f"{drift_s:+.3f}s between this machine and the store",
            hint=""
            if abs(drift_s) < MAX_DRIFT_S
            else "synchronize both clocks: deadlines follow that of the store",
        )
    )
    return found


async def check_authenticity(settings: Settings, store: Store) -> list[Finding]:
    """Check for `iogate doctor` the key of the store, and that no process rejected unsigned data."""
    from iogate.store.integrity.trust import keyring

    found: list[Finding] = []
    try:
        await store.check(keyring(settings, Path.cwd()))
    except IogateError as error:
        found.append(Finding(about="link_key", verdict="error", message=error.message, hint=error.hint))
    refused = {kind: number for kind, number in (await store.refusals.counts()).items() if number}
    if refused:
        found.append(
            Finding(
                about="store",
                verdict="error",
                message=f"processes have refused {describe_refusals(refused)} without a valid signature",
                hint="find out which other programs can write to the store; the logs name each object",
            )
        )
    return found


async def check_processes(store: Store) -> list[Finding]:
    """List for `iogate doctor` the live gateways and workers, and the secrets that they lack."""
    from iogate.operators.secrets import missing_secrets
    from iogate.store.revisions.convergence import compare
    from iogate.store.revisions.origin import DEFAULT_PROJECT

    lives, observed = await asyncio.gather(store.revisions.live_of_all(), store.presence.observe())
    gateways, workers = (
        [each.process for each in observed if each.process.kind == kind] for kind in ("gateway", "worker")
    )
    found = [
        Finding(
            about=kind,
            verdict="ok" if there else "warning",
            message=f"{len(there)} running",
            hint="" if there else "iogate up",
        )
        for kind, there in (("gateways", gateways), ("workers", workers))
    ]
    found += [
        Finding(
            about=f"{each.kind}s",
            verdict="warning",
            message=f"{each.id} has revision {each.revision}, live is {number}"
            + (f" in project {project}" if project != DEFAULT_PROJECT else "")
            + (f": {each.reason}" if each.reason else ""),
            hint="check its log: it keeps the last revision that it could load",
        )
        for project, (number, _) in sorted(lives.live.items())
        for each in compare(observed, number, project).late
    ]
    found += [
        Finding(
            about="gateways",
            verdict="warning",
            message=f"{api} responds with 503: {'; '.join(missing)}",
            hint="set it, or write the file, where the gateways run",
        )
        for api, missing in missing_secrets.by_api(gateways).items()
    ]
    apis_by_reason: dict[str, list[str]] = {}
    for api, texts in missing_secrets.of_callbacks(workers).items():
        apis_by_reason.setdefault("; ".join(texts), []).append(api)
    found += [
        Finding(
            about="workers",
            verdict="warning",
            message=missing_secrets.waiting_callbacks(conjoined(sorted(apis)), reason),
            hint=f"{missing_secrets.remedy(reason)}, where the workers run",
        )
        for reason, apis in apis_by_reason.items()
    ]
    unset, _ = await missing_secrets.by_live_workflow(store, workers)
    found += [
        Finding(
            about="workers",
            verdict="warning",
            message=f"runs of {workflow} that need it fail: {'; '.join(missing)}",
            hint="name it in the setting secrets, and set its variable or file where the workers run",
        )
        for workflow, missing in unset.items()
    ]
    return found
