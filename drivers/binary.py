"""Any device that sends, or answers with, binary records, as its profile describes them.

A device with requests in its profile is asked one at a time, on a grid. An answer does not say which question it
answers, and a late one is as well formed as a timely one: what nobody waits for is counted and not used, and after a
question that stayed without answer the line is left in silence for one more period.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from acquisition.catalogue import Catalogue
from acquisition.driver import Driver, DriverOptions, Profile
from acquisition.errors import ConfigError
from acquisition.wire.quantities import Decoded, Meaning, fresh, meaning_of, misfits
from acquisition.wire.records import Frame, FrameCutter, HexBytes, Record, RecordField

NS_PER_S = 1_000_000_000


class Request(BaseModel):
    """A question that reads and changes nothing.

    Attributes:
        name: The maker's term.
        send: The whole frame.
        answer: Name of the record that answers it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    send: HexBytes = Field(min_length=1, max_length=256)
    answer: str


class BinaryProfile(Profile):
    """A device with binary records.

    Attributes:
        every_s: Seconds from one poll to the next, or from one record to the next.
        pause_s: Silence between an answer and the next question.
        frame: What all frames have in common.
        records: The kinds of frame; `[[record]]` in the file. Others are noise.
        requests: The read-only list; `[[request]]` in the file. Without any, the device talks by itself.
    """

    every_s: float = Field(default=1.0, ge=0.02, le=3600)
    pause_s: float = Field(default=0.0, ge=0.0, le=60)
    frame: Frame
    records: tuple[Record, ...] = Field(alias="record")
    requests: tuple[Request, ...] = Field(alias="request", default=())

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problems := [*self._misshapen()]:
            raise ValueError("; ".join(problems))
        return self

    def _misshapen(self) -> Iterator[str]:
        names = [record.name for record in self.records]
        if not names:
            yield "there is no [[record]]"
        if len(set(names)) < len(names):
            yield f"two records have one name: {names}"
        for record in self.records:
            if (record.size is None) == (self.frame.length is None):
                yield f"record {record.name!r}: it has a size, or the frame says its length, and not both"
            end = (record.size or self.frame.max_size) - self.frame.tail
            for each in record.fields:
                if not len(record.header) <= each.at <= each.end <= end:
                    yield f"record {record.name!r}: {each.label} is not within bytes {len(record.header)} to {end - 1}"
            others = [
                other.name for other in self.records if other is not record and other.header.startswith(record.header)
            ]
            if others:
                yield f"record {record.name!r}: its header begins {others[0]!r} too"
        for request in self.requests:
            if request.answer not in names:
                yield f"request {request.name!r}: there is no record {request.answer!r}, only {names}"


class BinaryOptions(DriverOptions):
    """Options of a device with binary records; what is not given is as in the profile.

    Attributes:
        timeout_s: Longest wait for an answer.
        channels: Channel or field name of the profile to the channel it is at this bed.
    """

    every_s: float | None = Field(default=None, ge=0.02, le=3600)
    timeout_s: float = Field(default=0.5, ge=0.01, le=10)
    channels: dict[str, str] = Field(default_factory=dict)


class BinaryDriver(Driver):
    """Reads binary records; asks only if the profile has requests."""

    Options = BinaryOptions
    ProfileType = BinaryProfile
    max_buffer: ClassVar[int] = 1 << 17

    def __init__(self, options: DriverOptions, catalogue: Catalogue, profile: Profile | None = None) -> None:
        super().__init__(options, catalogue, profile)
        if not isinstance(profile, BinaryProfile) or not isinstance(options, BinaryOptions):
            raise ConfigError(["driver 'binary' needs a profile: a device with binary records from config/devices/"])
        self._requests = profile.requests
        self._cutter = FrameCutter(profile.frame, profile.records)
        self._tail = profile.frame.tail
        self._meanings = _lay_out(profile, options, catalogue)
        self._every = round((options.every_s or profile.every_s) * NS_PER_S)
        self._timeout = round(options.timeout_s * NS_PER_S)
        self._pause = round(profile.pause_s * NS_PER_S)
        self._told: dict[str, float] = {}
        self._queue: deque[Request] = deque()
        self._asked: Request | None = None
        self._slot = 0

    @property
    def period_ns(self) -> int:
        """Nanoseconds from one poll, or one record, to the next."""
        return self._every

    def may_send(self, frame: bytes) -> bool:
        """Only the requests of the profile; nothing at all to a device that talks by itself."""
        return any(frame == request.send for request in self._requests)

    def on_start(self, now: int) -> None:
        """Nothing is known of the line yet; a device to be asked is first left in silence."""
        self._told.clear()
        self._queue.clear()
        self._asked = None
        self._slot = now + self._timeout
        if self._requests:
            self.call_me_at(self._slot)

    def on_timer(self, now: int) -> None:
        """An answer is overdue, or it is time to ask."""
        self.skip(len(self.buffer), "unfinished")
        if self._asked is not None:
            self.counters["timeout"] += 1
            self._asked = None
            self._queue.clear()
            self._slot = max(self._slot, now) + self._every
            self.call_me_at(self._slot)
            return
        if not self._queue:
            self._queue.extend(self._requests)
            missed = (now - self._slot) // self._every
            self.counters["slots_missed"] += missed
            self._slot += (missed + 1) * self._every
        self._asked = self._queue.popleft()
        self.send(self._asked.send)
        self.call_me_at(now + self._timeout)

    def on_data(self, now: int) -> None:
        """Cuts the buffer into frames and uses those that were asked for."""
        while (piece := self._cutter.next(self.buffer)) is not None:
            if piece.record is not None:
                del self.buffer[: piece.size]
                self._take(piece.record, piece.frame, now)
                continue
            self.skip(piece.size)
            if piece.flaw:
                self.reject(piece.flaw)

    def _take(self, record: Record, frame: bytes, now: int) -> None:
        if self._requests:
            if self._asked is None or self._asked.answer != record.name:
                self.reject("late")
                return
            self._asked = None
            self.call_me_at(now + self._pause if self._queue else max(self._slot, now))
        decoded = Decoded()
        for each, meaning in self._meanings[record.name]:
            if each.end <= len(frame) - self._tail:
                meaning.say(each.raw(frame), decoded)
        if decoded.values or decoded.states:
            self.measured(decoded.values, decoded.states)
        else:
            self.counters["frames_good"] += 1
        for remark in fresh(decoded.remarks, self._told):
            channel = {"channel": remark.channel} if remark.channel else {}
            self.told(remark.kind, remark.text, field=remark.subject, value=remark.value, **channel)


def _lay_out(
    profile: BinaryProfile, options: BinaryOptions, catalogue: Catalogue
) -> dict[str, list[tuple[RecordField, Meaning]]]:
    """The fields of each record with what they mean at this bed.

    Raises:
        ConfigError: with everything that does not fit together.
    """
    every = [field for record in profile.records for field in record.fields]
    problems = [*misfits(every, options.channels, "fields")]
    laid_out = {
        record.name: [
            (each, meaning_of(each, record.fields, options.channels, catalogue, problems)) for each in record.fields
        ]
        for record in profile.records
    }
    if problems:
        raise ConfigError(problems)
    return laid_out
