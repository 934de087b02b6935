"""Turns what a driver emitted into Observations: host time, device time, quality, derived signals, gaps with a cause.

The pure half of a Session: equal emissions at equal instants give equal observations (promise 4).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np

from acquisition.catalogue import Catalogue
from acquisition.clock import NS, Instant
from acquisition.derive import pulse_pressure
from acquisition.device_clock import DeviceClock, Step, Track
from acquisition.driver import Emission, Notice, Reading, Samples, WallTime
from acquisition.model import (
    MISSING_COUNT,
    Event,
    EventKind,
    GapCause,
    Numerics,
    Observation,
    Quality,
    Waveform,
    decimals_of,
)
from acquisition.sample_clock import SampleClock
from acquisition.validation import Validator, worst

TICK_NS = 1_000_000
"""Least distance of two numerics of a device: a server that keeps milliseconds must not merge them."""
AHEAD_NS = 3 * NS
"""Samples this far in the host's future are suspect: the stream began with old blocks."""
GAP_NS = 5 * NS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Stamper:
    """Stamps and judges the emissions of one device.

    Args:
        device: Configured id.
        catalogue: Units and limits.
        zone: Zone of the device's own clock where it does not say one.
        gap_after_ns: Silence longer than this, or than three periods of the device, is a gap.

    Attributes:
        counters: What was not stored because it had come before, beside the driver's counters.
    """

    def __init__(
        self, device: str, catalogue: Catalogue, *, zone: ZoneInfo | None = None, gap_after_ns: int = GAP_NS
    ) -> None:
        self.device = device
        self.validator = Validator(catalogue)
        self.gaps = 0
        self.counters = Counter[str]()
        self.device_clock = DeviceClock()
        self._catalogue = catalogue
        self._zone = zone or ZoneInfo("UTC")
        self._gap_after = gap_after_ns
        self._pulse = pulse_pressure.PulsePressure()
        self._streams: dict[tuple[str, int], SampleClock] = {}
        self._ends: dict[str, tuple[int, int, int]] = {}
        self._floor = 0
        self._last_numerics = 0
        self._last_event = 0
        self._last_any: int | None = None
        self._cause: tuple[GapCause, str] | None = None
        self._broken: tuple[GapCause, str, int] = (GapCause.NO_BYTES, "", 0)
        self._unkept: tuple[int, str] | None = None

    def resume(self, last_ns: int, cause: GapCause, evidence: str) -> None:
        """The journal has readings of this device up to `last_ns`; what follows must not come before them."""
        self._last_any = self._last_numerics = last_ns
        self._floor = last_ns + 1
        self._cause = (cause, evidence)

    def blame(self, cause: GapCause, evidence: str) -> None:
        """Notes why nothing may be coming; the first cause since the last reading stands."""
        if self._cause is None:
            self._cause = (cause, evidence)

    def refused(self, observations: Sequence[Observation], evidence: str) -> None:
        """The journal did not take these: the next reading closes a gap that begins with the first of them."""
        began = []
        for each in observations:
            if not isinstance(each, Event):
                began.append(each.time_ns)
            elif each.event is EventKind.GAP and "channel" not in each.detail:
                began.append(each.detail["from_ns"])
                self.gaps -= 1
        if began:
            first = min(began) if self._unkept is None else min(*began, self._unkept[0])
            self._unkept = (first, evidence)

    def clock_stepped(self, evidence: str) -> None:
        """The host's time line was set forward: streams take their place anew."""
        for stream in self._streams.values():
            stream.forget()
        self.device_clock.forget()
        self.blame(GapCause.CLOCK_STEP, evidence)

    def stamp(self, emissions: Sequence[Emission], instant: Instant, period_ns: int | None = None) -> list[Observation]:
        """Observations of what was emitted at one instant, in order; a gap that they end comes first."""
        observations: list[Observation] = []
        for emission in emissions:
            if isinstance(emission, Notice):
                observations.append(self.event(emission.event, emission.text, emission.detail, instant))
                continue
            self._close_gap(observations, instant, period_ns)
            if isinstance(emission, Reading):
                observations.append(self._numerics(emission, instant))
                stamp: WallTime | int | None = emission.device_time
                behind_ns = 0
            else:
                self._waveform(emission, instant, observations)
                stamp = emission.start
                behind_ns = emission.counts.size * emission.period_ns
            if isinstance(stamp, WallTime) and (said := self._wall_ns(stamp, instant)) is not None:
                shown = self.device_clock.observe(said + behind_ns, instant.utc_ns)
                observations += [self._told_of_clock(each, instant) for each in shown]
        return observations

    def _told_of_clock(self, shown: Track | Step, instant: Instant) -> Event:
        if isinstance(shown, Step):
            text = f"the device's clock was set by {shown.by_ns / NS:+.1f} s"
            text += ", as for summer time" if shown.like_summer_time else ""
            detail: dict[str, object] = {"by_ns": shown.by_ns, "at_ns": shown.time_ns}
            return self.event(EventKind.CLOCK, text, detail | {"like_summer_time": shown.like_summer_time}, instant)
        side = "ahead of" if shown.ahead_ns >= 0 else "behind"
        text = f"the device's clock is {abs(shown.ahead_ns) / NS:.1f} s {side} ours"
        text += "" if shown.drift_ppm is None else f" and drifts by {shown.drift_ppm:+.1f} ppm"
        drift = None if shown.drift_ppm is None else round(shown.drift_ppm, 3)
        detail = {"ahead_ns": shown.ahead_ns, "drift_ppm": drift, "uncertainty_ns": shown.uncertainty_ns}
        return self.event(EventKind.CLOCK, text, detail, instant)

    def event(self, kind: EventKind, text: str, detail: Mapping[str, object], instant: Instant) -> Event:
        """An event of this device at a time of its own."""
        self._last_event = max(instant.utc_ns, self._last_event + TICK_NS)
        return Event(device=self.device, time_ns=self._last_event, event=kind, text=text, detail=dict(detail))

    def silent_since(self, instant: Instant, period_ns: int | None = None) -> int | None:
        """UTC of the last reading if the device is silent for longer than it should be."""
        limit = max(self._gap_after, 3 * (period_ns or 0))
        if self._last_any is None or instant.utc_ns - self._last_any <= limit:
            return None
        return self._last_any

    def _close_gap(self, observations: list[Observation], instant: Instant, period_ns: int | None) -> None:
        since = self.silent_since(instant, period_ns)
        cause, evidence = self._cause or (GapCause.NO_BYTES, "the device sent nothing that could be used")
        if self._unkept is not None:
            since, evidence = self._unkept
            cause, self._unkept = GapCause.QUOTA, None
        if since is not None or self._cause is not None:
            self._broken = (cause, evidence, instant.utc_ns)
        if since is not None:
            self.gaps += 1
            seconds = (instant.utc_ns - since) / NS
            observations.append(
                self.event(
                    EventKind.GAP,
                    f"no readings for {seconds:.1f} s: {evidence}",
                    {"cause": cause.value, "from_ns": since, "to_ns": instant.utc_ns},
                    instant,
                )
            )
        self._cause = None
        self._last_any = instant.utc_ns

    def _numerics(self, reading: Reading, instant: Instant) -> Numerics:
        time_ns = self._last_numerics = max(instant.utc_ns, self._last_numerics + TICK_NS)
        values = {channel: float(value) for channel, value in reading.values.items()}
        quality = self.validator.judge(values, reading.states, time_ns)
        pulse = self._pulse.update(values, reading.states, time_ns)
        if pulse is not None:
            values[pulse_pressure.CHANNEL] = pulse
            own = self.validator.judge({pulse_pressure.CHANNEL: pulse}, {}, time_ns)
            inputs = [quality.get(name, Quality.GOOD) for name in (pulse_pressure.SYSTOLIC, pulse_pressure.DIASTOLIC)]
            quality[pulse_pressure.CHANNEL] = worst(own[pulse_pressure.CHANNEL], *inputs)
        return Numerics(
            device=self.device,
            time_ns=time_ns,
            device_time=self._device_time(reading.device_time, instant),
            values=values,
            states=dict(reading.states),
            quality=quality,
        )

    def _waveform(self, samples: Samples, instant: Instant, observations: list[Observation]) -> None:
        key = (samples.channel, samples.period_ns)
        stream = self._streams.setdefault(key, SampleClock(samples.period_ns))
        start = self._wall_ns(samples.start, instant) if isinstance(samples.start, WallTime) else samples.start
        time_ns = stream.place(samples.counts.size, instant.utc_ns, start, after_gap=samples.after_gap)
        if time_ns is None:
            self.counters["blocks_repeated"] += 1
            return
        # Another rate of the same channel, or readings of an earlier run, may reach further than this stream knows.
        # Where a device's clock is fast, a block begins less than half a period before the one before it was to end.
        ended, period_ns, seen_ns = self._ends.get(samples.channel, (None, 0, 0))
        floor_ns = self._floor if ended is None else ended - min(period_ns, samples.period_ns) // 2
        time_ns = max(time_ns, floor_ns)
        if ended is not None and time_ns - ended >= samples.period_ns:
            observations.append(self._missing_samples(samples.channel, ended, time_ns, seen_ns, instant))
        values = np.round(samples.counts * samples.scale + samples.offset, decimals_of(samples.scale))
        values[samples.counts == MISSING_COUNT] = np.nan
        quality = self.validator.judge_block(samples.channel, samples.counts, values, samples.period_ns)
        ahead = time_ns + samples.counts.size * samples.period_ns - instant.utc_ns > AHEAD_NS
        if samples.doubtful or ahead:
            quality = worst(quality, Quality.SUSPECT)
        block = Waveform(
            device=self.device,
            channel=samples.channel,
            time_ns=time_ns,
            period_ns=samples.period_ns,
            raw=samples.counts.astype("<i4", copy=False).tobytes(),
            scale=samples.scale,
            offset=samples.offset,
            quality=quality,
        )
        self._ends[samples.channel] = block.end_ns, block.period_ns, instant.utc_ns
        observations.append(block)

    def _missing_samples(self, channel: str, from_ns: int, to_ns: int, seen_ns: int, instant: Instant) -> Event:
        """A gap of one channel; what broke since its last block was seen, however shortly, is the cause."""
        cause, evidence, broken_ns = self._broken
        if broken_ns <= seen_ns:
            cause, evidence = GapCause.BLOCKS_MISSING, "blocks of the stream never came"
        text = f"{channel}: no samples for {(to_ns - from_ns) / NS:.3f} s: {evidence}"
        detail = {"cause": cause.value, "channel": channel, "from_ns": from_ns, "to_ns": to_ns}
        return self.event(EventKind.GAP, text, detail, instant)

    def _device_time(self, wall: WallTime | None, instant: Instant) -> str | None:
        moment = None if wall is None else self._resolve(wall, instant)
        return (
            None if moment is None else moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
        )

    def _wall_ns(self, wall: WallTime, instant: Instant) -> int | None:
        moment = self._resolve(wall, instant)
        if moment is None:
            return None
        whole = (moment.replace(microsecond=0) - _EPOCH) // timedelta(seconds=1)
        return whole * NS + wall.nanosecond

    def _resolve(self, wall: WallTime, instant: Instant) -> datetime | None:
        """The device's time with an offset; in the hour that a zone has twice, the one nearer to the host's time."""
        zone = self._zone if wall.offset_minutes is None else timezone(timedelta(minutes=wall.offset_minutes))
        try:
            first = datetime(
                wall.year, wall.month, wall.day, wall.hour, wall.minute, wall.second, wall.nanosecond // 1000, zone
            )
        except ValueError:
            return None
        host = _EPOCH + timedelta(microseconds=instant.utc_ns // 1000)
        return min(first, first.replace(fold=1), key=lambda moment: abs(moment - host))
