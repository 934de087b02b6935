from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from acquisition.archive.tables import COLUMNS, rows
from acquisition.catalogue import Catalogue
from acquisition.model import MISSING_COUNT, Event, EventKind, Numerics, Observation, Quality, State, Waveform

T = 1_772_000_000_000_000_000
HEADER = "time,time_ns,device,channel,value,unit,state,quality,device_time\n"
NUMERICS = Numerics(
    device="mon",
    time_ns=T + 1_999_999,
    device_time="2026-02-25T07:13:20+01:00",
    values={"abp_sys": 80.5, "mdc_1": 3.0},
    states={"spo2": State.NOT_CONNECTED, "abp_sys": State.QUESTIONABLE},
    quality={"abp_sys": Quality.SUSPECT, "mdc_1": Quality.GOOD},
)
WAVE = Waveform(
    device="mon",
    channel="wf_abp",
    time_ns=T,
    period_ns=8_000_000,
    raw=np.array([701, MISSING_COUNT, 703], dtype="<i4").tobytes(),
    scale=0.1,
    quality=Quality.BAD,
)
EVENT = Event(
    device="daemon", time_ns=T, event=EventKind.GAP, text='no readings, the device "sleeps"', detail={"cause": "quota"}
)


def as_csv(*observations: Observation) -> tuple[str, int]:
    out = io.StringIO()
    found = [row for observation in observations for row in rows(observation, Catalogue.shipped())]
    csv.writer(out, lineterminator="\n").writerows([COLUMNS, *found])
    return out.getvalue(), len(found)


def test_numerics_are_one_row_a_value_and_one_for_each_state_that_stands_alone() -> None:
    stamp = f"2026-02-25T06:13:20.001Z,{T + 1_999_999},mon"
    text, count = as_csv(NUMERICS)
    assert count == 3
    assert text == (
        f"{HEADER}"
        f"{stamp},abp_sys,80.5,mm[Hg],questionable,suspect,2026-02-25T07:13:20+01:00\n"
        f"{stamp},mdc_1,3.0,,,good,2026-02-25T07:13:20+01:00\n"
        f"{stamp},spo2,,%,not_connected,,2026-02-25T07:13:20+01:00\n"
    )


def test_a_waveform_is_one_row_a_sample_and_a_missing_one_is_empty() -> None:
    text, count = as_csv(WAVE)
    assert count == 3
    assert text == (
        f"{HEADER}"
        f"2026-02-25T06:13:20.000Z,{T},mon,wf_abp,70.1,mm[Hg],,bad,\n"
        f"2026-02-25T06:13:20.008Z,{T + 8_000_000},mon,wf_abp,,mm[Hg],,bad,\n"
        f"2026-02-25T06:13:20.016Z,{T + 16_000_000},mon,wf_abp,70.3,mm[Hg],,bad,\n"
    )


def test_an_event_is_one_row_with_its_kind_as_channel_and_its_text_as_value() -> None:
    assert as_csv(EVENT) == (
        f'{HEADER}2026-02-25T06:13:20.000Z,{T},daemon,gap,"no readings, the device ""sleeps""",,,,\n',
        1,
    )


def test_nothing_gives_the_heading_alone() -> None:
    assert as_csv() == (HEADER, 0)


def test_a_reader_of_csv_gets_every_column_back() -> None:
    text, count = as_csv(NUMERICS, WAVE, EVENT)
    found = list(csv.DictReader(io.StringIO(text), strict=True))
    assert len(found) == count == 7
    assert all(tuple(row) == COLUMNS and None not in row.values() for row in found)
    assert found[-1]["value"] == EVENT.text


@pytest.mark.parametrize("value", [0.1, -0.0, 1e-9, 123456789.125, 5e300])
def test_a_value_in_csv_is_the_value_to_the_last_bit(value: float) -> None:
    text, _ = as_csv(Numerics(device="mon", time_ns=T, values={"ecmo_flow": value}))
    (row,) = csv.DictReader(io.StringIO(text))
    assert float(row["value"]).hex() == value.hex()
