from __future__ import annotations

from pathlib import Path

import pytest

from acquisition.catalogue import Catalogue
from acquisition.clock import NS
from acquisition.registry import build_driver
from acquisition.replay import replay
from acquisition.trace import TraceHeader, TraceWriter

pytestmark = [pytest.mark.system, pytest.mark.alone]

TRIES = 4


@pytest.mark.parametrize("speed", [1.0, 4.0])
async def test_a_paced_replay_hands_out_each_piece_within_milliseconds_of_its_time(
    tmp_path: Path, speed: float
) -> None:
    header = TraceHeader("serial:///dev/ttyS0", "delimited", "2026-01-01T00:00:00Z")
    with TraceWriter(tmp_path / "a.trace", header) as writer:
        for number in range(round(100 * speed)):
            line = f"00 40 100 1.00 {3500 + number:>7} {3500:>7} {3500:>7}    +41 \r\n"
            writer.write(number * NS // 25, "<", line.encode("ascii"))
    late = []
    for _ in range(TRIES):  # the machine may have had something else to do
        driver = build_driver("delimited", "emtec_bioprott", {}, Catalogue.shipped(), ())
        replayed = await replay(tmp_path / "a.trace", driver, lambda _: None, speed=speed)
        assert len(replayed.pacing_errors_ns) == round(100 * speed)
        assert replayed.pacing_ms(0.0) >= -1
        late.append(replayed.pacing_ms(0.99))
        if late[-1] < 5:
            break
    assert late[-1] < 5, late
