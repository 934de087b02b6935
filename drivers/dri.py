"""GE Datex-Ohmeda S/5 and CARESCAPE monitors on their DRI serial interface; unverified on hardware.

Sources: those of `acquisition.wire.dri` and `acquisition.wire.dri_values`. The driver asks for displayed values and for
waves, and asks again when the monitor has stopped: it does after two seconds of blocked handshake. It stops both at the
end. It asks for nothing else; the label of an invasive pressure, never its plug, says what the pressure is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from pydantic import Field, field_validator

from acquisition.catalogue import Catalogue, ChannelKind
from acquisition.driver import Driver, DriverOptions, Profile, Samples, WallTime
from acquisition.errors import ConfigError, UnitError, WireError
from acquisition.model import EventKind, State
from acquisition.units import conversion
from acquisition.wire.dri import (
    LEVELS,
    MAX_RAW,
    MOST_WAVES,
    Cut,
    Deframer,
    Deny,
    Flaw,
    Main,
    Record,
    civil,
    displayed_request,
    parse,
    wave_request,
)
from acquisition.wire.dri_values import UNITS, WAVES, Block, Displayed, Group, block, displayed

NS_PER_S = 1_000_000_000
WAVES_PATIENCE_NS = 5 * NS_PER_S
"""Packets of waves come once a second at least."""
MOST_SAMPLES_PER_S = 600
"""In total, before CARESCAPE software 3."""
CLASSES = Deny.EXT1 | Deny.EXT3
"""Besides the basic class: pressures 7 and 8, PiCCO."""

_KINDS = {wave.name: kind for kind, wave in WAVES.items()}
_CHANNELS = {
    "hr": "hr", "spo2": "spo2", "co": "co_td", "pcwp": "pawp", "svo2": "svo2_pa",
    "art_sys": "abp_sys", "art_dia": "abp_dia", "art_mean": "abp_mean", "art_pr": "pr_abp",
    "abp_sys": "abp_sys", "abp_dia": "abp_dia", "abp_mean": "abp_mean", "abp_pr": "pr_abp",
    "pa_sys": "pap_sys", "pa_dia": "pap_dia", "pa_mean": "pap_mean", "cvp_mean": "cvp",
    "wf_art": "wf_abp", "wf_abp": "wf_abp", "wf_cvp": "wf_cvp", "wf_pleth": "wf_pleth",
}  # fmt: skip
"""Names of `UNITS` that mean a channel of the catalogue."""


class DriOptions(DriverOptions):
    """Settings of one monitor.

    Attributes:
        every_s: Seconds from one set of displayed values to the next.
        waves: Which waves to ask for.
        carescape_3: The monitor is a CARESCAPE with software 3 or later: more than 600 samples a second.
        channels: Name (`p3_mean`, `t1`, `wf_ecg1`) to the channel that it is at this bed.
    """

    every_s: int = Field(default=5, ge=5, le=3600)
    waves: tuple[str, ...] = Field(default=("ecg1", "invp1", "invp2", "invp3"), max_length=MOST_WAVES)
    carescape_3: bool = False
    channels: dict[str, str] = Field(default_factory=dict)

    @field_validator("waves", mode="before")
    @classmethod
    def _tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value


class DriDriver(Driver):
    """Asks once and listens.

    Raises:
        ConfigError: an option names a wave or channel that does not exist or does not fit.
    """

    Options: ClassVar[type[DriverOptions]] = DriOptions
    max_buffer: ClassVar[int] = MAX_RAW + 4096

    def __init__(self, options: DriverOptions, catalogue: Catalogue, profile: Profile | None = None) -> None:
        super().__init__(options, catalogue, profile)
        settings = DriOptions.model_validate(options.model_dump())
        kinds = _kinds(settings)
        self._names = _targets(settings.channels, catalogue)
        self.link_defaults = "baud=19200&bytesize=8&parity=even&stopbits=1&rtscts=true"
        self.identity["make"] = "GE Datex-Ohmeda"
        self._every = settings.every_s * NS_PER_S
        self._requests = {Main.PHDB: displayed_request(settings.every_s, CLASSES)}
        self._stops = [displayed_request(0, 0)]
        if kinds:
            self._requests[Main.WAVE] = wave_request(kinds)
            self._stops.append(wave_request(()))
        self._allowed = frozenset([*self._requests.values(), *self._stops])
        self._patience = {Main.PHDB: 2 * self._every + 2 * NS_PER_S, Main.WAVE: WAVES_PATIENCE_NS}
        self._due: dict[Main, int] = {}
        self._deframer = Deframer()
        self._owners: dict[str, tuple[str, int]] = {}
        self._unbroken: set[str] = set()
        self._told: set[str] = set()

    @property
    def period_ns(self) -> int:
        """Nanoseconds from one set of displayed values to the next."""
        return self._every

    def may_send(self, frame: bytes) -> bool:
        """Only the two requests of this configuration and their ends."""
        return frame in self._allowed

    def trace_cut(self) -> Cut:
        """What keeps records that nobody asked for out of a trace."""
        return Cut()

    def on_start(self, now: int) -> None:
        """Asks for everything."""
        self._deframer.reset()
        self._owners.clear()
        self._unbroken.clear()
        self._told.clear()
        for main in self._requests:
            self._ask(main, now)
        self._wait()

    def on_timer(self, now: int) -> None:
        """The monitor has stopped sending, or was switched on after us."""
        for main, due in self._due.items():
            if now >= due:
                self.counters["asked_again"] += 1
                self._ask(main, now)
        self._wait()

    def on_stop(self, now: int) -> None:
        """The monitor need not go on talking to nobody."""
        for stop in self._stops:
            self.send(stop)

    def on_data(self, now: int) -> None:
        """Takes every whole frame."""
        for piece in self._deframer.take(self.buffer):
            if isinstance(piece, Flaw):
                self._lose(piece)
            else:
                try:
                    self._take(parse(piece), now)
                except WireError:
                    self._lose(Flaw("record", len(piece)))
        self._wait()

    def _lose(self, flaw: Flaw) -> None:
        self._unbroken.clear()
        if flaw.reason == "headless":
            self.counters["bytes_noise"] += flaw.size
        else:
            self.reject(flaw.reason)

    def _ask(self, main: Main, now: int) -> None:
        self._due[main] = now + self._patience[main]
        self.send(self._requests[main])

    def _wait(self) -> None:
        self.call_me_at(min(self._due.values()))

    def _heard(self, main: Main, now: int) -> None:
        if main in self._due:
            self._due[main] = now + self._patience[main]

    # -- records -----------------------------------------------------------------------------------------------------

    def _take(self, record: Record, now: int) -> None:
        if record.level not in LEVELS:
            self.reject("level")
            if "level" not in self._told:
                self._told.add("level")
                self.told(EventKind.REJECT, f"DRI level {record.level} is not one that we know", level=record.level)
        elif record.main == Main.PHDB:
            self.identity["interface"] = f"DRI level {record.level}"
            found = [displayed(part, record.level) for part in record.parts]
            self._emit_displayed([each for each in found if each is not None], now)
        elif record.main == Main.WAVE:
            blocks = [block(part) for part in record.parts]
            for each in blocks:
                if each is not None and each.counts.size:
                    self._heard(Main.WAVE, now)
                    self._emit_block(each, now)
        else:
            self.counters["ignored_records"] += 1

    def _emit_displayed(self, classes: Iterable[Displayed], now: int) -> None:
        values: dict[str, float] = {}
        states: dict[str, State] = {}
        time: int | None = None
        for each in classes:
            self._heard(Main.PHDB, now)
            time = each.time
            # Where two modules claim a channel, the one that measures has it.
            for group in sorted(each.groups, key=lambda group: not group.active):
                self._emit_group(group, values, states, now)
        if values or states:
            self.measured(values, states, None if time is None else WallTime(*civil(time), offset_minutes=0))

    def _emit_group(self, group: Group, values: dict[str, float], states: dict[str, State], now: int) -> None:
        for field, said in group.values:
            name = f"{group.label}_{field.name}" if group.label else field.name
            if self._is_idle(group.label, name):
                continue
            channel, factor, offset = self._place(name, field.unit, f"{group.name}_{field.name}", now, group.active)
            if not group.active:
                if channel in self.catalogue:
                    states[channel] = State.OFF
            elif isinstance(said, State):
                states[channel] = said
            else:
                values[channel] = said * factor + offset if (factor, offset) != (1.0, 0.0) else said
                if group.beside is not None:
                    states[channel] = group.beside

    def _is_idle(self, label: str, name: str) -> bool:
        """Whether a field of a pressure says nothing: rates of others than arteries, extremes of a central vein."""
        return bool(label) and name not in self._names and (name.endswith("_pr") or label == "cvp")

    def _emit_block(self, each: Block, now: int) -> None:
        name = each.wave.name
        channel, factor, offset = self._place(f"wf_{each.label}", each.wave.unit, f"wf_{name}", now, active=True)
        self.sampled(
            Samples(
                channel,
                each.counts,
                NS_PER_S // each.wave.hertz,
                scale=factor / each.wave.per,
                offset=offset,
                doubtful=each.lead_off,
                after_gap=each.gap or name not in self._unbroken,
            )
        )
        self._unbroken.add(name)

    # -- channels ----------------------------------------------------------------------------------------------------

    def _place(self, name: str, unit: str, own: str, now: int, active: bool) -> tuple[str, float, float]:
        """The channel of what is called `name`, with factor and offset to its unit.

        A channel belongs to the first module that measures it, until that falls silent; a second one of the same name
        is kept under `own`, what no other module is called.
        """
        channel = self._names.get(name, f"dri_{name}")
        owner, seen = self._owners.get(channel, (own, now))
        why = "has no channel"
        if owner != own and now - seen <= self._patience[Main.PHDB]:
            channel, why = f"dri_{own}", f"is what {owner} measures"
        elif active:
            self._owners[channel] = (own, now)
        if channel in self.catalogue:
            return channel, *conversion(unit, self.catalogue[channel].unit)
        if active and channel not in self._told:
            self._told.add(channel)
            self.told(EventKind.UNMAPPED, f"{name} {why}; kept as {channel}", code=name, unit=unit)
        return channel, 1.0, 0.0


def _kinds(settings: DriOptions) -> list[int]:
    """The types of the waves to ask for.

    Raises:
        ConfigError: one is unknown, or they are too many samples.
    """
    strangers = [name for name in settings.waves if name not in _KINDS]
    if strangers:
        raise ConfigError([f"waves: {name!r} is none of {', '.join(_KINDS)}" for name in strangers])
    total = sum(WAVES[_KINDS[name]].hertz for name in settings.waves)
    if total > MOST_SAMPLES_PER_S and not settings.carescape_3:
        raise ConfigError(
            [f"waves: {total} samples a second; {MOST_SAMPLES_PER_S} at most, but for carescape_3 = true"]
        )
    return [_KINDS[name] for name in settings.waves]


def _targets(asked: Mapping[str, str], catalogue: Catalogue) -> dict[str, str]:
    """Name to channel.

    Raises:
        ConfigError: a name or channel is unknown, or they do not measure the same.
    """
    problems = []
    for name, target in asked.items():
        channel = catalogue.get(target)
        if name not in UNITS:
            problems.append(f"channels: {name!r} is nothing that the monitor sends")
        elif channel is None:
            problems.append(f"channels: {target!r} is not in the catalogue")
        elif (channel.kind is ChannelKind.WAVEFORM) is not name.startswith("wf_"):
            problems.append(f"channels: {name!r} cannot be {target!r}: one of them is a wave")
        else:
            try:
                conversion(UNITS[name], channel.unit)
            except UnitError as error:
                problems.append(f"channels: {name!r} cannot be {target!r}: {error}")
    if problems:
        raise ConfigError(problems)
    return {**_CHANNELS, **asked}
