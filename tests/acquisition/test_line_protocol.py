from __future__ import annotations

import json
import math
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acquisition.model import MISSING_COUNT, Event, EventKind, Numerics, Quality, State, Waveform
from acquisition.sinks.line_protocol import render
from acquisition.sinks.wave_lines import TABLE_ROWS
from tests.acquisition.plain_line_protocol import plain_lines
from tests.acquisition.strict_line_protocol import parse

NOON = 1_700_000_000_123_456_789


def lines(*observations: Numerics | Waveform | Event, site: str = "here", bed: str = "bed-1") -> list[str]:
    return render(observations, site=site, bed=bed).decode().splitlines()


def wave(counts: list[int], **changes: object) -> Waveform:
    raw = np.array(counts, dtype="<i4").tobytes()
    base = {"device": "mon", "channel": "wf_abp", "time_ns": NOON, "period_ns": 8_000_000, "raw": raw, "scale": 0.1}
    return Waveform.model_validate(base | changes)


def test_values_of_one_instant_and_quality_share_one_line_with_sorted_tags() -> None:
    numerics = Numerics(
        device="mon",
        time_ns=NOON,
        values={"abp_mean": 78.0, "abp_sys": 120.0, "hr": 301.5, "spo2": 97.0},
        quality={"abp_mean": Quality.GOOD, "abp_sys": Quality.GOOD, "hr": Quality.BAD, "spo2": Quality.SUSPECT},
    )
    assert lines(numerics) == [
        f"numerics,bed=bed-1,device=mon,quality=good,site=here abp_mean=78.0,abp_sys=120.0 {NOON}",
        f"numerics,bed=bed-1,device=mon,quality=suspect,site=here spo2=97.0 {NOON}",
        f"numerics,bed=bed-1,device=mon,quality=bad,site=here hr=301.5 {NOON}",
    ]


def test_a_state_rides_with_its_value_and_else_on_the_bad_line() -> None:
    numerics = Numerics(
        device="mon",
        time_ns=NOON,
        values={"temp": 37.0},
        states={"temp": State.QUESTIONABLE, "cvp": State.NOT_CONNECTED},
        quality={"temp": Quality.SUSPECT},
    )
    assert lines(numerics) == [
        f'numerics,bed=bed-1,device=mon,quality=suspect,site=here temp=37.0,temp_state="questionable" {NOON}',
        f'numerics,bed=bed-1,device=mon,quality=bad,site=here cvp_state="not_connected" {NOON}',
    ]


def test_a_waveform_is_one_point_a_sample_at_the_resolution_of_the_device() -> None:
    assert lines(wave([3, 1200, -7], quality=Quality.SUSPECT)) == [
        f"waves,bed=bed-1,device=mon,quality=suspect,site=here wf_abp=0.3 {NOON}",
        f"waves,bed=bed-1,device=mon,quality=suspect,site=here wf_abp=120.0 {NOON + 8_000_000}",
        f"waves,bed=bed-1,device=mon,quality=suspect,site=here wf_abp=-0.7 {NOON + 16_000_000}",
    ]


def test_a_missing_sample_leaves_its_instant_empty() -> None:
    points = parse(render([wave([1, MISSING_COUNT, 2])], site="here", bed="bed-1"))
    assert [(point.fields[0][1], point.time_ns) for point in points] == [(0.1, NOON), (0.2, NOON + 16_000_000)]


@pytest.mark.parametrize("counts", [[], [MISSING_COUNT, MISSING_COUNT]])
def test_a_block_without_numbers_says_nothing(counts: list[int]) -> None:
    assert render([wave(counts)], site="here", bed="bed-1") == b""


def test_an_event_carries_its_text_and_its_detail_as_json() -> None:
    event = Event(
        device="daemon", time_ns=NOON, event=EventKind.GAP, text='cable "A" out\\', detail={"s": 1.5, "q": '"'}
    )
    head, fields = "events,bed=bed-1,device=daemon,kind=gap,site=here ", r'text="cable \"A\" out\\"'
    assert lines(event) == [rf'{head}{fields},detail="{{\"s\":1.5,\"q\":\"\\\"\"}}" {NOON}']


def test_a_whole_number_is_written_as_a_float_so_that_the_field_never_becomes_an_integer() -> None:
    assert lines(Numerics(device="pump", time_ns=1, values={"ecmo_rpm": 3000}))[0].endswith(" ecmo_rpm=3000.0 1")


def test_separators_in_names_are_escaped() -> None:
    numerics = Numerics(device="a b,c=d", time_ns=1, values={"x y": 1.0})
    assert lines(numerics, site="St. Mary, 2=B") == [
        r"numerics,bed=bed-1,device=a\ b\,c\=d,quality=good,site=St.\ Mary\,\ 2\=B x\ y=1.0 1"
    ]


def test_an_empty_tag_is_left_out_because_no_server_accepts_it() -> None:
    assert lines(Numerics(device="mon", time_ns=1, values={"hr": 1.0}), site="") == [
        "numerics,bed=bed-1,device=mon,quality=good hr=1.0 1"
    ]


