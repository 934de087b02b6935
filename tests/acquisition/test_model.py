from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from acquisition.model import (
    MISSING_COUNT,
    Event,
    EventKind,
    Numerics,
    Observation,
    Quality,
    State,
    Waveform,
    decimals_of,
    json_line,
    parse_line,
)

T = 1_772_000_000_000_000_000


def wave(*counts: int, scale: float = 1.0, offset: float = 0.0) -> Waveform:
    raw = np.array(counts, dtype="<i4").tobytes()
    return Waveform(device="mon", channel="wf_abp", time_ns=T, period_ns=8_000_000, raw=raw, scale=scale, offset=offset)


NUMERICS = Numerics(
    device="mon",
    time_ns=T,
    device_time="2026-02-25T07:13:20+01:00",
    values={"abp_sys": 120.0, "ecmo_flow": -0.25},
    states={"spo2": State.NOT_CONNECTED},
    quality={"abp_sys": Quality.GOOD, "ecmo_flow": Quality.SUSPECT},
)
EVENT = Event(device="daemon", time_ns=T, event=EventKind.GAP, text="no µV for 2 s", detail={"cause": "port_absent"})


NUMERICS_LINE = (
    f'{{"kind":"numerics","device":"mon","time_ns":{T},"device_time":"2026-02-25T07:13:20+01:00",'
    '"values":{"abp_sys":120.0,"ecmo_flow":-0.25},"states":{"spo2":"not_connected"},'
    '"quality":{"abp_sys":"good","ecmo_flow":"suspect"}}'
)
EMPTY_LINE = (
    f'{{"kind":"numerics","device":"mon","time_ns":{T},"device_time":null,"values":{{}},"states":{{}},"quality":{{}}}}'
)
WAVE_LINE = (
    f'{{"kind":"waveform","device":"mon","channel":"wf_abp","time_ns":{T},"period_ns":8000000,'
    '"samples":[7.0,null,80.3],"quality":"good"}'
)
EVENT_LINE = (
    f'{{"kind":"event","device":"daemon","time_ns":{T},"event":"gap","text":"no µV for 2 s",'
    '"detail":{"cause":"port_absent"}}'
)


@pytest.mark.parametrize(
    ("observation", "line"),
    [
        (NUMERICS, NUMERICS_LINE),
        (Numerics(device="mon", time_ns=T, values={}), EMPTY_LINE),
        (wave(70, MISSING_COUNT, 803, scale=0.1), WAVE_LINE),
        (EVENT, EVENT_LINE),
    ],
    ids=["numerics", "empty", "waveform", "event"],
)
def test_the_lines_are_those_of_the_format(observation: Observation, line: str) -> None:
    assert json_line(observation) == line


names = st.text(min_size=1, max_size=8)
numerics = st.builds(
    Numerics,
    device=names,
    time_ns=st.integers(-(2**63), 2**63 - 1),
    device_time=st.none() | names,
    values=st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False)),
    states=st.dictionaries(names, st.sampled_from(State)),
    quality=st.dictionaries(names, st.sampled_from(Quality)),
)
detail = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=5)
events = st.builds(
    Event,
    device=names,
    time_ns=st.integers(0, 2**63 - 1),
    event=st.sampled_from(EventKind),
    text=st.text(),
    detail=st.dictionaries(names, detail),
)


@given(numerics | events)
def test_a_line_read_back_is_the_observation(observation: Numerics | Event) -> None:
    line = json_line(observation)
    assert "\n" not in line
    assert parse_line(line) == observation
    assert parse_line(line.encode()) == observation


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{}",
        json_line(wave(1)),
        json_line(EVENT).replace('"gap"', '"weather"'),
        json_line(NUMERICS).replace("120.0", '"120.0"'),
        json_line(NUMERICS).replace("120.0", "NaN"),
        json_line(NUMERICS).replace('"device":', '"patient":"x","device":'),
        json_line(NUMERICS).replace(str(T), f"{T}.5"),
    ],
)
def test_what_is_no_numerics_and_no_event_is_refused(line: str) -> None:
    with pytest.raises(ValidationError):
        parse_line(line)


@pytest.mark.parametrize("field", ["time_ns", "device"])
def test_observations_are_frozen(field: str) -> None:
    for observation in (NUMERICS, EVENT, wave(1)):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(observation, field, getattr(observation, field))


def test_counts_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        wave(1, 2).counts[0] = 5


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "120", None])
def test_a_value_that_is_no_finite_number_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        Numerics.model_validate({"device": "mon", "time_ns": T, "values": {"abp_sys": value}})


@pytest.mark.parametrize(
    "fields",
    [
        {"time_ns": "1772000000"},
        {"time_ns": 1.5},
        {"device": b"mon"},
        {"states": {"spo2": "not_connected"}},
        {"name": "somebody"},
    ],
)
def test_nothing_is_converted_and_nothing_extra_is_taken(fields: dict[str, object]) -> None:
    Numerics.model_validate({"device": "mon", "time_ns": T, "values": {}})
    with pytest.raises(ValidationError):
        Numerics.model_validate({"device": "mon", "time_ns": T, "values": {}, **fields})


@pytest.mark.parametrize("fields", [{"period_ns": 0}, {"period_ns": -1}, {"scale": math.nan}, {"offset": math.inf}])
def test_a_waveform_needs_a_period_and_a_finite_scale(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Waveform.model_validate(wave(1).model_dump() | fields)


def test_samples_are_counts_times_scale_plus_offset() -> None:
    assert wave(0, 1, -3, 2**31 - 1, scale=0.5, offset=10.0).samples.tolist() == [10.0, 10.5, 8.5, 1073741833.5]


def test_a_missing_sample_is_not_a_number_and_its_neighbours_are() -> None:
    samples = wave(5, MISSING_COUNT, MISSING_COUNT + 1).samples
    assert [math.isnan(sample) for sample in samples] == [False, True, False]


@given(st.integers(-100_000, 100_000), st.sampled_from([1, 0.1, 0.05, 0.01, 0.002, 0.00244, 5.0]))
def test_a_sample_has_no_more_digits_than_the_device_meant(count: int, scale: float) -> None:
    (sample,) = wave(count, scale=scale).samples.tolist()
    assert sample == pytest.approx(count * scale, abs=scale / 2000)
    assert len(repr(sample).partition(".")[2]) <= decimals_of(scale)


def test_neighbouring_counts_stay_apart_at_any_scale() -> None:
    for exponent in range(-9, 10):
        first, second = wave(1, 2, scale=3.0 * 10.0**exponent).samples
        assert second > first > 0


@pytest.mark.parametrize(
    ("scale", "decimals"), [(1.0, 3), (0.1, 4), (-0.1, 4), (0.05, 5), (0.00244, 6), (100.0, 1), (1e6, 0), (0.0, 0)]
)
def test_decimals_show_a_count_and_three_digits_more(scale: float, decimals: int) -> None:
    assert decimals_of(scale) == decimals


def test_a_waveform_ends_where_the_next_sample_is_due() -> None:
    assert wave(1, 2, 3).end_ns == T + 24_000_000


def test_a_tenth_times_three_prints_as_three_tenths() -> None:
    assert json.loads(json_line(wave(3, scale=0.1)))["samples"] == [0.3]
