"""The one shape of data after the session: numerics, waveforms and events of one device, stamped and judged."""

from __future__ import annotations

import json
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

MISSING_COUNT = -(2**31)
"""The count that stands for "the device sent no number here" in a waveform."""


class Quality(StrEnum):
    """How far a value may be trusted; also the `quality` tag in InfluxDB."""

    GOOD = "good"
    SUSPECT = "suspect"
    BAD = "bad"


class State(StrEnum):
    """What a device says beside or instead of a number; never NaN, never a gap (CLINICAL.md section 3)."""

    NOT_CONNECTED = "not_connected"
    BELOW_RANGE = "below_range"
    ABOVE_RANGE = "above_range"
    SENSOR_ERROR = "sensor_error"
    CALIBRATING = "calibrating"
    QUESTIONABLE = "questionable"
    DEMO = "demo"
    INVALID = "invalid"
    UNAVAILABLE = "unavailable"
    OFF = "off"


class EventKind(StrEnum):
    """What an Event tells of."""

    ALARM = "alarm"
    CLOCK = "clock"
    GAP = "gap"
    LINK = "link"
    REJECT = "reject"
    STATE = "state"
    UNMAPPED = "unmapped"
    DAEMON = "daemon"
    EPISODE = "episode"
    RETENTION = "retention"
    IDENTITY = "identity"


class GapCause(StrEnum):
    """Why nothing was stored for a while (promise 7; codes of CLINICAL.md section 6.4)."""

    DAEMON_DOWN = "daemon_down"
    HOST_REBOOT = "host_reboot"
    PORT_ABSENT = "port_absent"
    LINK_LOST = "link_lost"
    NO_BYTES = "cable_or_no_bytes"
    FRAMING_ERRORS = "framing_errors"
    BLOCKS_MISSING = "blocks_missing"
    CLOCK_STEP = "clock_step"
    QUOTA = "quota"


class _Value(BaseModel):
    """A value object: frozen, strict, nothing extra, no NaN and no infinity."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Numerics(_Value):
    """Values of one device at one instant.

    Attributes:
        device: Configured id of the device.
        time_ns: Host time, UTC nanoseconds since 1970; no two numerics of a device share one.
        device_time: The device's own stamp as RFC 3339 with offset, if it gave one.
        values: Channel id to value, in the catalogue's UCUM unit.
        states: Channel id to what the device said beside or instead of a number.
        quality: Channel id to quality, one entry for each value.
    """

    kind: Literal["numerics"] = "numerics"
    device: str
    time_ns: int
    device_time: str | None = None
    values: dict[str, float]
    states: dict[str, State] = Field(default_factory=dict)
    quality: dict[str, Quality] = Field(default_factory=dict)


class Waveform(_Value):
    """A block of evenly spaced samples of one channel, at the device's own resolution.

    Attributes:
        device: Configured id of the device.
        channel: Channel id.
        time_ns: Host time of the first sample, UTC nanoseconds.
        period_ns: Nanoseconds from one sample to the next.
        raw: The counts, signed 32-bit little-endian; `MISSING_COUNT` where the device sent no number.
        scale: Catalogue units per count.
        offset: Catalogue units at count zero.
        quality: Of the whole block.
    """

    kind: Literal["waveform"] = "waveform"
    device: str
    channel: str
    time_ns: int
    period_ns: Annotated[int, Field(gt=0)]
    raw: bytes
    scale: float = 1.0
    offset: float = 0.0
    quality: Quality = Quality.GOOD

    @cached_property
    def counts(self) -> NDArray[np.int32]:
        """The counts, shape (n,), read-only."""
        return np.frombuffer(self.raw, dtype="<i4")

    @property
    def samples(self) -> NDArray[np.float64]:
        """Values in the catalogue's unit, shape (n,); see `in_units`."""
        return in_units(self.counts, self.scale, self.offset)

    @property
    def end_ns(self) -> int:
        """Time at which the sample after the last one is due."""
        return self.time_ns + len(self.raw) // 4 * self.period_ns


class Event(_Value):
    """Something that happened: a gap and its cause, a step of the clock, an alarm the device told of.

    Attributes:
        device: Configured id of the device, or `daemon`.
        time_ns: Host time, UTC nanoseconds.
        event: What kind of thing.
        text: One sentence for a person.
        detail: JSON values for a program.
    """

    kind: Literal["event"] = "event"
    device: str
    time_ns: int
    event: EventKind
    text: str
    detail: dict[str, Any] = Field(default_factory=dict)


Observation: TypeAlias = Numerics | Waveform | Event

# By default the parser keeps up to 16,384 strings for when they come again. A device's time never does: over weeks they
# would fill more than a megabyte. Without, a line of twenty values takes 9 microseconds in place of 6.
_OBSERVATION: TypeAdapter[Numerics | Event] = TypeAdapter(
    Annotated[Numerics | Event, Field(discriminator="kind")], config=ConfigDict(strict=True, cache_strings="keys")
)


def in_units(counts: NDArray[np.signedinteger], scale: float, offset: float) -> NDArray[np.float64]:
    """Values in the catalogue's unit, of the shape of `counts`; NaN where the device sent no number.

    Rounded three digits finer than one count, so that 0.1 x 3 prints as 0.3 and nothing of the device is lost.
    """
    values = np.round(counts * scale + offset, decimals_of(scale))
    values[counts == MISSING_COUNT] = np.nan
    return values


def decimals_of(scale: float) -> int:
    """Decimal places that show one count of size `scale` and three digits more."""
    return max(0, int(np.ceil(-np.log10(abs(scale)))) + 3) if scale else 0


def json_line(observation: Observation) -> str:
    """One observation as a line of JSON Lines (DESIGN.md section 10), without the line end."""
    if isinstance(observation, Waveform):
        body: dict[str, Any] = {
            "kind": "waveform",
            "device": observation.device,
            "channel": observation.channel,
            "time_ns": observation.time_ns,
            "period_ns": observation.period_ns,
            "samples": [None if value != value else value for value in observation.samples.tolist()],
            "quality": observation.quality.value,
        }
        return json.dumps(body, separators=(",", ":"), allow_nan=False)
    return observation.model_dump_json()


def parse_line(line: str | bytes) -> Numerics | Event:
    """The numerics or event that `json_line` wrote.

    Raises:
        pydantic.ValidationError: the line is none.
    """
    return _OBSERVATION.validate_json(line)
