"""Observations as InfluxDB line protocol, in the layout of DESIGN.md section 8.

Source: InfluxDB OSS v1 and v2 documentation, "Line protocol": element parsing, special characters, sorting of tags.
Values are always written as floats, so that the first value of a field never makes it an integer for ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

import numpy as np

from acquisition.model import Event, Numerics, Observation, Quality, Waveform

_KEY_SPECIAL = re.compile(r"([,= ])")
# A backslash before a separator, and a line end, cannot be told in a tag or a key in every server's dialect.
_KEY_FORBIDDEN = re.compile(r"[\\\x00-\x1f\x7f]")
_STRING_SPECIAL = re.compile(r'(["\\])')
# VictoriaMetrics ends a line at every line feed, quoted or not: a device's text could begin a line of its own.
_STRING_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f]")


def render(observations: Iterable[Observation], *, site: str, bed: str) -> bytes:
    """Line protocol with nanosecond times, each line ended; empty if there is nothing to say.

    Args:
        observations: In any order; a waveform gives one line for each sample that is a number.
        site: Value of the tag `site`.
        bed: Value of the tag `bed`.
    """
    writer = _Writer(site, bed)
    return "".join(text for observation in observations for text in writer.lines(observation)).encode()


class _Writer:
    def __init__(self, site: str, bed: str) -> None:
        self._bed = _tag("bed", bed)
        self._site = _tag("site", site)

    def lines(self, observation: Observation) -> Iterator[str]:
        match observation:
            case Waveform():
                yield self._waves(observation)
            case Numerics():
                yield from self._numerics(observation)
            case Event():
                yield self._event(observation)

    def _numerics(self, numerics: Numerics) -> Iterator[str]:
        fields: dict[Quality, list[str]] = {quality: [] for quality in Quality}
        for channel, value in numerics.values.items():
            fields[numerics.quality.get(channel, Quality.GOOD)].append(f"{_key(channel)}={float(value)!r}")
        for channel, state in numerics.states.items():
            has_value = channel in numerics.values
            quality = numerics.quality.get(channel, Quality.GOOD) if has_value else Quality.BAD
            fields[quality].append(f"{_key(channel)}_state={_string(state.value)}")
        for quality, written in fields.items():
            if written:
                yield f"{self._judged('numerics', numerics.device, quality)} {','.join(written)} {numerics.time_ns}\n"

    def _waves(self, waveform: Waveform) -> str:
        values = waveform.samples
        times = waveform.time_ns + np.arange(len(values), dtype=np.int64) * waveform.period_ns
        present = ~np.isnan(values)
        if not present.all():
            values, times = values[present], times[present]
        prefix = f"{self._judged('waves', waveform.device, waveform.quality)} {_key(waveform.channel)}="
        points = [f"{value!r} {time}\n" for value, time in zip(values.tolist(), times.tolist(), strict=True)]
        return prefix + prefix.join(points) if points else ""

    def _event(self, event: Event) -> str:
        detail = json.dumps(event.detail, separators=(",", ":"))
        tags = f"{self._bed}{_tag('device', event.device)}{_tag('kind', event.event.value)}{self._site}"
        return f"events{tags} text={_string(event.text)},detail={_string(detail)} {event.time_ns}\n"

    def _judged(self, measurement: str, device: str, quality: Quality) -> str:
        return f"{measurement}{self._bed}{_tag('device', device)}{_tag('quality', quality.value)}{self._site}"


def _tag(name: str, value: str) -> str:
    """One tag with its comma; nothing for an empty value, which no server accepts."""
    return f",{name}={_key(value)}" if value else ""


def _key(text: str) -> str:
    return _KEY_SPECIAL.sub(r"\\\1", _KEY_FORBIDDEN.sub("_", text))


def _string(text: str) -> str:
    return '"' + _STRING_SPECIAL.sub(r"\\\1", _STRING_FORBIDDEN.sub(" ", text)) + '"'
