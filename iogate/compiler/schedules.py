"""Compiled schedule of a workflow, and the times of its ticks.

Part of the revision; store and worker ask it for due moments, people for its words. Pure. Invariant:
from the same moment every worker computes the same next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from iogate.compiler import variables
from iogate.json_values import JsonObject
from iogate.timing import crontab
from iogate.timing.durations import Duration, InvalidDuration, TooLong, format_duration, read_duration

Kind = Literal["every", "cron", "after", "on"]
Missed = Literal["once", "skip", "all"]
Overlap = Literal["allow", "skip", "queue", "replace"]

ON_EVENTS: Final = "on events"
"""Text of a schedule that no tick starts."""
MOST = 100
"""Runs of one schedule that start at once, at most: of more missed ticks the newest count."""
LATE_MS = 2_000
"""A tick that nobody looked at for this long was missed; until then it is merely late."""
AGAIN_MS = 1_000
"""When a standing run ended that should have gone on: until the next one."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    kind: Kind
    program: str
    """Digest of what a tick starts: the workflow's definition; of `on`, that of the standing run."""
    months: int = 0
    milliseconds: int = 0
    """Of `every` and `after`."""
    cron: str = ""
    zone: str = "UTC"
    """IANA name; of `cron`."""
    missed: Missed = "once"
    overlap: Overlap = "allow"
    """What a tick does while the run of an earlier one is not over; of `every` and `cron`."""
    jitter_ms: int = 0
    """Longest delay of a run after its tick."""

    @property
    def duration(self) -> Duration:
        return Duration(months=self.months, milliseconds=self.milliseconds)

    @property
    def phase(self) -> str:
        """Return a text that is equal if the due times of two schedules stay the same over an apply."""
        kept = (self.kind, self.months, self.milliseconds, self.cron, self.zone)
        return " ".join(map(str, (*kept, self.program if self.kind == "on" else "")))

    @property
    def chained(self) -> bool:
        """Whether the end of a run, and not the clock, brings the next tick of the compiled schedule."""
        return self.kind in ("after", "on")

    def again_ms(self, now_ms: int) -> int:
        """Return how long after the end of its run the next one of the compiled schedule starts."""
        return self.duration.after_ms(now_ms) - now_ms if self.kind == "after" else AGAIN_MS

    def first_ms(self, applied_ms: int) -> int:
        """Return the time of the compiled schedule's first tick, in milliseconds of the store's clock."""
        return applied_ms if self.chained else self.next_ms(applied_ms)

    def next_ms(self, due_ms: int) -> int:
        """Return the time of the compiled schedule's tick after that of `due_ms`; of `every` and `cron`."""
        if self.kind == "cron":
            return crontab.cron(self.cron, self.zone).after_ms(due_ms)
        return self.duration.after_ms(due_ms)

    def delay_ms(self, name: str, tick_ms: int) -> int:
        """Return the delay of the run of a tick of the compiled schedule: the same in each worker.

        It follows from the name and the tick, so that schedules do not all start at once.
        """
        if not self.jitter_ms:
            return 0
        digest = hashlib.sha256(f"{name}\0{tick_ms}".encode()).digest()
        return int.from_bytes(digest[:6], "big") % (self.jitter_ms + 1)

    def due(self, due_ms: int, now_ms: int) -> tuple[list[int], int | None]:
        """Return the compiled schedule's ticks that run now, and the next due time (None: after a run's end).

        The ticks are in order, oldest first.

        `due_ms` is the oldest tick that nobody has taken.
        """
        if self.chained:
            return [due_ms], None
        ticks = self._until(due_ms, now_ms)
        following_ms = self.next_ms(ticks[-1])
        if now_ms - due_ms > LATE_MS:
            match self.missed:
                case "once":
                    ticks = ticks[-1:]
                case "skip":
                    ticks = [tick for tick in ticks if now_ms - tick <= LATE_MS]
                case "all":
                    pass
        return ticks, following_ms

    def count_skipped(self, due_ms: int, now_ms: int) -> int:
        """Return the number of missed ticks of the compiled schedule that start no run by policy `skip`.

        At most MOST: to count all of them could take seconds.
        """
        if self.chained or self.missed != "skip" or now_ms - due_ms <= LATE_MS:
            return 0
        return sum(now_ms - tick > LATE_MS for tick in self._until(due_ms, now_ms))

    def _until(self, due_ms: int, now_ms: int) -> list[int]:
        """Return the newest ticks of the compiled schedule from `due_ms` to now."""
        if self.kind == "cron":
            return crontab.cron(self.cron, self.zone).newest_ms(due_ms, now_ms, MOST)
        if not self.months:
            count = (now_ms - due_ms) // self.milliseconds + 1
            first = max(0, count - MOST)
            return [due_ms + number * self.milliseconds for number in range(first, max(1, count))]
        ticks = [due_ms]
        while (tick := self.next_ms(ticks[-1])) <= now_ms:
            ticks.append(tick)
        return ticks[-MOST:]

    def __str__(self) -> str:
        match self.kind:
            case "every":
                return f"every {format_duration(self.duration)}"
            case "cron":
                return f"cron {self.cron}" + ("" if self.zone == "UTC" else f" ({self.zone})")
            case "after":
                return f"{format_duration(self.duration)} after each run"
            case "on":
                return ON_EVENTS


