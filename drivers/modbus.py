"""Any device with a Modbus register map, as its profile describes: RTU on a serial line or a serial server, and TCP.

Sources: those of `acquisition.wire.modbus`; the map of a device is cited in its profile.

A reply on a serial line does not say which request it answers, and a late one is as well formed as a timely one. So
after a timeout, an exception or a reply that nobody waited for, and when the link has just been opened, nothing is
read until a probe has been answered: a read whose reply no poll's reply can be taken for. A line delivers in order;
whatever was still on its way has arrived before. On TCP the transaction decides.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import Field

from acquisition.catalogue import Catalogue
from acquisition.driver import Driver, DriverOptions, Profile
from acquisition.errors import ConfigError
from acquisition.model import EventKind
from acquisition.wire.modbus import EXCEPTIONS, MAX_FRAME, Mode, Read, Reply, framing_of, next_transaction
from acquisition.wire.probes import Probes
from acquisition.wire.quantities import fresh
from acquisition.wire.register_blocks import Block, lay_out
from acquisition.wire.registers import Probe, Register

NS_PER_S = 1_000_000_000
QUIET_NS = 5_000_000
"""Silence before speaking on a serial line: 3.5 characters at 9600 baud and above, and the slack of USB adapters."""
MUTE_NS = 5 * NS_PER_S
"""Silence that must do where a device only refuses probes."""
REFUSALS = 2
"""Probes refused in a row; one refusal may be the late answer to something else."""
MAX_KEPT = 1024
MAX_OUTSTANDING = 4096


class ModbusProfile(Profile):
    """A register map.

    Attributes:
        mode: How the device is usually reached.
        unit: Its Modbus address as delivered.
        every_s: Seconds from one poll to the next.
        gap: Registers nobody wants that may be read along to save a request.
        probe: Two reads; needed only where the device does not let the beginning of a block be read alone.
        registers: The map; `[[register]]` in the file.
    """

    mode: Mode = Mode.RTU
    unit: int = Field(default=1, ge=0, le=255)
    every_s: float = Field(default=1.0, ge=0.02, le=3600)
    gap: int = Field(default=0, ge=0, le=100)
    probe: tuple[Probe, Probe] | None = None
    registers: tuple[Register, ...] = Field(alias="register", min_length=1)


class ModbusOptions(DriverOptions):
    """Options of a Modbus device; what is not given is as in the profile.

    Attributes:
        timeout_s: Longest wait for a reply.
        channels: Channel or register name of the profile to the channel it is at this bed.
    """

    mode: Mode | None = None
    unit: int | None = Field(default=None, ge=0, le=255)
    every_s: float | None = Field(default=None, ge=0.02, le=3600)
    timeout_s: float = Field(default=0.5, ge=0.01, le=10)
    channels: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that waits for its reply until `expires`; without a block it is a probe."""

    read: Read
    block: Block | None
    transaction: int
    expires: int


@dataclass(slots=True)
class Line:
    """How things stand on the line.

    Attributes:
        suspect: A reply to something else may be on its way: probe before the next poll.
        slot: When the next round of polls is due.
        queue: What is left of this round.
        exchange: What waits for its reply.
        last: What was asked last.
        heard: When a byte came last.
        stalled: A probe was not answered; the next one goes with the next slot.
        mute: The device refuses probes: silence must do.
    """

    suspect: bool
    slot: int = 0
    queue: deque[Block] = field(default_factory=deque)
    exchange: Exchange | None = None
    last: Read | None = None
    heard: int | None = None
    stalled: bool = False
    mute: bool = False
    refusals: int = 0


