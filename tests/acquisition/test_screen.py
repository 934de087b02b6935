from __future__ import annotations

import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from acquisition.catalogue import Catalogue
from acquisition.commands.screen import age, braille, journal_screen, live_screen, status_screen, summary_table
from acquisition.health import STALE_NS, ClockHealth, DeviceHealth, Health, JournalHealth, SinkHealth
from acquisition.journal.reader import JournalStat
from acquisition.lanes import Progress
from acquisition.live import LiveView
from acquisition.model import MISSING_COUNT, Event, EventKind, Numerics, Quality, State, Waveform

NS = 1_000_000_000
T = 1_772_000_000 * NS
NAN = float("nan")
at_every_width = pytest.mark.parametrize("width", [40, 80, 160])
BROKEN_MARKUP = "400: partial write [/tmp] [bold] :smile:"


def drawn(what: RenderableType, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, no_color=True, highlight=False).print(what)
    text = out.getvalue()
    assert max(len(line) for line in text.splitlines()) <= width
    return text


def words(text: str) -> str:
    """The letters alone: where a narrow column breaks a line makes no difference."""
    return "".join(character for character in text if character.isalnum())


def health(*, error: str = "", **fields: object) -> Health:
    devices = (
        DeviceHealth(
            id="pump",
            driver="modbus",
            link="serial:///dev/ttyUSB0?baud=57600",
            state="open",
            last_reading_ns=T - 3 * NS,
            values={"ecmo_flow": 1200, "ecmo_rpm": 34},
            identity={"make": "Maker", "model": "Pump 3", "serial": "S-77"},
            frames_good=1234,
            frames_bad=56,
            frames_late=3,
            gaps=7,
        ),
        DeviceHealth(id="mon", driver="hl7", link="tcp-listen://[::1]:2575", state="lost", error="reset"),
    )
    everything = Health(
        version="0.1.0",
        site="paris-1",
        bed="12",
        pid=1,
        started_ns=T - 7200 * NS,
        time_ns=T,
        devices=devices,
        sinks=(SinkHealth(id="influx", state="waiting", delivered=98765, backlog=4321, last_error=error),),
        journal=JournalHealth(directory="journal", size_bytes=2_500_000, free_bytes=9_000_000_000, hours_left=1234.0),
        clock=ClockHealth(ahead_ns=0, steps=0),
    )
    return everything.model_copy(update=fields)


@pytest.fixture
def live() -> LiveView:
    live = LiveView(Catalogue.shipped())
    live(
        Numerics(
            device="pump",
            time_ns=T - NS,
            values={"ecmo_flow": 4.25, "sim_counter": 31337.0},
            quality={"ecmo_flow": Quality.GOOD, "sim_counter": Quality.GOOD},
        )
    )
    live(Numerics(device="mon", time_ns=T - 60 * NS, values={"mdc_1": 8.5}, states={"spo2": State.NOT_CONNECTED}))
    raw = np.array([80, 81, MISSING_COUNT, 119], dtype="<i4").tobytes()
    live(Waveform(device="mon", channel="wf_abp", time_ns=T - NS, period_ns=8_000_000, raw=raw))
    live(Event(device="pump", time_ns=T, event=EventKind.ALARM, text="low [/flow]"))
    return live


def test_a_rising_line_goes_from_the_lower_left_to_the_upper_right() -> None:
    assert braille([0, 1, 2, 3], 2, 1) == "⣠⠞"


def test_a_falling_line_goes_the_other_way() -> None:
    assert braille([3, 2, 1, 0], 2, 1) == "⠙⢦"


def test_a_step_is_joined_by_an_upright_line() -> None:
    assert braille([0, 0, 1, 1], 2, 1) == "⣀⡏"


def test_two_rows_share_the_height() -> None:
    assert braille([0, 1], 1, 2) == "⢸\n⣸"


def test_a_flat_line_is_drawn_and_divides_by_nothing() -> None:
    assert braille([70.0] * 8, 4, 1) == "⠉⠉⠉⠉"


def test_a_missing_sample_leaves_a_hole_and_is_not_bridged() -> None:
    assert braille([0, NAN, NAN, 3], 2, 1) == "⡀⠈"


def test_few_samples_are_stretched_and_many_are_thinned() -> None:
    assert braille([0, 1], 2, 1) == "⣀⡏"
    assert braille([0] * 500 + [1] * 500, 2, 1) == "⣀⡏"


@pytest.mark.parametrize(("samples", "columns"), [([], 5), ([NAN, NAN], 5), ([1.0, 2.0], 0), ([1.0, 2.0], -3)])
def test_nothing_to_draw_or_nowhere_to_draw_it_is_empty(samples: list[float], columns: int) -> None:
    assert braille(samples, columns, 3) == ""


