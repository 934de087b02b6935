from __future__ import annotations

import numpy as np
import pytest

from acquisition.catalogue import Catalogue
from acquisition.live import KEPT_EVENTS, KEPT_SAMPLES_S, LiveValue, LiveView
from acquisition.model import Event, EventKind, Numerics, Quality, State, Waveform

NS = 1_000_000_000


@pytest.fixture
def live() -> LiveView:
    return LiveView(Catalogue.shipped())


def numerics(time_ns: int, device: str = "mon", states: dict[str, State] | None = None, **values: float) -> Numerics:
    quality = dict.fromkeys(values, Quality.GOOD)
    return Numerics(device=device, time_ns=time_ns, values=values, states=states or {}, quality=quality)


def block(start_ns: int, *counts: int, channel: str = "wf_abp", period_ns: int = NS) -> Waveform:
    raw = np.array(counts, dtype="<i4").tobytes()
    return Waveform(device="mon", channel=channel, time_ns=start_ns, period_ns=period_ns, raw=raw, scale=0.5)


def test_the_newest_value_of_each_channel_is_shown(live: LiveView) -> None:
    live(numerics(1, hr=80.0, spo2=97.0))
    live(numerics(2, hr=81.0))
    assert list(live.values()) == [
        LiveValue("mon", "hr", 2, 81.0, None, Quality.GOOD),
        LiveValue("mon", "spo2", 1, 97.0, None, Quality.GOOD),
    ]


def test_a_state_takes_the_place_of_a_value(live: LiveView) -> None:
    live(numerics(1, spo2=97.0))
    live(numerics(2, states={"spo2": State.NOT_CONNECTED}))
    assert list(live.values()) == [LiveValue("mon", "spo2", 2, None, State.NOT_CONNECTED, None)]


def test_a_state_beside_a_value_is_shown_with_it(live: LiveView) -> None:
    live(numerics(1, states={"spo2": State.QUESTIONABLE}, spo2=91.0))
    assert list(live.values()) == [LiveValue("mon", "spo2", 1, 91.0, State.QUESTIONABLE, Quality.GOOD)]


def test_hidden_and_derived_channels_are_not_shown(live: LiveView) -> None:
    live(numerics(1, abp_sys=80.0, pp_num=12.0, sim_counter=5.0, mdc_150037=3.0))
    assert [value.channel for value in live.values()] == ["abp_sys", "mdc_150037"]


def test_one_channel_of_two_devices_is_two_values(live: LiveView) -> None:
    live(numerics(1, hr=80.0))
    live(numerics(1, device="second", hr=90.0))
    assert [(value.device, value.value) for value in live.values()] == [("mon", 80.0), ("second", 90.0)]


def test_values_come_by_device_and_then_in_the_catalogues_order_with_unmapped_codes_last(live: LiveView) -> None:
    live(numerics(1, device="pump", mdc_2=1.0, mdc_1=1.0, ecmo_power=9.0, ecmo_rpm=3000.0, ecmo_flow=4.0))
    live(numerics(1, device="mon", spo2=97.0, hr=80.0))
    assert [value.channel for value in live.values()] == [
        "hr", "spo2", "ecmo_flow", "ecmo_rpm", "ecmo_power", "mdc_1", "mdc_2",
    ]  # fmt: skip


def test_of_a_waveform_only_the_last_seconds_are_kept(live: LiveView) -> None:
    for second in range(20):
        live(block(second * NS, 2 * second))
    assert live.waves() == {("mon", "wf_abp"): [float(second) for second in range(20 - KEPT_SAMPLES_S, 20)]}


def test_a_block_longer_than_the_screen_keeps_its_end(live: LiveView) -> None:
    live(block(0, *range(0, 40, 2)))
    assert live.waves() == {("mon", "wf_abp"): [float(second) for second in range(20 - KEPT_SAMPLES_S, 20)]}


def test_after_a_gap_nothing_of_before_is_left(live: LiveView) -> None:
    live(block(0, 2, 4))
    live(block(100 * NS, 6))
    assert live.waves() == {("mon", "wf_abp"): [3.0]}


def test_waveforms_of_two_channels_do_not_mix(live: LiveView) -> None:
    live(block(0, 2))
    live(block(0, 4, channel="wf_cvp"))
    assert live.waves() == {("mon", "wf_abp"): [1.0], ("mon", "wf_cvp"): [2.0]}


def test_only_the_newest_events_are_kept(live: LiveView) -> None:
    for number in range(KEPT_EVENTS + 3):
        live(Event(device="mon", time_ns=number, event=EventKind.LINK, text=str(number)))
    assert [event.text for event in live.events] == [str(number) for number in range(3, KEPT_EVENTS + 3)]
    assert list(live.values()) == []