def settings_of(definition: JsonObject) -> JsonObject:
    """Return the settings of a schedule and a workflow: the value of `document.metadata.iogate`."""
    found = (definition["document"].get("metadata") or {}).get("iogate")
    return found if isinstance(found, Mapping) else {}


def zone_of(definition: JsonObject) -> tuple[tuple[str, ...], Any]:
    """Return the time zone of a schedule, and where: in `iogate`'s part of the metadata, or in all's."""
    said, metadata = settings_of(definition), definition["document"].get("metadata") or {}
    if "timezone" in said or "timezone" not in metadata:
        return ("document", "metadata", "iogate", "timezone"), said.get("timezone", "UTC")
    return ("document", "metadata", "timezone"), metadata["timezone"]


def without_cases(definition: dict[str, Any]) -> dict[str, Any]:
    """Return the definition without the debug cases of its schedule: to edit them changes no program."""
    said = settings_of(definition)
    if "debug" not in said:
        return definition
    head = definition["document"]
    kept = {name: value for name, value in said.items() if name != "debug"}
    metadata = _with(head["metadata"], "iogate", kept)
    return {**definition, "document": _with(head, "metadata", metadata)}


def _with(mapping: JsonObject, name: str, inner: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a schedule with another value of a member, or without it if that is empty."""
    return {key: inner if key == name else each for key, each in mapping.items() if key != name or inner}


def moment_text(moment_ms: int, zone: str = "UTC") -> str:
    """Return the moment of a schedule's tick as text in a time zone, for people."""
    at = datetime.fromtimestamp(moment_ms // 1000, crontab.zone(zone))
    return at.isoformat().replace("+00:00", "Z")


PREFIX: Final = "schedule:"
"""Before the name of a workflow: the id under which the runs of its schedule are queued and listed."""


def compiled(definition: JsonObject, program: str) -> Schedule | None:
    """Return the schedule of a valid definition; `program` is the digest of the program that ticks start."""
    given = definition.get("schedule") or {}
    said = settings_of(definition)
    missed: Missed = said.get("missed", "once")
    ticks = said.get("schedule") or {}
    overlap: Overlap = ticks.get("overlap", "allow")
    jitter_ms = 0 if "jitter" not in ticks else read_duration(ticks["jitter"]).after_ms(0)
    for kind in ("every", "after"):
        if kind in given:
            length = read_duration(given[kind])
            return Schedule(
                kind=kind,
                program=program,
                months=length.months,
                milliseconds=length.milliseconds,
                missed=missed,
                overlap=overlap,
                jitter_ms=jitter_ms,
            )
    if "cron" in given:
        text = " ".join(given["cron"].split())
        return Schedule(
            kind="cron",
            program=program,
            cron=text,
            zone=zone_of(definition)[1],
            missed=missed,
            overlap=overlap,
            jitter_ms=jitter_ms,
        )
    return Schedule(kind="on", program=program) if "on" in given else None


def standing(definition: JsonObject) -> dict[str, Any]:
    """Return the definition of the standing run of `schedule.on`, which other changes do not affect."""
    head = definition["document"]
    # Which version is started, the revision says that is live by then.
    document = {"dsl": head["dsl"], "namespace": head["namespace"], "name": head["name"], "version": "latest"}
    kept = {"document": document, "schedule": definition["schedule"]}
    kept |= {"use": definition["use"]} if definition.get("use") else {}
    return {STANDING: variables.embed(kept, variables.embedded(definition))}


STANDING: Final = "standing"
"""The one key of a program that is no definition but what `program.load_standing` takes."""


def is_zero(value: Any) -> bool:
    """Tell whether the interval of a schedule to compile has no length; False for an unreadable one."""
    try:
        length = read_duration(value)
    except InvalidDuration:
        return False
    return not length.months and length.milliseconds <= 0


def is_endless(value: Any) -> bool:
    """Tell whether the interval of a schedule to compile ends beyond the calendar, wherever it begins."""
    try:
        read_duration(value).after_ms(0)
    except TooLong:
        return True
    except InvalidDuration:
        return False
    return False
