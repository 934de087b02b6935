from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from acquisition.catalogue import Catalogue
from acquisition.clock import Instant, ManualClock
from acquisition.driver import Reading
from acquisition.errors import ConfigError
from acquisition.model import State
from acquisition.recording import TraceRecorder
from acquisition.trace import read_trace
from acquisition.wire.bcc import ALIVE, IdentityCut, cut, frame_of, quadruples
from drivers.bcc import BccDriver
from simulators.bcc import ACK, NAK, Bcc, Pump, create
from simulators.links import attached
from tests.drivers.one_session import numerics_of

S = 1_000_000_000
DRUGS = {"Arterenol": "dose_norepinephrine", "Dobutamin": "dose_dobutamine"}
SLOTS = {"50113": "study_drug_rate"}


def started(**options: object) -> BccDriver:
    driver = BccDriver.build({"drugs": DRUGS, "slots": SLOTS, **options}, Catalogue.shipped())
    driver.start(0)
    return driver


def talk(driver: BccDriver, device: Bcc, turns: int = 8) -> list[bytes]:
    """Lets driver and device talk for some deadlines; returns what was sent."""
    sent: list[bytes] = []
    blocks: list[bytes] = []
    for _ in range(turns):
        assert driver.deadline is not None
        now = driver.deadline
        driver.tick(now)
        for frame in driver.take_frames():
            sent.append(frame)
            blocks = blocks[1:] if frame == ACK else blocks if frame == NAK else device.answers(frame)
            if blocks:
                driver.receive(blocks[0], now)
    return sent


def readings(driver: BccDriver) -> list[dict[str, float | State]]:
    found = [each for each in driver.take_emissions() if isinstance(each, Reading)]
    assert not any(each.values.keys() & each.states for each in found), "a number beside what stands in its place"
    return [{**each.values, **each.states} for each in found]


def rack(**pumps: Pump) -> Bcc:
    return Bcc({address.removeprefix("at"): pump for address, pump in pumps.items()})


def test_the_alive_frame_is_the_printed_one_to_the_byte() -> None:
    assert frame_of("1", ALIVE, stuffed=False) == b"\x0100031\x021/1/1>ADMIN:ALIVE\x0300061\x04"
    assert started(stuffing=False).may_send(b"\x0100031\x021/1/1>ADMIN:ALIVE\x0300061\x04")


def test_stuffing_comes_after_length_and_sum_and_is_undone_from_left_to_right() -> None:
    for text in ("DEde", "EX", "EEX", "DXEEexeeX", "mEDium"):
        wire = frame_of("7", text, stuffed=True)
        piece = cut(wire)
        assert piece is not None
        assert piece.block is not None
        assert (piece.block.bed, piece.block.text, piece.block.stuffed) == ("7", text, True)
        assert cut(frame_of("7", text, stuffed=False)) != piece


def test_doses_and_rates_of_the_listed_pumps_are_kept() -> None:
    driver = started()
    sent = talk(driver, create(dict), 4)
    assert readings(driver) == [{"dose_norepinephrine": 0.1, "dose_dobutamine": 7.0, "study_drug_rate": 4.2}]
    assert sent[1] == ACK


def test_an_acknowledgement_waits_a_tenth_of_a_second() -> None:
    driver, device = started(), create(dict)
    assert driver.deadline is not None
    now = driver.deadline
    driver.tick(now)
    (question,) = driver.take_frames()
    driver.receive(device.answers(question)[0], now + 30)
    assert driver.take_frames() == []
    assert driver.deadline == now + 30 + S // 10
    driver.tick(driver.deadline)
    assert driver.take_frames() == [ACK]


def test_two_pumps_of_one_drug_add_up_and_half_a_sum_is_none() -> None:
    pumps = {"at50111": Pump("Arterenol 4mg/50", 1.0, 0.1), "at50112": Pump("ARTERENOL 10mg/50", 1.0, 0.05)}
    driver = started()
    talk(driver, rack(**pumps), 4)
    assert readings(driver) == [{"dose_norepinephrine": 0.15}]
    pumps["at50112"] = Pump("Arterenol 10mg/50", 1.0)
    driver = started()
    talk(driver, rack(**pumps), 4)
    (reading,) = (each for each in driver.take_emissions() if isinstance(each, Reading))
    assert (reading.values, reading.states) == ({}, {"dose_norepinephrine": State.UNAVAILABLE})


@pytest.mark.parametrize(
    ("unit", "dose", "expected"),
    [
        ("µg/kg/min", 0.1, 0.1),
        ("mcg/kg/min", 0.1, 0.1),
        ("mg/kg/min", 0.001, 1.0),
        ("ng/kg/min", 100.0, State.UNAVAILABLE),
        ("gamma", 0.2, 0.2),
    ],
)
def test_a_dose_is_kept_only_in_a_unit_that_is_known(unit: str, dose: float, expected: float | State) -> None:
    driver = started(dose_units={"Gamma": "ug/kg/min"})
    talk(driver, rack(at50111=Pump("Arterenol", 1.0, dose, unit)), 4)
    assert readings(driver) == [{"dose_norepinephrine": expected}]


def test_a_value_that_is_not_valid_is_a_state() -> None:
    driver = started()
    talk(driver, rack(at50113=Pump("?", None)), 4)
    assert readings(driver) == [{"study_drug_rate": State.INVALID}]


def test_blocks_that_meet_within_a_quadruple_are_not_used() -> None:
    assert quadruples(["1,50111,INRT,0.3", "0\x1e1,50111,INVI,2"]) is None
    assert quadruples(["1,50111,INRT,0.3\x1e", "1,50111,INVI,2"]) == [("50111", "INRT", "0.3"), ("50111", "INVI", "2")]


