"""Codec of the state of a run: a head, a field per frame, and large values stored separately.

Used by `run`. Invariant: a commit contains only changes since the last one, and a value over 64 KiB is
written once per run, even if many frames hold it and change often.

    head    msgspec JSON of `head_to_json`
    frame   its attributes that differ from their defaults; `"$values": {attribute: digest}` refers to
            separate values (attributes are a closed set, so data cannot imitate it)
    value   JSON, by the first 32 hex digits of its SHA-256

No data is nested deeper than LEVELS, because each version of Python must be able to read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from iogate.engine.state.frame import Frame, frame_to_json
from iogate.engine.state.run_state import State, diff_frames, head_to_json, state_from_json
from iogate.errors import WorkflowError
from iogate.security.keyring import digest as digest_of

BIG = 64 * 1024
"""Size of JSON in bytes above which a value is stored separately."""
SURELY_SMALL = BIG // 6
"""Length in characters below which a text is not big, even if each character is escaped."""
LEVELS = 300
"""Deepest nesting of stored data. Python 3.11 reads about 900 levels, or 450 if each takes two calls."""
CHECKED = 8
"""Number of values of one run whose depth is cached."""
_CONTAINERS = frozenset({dict, list, tuple})
_VALUES = "$values"

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


class TooDeep(WorkflowError):
    """Data nested deeper than LEVELS; `owner` names the data."""

    def __init__(self, owner: str) -> None:
        super().__init__(
            "runtime",
            title="Data nested too deeply",
            detail=f"{owner} is nested deeper than {LEVELS} levels, which some workers cannot "
            "read: collect the items in one flat list, or store the nested data as text (`tojson`)",
        )


def encode_data(value: Any, owner: str, checked: dict[int, Any] | None = None) -> bytes:
    """Encode data of a run's state; `checked` caches by identity the values whose depth was checked.

    Raises TooDeep for data nested deeper than LEVELS.
    """
    try:
        text = encode(value)
    except RecursionError:
        raise TooDeep(owner) from None
    # Each level takes two brackets, so most data needs no further check.
    if len(text) > 2 * LEVELS and text.count(b"[") + text.count(b"{") > LEVELS:
        if type(value) not in _CONTAINERS or (checked is not None and id(value) in checked):
            return text
        if _is_deeper(value, LEVELS):
            raise TooDeep(owner)
        if checked is not None:
            if len(checked) >= CHECKED:
                checked.clear()
            checked[id(value)] = value
    return text


def _is_deeper(value: Any, levels: int) -> bool:
    """Tell whether a list or mapping to encode into the state has more levels, itself included."""
    if levels == 0:
        return True
    members = value.values() if type(value) is dict else value
    if _CONTAINERS.isdisjoint(map(type, members)):
        return False
    # No comprehension: it would be a second call for each level.
    for member in members:  # noqa: SIM110
        if type(member) in _CONTAINERS and _is_deeper(member, levels - 1):
            return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """Changes of the state for a commit to write."""

    head: bytes | None
    frames: Mapping[str, bytes] = field(default_factory=dict)
    frames_gone: Sequence[str] = ()
    digests: Mapping[str, bytes] = field(default_factory=dict)
    """Digests of all frames of the state, which its seal covers, by frame."""
    values: Mapping[str, bytes] = field(default_factory=dict)
    values_gone: Sequence[str] = ()
    wants: Mapping[int, bytes] = field(default_factory=dict)
    """Subscriptions that began or changed, by frame."""
    wants_gone: Sequence[int] = ()
    children_gone: Sequence[int] = ()
    """Frames that no longer wait for their child."""


NOTHING = Delta(head=None)


@dataclass(slots=True)
class Codec:
    """Encoder of one run, which knows the stored state and writes only differences."""

    input: bytes = b""
    """Input of the run. The store has it already, so it is not stored again as a large value."""
    stored: State | None = None
    """The state of the last commit."""
    _input_digest: str = ""
    _known: set[str] = field(default_factory=set)
    """Digests in the store."""
    _used: dict[int, frozenset[str]] = field(default_factory=dict)
    """Digests that each frame refers to."""
    _digests: dict[str, bytes] = field(default_factory=dict)
    """Digest of each stored frame."""
    _big: dict[int, tuple[Any, str]] = field(default_factory=dict)
    """Big values by identity, so that a frame that passes a value on does not encode it again. The reference
    keeps the identity from being reused."""
    _checked: dict[int, Any] = field(default_factory=dict)
    """Values whose nesting is valid, by identity."""

    def load(self, head: bytes, frames: Mapping[str, bytes], values: Mapping[str, bytes]) -> State:
        """Decode the stored state of a run.

        Raises ValueError or TypeError if a newer release wrote it.
        """
        decoded: dict[str, Any] = {}
        given = self._given()
        parsed: dict[int, Mapping[str, Any]] = {}
        for key, data in frames.items():
            self._digests[key] = digest_of(data)
            frame = decode(data)
            apart = frame.pop(_VALUES, None)
            if apart:
                for attribute, digest in apart.items():
                    if digest not in decoded:
                        text = self.input if digest == given else values[digest]
                        decoded[digest] = value = decode(text)
                        self._big[id(value)] = (value, digest)
                    frame[attribute] = decoded[digest]
                self._used[int(key)] = frozenset(apart.values())
            parsed[int(key)] = frame
        self._known = set(values)
        self.stored = state_from_json(decode(head), parsed)
        return self.stored

    def delta(self, state: State) -> Delta:
        """Encode the changes of the state since the last commit; it counts as stored from here on."""
        before = self.stored.frames if self.stored is not None else {}
        changed, gone = diff_frames(self.stored, state)
        values: dict[str, bytes] = {}
        frames = {str(key): self._frame(frame, values) for key, frame in changed.items()}
        self._digests.update((key, digest_of(data)) for key, data in frames.items())
        for key in gone:
            self._used.pop(key, None)
            self._digests.pop(str(key), None)
        values_gone: list[str] = []
        if self._known or values:
            used = frozenset[str]().union(*self._used.values())
            values_gone = sorted(self._known - used)
            self._known = (self._known | values.keys()) & used
            self._big = {key: entry for key, entry in self._big.items() if entry[1] in used}
        self.stored = state
        return Delta(
            head=encode(head_to_json(state)),
            frames=frames,
            frames_gone=[str(key) for key in gone],
            digests=self._digests,
            values=values,
            values_gone=values_gone,
            wants={
                key: encode(frame.wants) for key, frame in changed.items() if _begins(before.get(key), frame)
            },
            wants_gone=[key for key in (*changed, *gone) if _stops(before.get(key), state.frames.get(key))],
            children_gone=[
                key for key in (*changed, *gone) if _leaves(before.get(key), state.frames.get(key))
            ],
        )

    def _given(self) -> str:
        """Return the digest of a run's input if its state has it as a large value, else an empty string."""
        if len(self.input) > BIG and not self._input_digest:
            self._input_digest = _digest(self.input)
        return self._input_digest

    def has_new_subscription(self, state: State) -> bool:
        """Tell whether the state has a subscription that is not stored."""
        before = self.stored.frames if self.stored is not None else {}
        return any(_begins(before.get(key), state.frames[key]) for key in state.waiting)

    def _frame(self, frame: Frame, values: dict[str, bytes]) -> bytes:
        """Encode a frame of the state; move big values to `values`, and encode each value once."""
        data = frame_to_json(frame)
        apart: dict[str, str] = {}
        for attribute, value in data.items():
            kind = type(value)
            if kind is not dict and kind is not list and (kind is not str or len(value) < SURELY_SMALL):
                continue
            known = self._big.get(id(value))
            if known is not None:
                apart[attribute] = known[1]
                continue
            text = encode_data(value, f"the data at {frame.pointer or '/'}", self._checked)
            if len(text) <= BIG:
                data[attribute] = msgspec.Raw(text)
                continue
            digest = _digest(text)
            self._big[id(value)] = (value, digest)
            if digest not in self._known and digest != self._given():
                values[digest] = text
            apart[attribute] = digest
        if not apart:
            self._used.pop(frame.id, None)
            return encode(data)
        for attribute in apart:
            del data[attribute]
        self._used[frame.id] = frozenset(apart.values())
        return encode({**data, _VALUES: apart})


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:32]


def _begins(before: Frame | None, frame: Frame) -> bool:
    had = None if before is None else before.wants
    return bool(frame.wants) and frame.wants is not had and frame.wants != had


def _stops(before: Frame | None, frame: Frame | None) -> bool:
    return before is not None and bool(before.wants) and (frame is None or not frame.wants)


def _leaves(before: Frame | None, frame: Frame | None) -> bool:
    return before is not None and before.phase == "child" and (frame is None or frame.phase != "child")
