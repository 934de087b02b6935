"""Draeger ventilators and other devices that speak MEDIBUS on a serial line; unverified on hardware.

Sources: those of `acquisition.wire.medibus` and `acquisition.wire.medibus_curves`. The driver calls until it is
answered, then asks for one thing at a time: identification, curves if wanted, and in turn the time, measured data,
settings. It answers what the device asks of every partner, and says nothing of itself. No answer within 10 s, a
suspension of as long, or silence of 3 s, and it calls again. A line delivers in order: what comes before the answer to
that call is not used.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import ClassVar, NamedTuple

from pydantic import Field

from acquisition.catalogue import Catalogue, ChannelKind
from acquisition.driver import Driver, DriverOptions, Profile, Samples, WallTime
from acquisition.errors import ConfigError, UnitError, WireError
from acquisition.model import EventKind, State
from acquisition.units import conversion
from acquisition.wire import medibus
from acquisition.wire.medibus import LONGEST, Command, Flaw, Flow, Message, command, response
from acquisition.wire.medibus_curves import MOST_CURVES, Block, Curve, Streams, configuration, enable, offered

MS = 1_000_000
NS_PER_S = 1_000_000_000
CALL_NS, ANSWER_NS, SILENCE_NS, IDLE_NS = 3 * NS_PER_S, 10 * NS_PER_S, 3 * NS_PER_S, 2 * NS_PER_S
SETTLE_NS = 200 * MS
"""Pause after the first answer."""
ENABLE_NS = 5 * NS_PER_S
STRIKES = 2
"""A question that was never answered is not asked again after so many times; only measured data always is."""

KNOWN: Mapping[str, tuple[str, str]] = {
    # code: channel if the catalogue has one, unit where it is documented
    "f0": ("vent_fio2", "%"), "d6": ("rr", "/min"), "e6": ("etco2", "mm[Hg]"), "eb": ("spo2", "%"),
    "78": ("", "mbar"), "79": ("", "mbar"), "7d": ("", "mbar"), "73": ("", "mbar"), "74": ("", "mbar"),
    "db": ("", "%"), "e3": ("", "kPa"), "set_01": ("", "%"), "set_04": ("", "L"),
    "wf_00": ("", "mbar"), "wf_01": ("", "L/min"), "wf_03": ("", "mL"),
}  # fmt: skip
CURVES = {"paw": "00", "flow": "01", "pleth": "02", "volume": "03", "o2": "05", "co2": "06", "exp_volume": "24"}
_NAME = re.compile(r"(?:cp2_|set_|wf_)?[0-9a-f]{2}")
_SERVED = frozenset({Command.INITIALISE, Command.IDENTIFY, Command.NOP, Command.TIME_CHANGED, Command.CURVES_CHANGED})
_ASKED = frozenset(
    {Command.INITIALISE, Command.IDENTIFY, Command.NOP, Command.DATE, Command.MEASURED, Command.MEASURED_2}
    | {Command.SETTINGS, Command.CURVES, Command.STOP}
)


class MedibusOptions(DriverOptions):
    """Settings of one device.

    Attributes:
        every_s: Seconds from one set of measured data to the next.
        settings_every_s: Likewise for the device's settings; 0 for none.
        second_page: Also ask for the second codepage of measured data.
        curves: Which curves to ask for; those that the device does not have are told of.
        channels: Code as we name it (`d6`, `set_01`, `wf_00`) to the channel that it is.
    """

    every_s: float = Field(default=1.0, ge=0.5, le=60)
    settings_every_s: float = Field(default=30.0, ge=0, le=3600)
    second_page: bool = False
    curves: list[str] = Field(default_factory=list, max_length=MOST_CURVES)
    channels: dict[str, str] = Field(default_factory=dict)


class Place(NamedTuple):
    """Where something goes: the channel, and value * factor + offset in its unit."""

    channel: str
    factor: float = 1.0
    offset: float = 0.0


class MedibusDriver(Driver):
    """Calls, asks and answers.

    Raises:
        ConfigError: an option names a curve or channel that does not exist.
    """

    Options: ClassVar[type[DriverOptions]] = MedibusOptions
    max_buffer: ClassVar[int] = 2 * LONGEST

    def __init__(self, options: DriverOptions, catalogue: Catalogue, profile: Profile | None = None) -> None:
        super().__init__(options, catalogue, profile)
        self._settings = settings = MedibusOptions.model_validate(options.model_dump())
        problems = [
            f"curves: {name!r} is none of {', '.join(CURVES)}" for name in settings.curves if name not in CURVES
        ]
        problems += [text for name in settings.channels for text in _problem(name, settings.channels[name], catalogue)]
        twice = [target for target, count in Counter(settings.channels.values()).items() if count > 1]
        problems += [f"channels: {target!r} is given to two codes" for target in twice]
        if problems:
            raise ConfigError(problems)
        self.link_defaults = "baud=19200&bytesize=8&parity=even&stopbits=1"
        self.identity["make"] = "Draeger"
        self._every = round(settings.every_s * NS_PER_S)
        self._deframer = medibus.Deframer()
        wanted = [CURVES[name] for name in settings.curves if name in CURVES]
        subsets = (chosen for count in range(1, len(wanted) + 1) for chosen in combinations(wanted, count))
        self._allowed = frozenset(
            [
                *map(command, _ASKED),
                *map(response, _SERVED),
                *(command(Command.CONFIGURE_CURVES, configuration(chosen)) for chosen in subsets),
                *map(enable, range(1, len(wanted) + 1)),
            ]
        )
        self._wanted = wanted
        self._begin(0)

    @property
    def period_ns(self) -> int:
        """Nanoseconds from one set of measured data to the next."""
        return self._every

    def may_send(self, frame: bytes) -> bool:
        """Questions without arguments, empty answers, and what starts the curves of this configuration."""
        return frame in self._allowed

    def on_start(self, now: int) -> None:
        """Nobody has answered yet."""
        self._deframer.reset()
        self._told: set[str] = set()
        self._strikes: Counter[int] = Counter()
        self._call(now)

    def on_stop(self, now: int) -> None:
        """Ends the conversation that was begun."""
        if self._ready:
            self.send(command(Command.STOP))

    def on_timer(self, now: int) -> None:
        """Something is overdue, or it is time to ask."""
        self._go_on(now)

    def on_data(self, now: int) -> None:
        """Takes everything; the unfinished rest waits in the deframer."""
        data = bytes(self.buffer)
        self.buffer.clear()
        self._heard = now
        for piece in self._deframer.take(data):
            if isinstance(piece, Flow):
                self._control(piece)
            elif isinstance(piece, int):
                self._sampled(piece)
            elif isinstance(piece, Flaw):
                self._lose(piece)
            elif piece.is_command:
                self._serve(piece, now)
            else:
                self._answered(piece, now)
        self._go_on(now)

    # -- the conversation --------------------------------------------------------------------------------------------

    def _begin(self, now: int) -> None:
        self._ready = self._suspended = False
        self._called = self._said = self._slot = self._pause = now
        self._heard = self._settings_due = self._enabled = self._suspended_ns = 0
        self._waiting: tuple[int, int] | None = None
        self._queue: deque[int] = deque()
        self._held: list[bytes] = []
        self._offered: list[Curve] = []
        self._streams = Streams([])
        self._time: WallTime | None = None

    def _call(self, now: int) -> None:
        # Samples of a link that has been silent since would take their place too late.
        self.counters["samples_dropped"] += sum(block.counts.size for block in self._streams.rest())
        self._begin(now)
        self._heard = now - 1
        self.send(command(Command.INITIALISE))
        self._go_on(now)

    def _go_on(self, now: int) -> None:
        """Does what is due, and says when to be asked again."""
        if not self._ready:
            due = self._called + (ANSWER_NS if self._heard >= self._called else CALL_NS)
        else:
            due = min(self._heard + SILENCE_NS, self._waiting[1] if self._waiting else now + SILENCE_NS)
            if self._suspended:
                due = min(due, self._suspended_ns + ANSWER_NS)  # a suspension has no check code: noise can be one
        if now >= due:
            self._strike()
            self._call(now)
            return
        if self._ready and not self._suspended:
            due = min(due, self._ask(now))
        self.call_me_at(due)

    def _strike(self) -> None:
        """The link is silent: perhaps because the device does not know what it was asked."""
        self.counters["timeout"] += self._ready
        code = self._waiting[0] if self._waiting else Command.MEASURED
        if code != Command.MEASURED and self._strikes[code] >= 0:
            self._strikes[code] += 1
            if self._strikes[code] == STRIKES:
                self.told(EventKind.STATE, f"command {code:02X} is never answered; not asked again", code=code)

    def _ask(self, now: int) -> int:
        """Asks if it may; returns when there is something to say."""
        again = now + SILENCE_NS
        if self._streams.curves:
            if now >= self._enabled:
                self._enabled = now + ENABLE_NS
                self.send(enable(len(self._streams.curves)))
            again = self._enabled
        if self._waiting:
            return again
        if not self._queue and now >= self._slot:
            self._slot += ((now - self._slot) // self._every + 1) * self._every
            self._enqueue(self._round(now))
        if not self._queue and now >= self._said + IDLE_NS:
            self._queue.append(Command.NOP)
        if not self._queue:
            return min(again, self._slot, self._said + IDLE_NS)
        if now < self._pause:
            return min(again, self._pause)
        code = self._queue.popleft()
        self._waiting, self._said = (code, now + ANSWER_NS), now
        curves = [curve.code for curve in self._offered] if code == Command.CONFIGURE_CURVES else []
        self.send(command(code, configuration(curves)))
        return again

    def _round(self, now: int) -> list[int]:
        codes: list[int] = [Command.DATE, Command.MEASURED]
        if self._settings.second_page:
            codes.append(Command.MEASURED_2)
        if self._settings.settings_every_s and now >= self._settings_due:
            self._settings_due = now + round(self._settings.settings_every_s * NS_PER_S)
            codes.append(Command.SETTINGS)
        self._time = None
        return codes

    def _control(self, flow: Flow) -> None:
        self._suspended, self._suspended_ns = flow is Flow.SUSPEND, self._heard
        if flow is Flow.ABORT:
            self._waiting = None
        if not self._suspended:
            for frame in self._held:
                self.send(frame)
            self._held.clear()

    def _serve(self, asked: Message, now: int) -> None:
        if asked.code not in _SERVED:
            self.counters["ignored_commands"] += 1
            return
        if not self._suspended:
            self.send(response(asked.code))
        elif len(self._held) < MOST_CURVES:
            self._held.append(response(asked.code))
        if self._ready and asked.code in (Command.INITIALISE, Command.CURVES_CHANGED):
            self._introduce(identify=asked.code == Command.INITIALISE)

    def _introduce(self, *, identify: bool) -> None:
        """Asks what the device is and which curves it has: at first, and when it has started again."""
        self._emit_blocks(self._streams.rest())
        self._streams = Streams([])
        codes = ([Command.IDENTIFY] if identify else []) + ([Command.CURVES] if self._wanted else [])
        self._enqueue(codes)

    def _enqueue(self, codes: Iterable[int]) -> None:
        self._queue.extend(code for code in codes if code not in self._queue and self._strikes[code] < STRIKES)

    def _answered(self, answer: Message, now: int) -> None:
        if now <= self._said:
            self.reject("late")  # it was under way before we asked
        elif not self._ready and answer.code == Command.INITIALISE:
            self._ready = True
            self._slot, self._said, self._pause = now, now, now + SETTLE_NS
            self._introduce(identify=True)
        elif self._waiting is None or answer.code not in (self._waiting[0], Command.REFUSED):
            self.reject("late")
        elif answer.code == Command.REFUSED:
            self._waiting = None
            self.counters["refused"] += 1
        else:
            self._waiting = None
            self._strikes[answer.code] = -1
            try:
                self._use(answer)
            except (WireError, UnicodeDecodeError):
                self.reject("records")

    def _lose(self, flaw: Flaw) -> None:
        if flaw.reason == "noise":
            self.counters["bytes_noise"] += flaw.size
        else:
            self.reject(flaw.reason)

    # -- what is told ------------------------------------------------------------------------------------------------

    def _use(self, answer: Message) -> None:
        match answer.code:
            case Command.IDENTIFY:
                self.identity.update(medibus.identity(answer.data))
            case Command.DATE:
                stamp = medibus.date(answer.data)
                self._time = WallTime(*stamp) if stamp else None
            case Command.MEASURED:
                self._emit(medibus.measured(answer.data), "")
            case Command.MEASURED_2:
                self._emit(medibus.measured(answer.data), "cp2_")
            case Command.SETTINGS:
                self._emit(medibus.settings(answer.data), "set_")
            case Command.CURVES:
                self._choose(offered(answer.data))
            case Command.CONFIGURE_CURVES:
                self._streams, self._enabled = Streams(self._offered), 0

    def _emit(self, found: Mapping[str, float | State], page: str) -> None:
        values: dict[str, float] = {}
        states: dict[str, State] = {}
        for code, said in found.items():
            channel, factor, offset = self._place(f"{page}{code.lower()}")
            if not isinstance(said, State):
                values[channel] = said * factor + offset if (factor, offset) != (1.0, 0.0) else said
            elif channel in self.catalogue:
                states[channel] = said
        if values or states:
            self.measured(values, states, self._time)

    def _place(self, name: str) -> Place:
        known, unit = KNOWN.get(name, ("", ""))
        if known in self._settings.channels.values():
            known = ""  # the site has given it to another code: two codes never become one series
        channel = self._settings.channels.get(name) or known or f"medibus_{name}"
        if channel in self.catalogue:
            return Place(channel, *(conversion(unit, self.catalogue[channel].unit) if unit else (1.0, 0.0)))
        if channel not in self._told:
            self._told.add(channel)
            self.told(
                EventKind.UNMAPPED, f"MEDIBUS code {name} has no channel; kept as {channel}", code=name, unit=unit
            )
        return Place(channel)

    # -- curves ------------------------------------------------------------------------------------------------------

    def _choose(self, curves: Mapping[str, Curve]) -> None:
        self._offered = [curves[code] for code in self._wanted if code in curves]
        missing = ", ".join(code for code in self._wanted if code not in curves)
        if missing and missing not in self._told:
            self._told.add(missing)
            self.told(EventKind.STATE, f"the device does not offer curves {missing}")
        if self._offered:
            self._enqueue([Command.CONFIGURE_CURVES])

    def _sampled(self, byte: int) -> None:
        flaws = self._streams.flaws
        self._emit_blocks(self._streams.take(byte))
        if self._streams.flaws > flaws:
            self.reject("samples")

    def _emit_blocks(self, blocks: Iterable[Block]) -> None:
        for curve, counts, after_gap in blocks:
            channel, factor, offset = self._place(f"wf_{curve.code.lower()}")
            self.sampled(
                Samples(
                    channel,
                    counts,
                    curve.interval_us * 1000,
                    scale=curve.scale * factor,
                    offset=curve.low * factor + offset,
                    after_gap=after_gap,
                )
            )


def _problem(name: str, target: str, catalogue: Catalogue) -> Iterator[str]:
    """What is wrong with an entry of `channels`."""
    channel = catalogue.get(target)
    if not _NAME.fullmatch(name):
        yield f"channels: {name!r} is no code as we name it, such as d6, set_01 or wf_00"
    elif channel is None:
        yield f"channels: {target!r} is not in the catalogue"
    elif (channel.kind is ChannelKind.WAVEFORM) is not name.startswith("wf_"):
        yield f"channels: {name!r} cannot be {target!r}: one of them is a wave"
    else:
        try:
            conversion(KNOWN.get(name, ("", ""))[1] or channel.unit, channel.unit)
        except UnitError as error:
            yield f"channels: {name!r} cannot be {target!r}: {error}"
