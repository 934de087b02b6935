from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.catalogue import Catalogue
from acquisition.errors import WireError
from drivers.intellivue import IntelliVueDriver
from tests.drivers.intellivue_fuzz import feed, said

SAID = said()


@pytest.mark.parametrize("mib", [False, True], ids=["lan", "mib"])
def test_damaged_messages_are_read_rightly_or_refused(mib: bool) -> None:
    counted = feed(3000, 1, mib=mib)
    assert min(counted[name] for name in ("frames_bad", "frames_good", "blocks_good", "duplicate")) > 0


@pytest.mark.system
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.parametrize("mib", [False, True], ids=["lan", "mib"])
def test_very_many_damaged_messages_are_read_rightly_or_refused(mib: bool, seed: int) -> None:
    feed(25_000, seed, mib=mib)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=300), st.sampled_from(SAID)), max_size=40),
    st.integers(0, 5_000_000_000),
    st.sampled_from(["lan", "mib"]),
)
def test_any_bytes_at_any_time_are_survived(pieces: list[bytes], step_ns: int, mode: str) -> None:
    driver = IntelliVueDriver.build({"mode": mode}, Catalogue.shipped())
    driver.start(0)
    for number, piece in enumerate(pieces):
        try:
            driver.receive(piece, number * step_ns)
            driver.tick(number * step_ns)
        except WireError:
            driver.start(number * step_ns)
    driver.stop(len(pieces) * step_ns)
    assert all(driver.may_send(frame) for frame in driver.take_frames())
