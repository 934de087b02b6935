from __future__ import annotations

import struct

from tests.drivers.modbus_bench import MS, Arrivals, Bench, S, build, registers_reply

RPM = {"function": 4, "address": 10, "channel": "ecmo_rpm", "unit": "{rev}/min"}
RPM_SET = {"function": 4, "address": 20, "channel": "ecmo_rpm_set", "unit": "{rev}/min"}
MAP = {10: 3425, 20: 3500}


def values_at(bench: Bench) -> list[tuple[int, dict[str, float]]]:
    return [(at // MS, dict(reading.values)) for at, reading in bench.readings]


def tcp_reply(frame: bytes, transaction: int | None = None) -> bytes:
    body = registers_reply(frame[6:] + b"\0\0", MAP)[:-2]
    number = int.from_bytes(frame[:2], "big") if transaction is None else transaction
    return struct.pack(">HHH", number & 0xFFFF, 0, len(body)) + body


def test_on_tcp_no_probe_is_needed_and_blocks_follow_at_once() -> None:
    bench = Bench(build(RPM, RPM_SET, mode="tcp"), lambda frame, now: [(10 * MS, tcp_reply(frame))]).run(500 * MS)
    assert values_at(bench) == [(10, {"ecmo_rpm": 3425.0}), (20, {"ecmo_rpm_set": 3500.0})]


def test_on_tcp_a_device_one_transaction_behind_is_never_believed() -> None:
    def behind(frame: bytes, now: int) -> Arrivals:
        return [(10 * MS, tcp_reply(frame, int.from_bytes(frame[:2], "big") - 1))]

    bench = Bench(build(RPM, mode="tcp"), behind).run(5 * S + 1)
    assert bench.readings == []
    assert bench.driver.counters["rejected_late"] == bench.driver.counters["timeout"] == 5


def test_on_tcp_a_late_reply_is_counted_and_the_next_one_is_read() -> None:
    delays = iter((1100, 10, 10, 10))
    bench = Bench(build(RPM, mode="tcp"), lambda frame, now: [(next(delays) * MS, tcp_reply(frame))]).run(3 * S)
    assert [at for at, _ in values_at(bench)] == [1010, 2010]
    assert bench.driver.counters["rejected_late"] == 1


def test_on_tcp_the_transaction_rolls_over_after_sixteen_bits() -> None:
    driver = build(RPM, mode="tcp")
    driver._transaction = 0xFFFD
    bench = Bench(driver, lambda frame, now: [(10 * MS, tcp_reply(frame))]).run(4 * S)
    assert [frame[:2].hex() for _, frame in bench.sent] == ["fffe", "ffff", "0000", "0001"]
    assert len(bench.readings) == 4


def test_on_tcp_a_transaction_is_not_used_again_while_its_reply_may_still_come() -> None:
    driver = build(RPM, mode="tcp")
    first_is_lost = iter([True])

    def device(frame: bytes, now: int) -> Arrivals:
        return [] if next(first_is_lost, False) else [(10 * MS, tcp_reply(frame))]

    bench = Bench(driver, device).run(1500 * MS)
    (lost, _), (second, _) = ((int.from_bytes(frame[:2], "big"), at) for at, frame in bench.sent)
    driver._transaction = lost - 1
    bench.run(2500 * MS)
    assert int.from_bytes(bench.sent[-1][1][:2], "big") == second
