"""Registration of a worker in RQ, for `rq info`, `rq suspend` and the commands of RQ.

Used by `worker_process`. The client of RQ is synchronous, so it has its own thread, which passes commands to
the event loop. Invariant: nothing here takes, runs, finishes or retries a job: `work` of RQ is never called,
and no failure of this thread delays a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable

from redis import Redis, RedisError
from redis.client import PubSub
from rq import Queue
from rq.command import send_command
from rq.serializers import JSONSerializer
from rq.suspension import is_suspended
from rq.worker import BaseWorker

from iogate.store import keys
from iogate.store.connection.primary_endpoint import blocking_client

log = logging.getLogger(__name__)

TTL_S = 30
"""RQ removes a worker that has been silent for this long plus a minute."""
HEARTBEAT_S = 5.0
SILENT_S = 12.0
"""Silence after which the worker subscribes again; it is longer than two pings."""
LISTEN_S = 1.0
RETRY_S = 0.5
TIMEOUT_S = 5.0
LEAVE = "leave"
"""Command by which the worker wakes its own thread."""


class WorkflowWorker(BaseWorker):
    """RQ worker that registers, sends heartbeats and receives commands, but takes no jobs."""

    def __init__(self, name: str, url: str) -> None:
        connection = blocking_client(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, health_check_interval=0
        )
        queue = Queue(keys.QUEUE, connection=connection, serializer=JSONSerializer)
        super().__init__(
            [queue], name=name, connection=connection, serializer=JSONSerializer, worker_ttl=TTL_S
        )
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_command: Callable[[str, str], None] = lambda _kind, _uid: None

    def _set_connection(self, connection: Redis) -> Redis:
        """Keep the timeouts of the connection, which RQ would raise for its blocking reads."""
        return connection

    def execute_job(self, *_: object) -> None:
        """Refuse to execute a job of RQ.

        Raises RuntimeError always: only the loop of RQ calls this method.
        """
        raise RuntimeError("an iogate worker takes runs, not jobs; RQ's work() is not used")

    # Called in the event loop.

    def start_listening(self, on_command: Callable[[str, str], None]) -> None:
        """Register in RQ, then call `on_command("stop" | "shutdown", uid)` in the loop for each command."""
        self._loop = asyncio.get_running_loop()
        self._on_command = on_command
        self._thread = threading.Thread(target=self._run_thread, name="rq", daemon=True)
        self._thread.start()

    async def leave(self) -> None:
        """Stop listening to RQ, and remove the registration if the store can be reached."""
        self._closing.set()
        if self._thread is not None:
            await asyncio.to_thread(self._join, self._thread)

    def _join(self, thread: threading.Thread) -> None:
        # The thread waits for a command; this one wakes it at once.
        with contextlib.suppress(RedisError, OSError):
            send_command(self.connection, self.name, LEAVE)
        thread.join(TIMEOUT_S)

    # Called in the thread.

    def _run_thread(self) -> None:
        """Register in RQ and listen until closed; reconnect after each error of the store."""
        registered = False
        while not self._closing.is_set():
            pubsub: PubSub = self.connection.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call] # redis types it late
            try:
                pubsub.subscribe(self.pubsub_channel_name)
                if not registered:
                    self.register_birth()  # type: ignore[no-untyped-call] # RQ is partly typed
                    registered = True
                self._listen(pubsub)
            except (RedisError, OSError, ValueError) as error:
                if isinstance(error, ValueError):
                    registered = True  # the name is registered: the response to an earlier attempt was lost
                log.debug("registration: %s", error, extra={"action": "registration.retried"})
                # Reconnect after any error: the primary may have become a replica.
                self.connection.connection_pool.disconnect()
                self._closing.wait(RETRY_S)
            finally:
                pubsub.close()
        try:
            self.register_death()  # type: ignore[no-untyped-call] # RQ is partly typed
        except (RedisError, OSError):
            log.debug(
                "store unreachable: the registration of the worker in RQ expires by itself",
                extra={"action": "registration.left"},
            )
        self.connection.close()

    def _listen(self, pubsub: PubSub) -> None:
        beat_at, heard_at = 0.0, time.monotonic()
        while not self._closing.is_set():
            now = time.monotonic()
            if now - beat_at >= HEARTBEAT_S:
                if now - heard_at > SILENT_S:
                    raise TimeoutError("the subscription did not respond to pings")
                self._renew_registration()
                pubsub.ping()
                beat_at = now
            message = pubsub.get_message(timeout=LISTEN_S)
            if message is not None:
                heard_at = time.monotonic()
            if message is not None and message["type"] == "message":
                self._command(message["data"])

    def _renew_registration(self) -> None:
        """Renew the registration, or register again if the store lost it; set the state that RQ shows."""
        if not self.connection.exists(self.key):
            self.register_birth()  # type: ignore[no-untyped-call] # RQ is partly typed
        suspended = is_suspended(self.connection, self)
        executions = self.connection.exists(self.executions_key)
        self.set_state("suspended" if suspended and not executions else "busy" if executions else "idle")

    def _command(self, data: bytes) -> None:
        try:
            payload = json.loads(data)
            command, uid = str(payload["command"]), str(payload.get("job_id", ""))
        except (ValueError, TypeError, KeyError, RecursionError):
            log.warning("ignored an RQ command that is not valid JSON", extra={"action": "command.ignored"})
            return
        match command:
            case _ if self._closing.is_set():
                pass  # LEAVE has woken the thread; other commands come too late
            case "shutdown":
                self._forward("shutdown")
            case "stop-job" | "stop-execution":
                self._forward("stop", uid)
            case _:
                # `kill-horse`, for example: there is no work horse, since many runs share the process.
                log.warning(
                    "ignored RQ command %s, which iogate workers do not support",
                    command,
                    extra={"action": "command.ignored"},
                )

    def _forward(self, kind: str, uid: str = "") -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._on_command, kind, uid)
        except RuntimeError:
            self._closing.set()  # the loop is closed: the process is exiting
