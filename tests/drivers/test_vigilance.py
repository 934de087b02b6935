from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.catalogue import Catalogue
from acquisition.clock import Instant, ManualClock
from acquisition.driver import Notice, Reading
from acquisition.errors import ConfigError
from acquisition.model import EventKind, State
from acquisition.recording import TraceRecorder
from acquisition.trace import read_trace
from acquisition.wire.ifmout import IdentityCut, fields_of, fits
from drivers.vigilance import VigilanceDriver
from simulators.links import attached
from simulators.vigilance import Vigilance
from tests.drivers.one_session import numerics_of

SHOWN = {"co_td": 4.2, "svo2_pa": 62.0, "hr": 92.0, "abp_mean": 74.0, "cvp": 11.0, "temp_core": 36.8}
WHOLE = Vigilance(lambda: SHOWN).frame()


def started(**options: object) -> VigilanceDriver:
    driver = VigilanceDriver.build(options, Catalogue.shipped())
    driver.start(0)
    return driver


def frame(text: str, off: int = 0) -> bytes:
    data = text.encode("ascii")
    return b"\x02" + data + b"\x03" + bytes(((255 - sum(data) + off) & 0xFF,))


def readings(driver: VigilanceDriver) -> list[Reading]:
    return [each for each in driver.take_emissions() if isinstance(each, Reading)]


def test_the_driver_reads_what_the_monitor_means() -> None:
    driver = started()
    driver.receive(WHOLE + Vigilance(lambda: {"hr": 90.0}).frame(), 0)
    full, sparse = readings(driver)
    assert (full.values, full.states) == (SHOWN, {})
    assert sparse.values == {"hr": 90.0}
    assert set(sparse.states.values()) == {State.UNAVAILABLE}


def test_every_field_of_the_table_has_its_width_and_the_identifier_goes() -> None:
    table = (
        "C 4.2c 2.1S 45s 23b12.0T 4.1V 62v 60A 98H 92P 74p 11R1200r2400B36.8D 450O 210X35.0E 25J120K 80I* 4.0Q1"
        "a+12.5F01f02L03l04M005*m006*N1234-5678-90U  1u  2W  3w  4Y00005"
    )
    fields = fields_of(table.encode())
    assert fields is not None
    assert "".join(letter + field for letter, field in fields.items()) == table.replace("N1234-5678-90", "")


def test_a_check_byte_of_another_rule_is_accepted_and_flagged() -> None:
    driver = started()
    driver.receive(frame("H 92C--.-", off=77) * 3, 0)
    emitted = driver.take_emissions()
    assert [each.text[:10] for each in emitted if isinstance(each, Notice)] == ["check byte"]
    assert [each for each in emitted if isinstance(each, Reading)] == [
        Reading({"hr": 92.0}, {"hr": State.QUESTIONABLE, "co_td": State.UNAVAILABLE})
    ] * 2
    assert (driver.counters["check_byte_unknown"], driver.counters["frames_bad"]) == (2, 1)


def test_halves_of_two_frames_without_proof_are_not_used() -> None:
    driver = started()
    lines = frame("H 92C04.2P 74", off=77)
    driver.receive(lines + lines + lines[:5] + b"P 10\x03\x00" + lines + lines, 0)
    assert [each.values["abp_mean"] for each in readings(driver)] == [74, 74]
    assert driver.counters["rejected_unproven"] == 3


@pytest.mark.parametrize("text", ["H 92", "\x02H 92", "H 92\x03", "\x02H 92\x03"])
def test_whatever_the_guess_covers_it_is_tried(text: str) -> None:
    assert fits(b"H 92", 255 - sum(text.encode()) % 256)
    assert not fits(b"H 93", 255 - sum(text.encode()) % 256 + 40)


@pytest.mark.parametrize(
    "text", ["H 9", "H 92 ", "G123", "H 92H 91", "H92 ", "H0x2", "HH 92", "C04,2", "C4.2", "C 4.2H"]
)
def test_a_frame_that_does_not_fall_into_fields_is_rejected_whole(text: str) -> None:
    driver = started()
    driver.receive(frame(text), 0)
    assert (driver.take_emissions(), driver.counters["rejected_fields"]) == ([], 1)


def test_codes_are_told_when_they_change_and_not_interpreted() -> None:
    driver = started()
    driver.receive(frame("F00M000 H 92") * 2 + frame("F07M012 H 92"), 0)
    told = [(each.event, each.text) for each in driver.take_emissions() if isinstance(each, Notice)]
    assert told == [
        (EventKind.STATE, "fault F is 00"),
        (EventKind.ALARM, "alarm M is 000 "),
        (EventKind.STATE, "fault F is 07"),
        (EventKind.ALARM, "alarm M is 012 "),
    ]


def test_the_bed_may_say_which_field_is_which_channel() -> None:
    driver = started(channels={"C": "", "I": "co_td", "A": "spo2"})
    driver.receive(frame("C04.2I*03.9A 97"), 0)
    assert (readings(driver), driver.counters["rejected_fields"]) == ([], 1)
    driver.receive(frame("C04.2I+03.9A 97"), 0)
    assert [each.values for each in readings(driver)] == [{"co_td": 3.9, "spo2": 97.0}]


@pytest.mark.parametrize(
    ("channels", "complaint"),
    [({"N": "hr"}, "no field"), ({"H": "pulse"}, "catalogue"), ({"H": "cvp"}, "become"), ({"A": "svo2_pa"}, "two")],
)
def test_a_wrong_channel_is_the_operators_mistake(channels: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        started(channels=channels)


def test_nothing_is_ever_sent() -> None:
    driver = started()
    assert driver.deadline is None
    assert not driver.may_send(b"")


def test_the_identifier_never_leaves_the_wire(tmp_path: Path) -> None:
    driver = started()
    driver.receive(WHOLE, 0)
    assert "1234" not in repr(driver.take_emissions())
    recorder = TraceRecorder(
        tmp_path / "t.trace", link="x", driver="vigilance", clock=ManualClock(0), cut=started().trace_cut()
    )
    for at in range(0, len(WHOLE), 7):
        recorder.received(WHOLE[at : at + 7], Instant(at, at))
    recorder.close()
    kept = b"".join(piece.data for piece in read_trace(tmp_path / "t.trace")[1])
    assert kept.startswith(b"\x02N0000-0000-00C04.2")
    driver = started()
    driver.receive(kept, 0)
    assert [(each.values, each.states) for each in readings(driver)] == [(SHOWN, {})]


@settings(max_examples=150, deadline=None)
@given(pieces=st.lists(st.binary(max_size=50) | st.sampled_from([WHOLE, WHOLE[:20], b"\x02", b"\x03"]), max_size=9))
def test_any_bytes_give_readings_or_counts_and_the_cut_gives_the_same(pieces: list[bytes]) -> None:
    driver, other, cut = started(), started(), IdentityCut()
    for piece in pieces:
        driver.receive(piece, 0)
        other.receive(cut.feed(piece), 0)
    assert len(driver.buffer) <= 514
    assert readings(driver) == readings(other)
    assert driver.counters["rejected_fields"] == other.counters["rejected_fields"]
    driver.receive(WHOLE + WHOLE, 0)
    assert readings(driver)[-1].values == SHOWN


@pytest.mark.system
async def test_the_monitor_is_read_over_a_pseudo_terminal(tmp_path: Path) -> None:
    async with attached(f"pty://{tmp_path}/monitor", Vigilance(lambda: SHOWN)) as link:
        found, driver = await numerics_of(link, "vigilance")
    assert all(each.values == SHOWN for each in found)
    assert not driver.verified
