"""Philips IntelliVue monitor at the end of its data export, over UDP or the RS-232 (MIB) port; it can misbehave.

Behaviour: PROTOCOLS.md sections 1.2 to 1.8; what is not said there (numbers of linked parts, what a wave answer
holds) is our choice and no monitor's. An association whose client says nothing for ten seconds is aborted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from struct import pack, unpack

from acquisition.clock import NS, Clock, SystemClock
from simulators import intellivue_pdu as pdu
from simulators import intellivue_screen as screen
from simulators.arterial_line import ArterialLine
from simulators.intellivue_screen import BLOCK_NS, WAVES, fitted
from simulators.links import Datagrams
from simulators.readings import Shown
from simulators.wave_source import WaveSource
from simulators.wrong_clock import Settable

DEFAULT_LINK = "udp://127.0.0.1:24105"
PATIENCE_NS = 10 * NS
ANNOUNCE_NS = 5 * NS
TICK_NS = 125_000
CARRIES = screen.CARRIES
EXPORT_PORT = 24105
SYSTEM = pdu.attribute(0x0928, pdu.strings("Philips", "SIMULATED"))
SERIAL = "SIM0001"


@dataclass(slots=True)
class Misbehaviour:
    """What goes wrong; all is well by default.

    Attributes:
        refuse: So many association requests are refused.
        ignore: So many questions get no answer.
        lose: So many of the next answers to extended polls are lost.
        twice: So many of them come twice.
        cut: So many of them are cut short.
        mute: Nothing is said at all.
        parts: Answers are linked, with so many objects in a part; 0 leaves them whole.
        number_parts: Each part has a number of its own.
        bits: Set in the measurement state of everything, such as 0x0400 for demonstration.
        before_scale: So many wave answers come without the attributes that scale them.
    """

    refuse: int = 0
    ignore: int = 0
    lose: int = 0
    twice: int = 0
    cut: int = 0
    mute: bool = False
    parts: int = 0
    number_parts: bool = False
    bits: int = 0
    before_scale: int = 0


@dataclass(slots=True)
class Client:
    """Who is associated."""

    address: Hashable
    period_ns: int
    heard: int
    created: bool = False
    pushes: dict[int, Push] = field(default_factory=dict)


@dataclass(slots=True)
class Push:
    """An extended poll that is being answered."""

    asked: pdu.Poll
    due: int
    until: int
    sequence: int = 0
    scaled: bool = False


class IntelliVue(Settable):
    """A monitor.

    Args:
        numerics: Present values by channel id; text in place of a number means that the monitor has none.
        waves: Sources of samples by channel id.
        clock: Paces it.
        ticks: Its running time at the beginning, 1/8 ms; near 2**32 it will soon begin again at 0.

    Attributes:
        wrong: What goes wrong.
        associations: Associations granted.
        forbidden: Messages that no reader should send; none was obeyed.
        sent: Answers to extended polls that were really sent, by object kind.
    """

    def __init__(
        self,
        numerics: Shown,
        waves: Mapping[str, WaveSource] | None = None,
        *,
        clock: Clock | None = None,
        ticks: int = 3 * 3600 * 8000,
    ) -> None:
        self.wrong = Misbehaviour()
        self.associations = self.forbidden = 0
        self.sent = {6: 0, 9: 0}
        self._numerics = numerics
        self._waves = dict(waves or {})
        self._clock = clock or SystemClock()
        self._began = self._clock.now().mono_ns
        self._first = ticks
        self._invoke = 0
        self._client: Client | None = None
        self._changed = asyncio.Event()

    def extend(self, pressures: list[float]) -> None:
        """More of the arterial pressure, mmHg at 125 Hz, where the wave is the patient's."""
        line = self._waves.get("wf_abp")
        if isinstance(line, ArterialLine):
            line.extend(pressures)

    # -- at its end of a wire ----------------------------------------------------------------------------------------

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speaks over the serial port."""

        async def listen() -> None:
            while True:
                frame = (await reader.readuntil(b"\xc1")).rpartition(b"\xc0")[2][:-1]
                message = pdu.opened(frame)
                if message is not None:
                    self._say(self.hear(message, "serial"), writer)

        async def talk() -> None:
            while True:
                self._say(self.turn(), writer)
                await writer.drain()
                await self._until_due()

        async with asyncio.TaskGroup() as both:
            both.create_task(listen())
            both.create_task(talk())

    async def converse_in_datagrams(self, wire: Datagrams) -> None:
        """Speaks over UDP, and makes itself known while nobody is associated."""
        announced = self._clock.now().mono_ns

        async def listen() -> None:
            while True:
                message, sender = await wire.inbox.get()
                for reply in self.hear(message, sender):
                    wire.send(reply, sender)

        async def talk() -> None:
            nonlocal announced
            while True:
                client = self._client
                for message in self.turn():
                    if client is not None and isinstance(client.address, tuple):
                        wire.send(message, client.address)
                now = self._clock.now().mono_ns
                if wire.announce and self._client is None and not self.wrong.mute and now >= announced:
                    wire.send(self.connect_indication(), wire.announce)
                    announced = now + ANNOUNCE_NS
                await self._until_due()

        async with asyncio.TaskGroup() as both:
            both.create_task(listen())
            both.create_task(talk())

    @staticmethod
    def _say(messages: list[bytes], writer: asyncio.StreamWriter) -> None:
        for message in messages:
            writer.write(pdu.enveloped(message))

    async def _until_due(self) -> None:
        self._changed.clear()
        wait = self._clock.seconds_until(min(self.due, self._clock.now().mono_ns + NS))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._changed.wait()

    # -- what it does ------------------------------------------------------------------------------------------------

    @property
    def due(self) -> int:
        """When it has something to say of its own accord, monotonic ns."""
        client = self._client
        if client is None:
            return self._clock.now().mono_ns + ANNOUNCE_NS
        return min([client.heard + PATIENCE_NS, *(push.due for push in client.pushes.values())])

    def reboot(self) -> None:
        """Starts again: forgets its client and counts its running time from nothing."""
        self._client = None
        self._began, self._first = self._clock.now().mono_ns, 0
        self._changed.set()

    def stop(self) -> None:
        """Pushes nothing more."""
        if self._client is not None:
            self._client.pushes.clear()

    @property
    def waiting(self) -> int:
        """Always 0: what was measured leaves at once, and nobody says whether it arrived."""
        return 0

    def hear(self, message: bytes, sender: Hashable) -> list[bytes]:
        """What it replies to a message at once."""
        self._changed.set()
        if self.wrong.mute:
            return []
        if message[:1] == bytes((pdu.REQUEST,)):
            return self._associate(message, sender)
        client = self._client
        if client is None or client.address != sender:
            return []
        client.heard = self._clock.now().mono_ns
        if message[:1] in (bytes((pdu.FINISH,)), bytes((pdu.ABORT,))):
            self._client = None
            return [pdu.RELEASED] if message[0] == pdu.FINISH else []
        operation, _, invoke, command = unpack(">4H", message[4:12])
        if self.wrong.ignore and operation == 1:
            self.wrong.ignore -= 1
            return []
        if (operation, command) == (2, 1):
            client.created = True
            return []
        if operation != 1 or command not in (3, 7):
            self.forbidden += 1
            return []
        if not client.created:
            return []
        return [pdu.wave_list(invoke, [])] if command == 3 else self._polled(client, pdu.Poll(message))

    def turn(self) -> list[bytes]:
        """What it says now of its own accord."""
        client, now = self._client, self._clock.now().mono_ns
        if client is None or self.wrong.mute:
            return []
        if now >= client.heard + PATIENCE_NS:
            self._client = None
            return [pdu.ABORTED]
        said: list[bytes] = []
        for kind, push in list(client.pushes.items()):
            while push.due <= now and push.due < push.until:
                said += self._pushed(push, self._ticks(push.due))
                push.due += BLOCK_NS if kind == 9 else client.period_ns
            if push.due >= push.until:
                del client.pushes[kind]
        return said

    def connect_indication(self) -> bytes:
        """How it makes itself known on the network."""
        ports = pdu.listed([pack(">4H", 1, 1, EXPORT_PORT, 0), pack(">4H", 5, 1, EXPORT_PORT, 0)])
        return pdu.connect_indication(self._ticks(), [SYSTEM, pdu.attribute(0xF101, ports)])

    def _associate(self, message: bytes, sender: Hashable) -> list[bytes]:
        if self._client is not None or self.wrong.refuse:
            self.wrong.refuse = max(0, self.wrong.refuse - 1)
            return [pdu.REFUSED]
        period, profile = pdu.wishes(message)
        now = self._clock.now().mono_ns
        self._client = Client(sender, period * TICK_NS, now)
        self.associations += 1
        self._invoke += 1
        wall = datetime.fromtimestamp(self._clock.now().utc_ns // NS, UTC)
        system = [
            SYSTEM,
            pdu.attribute(0x091E, pdu.text("BED-NAME")),
            pdu.attribute(0x0987, pdu.digits(*wall.timetuple()[:6])),
            pdu.attribute(0x098F, pack(">I", self._ticks())),
        ]
        return [pdu.acceptance(period, profile), pdu.mds_create(self._invoke, self._ticks(), system)]

    def _polled(self, client: Client, asked: pdu.Poll) -> list[bytes]:
        now = self._clock.now().mono_ns
        if asked.seconds is not None and asked.kind in (6, 9):
            before = client.pushes.get(asked.kind)
            due = now if before is None else before.due
            client.pushes[asked.kind] = Push(asked, due, now + round(asked.seconds * NS))
            return self.turn()
        if asked.kind == pdu.MDS:
            specification = pdu.listed([pack(">3H", 1, 0, len(SERIAL)) + SERIAL.encode()])
            objects = [pack(">H", 0) + pdu.listed([SYSTEM, pdu.attribute(0x092D, specification)])]
        elif asked.kind == 6:
            objects = screen.labels()
        else:
            self.forbidden += 1
            return [pdu.error(asked.invoke, 1)]
        return [pdu.answer(asked, self._ticks(), self._wall(), objects, 0, None)]

    def _pushed(self, push: Push, ticks: int) -> list[bytes]:
        kind = push.asked.kind
        wrong = self.wrong
        if kind == 6:
            objects = screen.values(self._numerics(), wrong.bits)
        else:
            scaled = push.scaled or wrong.before_scale > 0
            waves = self._waves.items()
            drawn = (screen.block(WAVES[name], source, wrong.bits, scaled=scaled) for name, source in waves)
            objects = [each for each in drawn if each is not None]
            push.scaled = push.scaled or not self.wrong.before_scale
            self.wrong.before_scale = max(0, self.wrong.before_scale - 1)
        size = self.wrong.parts or max(1, len(objects))
        pieces = [objects[at : at + size] for at in range(0, max(1, len(objects)), size)]
        said = []
        for number, piece in enumerate(pieces, start=1):
            place = 1 if number == 1 else 3 if number == len(pieces) else 2
            part = (place, number) if len(pieces) > 1 else None
            push.sequence += number == 1 or self.wrong.number_parts
            said.append(pdu.answer(push.asked, ticks, self._wall(), piece, push.sequence % 65536, part))
        return self._spoilt(said, kind)

    def _spoilt(self, said: list[bytes], kind: int) -> list[bytes]:
        wrong = self.wrong
        if wrong.lose:
            wrong.lose -= 1
            return []
        if wrong.cut:
            wrong.cut -= 1
            return [said[0][: len(said[0]) // 2], *said[1:]]
        self.sent[kind] += 1
        if wrong.twice:
            wrong.twice -= 1
            return [message for message in said for _ in range(2)]
        return said

    def _ticks(self, now: int | None = None) -> int:
        elapsed = (self._clock.now().mono_ns if now is None else now) - self._began
        return (self._first + elapsed // TICK_NS) % 2**32

    def _wall(self) -> bytes:
        return pdu.digits(*datetime.fromtimestamp(self._clock.now().utc_ns // NS, UTC).timetuple()[:6])


def create(readings: Shown) -> IntelliVue:
    """The device as the simulator command attaches it, with the patient's arterial line."""
    return IntelliVue(readings, {"wf_abp": ArterialLine()})


def play(numerics: Shown, waves: Mapping[str, WaveSource], clock: Clock) -> IntelliVue:
    """The device as `ecmo-sim play` attaches it: from when it is first polled, each wave at a rate that it can send."""
    return IntelliVue(numerics, {name: fitted(name, wave) for name, wave in waves.items()}, clock=clock)
