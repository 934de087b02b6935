"""Edwards Vigilance II, Vigileo, EV1000 and HemoSphere over their "IFMout" port: unverified on hardware.

Source: that of `acquisition.wire.ifmout`, reverse-engineered, one author. The monitor talks by itself and is never
asked. The rule of the check byte is not known: a frame whose check byte does not fit the one rule that the source
hints at is used only if it has the very fields of the frame before it, which half a frame joined to half of another has
not, and each of its values is marked questionable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from acquisition.catalogue import Catalogue
from acquisition.driver import Driver, DriverOptions, Profile
from acquisition.model import EventKind, State
from acquisition.wire.ifmout import IdentityCut, cut, fields_of, fits, value_of
from acquisition.wire.quantities import conversions_of

UNITS: Mapping[str, str] = {
    **dict.fromkeys("CI", "L/min"),
    "c": "L/min/m2",
    **dict.fromkeys("VvA", "%"),
    "H": "/min",
    **dict.fromkeys("Pp", "mm[Hg]"),
    "B": "Cel",
}
"""Of the fields that could be a channel."""
CHANNELS: Mapping[str, str] = {
    "C": "co_td",
    "V": "svo2_pa",
    "v": "scvo2",
    "H": "hr",
    "P": "abp_mean",
    "p": "cvp",
    "B": "temp_core",
}
CODES: Mapping[str, tuple[str, EventKind]] = {
    **dict.fromkeys("Ff", ("fault", EventKind.STATE)),
    **dict.fromkeys("Ll", ("alert", EventKind.STATE)),
    **dict.fromkeys("Mm", ("alarm", EventKind.ALARM)),
}
"""Told when they change, as they are: what the numbers mean is not in the source."""
PERIOD_NS = 2_000_000_000


class VigilanceOptions(DriverOptions):
    """Options of an Edwards monitor.

    Attributes:
        channels: Letter of a field to the channel it is at this bed, in place of the usual one; empty to leave it out.
    """

    channels: dict[str, str] = Field(default_factory=dict)


class VigilanceDriver(Driver):
    """Listens to an Edwards monitor."""

    Options = VigilanceOptions
    max_buffer: ClassVar[int] = 1 << 17

    def __init__(self, options: DriverOptions, catalogue: Catalogue, profile: Profile | None = None) -> None:
        super().__init__(options, catalogue, profile)
        given = options.channels if isinstance(options, VigilanceOptions) else {}
        self._channels = {letter: channel for letter, channel in {**CHANNELS, **given}.items() if channel}
        self._conversions = conversions_of(UNITS, self._channels, catalogue)
        self.identity = {"make": "Edwards"}
        self.link_defaults = "baud=19200&parity=none"
        self._told: dict[str, str] = {}
        self._doubted = False
        self._shape: tuple[str, ...] = ()

    @property
    def period_ns(self) -> int:
        """How often a frame is expected; the source does not say, so this is only what makes a gap."""
        return PERIOD_NS

    def trace_cut(self) -> IdentityCut:
        """Keeps in a trace only what is known to be no identity."""
        return IdentityCut()

    def may_send(self, frame: bytes) -> bool:
        """Nothing: the monitor talks by itself."""
        return False

    def on_start(self, now: int) -> None:
        """Codes are told again."""
        self._told.clear()
        self._doubted = False
        self._shape = ()

    def on_data(self, now: int) -> None:
        """Cuts the buffer into frames and uses the whole ones."""
        while (piece := cut(self.buffer)) is not None:
            if piece.text is None:
                if piece.flaw:
                    self.reject(piece.flaw)
                self.skip(piece.size)
                continue
            del self.buffer[: piece.size]
            self._use(piece.text, sure=fits(piece.text, piece.check))

    def _use(self, text: bytes, *, sure: bool) -> None:
        fields = fields_of(text)
        values: dict[str, float] = {}
        states: dict[str, State] = {}
        try:
            for letter, channel in self._channels.items():
                if fields is None or letter not in fields:
                    continue
                found = value_of(fields[letter])
                if found is None:
                    states[channel] = State.UNAVAILABLE
                    continue
                factor, offset = self._conversions[letter]
                values[channel] = float(f"{found * factor + offset:.12g}")
                if not sure:
                    states[channel] = State.QUESTIONABLE
        except ValueError:
            fields = None
        if fields is None:
            self.reject("fields")
            return
        shape, self._shape = self._shape, tuple(fields)
        if not sure and shape != self._shape:
            self.reject("unproven")
            return
        self._tell(fields, sure=sure)
        if values or states:
            self.measured(values, states)

    def _tell(self, fields: Mapping[str, str], *, sure: bool) -> None:
        if not sure:
            self.counters["check_byte_unknown"] += 1
            if not self._doubted:
                self.told(EventKind.STATE, "check byte does not fit the rule that was guessed: values are questionable")
            self._doubted = True
        for letter, (what, kind) in CODES.items():
            field = fields.get(letter, self._told.get(letter, ""))
            if field.isprintable() and self._told.get(letter, "") != field:
                self._told[letter] = field
                self.told(kind, f"{what} {letter} is {field}", field=letter, value=field)
