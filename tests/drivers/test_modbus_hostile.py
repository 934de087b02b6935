from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.driver import Reading
from acquisition.model import EventKind
from drivers.modbus import ModbusDriver
from tests.drivers.modbus_bench import MS, Arrivals, Bench, S, build, crc, rtu

# Two blocks whose replies are equally long, and a third that is longer: their channels say which register was meant.
CHANNELS = {10: "hr", 20: "rr", 30: "pr_abp", 31: "pvc_rate"}
KEPT = 1024 + 300
NOISE = [b"\x01\x04\xff", b"\x01\x04\x02", b"\x01\x84", b"\x00\x05\x00\x00\x00\xfe\x01\x04\xfa", b"\xff" * 40]


@dataclass(frozen=True)
class Trouble:
    """What happens to one reply on its way."""

    delay: int = 10 * MS
    copies: int = 1
    again: int = 0
    before: bytes = b""
    keep: int | None = None
    flip: int | None = None
    unit: int = 1
    exception: int = 0
    pieces: int = 1


@dataclass
class OrderlyLine:
    """A device that answers one request after the other; each value says which register and which request it is of."""

    troubles: list[Trouble]
    tcp: bool = False
    served: int = 0
    free: int = 0
    asked: dict[int, int] = field(default_factory=dict)

    def __call__(self, frame: bytes, now: int) -> Arrivals:
        trouble = self.troubles.pop(0) if self.troubles else Trouble()
        address, count = int.from_bytes(frame[-4:-2], "big"), int.from_bytes(frame[-2:], "big")
        if not self.tcp:
            address, count = int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[4:6], "big")
        self.served += 1
        if count == self.length_of(address):
            self.asked[address] = self.served
        data = b"".join(self.value(address + index).to_bytes(2, "big") for index in range(count))
        reply = self.framed(frame, trouble, bytes((2 * count,)) + data)
        if trouble.flip is not None:
            position = trouble.flip % len(reply)
            reply = reply[:position] + bytes((reply[position] ^ 0x20,)) + reply[position + 1 :]
        reply = trouble.before + reply[: trouble.keep]
        self.free = max(self.free, now + trouble.delay)
        arrivals = []
        for _ in range(trouble.copies):
            size = max(1, -(-len(reply) // trouble.pieces))
            for index in range(0, len(reply), size):
                arrivals.append((self.free - now, reply[index : index + size]))
                self.free += MS // 2
            self.free += trouble.again
        return arrivals

    @staticmethod
    def length_of(address: int) -> int:
        return {10: 1, 20: 1, 30: 2}[address]

    def value(self, address: int) -> int:
        return address * 500 + self.served % 500

    def framed(self, request: bytes, trouble: Trouble, data: bytes) -> bytes:
        function, body = (0x84, bytes((trouble.exception,))) if trouble.exception else (4, data)
        if not self.tcp:
            return rtu(trouble.unit, function, body)
        pdu = bytes((trouble.unit, function)) + body
        return request[:4] + len(pdu).to_bytes(2, "big") + pdu


def device(mode: str) -> ModbusDriver:
    registers = [
        {"function": 4, "address": address, "channel": channel, "unit": "/min"} for address, channel in CHANNELS.items()
    ]
    probes = [{"function": 4, "address": 30, "count": count} for count in (3, 4)]
    return build(*registers, mode=mode, probe=probes)


def watching(line: OrderlyLine) -> Callable[[Reading], None]:
    """Holds every value against what the device said to the request that was sent last for it."""
    addresses = {channel: address for address, channel in CHANNELS.items()}

    def watch(reading: Reading) -> None:
        for channel, value in reading.values.items():
            address = addresses[channel]
            block = 30 if address > 30 else address
            assert value == address * 500 + line.asked[block] % 500, (channel, value)

    return watch


troubles = st.builds(
    Trouble,
    delay=st.one_of(st.integers(0, 60), st.integers(400, 700), st.integers(900, 1100), st.integers(0, 6000)).map(
        lambda ms: ms * MS
    ),
    copies=st.sampled_from([1, 1, 1, 0, 2, 3]),
    again=st.integers(0, 60).map(lambda ms: ms * MS),
    before=st.one_of(st.just(b""), st.sampled_from(NOISE), st.binary(max_size=60)),
    keep=st.one_of(st.none(), st.integers(0, 8)),
    flip=st.one_of(st.none(), st.none(), st.integers(0, 12)),
    unit=st.sampled_from([1, 1, 1, 1, 2]),
    exception=st.sampled_from([0, 0, 0, 0, 2, 6, 11]),
    pieces=st.integers(1, 4),
)


@settings(max_examples=100, deadline=None)
@given(script=st.lists(troubles, min_size=1, max_size=25))
def test_whatever_befalls_the_replies_every_value_is_the_answer_to_its_own_request(script: list[Trouble]) -> None:
    line = OrderlyLine(list(script))
    bench = Bench(device("rtu"), line, watching(line)).run(12 * S)
    assert bench.most_kept <= KEPT


@settings(max_examples=100, deadline=None)
@given(script=st.lists(troubles, min_size=1, max_size=25))
def test_on_tcp_every_value_is_the_answer_to_its_own_request(script: list[Trouble]) -> None:
    # TCP itself takes care of wrong and missing bytes.
    line = OrderlyLine([Trouble(each.delay, each.copies, each.again, each.before) for each in script], True)
    bench = Bench(device("tcp"), line, watching(line)).run(12 * S)
    assert bench.most_kept <= KEPT


@settings(max_examples=40, deadline=None)
@given(script=st.lists(troubles, max_size=15))
def test_when_the_trouble_is_over_every_channel_comes_again_within_eight_seconds(script: list[Trouble]) -> None:
    line = OrderlyLine(list(script))
    bench = Bench(device("rtu"), line).run(10 * S)
    line.troubles.clear()
    bench.run(max(bench.now, line.free))
    bench.emitted.clear()
    bench.run(bench.now + 8 * S)
    assert {channel for _, reading in bench.readings for channel in reading.values} == set(CHANNELS.values())


@settings(max_examples=50, deadline=None)
@given(noise=st.lists(st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=300)), max_size=30))
@pytest.mark.parametrize("mode", ["rtu", "tcp"])
def test_noise_alone_makes_neither_values_nor_exceptions_nor_memory(mode: str, noise: list[tuple[int, bytes]]) -> None:
    bench = Bench(device(mode), lambda frame, now: [])
    for at, data in noise:
        bench.inject(at * MS, data)
    bench.run(5 * S)
    assert bench.readings == []
    assert bench.most_kept <= KEPT
    assert all(notice.event is EventKind.STATE for notice in bench.notices)


@pytest.mark.parametrize(
    "mangle",
    [
        lambda frame: frame[:-1],
        lambda frame: frame[:3] + frame,
        lambda frame: frame[:4] + frame[:4] + frame[4:],
        lambda frame: b"".join(bytes((a, b)) for a, b in zip(frame, frame, strict=True)),
        lambda frame: b"\x01\x04\xff" + frame[3:],
        lambda frame: frame[:2] + bytes((frame[2] + 1,)) + frame[3:],
        lambda frame: frame[:-2] + crc(frame[:-3]),
    ],
    ids=["truncated", "restarted", "stuttered", "interleaved", "oversized", "wrong length", "wrong sum"],
)
def test_a_mangled_reply_is_used_only_if_a_whole_one_is_in_it(mangle: Callable[[bytes], bytes]) -> None:
    line = OrderlyLine([])

    def mangling(frame: bytes, now: int) -> Arrivals:
        (delay, reply), *_ = line(frame, now)
        return [(delay, reply if line.served == 1 else mangle(reply))]

    Bench(device("rtu"), mangling, watching(line)).run(3 * S)
