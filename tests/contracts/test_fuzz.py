from __future__ import annotations

import multiprocessing
import os
from collections import Counter

import pytest

from acquisition.registry import available_drivers
from tests.contracts.fuzz import drivers, fuzz

INPUTS = int(os.environ.get("ECMO_DAQ_FUZZ_INPUTS", "100000"))
"""Said to each driver; far more in `make fuzz`."""
SEED = int(os.environ.get("ECMO_DAQ_FUZZ_SEED", "1"))
SHARE = 10_000
DEEP = {
    # what only damage can make that has come past greeting, lengths and checksums, and what is used beside it
    "dri": {"rejected_level", "rejected_record", "blocks_good"},
    "hl7": {"rejected_number", "rejected_samples", "rejected_waveform", "rejected_unit", "blocks_good"},
    "intellivue": {
        "rejected_scale", "rejected_unit", "answers_missing", "values_before_label", "blocks_before_scale",
        "blocks_good", "associations", "rejected_checksum",
    },
    "medibus": {"rejected_records", "rejected_samples", "refused", "blocks_good"},
}  # fmt: skip


def test_every_driver_has_something_to_be_fuzzed_with() -> None:
    assert set(drivers()) == set(available_drivers())


@pytest.mark.slow
@pytest.mark.parametrize("driver", drivers())
def test_damaged_input_gives_what_is_admitted_or_a_wire_error(driver: str) -> None:
    counted = fuzz(driver, 2000, SEED)
    assert counted["frames_good"] + counted["blocks_good"] > 20
    assert counted["frames_bad"] + counted["bytes_noise"] > 20
    assert {name for name in DEEP.get(driver, ()) if not counted[name]} == set()


def test_equal_seeds_say_equal_things() -> None:
    assert fuzz("vigilance", 500, 7) == fuzz("vigilance", 500, 7)
    assert fuzz("vigilance", 500, 7) != fuzz("vigilance", 500, 8)


@pytest.mark.system
@pytest.mark.alone  # takes every core
@pytest.mark.timeout(60 + INPUTS // 100)
def test_a_hundred_thousand_damaged_inputs_to_each_driver_give_what_is_admitted_or_a_wire_error() -> None:
    shares = [(driver, SHARE, SEED + number) for number in range(-(-INPUTS // SHARE)) for driver in drivers()]
    with multiprocessing.get_context("spawn").Pool() as pool:
        counted = sum(pool.starmap(fuzz, shares, chunksize=1), Counter[str]())
    print(
        f"{SHARE * len(shares):,} inputs, seed {SEED}: {counted['frames_good']:,} good, {counted['frames_bad']:,} bad"
    )
