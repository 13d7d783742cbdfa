"""The page of limits has the numbers of the code."""

from __future__ import annotations

from iogate.compiler.reader import links as workflow_links
from iogate.compiler.resources import document_collector, document_sources
from iogate.compiler.revision import RETENTION_S
from iogate.documents import api
from iogate.documents.api import attributes
from iogate.documents.api import input as api_input
from iogate.documents.dsl import links, metadata
from iogate.documents.yaml import composer, reader
from iogate.effects import document_fetcher, effect_files, http_calls
from iogate.effects.http import name_lookup, transport
from iogate.effects.processes import process_run
from iogate.engine import errors
from iogate.gateway import http_server
from iogate.gateway.calls import allowed_addresses, call_handler
from iogate.gateway.events import cloudevents, event_intake
from iogate.gateway.http import body, decoding, request
from iogate.gateway.operators import revision_routes
from iogate.gateway.runs import caller_routes
from iogate.gateway.validation import input_keys
from iogate.operators.batches import batch_selection, batches
from iogate.security import failure_limit, secrets
from iogate.settings import Settings
from iogate.settings.setting_types import PROCESS_LIMITS
from iogate.store import keys, state_codec
from iogate.store.connection import memory_watermark
from iogate.supervision.supervisor import Child
from iogate.url_paths import MAX_PATH
from iogate.worker import resource_limits
from iogate.worker.events.callback_delivery import Pace
from iogate.worker.runs import children
from tests.docs.pages import DOCS, rows, sections

PAGE = DOCS / "reference" / "limits.md"
DAY_MS = 86_400_000


def number(value: float) -> str:
    return f"{value:,.0f}"


def mib(value: float) -> str:
    whole, unit = (value / 2**30, "GiB") if value >= 2**30 else (value / 2**20, "MiB")
    assert whole == int(whole)
    return f"{whole:.0f} {unit}"


def percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def days(ms: float) -> str:
    return f"{ms / DAY_MS:.0f} days"


WORKER_SHARE = percent(resource_limits.SHARE)
BATCH, OPERATE = number(batch_selection.MOST), number(batches.OPERATE_MOST)
LIMITS = {
    "size of a file": mib(reader.MAX_BYTES),
    "nesting of a file": f"{composer.MAX_DEPTH} levels",
    "values in a file, after expansion of aliases": number(composer.MAX_NODES),
    "size of a document at a URL": mib(document_sources.MAX_BYTES),
    "time to fetch a document": f"{number(document_fetcher.TIMEOUT_S)} s",
    "external functions of a workflow": number(document_collector.MAX_FUNCTIONS),
    "length of an own path": f"{MAX_PATH} characters",
    "attributes of an API": number(attributes.MOST),
    "one-time links of a workflow": number(links.MOST),
    "lifetime of a one-time link": days(links.LONGEST_S * 1000),
    "parallel iterations of a loop": number(metadata.MOST_PARALLEL),
    "file with a secret": f"{secrets.MAX_FILE // 1024} KiB",
    "file of `allow_ips`": mib(allowed_addresses.MAX_FILE),
    "bundle of a publication over HTTP": mib(revision_routes._BUNDLE_BYTES),
    "body of a call": mib(api.Limits().body),
    "bodies that a gateway process holds": mib(Settings().body_budget),
    "headers": f"{number(request.MAX_HEADERS)} bytes",
    "time for the headers": f"{http_server.HEADERS_S} s",
    "time for a body": f"{number(body.DEADLINE_S)} s, and 1 s per MiB",
    "nesting of JSON in a body": f"{decoding.MAX_DEPTH} levels",
    "fields of a form or query": number(decoding.MAX_FIELDS),
    "files of a call, in all": mib(api_input.MAX_FILES),
    "waiting runs of an API": number(api.Limits().queued),
    "length of an idempotency key": f"{input_keys.MOST_CHARACTERS} characters",
    "lifetime of an idempotency key": f"{api.Idempotency().ttl / 3600:.0f} h",
    "wait of a call to `/sync`": f"{number(call_handler.SYNC_MOST_S)} s",
    "wait for a run with `?wait=N`": f"{caller_routes.WAIT_MOST_S} s",
    "wrong credentials of an address": f"{failure_limit.FAILURES}, then 1 per second",
    "event streams of a gateway process": number(Settings().streams),
    "large responses that a gateway process holds": mib(Settings().response_budget),
    "body of received events": mib(event_intake.MAX_BODY),
    "events in a batch": number(cloudevents.MAX_EVENTS),
    "length of an attribute of an event": f"{number(cloudevents.LONGEST)} characters",
    "concurrent runs of a worker process": number(Settings().concurrency),
    "memory of a worker process": f"{mib(resource_limits.MEMORY)}, or {WORKER_SHARE} of the machine",
    "data that a run writes in one commit": mib(keys.COMMIT_BYTES),
    "type, title or detail of an error that a run keeps": f"{errors.TEXT_BYTES // 1024} KiB",
    "nesting of the data of a run": f"{state_codec.LEVELS} levels",
    "journal of a run": f"{number(keys.JOURNAL_ENTRIES)} entries",
    "recorded results of a run, with `record: all`": mib(keys.RECORDED_BYTES),
    "depth of child runs": number(children.DEEPEST),
    "live descendants of a run": number(keys.FAMILY_RUNS),
    "events that wait for a run": number(keys.INBOX_ENTRIES),
    "events that wait for a sink": number(keys.OUTBOX_ENTRIES),
    "files of a task, in all": mib(effect_files.MOST_BYTES),
    "response of an HTTP call": mib(http_calls.MAX_RESPONSE),
    "redirects of an HTTP call": number(http_calls.MAX_REDIRECTS),
    "time to look up the name of a host": f"{number(name_lookup.TIMEOUT_S)} s",
    "time to connect": f"{number(transport.TIMEOUTS.sock_connect or 0)} s",
    "time without data from a service": f"{number(transport.TIMEOUTS.sock_read or 0)} s",
    "output of a process": mib(process_run.Command.cap),
    "memory of a process": mib(PROCESS_LIMITS["memory"]),
    "time during which an event loop may not move": f"{number(Child.tick_s)} s",
    "attempts of a callback": f"{Pace().tries()}, in {keys.CALLBACK_MS / 3_600_000:.0f} h",
    "memory at which new calls are refused": f"{percent(memory_watermark.WATERMARK)} of the limit",
    "retention of an ended run": days(RETENTION_S * 1000),
    "revisions of a project": number(keys.REVISIONS_KEPT),
    "changes in the activity": f"{number(keys.ACTIVITY_KEPT)}, for {days(keys.ACTIVITY_MS)}",
    "runs of a batch": f"{BATCH}; {OPERATE} with the role `operate`",
    "batches": f"{number(keys.BATCHES_KEPT)}, for {days(keys.BATCH_MS)}",
    "hourly counts of runs": days(keys.STATISTICS_MS - DAY_MS),
    "distinct errors of an API": f"{keys.ERROR_GROUPS}, for {days(keys.STATISTICS_MS - DAY_MS)}",
}


def test_each_limit_is_that_of_the_code() -> None:
    told = {cells[0]: cells[1].strip("*") for section in sections(PAGE).values() for cells in rows(section)}
    assert told == LIMITS


def test_the_defaults_are_those_of_the_code() -> None:
    told = {cells[0]: cells[2] for section in sections(PAGE).values() for cells in rows(section)}
    assert f"*{workflow_links.TTL_S // 86_400} days:*" in told["lifetime of a one-time link"]
    assert f"*{number(call_handler.SYNC_S)} s:*" in told["wait of a call to `/sync`"]