def test_several_blocks_are_one_answer() -> None:
    device, driver = create(dict), started()
    device.blocks = 4
    sent = talk(driver, device, 8)
    assert sent.count(ACK) >= 5
    assert readings(driver)[0] == {"dose_norepinephrine": 0.1, "dose_dobutamine": 7.0, "study_drug_rate": 4.2}


def test_no_name_of_a_drug_is_ever_emitted_and_no_pump_by_slot_is_looked_at() -> None:
    driver = started(drugs={"Secret": "dose_epinephrine"})
    talk(driver, rack(at50113=Pump("Secretan 50", 4.2, 0.2), at50114=Pump("Mueller, Hans", 1.0)), 6)
    emitted = driver.take_emissions()
    assert "Secretan" not in repr(emitted)
    assert "Hans" not in repr(emitted)
    kept = [each for each in emitted if isinstance(each, Reading)]
    assert kept[0].values == {"study_drug_rate": 4.2}
    assert "dose_epinephrine" not in kept[0].states


def test_a_study_drug_cannot_be_given_by_the_name_of_a_drug() -> None:
    with pytest.raises(ValidationError, match="unblind"):
        started(drugs={"Levosimendan": "study_drug_rate"})


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"slots": {"50113": "study"}}, "not in the catalogue"),
        ({"slots": {"50113": "hr"}}, "neither a rate"),
        ({"slots": {"slot 3": "inf_rate"}}, "no address"),
        ({"every_s": 1.0}, "longer than"),
    ],
)
def test_a_mistake_in_the_options_is_told(options: dict[str, object], complaint: str) -> None:
    with pytest.raises((ConfigError, ValidationError), match=complaint):
        started(**options)


def test_nothing_but_two_questions_and_two_bytes_can_be_sent() -> None:
    driver = started()
    assert [driver.may_send(frame) for frame in (ACK, NAK, frame_of("1", ALIVE, stuffed=True))] == [True] * 3
    for text in ("MEM:GET", "MEM:GETSLOT#13", "ADMIN:VERSION", "INRT,9"):
        assert not driver.may_send(frame_of("7", text, stuffed=True))
    talk(driver, create(dict), 2)
    assert driver.may_send(frame_of("7", "MEM:GET", stuffed=True))
    assert not driver.may_send(frame_of("8", "MEM:GET", stuffed=True))


def test_a_late_answer_and_another_beds_are_not_used() -> None:
    driver, device = started(), create(dict)
    talk(driver, device, 2)
    assert driver.deadline is not None
    driver.tick(driver.deadline)
    (question,) = driver.take_frames()
    driver.receive(Bcc(device.pumps, bed="8").encode("8", "1,50113,INRT,9", last=True), driver.deadline)
    assert driver.counters["rejected_other_bed"] == 1
    driver.tick(driver.deadline)
    driver.receive(device.answers(question)[0], driver.deadline)
    assert readings(driver) == []
    assert (driver.counters["timeout"], driver.counters["rejected_late"]) == (1, 1)


def test_after_three_silences_who_is_there_is_asked_again() -> None:
    driver, device = started(), create(dict)
    talk(driver, device, 4)
    sent = talk(driver, Bcc({}, bed="x"), 12)
    assert frame_of("1", ALIVE, stuffed=True) in sent


def test_a_trace_has_numbers_but_no_drug_and_no_unknown_parameter(tmp_path: Path) -> None:
    device = create(dict)
    recorder = TraceRecorder(tmp_path / "t", link="x", driver="bcc", clock=ManualClock(0), cut=started().trace_cut())
    extra = device.encode("7", "214,50111,INPATW,81\x1e214,50111,PATNAME,Hans\x1eHans\x1e214,50113,INRT,4.2", last=True)
    wire = b"Hans" + extra + device.answers(frame_of("7", "MEM:GET", stuffed=True))[0]
    for at in range(0, len(wire), 11):
        recorder.received(wire[at : at + 11], Instant(at, at))
    recorder.close()
    kept = b"".join(piece.data for piece in read_trace(tmp_path / "t")[1])
    for secret in (b"Hans", b"81", b"PATNAME", b"Arteeree", b"Stuexie"):
        assert secret not in kept
    again = IdentityCut()
    assert again.feed(kept) == kept
    assert kept.count(b"INRT,4.2") == 2


@settings(max_examples=100, deadline=None)
@given(pieces=st.lists(st.binary(max_size=60) | st.sampled_from([b"\x01", b"\x0100031\x02", ACK, b"\x04"]), max_size=9))
def test_any_bytes_at_any_time_are_survived(pieces: list[bytes]) -> None:
    driver, device = started(), create(dict)
    talk(driver, device, 3)
    for piece in pieces:
        assert driver.deadline is not None
        driver.tick(driver.deadline)
        driver.receive(piece, driver.deadline or 0)
    driver.take_frames()
    readings(driver)
    talk(driver, device, 24)
    assert readings(driver)[-1] == {"dose_norepinephrine": 0.1, "dose_dobutamine": 7.0, "study_drug_rate": 4.2}


@pytest.mark.system
async def test_a_rack_is_read_over_tcp() -> None:
    device = create(dict)
    device.blocks = 2
    options = {"drugs": DRUGS, "slots": SLOTS, "every_s": 1.0, "timeout_s": 0.3}
    async with attached("tcp-listen://127.0.0.1:0", device) as link:
        found, driver = await numerics_of(link, "bcc", None, options)
    assert all(
        each.values == {"dose_norepinephrine": 0.1, "dose_dobutamine": 7.0, "study_drug_rate": 4.2} for each in found
    )
    assert driver.counters["frames_bad"] == 0
