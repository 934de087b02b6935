"""The base of every driver: bytes and the time go in; readings, bytes to send and a deadline come out. No I/O.

A device overrides `on_start`, `on_data` and `on_timer`, and calls `measured`, `sampled`, `told`, `send`,
`call_me_at`, `skip` and `reject`. Buffering, reset on reconnect, the read-only list and the bookkeeping of
acknowledgements are here, because drivers get them wrong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from acquisition.catalogue import Catalogue
from acquisition.errors import ForbiddenFrameError, WireError
from acquisition.model import EventKind, State

REMEMBERED_KEYS = 4096


@dataclass(frozen=True, slots=True)
class WallTime:
    """A device's own time as it said it; without an offset it means the zone configured for the device."""

    year: int
    month: int
    day: int
    hour: int = 0
    minute: int = 0
    second: int = 0
    nanosecond: int = 0
    offset_minutes: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """Values of one instant, channel id to value in the catalogue's unit; states stand beside or in place of them."""

    values: Mapping[str, float]
    states: Mapping[str, State] = field(default_factory=dict)
    device_time: WallTime | None = None


@dataclass(frozen=True, slots=True)
class Samples:
    """A block of one waveform, int32 counts of shape (n,); value = count * scale + offset in the catalogue's unit.

    Attributes:
        start: The device's time of the first sample, if it gave one: of its clock, or nanoseconds of a running time
            that says nothing about its clock.
        doubtful: The device itself flags the block.
        after_gap: Samples were lost before the block, nobody says how many.
    """

    channel: str
    counts: NDArray[np.int32]
    period_ns: int
    scale: float = 1.0
    offset: float = 0.0
    start: WallTime | int | None = None
    doubtful: bool = False
    after_gap: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the device told that is no measurement: an alarm, its identity, a parameter we have no name for."""

    event: EventKind
    text: str
    detail: Mapping[str, Any] = field(default_factory=dict)


Emission = Reading | Samples | Notice


class TraceCut(Protocol):
    """Follows what a device says and passes on what of it may be written to a trace (promise 9)."""

    def feed(self, data: bytes) -> bytes:
        """What of the stream up to here may be written; where it is split makes no difference to what comes out."""
        ...


class DriverOptions(BaseModel):
    """What the configuration may say to a driver under `[device.options]`; drivers extend it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Profile(BaseModel):
    """A device described by a TOML file in `config/devices/`; drivers that use profiles extend it.

    Attributes:
        name: What the device is called by its maker.
        source: The document and section that the layout comes from.
        verified: Whether it was tried on the hardware; if not, `check` says so.
        link: Usual parameters of the line, as in a link URL's query (`baud=57600&parity=even`).
        template: What a site must fill in, and from where, before this file describes a device; such a file is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str
    verified: bool = False
    link: str = ""
    template: str = ""

    @model_validator(mode="before")
    @classmethod
    def _is_no_template(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("template"):
            raise ValueError(f"this profile is a template and describes no device yet: {data['template']}")
        return data


class Driver(ABC):
    """One conversation with one device.

    Promises: any input whatever leads to emissions or counted errors, or `WireError` if the conversation must start
    again; memory stays bounded; nothing outside the read-only list is ever sent; equal calls give equal results.
    Times are nanoseconds of the session's monotonic scale.

    Args:
        options: From the configuration, already validated against `Options`.
        catalogue: To map codes and convert units.
        profile: The device's profile, for drivers that declare `ProfileType`.
    """

    Options: ClassVar[type[DriverOptions]] = DriverOptions
    ProfileType: ClassVar[type[Profile] | None] = None
    profile_optional: ClassVar[bool] = False
    max_buffer: ClassVar[int] = 1 << 20

    def __init__(self, options: DriverOptions, catalogue: Catalogue, profile: Profile | None = None) -> None:
        self.catalogue = catalogue
        self.buffer = bytearray()
        self.counters: Counter[str] = Counter()
        self.identity: dict[str, str] = {}
        """Make, model, serial, firmware and the like: from the profile, then as the device tells them."""
        if profile is not None:
            self.identity.update(zip(("make", "model"), profile.name.split(" ", 1), strict=False))
        self.link_defaults = profile.link if profile else ""
        self.verified = profile.verified if profile else False
        self.line_address: str | None = None
        """Its address on a line that it may share with others; None if it wants the line for itself."""
        self.shares_line = False
        """Whether others are on the line; a driver then leaves it to them between two requests."""
        self._deadline: int | None = None
        self._emissions: list[Emission] = []
        self._to_send: list[bytes] = []
        self._taken_keys: list[str] = []
        self._owed: dict[str, list[bytes]] = {}
        self._stored: OrderedDict[str, None] = OrderedDict()

    @classmethod
    def build(cls, options: Mapping[str, Any], catalogue: Catalogue, profile: Mapping[str, Any] | None = None) -> Self:
        """A driver from plain configuration values.

        Raises:
            pydantic.ValidationError: options or profile are wrong.
        """
        parsed = cls.ProfileType.model_validate(profile) if cls.ProfileType and profile is not None else None
        return cls(cls.Options.model_validate(options), catalogue, parsed)

    # -- the session's side ------------------------------------------------------------------------------------------

    def start(self, now: int) -> None:
        """The link is open: forgets half-received frames and begins the conversation."""
        self.buffer.clear()
        self._to_send.clear()
        # What is on its way to the journal is no longer owed a reply, but met again it is still a repetition.
        self._owed = {key: [] for key in self._owed}
        self._deadline = None
        self.on_start(now)

    def receive(self, data: bytes, now: int) -> None:
        """Bytes have come, split anywhere.

        Raises:
            WireError: the conversation makes no sense any more; the session starts it again.
        """
        self.counters["bytes"] += len(data)
        self.buffer += data
        self.on_data(now)
        if len(self.buffer) > self.max_buffer:
            self.reject("oversized", len(self.buffer))
            self.buffer.clear()

    def tick(self, now: int) -> None:
        """Lets the driver act if its deadline has come; otherwise does nothing."""
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self.on_timer(now)

    def stop(self, now: int) -> None:
        """The session is about to close the link; a driver that holds an association releases it."""
        self.on_stop(now)

    @property
    def deadline(self) -> int | None:
        """When `tick` is wanted, if at all."""
        return self._deadline

    def trace_cut(self) -> TraceCut | None:
        """What cuts identity out of a raw recording, where the protocol can carry it in a form of its own."""
        return None

    @property
    def awaiting(self) -> bool:
        """Whether a reply is due: on a line that several devices share, none of the others may speak now."""
        return False

    @property
    def period_ns(self) -> int | None:
        """How often readings are expected, where the driver knows."""
        return None

    def take_emissions(self) -> list[Emission]:
        """What was decoded since the last call, oldest first."""
        taken, self._emissions = self._emissions, []
        return taken

    def take_frames(self) -> list[bytes]:
        """What is to be sent, oldest first."""
        taken, self._to_send = self._to_send, []
        return taken

    def take_keys(self) -> tuple[str, ...]:
        """Keys of the messages whose sender waits for us to have stored what was emitted since the last call."""
        taken, self._taken_keys = tuple(self._taken_keys), []
        return taken

    def stored(self, keys: Iterable[str]) -> None:
        """The journal has everything of these messages: their acknowledgements may leave."""
        for key in keys:
            self.remember([key])
            for frame in self._owed.pop(key, []):
                self.send(frame)

    def failed(self, keys: Iterable[str]) -> None:
        """The journal could not take these messages: no acknowledgement, so that the sender tries again."""
        for key in keys:
            self._owed.pop(key, None)

    def remember(self, keys: Iterable[str]) -> None:
        """These messages are in the journal; meeting one again is a repetition."""
        for key in keys:
            self._stored[key] = None
            self._stored.move_to_end(key)
        while len(self._stored) > REMEMBERED_KEYS:
            self._stored.popitem(last=False)

    # -- the device's side -------------------------------------------------------------------------------------------

    def on_start(self, now: int) -> None:  # noqa: B027 - a listener has nothing to begin
        """The link is open and all buffers are empty."""

    @abstractmethod
    def on_data(self, now: int) -> None:
        """`self.buffer` has grown: consume every whole frame from its front and leave the rest."""

    def on_timer(self, now: int) -> None:  # noqa: B027 - a listener has no timer
        """The instant asked for by `call_me_at` has come."""

    def on_stop(self, now: int) -> None:  # noqa: B027 - most devices need no farewell
        """The link will be closed after what is sent now."""

    @abstractmethod
    def may_send(self, frame: bytes) -> bool:
        """Whether `frame` is one of this driver's read requests or acknowledgements."""

    def send(self, frame: bytes) -> None:
        """Queues a frame.

        Raises:
            ForbiddenFrameError: it is not on the read-only list.
        """
        if not self.may_send(frame):
            raise ForbiddenFrameError(f"{type(self).__module__}: {frame[:32].hex()} is not a read request")
        self.counters["frames_sent"] += 1
        self._to_send.append(frame)

    def call_me_at(self, when: int | None) -> None:
        """Asks for `on_timer` at that instant, in place of any earlier wish."""
        self._deadline = when

    def measured(
        self,
        values: Mapping[str, float],
        states: Mapping[str, State] | None = None,
        device_time: WallTime | None = None,
    ) -> None:
        """Emits the values of one instant."""
        self.counters["frames_good"] += 1
        self._emissions.append(Reading(values, states or {}, device_time))

    def sampled(self, samples: Samples) -> None:
        """Emits a block of a waveform."""
        self.counters["blocks_good"] += 1
        self._emissions.append(samples)

    def told(self, event: EventKind, text: str, **detail: Any) -> None:
        """Emits something that is no measurement."""
        self._emissions.append(Notice(event, text, detail))

    def acknowledge(self, key: str, reply: bytes | None) -> bool:
        """Notes that a message's sender is owed `reply` once everything emitted so far is stored.

        Returns:
            Whether the message is new; a repetition must not be emitted again.
        """
        new = key not in self._stored and key not in self._owed
        if not new:
            self.counters["duplicate"] += 1
        replies = self._owed.setdefault(key, [])
        if reply is not None:
            replies.append(reply)
        self._taken_keys.append(key)
        return new

    def skip(self, count: int, reason: str = "noise") -> None:
        """Drops `count` bytes from the front of the buffer and counts them."""
        self.counters[f"bytes_{reason}"] += count
        del self.buffer[:count]

    def reject(self, reason: str, count: int = 1) -> None:
        """Counts something that was received and not used."""
        self.counters[f"rejected_{reason}"] += count
        self.counters["frames_bad"] += 1

    def fail(self, message: str) -> None:
        """Gives the conversation up; the session starts it again.

        Raises:
            WireError: always.
        """
        raise WireError(message)
