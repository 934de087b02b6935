from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.catalogue import Catalogue
from acquisition.clock import ManualClock
from acquisition.driver import Notice, Reading
from acquisition.errors import ConfigError
from acquisition.model import State
from acquisition.wire.cdi import report_of
from acquisition.wire.checksum import CHECKSUMS, ChecksumName
from drivers.cdi500 import Cdi500Driver
from simulators.cdi500 import Cdi500
from simulators.links import attached
from tests.drivers.one_session import numerics_of

SHOWN = {
    "ecmo_temp_art": 36.8,
    "ecmo_so2_post": 99.0,
    "ecmo_temp_ven": 36.1,
    "ecmo_svo2": 68.0,
    "ecmo_hct": 29.0,
    "ecmo_hb": 9.6,
}
WHOLE = Cdi500(lambda: SHOWN, ManualClock(0)).report()


def started(**options: object) -> Cdi500Driver:
    driver = Cdi500Driver.build(options, Catalogue.shipped())
    driver.start(0)
    driver.receive(WHOLE, 0)  # what the checksum covers is learned from the first
    assert driver.take_emissions() == []
    return driver


def readings(driver: Cdi500Driver) -> list[Reading]:
    return [each for each in driver.take_emissions() if isinstance(each, Reading)]


def test_the_header_is_the_one_the_reference_prints() -> None:
    assert WHOLE.startswith(b"\x02X20")
    assert WHOLE[8:10] == b"A0"
    assert int(WHOLE[4:8], 16) == WHOLE.index(b"\x03") + 1


def test_the_driver_reads_what_the_monitor_means() -> None:
    driver = started()
    driver.receive(WHOLE + Cdi500(lambda: {"ecmo_hb": 9.0}).report(), 0)
    full, sparse = readings(driver)
    assert (full.values, full.states) == (SHOWN, {})
    assert sparse.values == {"ecmo_hb": 9.0}
    assert set(sparse.states.values()) == {State.INVALID}


def test_a_base_excess_below_zero_costs_no_report() -> None:
    data = "\t".join(["12:00:00", *(f"{code:02X}  {'-2.1' if code == 6 else '5.0'}" for code in range(18))])
    found = report_of(data.encode())
    assert found is not None
    assert (found["06"], found["11"]) == (-2.1, 5.0)


def test_no_single_damaged_byte_is_ever_used() -> None:
    end = WHOLE.index(b"\x03")
    for place in range(1, end):
        for flip in (0x01, 0x10):
            driver = started()
            driver.receive(WHOLE[:place] + bytes([WHOLE[place] ^ flip]) + WHOLE[place + 1 :], 0)
            assert readings(driver) == [], place


@pytest.mark.parametrize(
    "data",
    [
        "12:00:00\t00  1",
        "\t".join(["noon", *(f"{code:02X}  1" for code in range(18))]),
        "\t".join(["12:00:00", *(f"{code:02X}  1" for code in range(17)), "00  1"]),
        "\t".join(["12:00:00", *(f"{code:02X}  x" for code in range(18))]),
        "\t".join(["12:00:00", *(f"{code + 1:02X}  1" for code in range(18))]),
    ],
)
def test_a_report_that_is_not_whole_is_rejected(data: str) -> None:
    driver = started()
    driver.receive(Cdi500(dict).packet("A0", data), 0)
    assert (driver.take_emissions(), driver.counters["rejected_report"]) == ([], 1)


def test_two_packets_must_agree_on_what_the_checksum_covers() -> None:
    other = WHOLE[:-5]
    other += b"%02X" % CHECKSUMS[ChecksumName.CRC8_CDI].of(other) + WHOLE[-3:]
    driver = started()
    driver.receive(other + other + WHOLE + WHOLE, 0)
    assert len(readings(driver)) == 2
    assert driver.counters["rejected_checksum"] == 2


def test_marks_are_told_and_other_packets_counted() -> None:
    device, driver = Cdi500(dict), started()
    driver.receive(device.packet("A1", "") + device.packet("A9", "") + device.packet("K0", "x"), 0)
    assert [each.text for each in driver.take_emissions() if isinstance(each, Notice)] == [
        "mark",
        "attention of unknown kind",
    ]
    assert driver.counters["packets_other"] == 1


def test_the_bed_may_say_which_quantity_is_which_channel() -> None:
    driver = started(channels={"04": "spo2", "0D": "", "03": "temp_core"})
    driver.receive(WHOLE, 0)
    (reading,) = readings(driver)
    assert reading.values["spo2"] == 99.0
    assert reading.values["temp_core"] == 36.8
    assert not {"ecmo_svo2", "ecmo_so2_post", "ecmo_temp_art"} & reading.values.keys()


@pytest.mark.parametrize("channels", [{"00": "hr"}, {"03": "ph"}, {"03": "ecmo_hb"}, {"03": "ecmo_temp_ven"}])
def test_a_wrong_channel_is_the_operators_mistake(channels: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="channels"):
        started(channels=channels)


def test_nothing_is_ever_sent_not_even_the_question_of_the_other_mode() -> None:
    driver = started()
    assert driver.deadline is None
    for frame in (b"<X08Z36>", b"\x02A", b""):
        assert not driver.may_send(frame)


@settings(max_examples=150, deadline=None)
@given(pieces=st.lists(st.binary(max_size=50) | st.sampled_from([WHOLE, WHOLE[:20], b"\x02", b"\x02X20"]), max_size=9))
def test_any_bytes_give_readings_or_counts(pieces: list[bytes]) -> None:
    driver = started()
    for piece in pieces:
        driver.receive(piece, 0)
    assert len(driver.buffer) <= 1024
    driver.receive(WHOLE * 3, 0)
    assert readings(driver)[-1].values == SHOWN


@pytest.mark.system
async def test_the_monitor_is_read_over_a_pseudo_terminal(tmp_path: Path) -> None:
    device = Cdi500(lambda: SHOWN, period_ns=200_000_000)
    async with attached(f"pty://{tmp_path}/monitor", device) as link:
        found, driver = await numerics_of(link, "cdi500", until=lambda each: len(each) >= 3)
    assert all(each.values == SHOWN for each in found)
    assert not driver.verified