@given(
    st.lists(st.floats(-500, 500) | st.just(NAN), min_size=1, max_size=100).filter(lambda s: any(v == v for v in s)),
    st.integers(1, 30),
    st.integers(1, 6),
)
def test_any_line_has_the_size_that_was_asked_for(samples: list[float], columns: int, rows: int) -> None:
    lines = braille(samples, columns, rows).split("\n")
    assert [len(line) for line in lines] == [columns] * rows
    assert all(0x2800 <= ord(character) <= 0x28FF for line in lines for character in line)


@at_every_width
def test_the_live_screen_shows_values_units_states_waves_and_events(live: LiveView, width: int) -> None:
    text = drawn(live_screen(live, health(), T, width=width), width)
    for word in ("paris-1/12", "ecmo_flow", "4.25", "L/min", "spo2", "not_connected", "mdc_1", "8.5"):
        assert words(word) in words(text), word
    assert words("mon · wf_abp · 80 to 119 mm") in words(text)
    assert "pump: low [/flow]" in text
    assert any(0x2800 < ord(character) <= 0x28FF for character in text)
    assert "research use only" in " ".join(text.split())


@at_every_width
def test_the_live_screen_shows_nothing_hidden(live: LiveView, width: int) -> None:
    text = words(drawn(live_screen(live, health(), T, width=width), width))
    assert "simcounter" not in text
    assert "31337" not in text


def test_a_wide_screen_has_the_devices_side_by_side_and_a_narrow_one_below_each_other(live: LiveView) -> None:
    def beside(width: int) -> bool:
        lines = drawn(live_screen(live, health(), T, width=width), width).splitlines()
        return any("pump · modbus" in line and "mon · hl7" in line for line in lines)

    assert beside(160)
    assert not beside(40)


def test_an_old_value_is_dim_and_a_doubtful_one_stands_out() -> None:
    live = LiveView(Catalogue.shipped())
    for channel, age_s, quality in (("hr", 60, Quality.GOOD), ("spo2", 1, Quality.SUSPECT), ("cvp", 1, Quality.BAD)):
        live(Numerics(device="pump", time_ns=T - age_s * NS, values={channel: 50.0}, quality={channel: quality}))
    out = io.StringIO()
    Console(file=out, width=80, force_terminal=True, color_system="standard").print(live_screen(live, health(), T))
    text = out.getvalue()
    for channel, style in (("hr", "2"), ("spo2", "1;33"), ("cvp", "1;31")):
        (line,) = (line for line in text.splitlines() if channel in line)
        assert re.search(rf"\x1b\[{style}m *50", line)


@at_every_width
def test_a_bed_without_devices_has_a_live_screen_too(width: int) -> None:
    live = LiveView(Catalogue.shipped())
    assert "paris-1/12" in drawn(live_screen(live, health(devices=(), sinks=()), T, width=width), width)


def test_a_wave_of_missing_samples_alone_is_left_out() -> None:
    live = LiveView(Catalogue.shipped())
    raw = np.array([MISSING_COUNT] * 3, dtype="<i4").tobytes()
    live(Waveform(device="mon", channel="wf_abp", time_ns=T, period_ns=8_000_000, raw=raw))
    assert "wf_abp" not in drawn(live_screen(live, health(), T), 80)


@pytest.mark.parametrize(("after_ns", "well"), [(STALE_NS, True), (STALE_NS + 1, False), (-3600 * NS, False)])
def test_of_a_daemon_that_is_gone_nobody_says_that_all_is_well(after_ns: int, well: bool) -> None:
    last = health(devices=(), sinks=())
    assert ("all is well" in drawn(status_screen(last, last.time_ns + after_ns), 100)) == well
    assert last.is_stale(last.time_ns + after_ns) == (not well)


@pytest.mark.parametrize("width", [80, 160])
def test_the_status_screen_shows_devices_and_sinks(width: int) -> None:
    text = words(drawn(status_screen(health(error="no route"), T), width))
    for word in (
        "pump", "modbus", "baud=57600", "open", "3 s ago", "1,234", "56", "mon", "lost", "never",
        "pump: Maker Pump 3, serial S-77", "influx", "waiting", "98,765", "4,321",
    ):  # fmt: skip
        assert words(word) in text, word


@at_every_width
def test_the_status_screen_shows_journal_and_problems(width: int) -> None:
    text = words(drawn(status_screen(health(error="no route"), T), width))
    for word in (
        "paris-1/12", "running 2 h", "research use only", "devices", "sinks",
        "journal: 2.5 MB, 9.0 GB free, room for 1,234 h", "! device mon: reset", "! sink influx: no route",
    ):  # fmt: skip
        assert words(word) in text, word
    assert "alliswell" not in text


