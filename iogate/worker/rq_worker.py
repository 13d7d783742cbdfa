"""`WorkflowWorker`: an iogate worker as RQ sees it, for `rq info`, `rq suspend` and RQ's commands.

Used by `process`. RQ's client is synchronous, so all of it happens in one thread of its own; the commands
that it hears go to the event loop. Invariant: nothing here takes, runs, finishes or retries a job: RQ's
`work` and all below it never run, and no answer or failure of this thread keeps a run from going on.
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
from iogate.store.connection.endpoint import blocking_client

log = logging.getLogger(__name__)

TTL_S = 30
"""RQ keeps a silent worker for this long and a minute more."""
HEARTBEAT_S = 5.0
SILENT_S = 12.0
"""A subscription that has not answered two pings is made again."""
LISTEN_S = 1.0
RETRY_S = 0.5
TIMEOUT_S = 5.0
LEAVE = "leave"
"""A command to oneself."""


class WorkflowWorker(BaseWorker):
    """Identity, registration, heartbeat, state and commands; see the module."""

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
        self._hear: Callable[[str, str], None] = lambda _kind, _uid: None

    def _set_connection(self, connection: Redis) -> Redis:
        """Leave the connection's timeouts alone: RQ raises them for a blocking take that never comes."""
        return connection

    def execute_job(self, *_: object) -> None:
        """Refuse what only RQ's own loop would ask for."""
        raise RuntimeError("an iogate worker takes runs, not jobs; RQ's work() is not used")

    # The event loop's side.

    def attend(self, hear: Callable[[str, str], None]) -> None:
        """Register and listen; `hear(command, uid)` is called in the event loop: stop, shutdown."""
        self._loop = asyncio.get_running_loop()
        self._hear = hear
        self._thread = threading.Thread(target=self._attend, name="rq", daemon=True)
        self._thread.start()

    async def leave(self) -> None:
        """Register the worker's death, as well as the store can be reached, and stop listening."""
        self._closing.set()
        if self._thread is not None:
            await asyncio.to_thread(self._join, self._thread)

    def _join(self, thread: threading.Thread) -> None:
        # It waits for a command: this one is heard at once.
        with contextlib.suppress(RedisError, OSError):
            send_command(self.connection, self.name, LEAVE)
        thread.join(TIMEOUT_S)

    # The thread's side.

    def _attend(self) -> None:
        """Whatever happens to the store, come back."""
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
                    registered = True  # the name is ours: a birth whose answer was lost
                log.debug("registration: %s", error, extra={"action": "registration.retried"})
                # Whatever it was, such as a primary that is a replica now: connect again.
                self.connection.connection_pool.disconnect()
                self._closing.wait(RETRY_S)
            finally:
                pubsub.close()
        try:
            self.register_death()  # type: ignore[no-untyped-call] # RQ is partly typed
        except (RedisError, OSError):
            log.debug("the store was out of reach for the worker's death; its key expires")
        self.connection.close()

    def _listen(self, pubsub: PubSub) -> None:
        beaten, heard = 0.0, time.monotonic()
        while not self._closing.is_set():
            now = time.monotonic()
            if now - beaten >= HEARTBEAT_S:
                if now - heard > SILENT_S:
                    raise TimeoutError("the subscription is silent")
                self._beat()
                pubsub.ping()
                beaten = now
            message = pubsub.get_message(timeout=LISTEN_S)
            if message is not None:
                heard = time.monotonic()
            if message is not None and message["type"] == "message":
                self._command(message["data"])

    def _beat(self) -> None:
        """Say that the worker lives, anew if the store forgot it; a suspension is shown as RQ shows it."""
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
            log.warning("a command that is none was ignored", extra={"action": "command.ignored"})
            return
        match command:
            case _ if self._closing.is_set():
                pass  # LEAVE has done what it is for; anything else comes too late
            case "shutdown":
                self._tell("shutdown")
            case "stop-job" | "stop-execution":
                self._tell("stop", uid)
            case _:
                # `kill-horse`: there is no horse, many runs share the process.
                log.warning("command %s is not for this worker", command, extra={"action": "command.ignored"})

    def _tell(self, kind: str, uid: str = "") -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._hear, kind, uid)
        except RuntimeError:
            self._closing.set()  # the loop is closed: the process is at its end