def test_text_of_a_device_cannot_begin_a_line_of_its_own() -> None:
    forged = "alarm\nwaves,bed=bed-1,device=mon,quality=good,site=here wf_abp=80.0 1"
    event = Event(device="mon", time_ns=NOON, event=EventKind.ALARM, text=forged, detail={"t": "a\nb\r\x00"})
    (point,) = parse(render([event], site="here", bed="bed-1"))
    assert point.measurement == "events"


names = st.text(alphabet=string.printable, min_size=1, max_size=8) | st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=8
)
numbers = st.floats(allow_nan=False, allow_infinity=False)


def shown(name: str) -> str:
    """What the layout makes of a name: characters that no dialect can carry become underscores."""
    return "".join(
        "_" if character == "\\" or ord(character) < 32 or ord(character) == 127 else character for character in name
    )


@given(
    site=names,
    bed=names,
    device=names,
    values=st.dictionaries(names, st.tuples(numbers, st.sampled_from(Quality)), max_size=5),
    time_ns=st.integers(0, 2**62),
)
def test_an_independent_parser_reads_back_the_same_numerics(
    site: str, bed: str, device: str, values: dict[str, tuple[float, Quality]], time_ns: int
) -> None:
    values = {shown(name): judged for name, judged in values.items()}
    numerics = Numerics(
        device=device,
        time_ns=time_ns,
        values={name: value for name, (value, _) in values.items()},
        quality={name: quality for name, (_, quality) in values.items()},
    )
    read: dict[str, tuple[float | str, Quality]] = {}
    for point in parse(render([numerics], site=site, bed=bed)):
        assert point.measurement == "numerics"
        assert point.time_ns == time_ns
        tags = dict(point.tags)
        assert (tags["site"], tags["bed"], tags["device"]) == (shown(site), shown(bed), shown(device))
        read |= {name: (value, Quality(tags["quality"])) for name, value in point.fields}
    assert read == values


@given(
    text=st.text(st.characters(codec="utf-8")),
    detail=st.dictionaries(st.text(st.characters(codec="utf-8")), st.text() | numbers | st.none()),
)
def test_an_independent_parser_reads_back_the_same_event(text: str, detail: dict[str, str | float | None]) -> None:
    event = Event(device="mon", time_ns=1, event=EventKind.ALARM, text=text, detail=detail)
    (point,) = parse(render([event], site="here", bed="bed-1"))
    fields = dict(point.fields)
    assert fields["text"] == "".join(" " if ord(c) < 32 or ord(c) == 127 else c for c in text)
    assert json.loads(str(fields["detail"])) == detail


@given(
    counts=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=50),
    scale=st.sampled_from([1.0, 0.1, 0.05, 0.0024414]),
    offset=st.sampled_from([0.0, -40.0]),
)
def test_an_independent_parser_reads_back_the_same_samples(counts: list[int], scale: float, offset: float) -> None:
    block = wave(counts, scale=scale, offset=offset)
    points = parse(render([block], site="here", bed="bed-1"))
    expected = [
        (value, NOON + place * 8_000_000) for place, value in enumerate(block.samples.tolist()) if not math.isnan(value)
    ]
    assert [(point.fields[0][1], point.time_ns) for point in points] == expected


NOWADAYS = st.integers(10**18, 2**63 - 10**15)
blocks = st.builds(
    wave,
    st.lists(st.just(MISSING_COUNT) | st.integers(-(2**31), 2**31 - 1) | st.integers(-300, 300), max_size=120),
    device=st.sampled_from(["mon", "vent"]),
    channel=st.sampled_from(["wf_abp", "p"]),
    time_ns=NOWADAYS | st.integers(-(10**10), 10**10) | st.just(10**18 - 10**9),
    period_ns=st.sampled_from([1, 2_000_000, 4_000_000, 10**9]),
    scale=st.sampled_from([1.0, 0.1, -0.05, 0.0024414, 1e-9]),
    offset=st.sampled_from([0.0, -40.0]),
    quality=st.sampled_from(Quality),
)


@given(st.lists(blocks, max_size=60))
def test_samples_are_written_byte_for_byte_as_one_line_at_a_time_would_be(waveforms: list[Waveform]) -> None:
    assert render(waveforms, site="here", bed="bed-1") == plain_lines(waveforms, site="here", bed="bed-1")


def test_what_is_larger_than_a_table_is_written_the_same_way() -> None:
    waveforms = [wave(list(range(at, at + size))) for at, size in enumerate([TABLE_ROWS - 1, 1, 3 * TABLE_ROWS, 0, 7])]
    assert render(waveforms, site="here", bed="bed-1") == plain_lines(waveforms, site="here", bed="bed-1")


def test_kinds_that_alternate_keep_their_order() -> None:
    hr = Numerics(device="mon", time_ns=NOON, values={"hr": 80.0})
    assert [line.partition(",")[0] for line in lines(wave([1]), hr, wave([2]), wave([3]), hr)] == [
        "waves", "numerics", "waves", "waves", "numerics",
    ]  # fmt: skip