class ModbusDriver(Driver):
    """Polls one unit, one request at a time, on a grid; polls that come too late are skipped, never queued."""

    Options = ModbusOptions
    ProfileType = ModbusProfile
    max_buffer: ClassVar[int] = 4 * MAX_KEPT

    def __init__(self, options: DriverOptions, catalogue: Catalogue, profile: Profile | None = None) -> None:
        super().__init__(options, catalogue, profile)
        if not isinstance(profile, ModbusProfile) or not isinstance(options, ModbusOptions):
            raise ConfigError(["driver 'modbus' needs a profile: a register map from config/devices/"])
        mode = options.mode or profile.mode
        unit = profile.unit if options.unit is None else options.unit
        if mode is not Mode.TCP and not 1 <= unit <= 247:
            raise ConfigError([f"unit: {unit} is no address of a device on a serial line; it must be 1 to 247"])
        self._serial = mode is not Mode.TCP
        self.line_address = f"unit {unit}" if self._serial else None
        self._framing = framing_of(mode)
        self._blocks = lay_out(profile.registers, unit, profile.gap, options.channels, catalogue)
        asked = [probe.read(unit) for probe in profile.probe or ()]
        self._probes = Probes([block.read for block in self._blocks], asked)
        self._every = round((options.every_s or profile.every_s) * NS_PER_S)
        self._timeout = round(options.timeout_s * NS_PER_S)
        reads = [block.read for block in self._blocks] + (list(self._probes.both) if self._serial else [])
        self._allowed = frozenset(self._without_transaction(self._framing.encode(read, 0)) for read in reads)
        self._transaction = 0
        self._outstanding: dict[int, None] = {}
        self._told: dict[str, float] = {}
        self._refused: dict[Read, int] = {}
        self._line = Line(suspect=self._serial)

    @property
    def period_ns(self) -> int:
        """Nanoseconds from one poll to the next."""
        return self._every

    @property
    def awaiting(self) -> bool:
        """Whether a request was sent and neither answered nor given up."""
        return self._line.exchange is not None

    def may_send(self, frame: bytes) -> bool:
        """Only the requests laid out from the profile, and the probe; on TCP with any transaction."""
        return self._without_transaction(frame) in self._allowed

    def on_start(self, now: int) -> None:
        """What an earlier conversation asked for may still be on its way."""
        self._line = Line(suspect=self._serial, slot=now)
        self._probes.restart()
        self._outstanding.clear()
        self._told.clear()
        self._refused.clear()
        self._go_on(now)

    def on_timer(self, now: int) -> None:
        """A reply is overdue, or it is time to speak."""
        overdue = self._line.exchange is not None
        self._expire(now)
        if overdue and self.shares_line:
            self.call_me_at(now)  # another device's turn comes first
        else:
            self._go_on(now)

    def on_data(self, now: int) -> None:
        """Looks for the one reply that is due; whatever else there is waits to be counted and thrown away."""
        self._line.heard = now
        self._expire(now)
        if self._line.exchange is not None:
            exchange = self._line.exchange
            reply = self._framing.find(self.buffer, exchange.read, exchange.transaction)
            if reply is not None:
                self._take(exchange, reply)
        if len(self.buffer) > MAX_KEPT:
            self._discard(len(self.buffer) - MAX_FRAME)
        self._go_on(now)

    def _without_transaction(self, frame: bytes) -> bytes:
        return frame if self._serial else frame[2:]

    def _go_on(self, now: int) -> None:
        """Speaks if it may, else says when to be asked again."""
        line = self._line
        if line.exchange is not None:
            self.call_me_at(line.exchange.expires)
            return
        if line.stalled or not line.queue:
            if now < line.slot:
                self.call_me_at(line.slot)
                return
            self._take_slot(line, now)
            line.stalled = False
            line.queue = line.queue or deque(self._blocks)
        quiet = now if line.heard is None else line.heard + (MUTE_NS if line.mute else QUIET_NS)
        if self._serial and now < quiet:
            self.call_me_at(quiet)
            return
        self._speak(line, now)

    def _take_slot(self, line: Line, now: int) -> None:
        missed = (now - line.slot) // self._every
        self.counters["slots_missed"] += missed
        line.slot += (missed + 1) * self._every

    def _speak(self, line: Line, now: int) -> None:
        self._discard(len(self.buffer))
        if line.mute:
            line.mute = line.suspect = False
            self._probes.settle()
            if now >= line.slot:
                self._take_slot(line, now)
        read, block = line.queue[0].read, None
        # Two polls of one shape in a row: a reply to the first, sent twice, would do for the second.
        twins = line.last is not None and line.last.shape == read.shape and line.last.address != read.address
        if self._serial and (line.suspect or twins):
            read = self._probes.next()
        else:
            block = line.queue.popleft()
        self._transaction = next_transaction(self._transaction, self._outstanding)
        line.exchange = Exchange(read, block, self._transaction, now + self._timeout)
        line.last = read
        self.send(self._framing.encode(read, self._transaction))
        self.call_me_at(line.exchange.expires)

    def _take(self, exchange: Exchange, reply: Reply) -> None:
        self._line.exchange = None
        self._discard(reply.start)
        del self.buffer[: reply.end - reply.start]
        if exchange.block is not None:
            if reply.exception:
                self._refuse(exchange.read, reply.exception)
            else:
                self._use(exchange.block, reply.data)
        elif reply.exception:
            self._refuse_probe(reply.exception)
        else:
            self.counters["probes_answered"] += 1
            self._line.suspect = False
            self._probes.settle()
            self._line.refusals = 0

    def _use(self, block: Block, data: bytes) -> None:
        if self._refused.pop(block.read, None):
            self.told(EventKind.STATE, f"{block.read} can be read again")
        decoded = block.decode(data)
        if decoded.values or decoded.states:
            self.measured(decoded.values, decoded.states)
        else:
            self.counters["frames_good"] += 1
        for remark in fresh(decoded.remarks, self._told):
            channel = {"channel": remark.channel} if remark.channel else {}
            self.told(remark.kind, remark.text, register=remark.subject, value=remark.value, **channel)

    def _refuse(self, read: Read, code: int) -> None:
        self.counters[f"exception_{code}"] += 1
        # Behind a gateway the device itself may answer yet.
        self._line.suspect = self._serial
        if self._refused.get(read) != code:
            self._refused[read] = code
            meaning = EXCEPTIONS.get(code, "unknown exception")
            self.told(EventKind.STATE, f"{read} refused: {meaning}", exception=code)

    def _refuse_probe(self, code: int) -> None:
        self.counters[f"exception_{code}"] += 1
        if not self._line.suspect:
            # Between two polls of one shape nothing else is on its way: any answer keeps them apart.
            self._probes.settle()
            return
        self._line.refusals += 1
        if self._line.refusals >= REFUSALS:
            self._line.refusals = 0
            self._line.mute = True

    def _expire(self, now: int) -> None:
        exchange = self._line.exchange
        if exchange is None or now < exchange.expires:
            return
        self._line.exchange = None
        self.counters["timeout"] += 1
        if self._serial:
            self._line.suspect = True
            self._line.stalled = exchange.block is None
        else:
            self._outstanding[exchange.transaction] = None
            if len(self._outstanding) > MAX_OUTSTANDING:
                del self._outstanding[next(iter(self._outstanding))]

    def _discard(self, size: int) -> None:
        """Throws away what was not the reply due; whole replies in it are late, repeated or somebody else's."""
        if size == 0:
            return
        strays = self._framing.strays(bytes(self.buffer[:size]))
        if strays:
            self.reject("late", len(strays))
            self._line.suspect = self._serial
            for transaction in strays:
                self._outstanding.pop(transaction, None)
        self.skip(size)
