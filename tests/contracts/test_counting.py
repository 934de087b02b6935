from __future__ import annotations

import random
from pathlib import Path

import pytest

from acquisition.registry import available_drivers
from tests.contracts.cases import FOLDER, Bench, Case, all_cases

TALK_BY_THEMSELVES = {"cdi500", "dri", "hl7", "vigilance"}
"""What these say is no reply to a question of ours that could come too late."""
CONVERSATIONS = {
    "bcc": "three_blocks", "binary": "xenios_poll", "delimited": "cdi500_ascii_asked", "medibus": "ventilator",
    "modbus": "puralev_poll",
}  # fmt: skip
SILENCE_NS = 60_000_000_000
MOST_TICKS = 40
DAMAGES = 12


def cases_of(driver: str) -> list[Case]:
    return [case for case in all_cases() if case.settings["driver"] == driver]


def ran(case: Case) -> Bench:
    bench = Bench(case.build())
    bench.start(0)
    bench.run(case.pieces)
    return bench


def test_every_driver_that_waits_for_replies_has_a_conversation_here() -> None:
    assert set(available_drivers()) == {*CONVERSATIONS, *TALK_BY_THEMSELVES, "intellivue"}


@pytest.mark.parametrize("driver", available_drivers())
def test_what_is_used_is_counted_good_and_every_byte_once(driver: str) -> None:
    for case in cases_of(driver):
        bench = ran(case)
        counters = bench.driver.counters
        assert counters["frames_good"] + counters["blocks_good"] >= len(bench.outcome.measured)
        assert counters["bytes"] == len(case.received)


@pytest.mark.parametrize("driver", available_drivers())
def test_a_message_without_one_of_its_bytes_is_counted_bad(driver: str) -> None:
    chance, bad = random.Random(1), 0
    spoken = [
        (case, at)
        for case in cases_of(driver)
        for at, piece in enumerate(case.pieces)
        if piece.direction == "<" and len(piece.data) > 3
    ]
    for case, at in chance.choices(spoken, k=DAMAGES):
        sound = ran(case).driver.counters["frames_bad"]
        piece = case.pieces[at]
        cut = chance.randrange(1, min(len(piece.data), 60))
        bench = Bench(case.build())
        bench.start(0)
        bench.run([*case.pieces[:at], piece._replace(data=piece.data[:cut] + piece.data[cut + 1 :])])
        bench.run(case.pieces[at + 1 :])
        bad += bench.driver.counters["frames_bad"] > sound
    assert bad


@pytest.mark.parametrize("driver", available_drivers())
def test_silence_is_no_bad_frame(driver: str) -> None:
    for case in cases_of(driver):
        bench = Bench(case.build())
        bench.start(0)
        bench.wake_until(SILENCE_NS)
        assert bench.driver.counters["frames_bad"] == 0


def given_up(case: Case, at: int) -> tuple[Bench, int] | None:
    """A driver that has heard the pieces before this one and waits no more for it, and since when; None if it does."""
    bench = Bench(case.build())
    bench.start(0)
    bench.run(case.pieces[:at])
    driver = bench.driver
    before = driver.counters["timeout"]
    for _ in range(MOST_TICKS):
        if driver.deadline is None:
            return None
        now = driver.deadline
        driver.tick(now)
        if driver.counters["timeout"] > before:
            return bench, now
    return None


@pytest.mark.parametrize("driver", sorted(CONVERSATIONS))
def test_a_reply_that_nobody_waits_for_any_more_is_counted_late_and_not_used(driver: str) -> None:
    case = Case(Path(FOLDER / driver / CONVERSATIONS[driver]))
    tried = 0
    for at, piece in enumerate(case.pieces):
        if piece.direction != "<" or not piece.data or (begun := given_up(case, at)) is None:
            continue
        bench, now = begun
        counters, measured = bench.driver.counters, list(bench.outcome.measured)
        late, bad = counters["rejected_late"], counters["frames_bad"]
        bench.feed(piece.data, now)
        for _ in range(MOST_TICKS):
            if counters["rejected_late"] > late or bench.driver.deadline is None:
                break
            bench.driver.tick(bench.driver.deadline)
        assert counters["rejected_late"] - late == counters["frames_bad"] - bad > 0, f"piece {at}"
        assert bench.outcome.measured == measured
        tried += 1
    assert tried > 1


@pytest.mark.parametrize("case", cases_of("intellivue"), ids=str)
def test_an_answer_to_an_association_that_is_over_is_counted_late_and_not_used(case: Case) -> None:
    bench = ran(case)
    counters = bench.driver.counters
    bench.wake_until(case.end_ns + SILENCE_NS)
    late, bad, measured = counters["rejected_late"], counters["frames_bad"], list(bench.outcome.measured)
    answers = [piece.data for piece in case.pieces if piece.direction == "<"][-3:]
    for answer in answers:
        bench.feed(answer, case.end_ns + SILENCE_NS)
    assert bench.outcome.measured == measured
    assert counters["rejected_late"] - late == counters["frames_bad"] - bad == len(answers)
