from __future__ import annotations

import io

import pytest
from rich.console import Console

from acquisition.commands.screen import status_screen
from acquisition.health import ClockHealth, Health, JournalHealth, SinkHealth

NS = 1_000_000_000


def shown(sink: SinkHealth) -> str:
    health = Health(
        version="1", site="here", bed="bed-1", pid=1, started_ns=0, time_ns=9000 * NS, devices=(), sinks=(sink,),
        journal=JournalHealth(directory="journal", size_bytes=0, free_bytes=0), clock=ClockHealth(ahead_ns=0, steps=0),
    )  # fmt: skip
    console = Console(width=240, file=io.StringIO(), record=True)
    console.print(status_screen(health, 9000 * NS))
    return console.export_text()


def test_the_status_tells_how_far_a_sink_is_behind_since_when_how_fast_and_why() -> None:
    late = SinkHealth(
        id="central", state="waiting", delivered=1_000_000, backlog=2_345_678, oldest_unsent_ns=1000 * NS,
        points_per_second=1234.4, backlog_bytes=2_100_000, hours_left=311.4, last_error="the server cannot be reached",
    )  # fmt: skip
    text = shown(late)
    for words in ("2,345,678", "about 2.1 MB", "311 h", "2 h ago", "1,234", "the server cannot be reached"):
        assert words in text


def test_a_sink_that_has_everything_has_no_oldest_reading_to_send() -> None:
    text = shown(SinkHealth(id="central", state="idle"))
    assert "central" in text
    assert "ago" not in text


@pytest.mark.parametrize(
    ("hours", "words"),
    [(None, "not known yet"), (0.0, "0.0 h"), (9.94, "9.9 h"), (8759.0, "8,759 h"), (8760.0, "more than a year")],
)
def test_how_long_an_outage_may_last_is_told_as_well_as_it_is_known(hours: float | None, words: str) -> None:
    assert words in shown(SinkHealth(id="central", state="idle", hours_left=hours))
