"""Terumo CDI 500 and 550 inline blood-gas monitor in packet mode: listened to, never asked; unverified on hardware.

Sources: those of `acquisition.wire.cdi`. The monitor can be told the pump's flow over the same line: an acquisition
daemon does not. What the checksum covers is not known: a packet is used if its checksum fits in the way that the one
before it did, so the first of a conversation is not. In ASCII mode: driver `delimited`, profile `cdi500_ascii`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from acquisition.catalogue import Catalogue
from acquisition.driver import Driver, DriverOptions, Profile
from acquisition.model import EventKind, State
from acquisition.wire.cdi import Packet, cut, report_of
from acquisition.wire.quantities import conversions_of

UNITS: Mapping[str, str] = {"03": "Cel", "0C": "Cel", "04": "%", "0D": "%", "10": "%", "11": "g/dL"}
"""Of the quantities that the catalogue has; the sources print no units, these are the ones of the device's displays."""
CHANNELS: Mapping[str, str] = {
    "03": "ecmo_temp_art",
    "04": "ecmo_so2_post",
    "0C": "ecmo_temp_ven",
    "0D": "ecmo_svo2",
    "10": "ecmo_hct",
    "11": "ecmo_hb",
}
MARKS: Mapping[str, str] = {"1": "mark", "2": "values stored", "3": "recalibrated"}
MONITOR, ATTENTION, REPORT = "X", "A", "0"
NS_PER_S = 1_000_000_000


class Cdi500Options(DriverOptions):
    """Options of a CDI 500.

    Attributes:
        channels: Code of a quantity to the channel it is at this bed, in place of the usual one; empty to leave it out.
        every_s: Seconds between reports, as set on the device.
    """

    channels: dict[str, str] = Field(default_factory=dict)
    every_s: float = Field(default=6.0, gt=0, le=3600)


class Cdi500Driver(Driver):
    """Listens to a CDI 500."""

    Options = Cdi500Options
    max_buffer: ClassVar[int] = 1 << 17

    def __init__(self, options: DriverOptions, catalogue: Catalogue, profile: Profile | None = None) -> None:
        super().__init__(options, catalogue, profile)
        chosen = options if isinstance(options, Cdi500Options) else Cdi500Options()
        self._channels = {code: channel for code, channel in {**CHANNELS, **chosen.channels}.items() if channel}
        self._conversions = conversions_of(UNITS, self._channels, catalogue)
        self._every = round(chosen.every_s * NS_PER_S)
        self.identity = {"make": "Terumo", "model": "CDI 500"}
        self.link_defaults = "baud=9600&parity=none"
        self._covers: frozenset[int] | None = None

    @property
    def period_ns(self) -> int:
        """Nanoseconds from one report to the next."""
        return self._every

    def may_send(self, frame: bytes) -> bool:
        """Nothing: the monitor talks by itself."""
        return False

    def on_start(self, now: int) -> None:
        """How the checksum is made is learned again."""
        self._covers = None

    def on_data(self, now: int) -> None:
        """Cuts the buffer into packets and uses the whole ones."""
        while (piece := cut(self.buffer)) is not None:
            if piece.packet is None:
                if piece.flaw:
                    self.reject(piece.flaw)
                self.skip(piece.size)
                continue
            del self.buffer[: piece.size]
            self._use(piece.packet)

    def _use(self, packet: Packet) -> None:
        before, self._covers = self._covers, packet.covers
        if before is None:
            self.counters["packets_learned_from"] += 1
            return
        if not before & packet.covers:
            self.reject("checksum")
            return
        if (packet.device, packet.kind) != (MONITOR, ATTENTION):
            self.counters["packets_other"] += 1
            return
        if packet.sub != REPORT:
            what = MARKS.get(packet.sub, "attention of unknown kind")
            self.told(EventKind.STATE, what, sub_code=packet.sub if packet.sub.isalnum() else "?")
            return
        report = report_of(packet.data)
        if report is None:
            self.reject("report")
            return
        values: dict[str, float] = {}
        states: dict[str, State] = {}
        for code, channel in self._channels.items():
            found = report[code]
            if found is None:
                states[channel] = State.INVALID
            else:
                factor, offset = self._conversions[code]
                values[channel] = float(f"{found * factor + offset:.12g}")
        self.measured(values, states)