@at_every_width
def test_the_status_screen_says_when_all_is_well(width: int) -> None:
    assert "all is well" in drawn(status_screen(health(devices=(), sinks=()), T), width)


@at_every_width
def test_what_a_server_or_a_link_says_is_shown_as_it_is(width: int) -> None:
    text = drawn(status_screen(health(error=BROKEN_MARKUP), T), width)
    assert words(f"! sink influx: {BROKEN_MARKUP}") in words(text)
    assert words(text).count("smile") >= 2, "in the table and among the problems"


STAT = JournalStat(
    files=2,
    bytes=3_400_000,
    blocks=12,
    first_ns=T,
    last_ns=T + 3600 * NS,
    readings={"pump": {"ecmo_rpm": 20, "ecmo_flow": 12345}, "mon": {"wf_abp": 450_000}},
    events={"daemon": 3, "mon": 1},
    points=462_369,
    last_seq=12,
    progress={"influx": Progress(10)},
    backlog={"influx": 2222},
    quarantined=5,
    damaged=("2026-02-24.db: [/half] of it",),
)


@at_every_width
def test_the_journal_screen_shows_what_is_held_owed_rejected_and_damaged(width: int) -> None:
    text = words(drawn(journal_screen(STAT), width))
    for word in (
        "462,369 points appended, 12 blocks kept", "ecmo_flow", "12,345", "wf_abp", "450,000", "daemon", "(events)",
        "2026-02-25T06:13:20Z to 2026-02-25T07:13:20Z, 2 files, 3.4 MB", "sink influx: 2,222 points to send",
        "5 observations rejected by a sink", "! damaged: 2026-02-24.db: [/half] of it",
    ):  # fmt: skip
        assert words(word) in text, word
    assert text.index("ecmoflow") < text.index("ecmorpm")


@at_every_width
def test_an_empty_journal_says_so(width: int) -> None:
    empty = JournalStat(
        files=1, bytes=4096, blocks=0, first_ns=0, last_ns=0, readings={}, events={}, points=0, last_seq=0,
        progress={}, backlog={}, quarantined=0, damaged=(),
    )  # fmt: skip
    text = drawn(journal_screen(empty), width)
    assert "empty, 1 files" in text
    assert "1970" not in text
    assert "rejected" not in text


SUMMARY = [("pump", "flow", 1000, 990, 2), ("mon", "hr", None, 77, 0), ("mon", "rr", 5, 5, 0)]


@pytest.mark.parametrize("width", [80, 160])
def test_the_summary_shows_what_is_missing_and_leaves_open_what_is_not_known(width: int) -> None:
    lines = [line for line in drawn(summary_table(SUMMARY), width).splitlines() if "│" in line]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    assert cells == [
        ["pump", "flow", "1,000", "990", "10", "2"],
        ["mon", "hr", "", "77", "", "0"],
        ["mon", "rr", "5", "5", "0", "0"],
    ]


def test_on_a_narrow_terminal_a_number_is_broken_and_never_cut() -> None:
    for table in (summary_table(SUMMARY), journal_screen(STAT)):
        for width in (30, 40):
            assert "…" not in drawn(table, width)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172_800, "2 d"), (864_000, "10 d")],
)
def test_a_span_of_time_is_said_in_the_largest_unit_that_fits(seconds: int, text: str) -> None:
    assert age(seconds * NS) == text


@at_every_width
def test_the_status_screen_tells_how_far_the_devices_clocks_are_from_ours(width: int) -> None:
    (first, *others) = health().devices
    behind = first.model_copy(update={"clock_ahead_ns": -147 * NS, "clock_drift_ppm": 25.4})
    assert words("clocks against ours: pump -147.0 s drifting +25 ppm") in words(
        drawn(status_screen(health(devices=(behind, *others)), T), width)
    )
    assert "clocks" not in words(drawn(status_screen(health(), T), width))


@pytest.mark.parametrize(
    ("clock", "line"),
    [
        (
            ClockHealth(ahead_ns=0, steps=0, synchronised=True, estimated_error_ns=1_500_000),
            "system clock: synchronised, estimated error 1.5 ms",
        ),
        (ClockHealth(ahead_ns=0, steps=0, synchronised=False), "system clock: not synchronised"),
    ],
)
def test_the_status_says_whether_the_system_clock_is_steered(clock: ClockHealth, line: str) -> None:
    assert line in drawn(status_screen(health(clock=clock), T), 100)
