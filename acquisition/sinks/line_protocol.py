"""Observations as InfluxDB line protocol, in the layout of DESIGN.md section 8.

Source: InfluxDB OSS v1 and v2 documentation, "Line protocol": element parsing, special characters, sorting of tags.
Values are always written as floats, so that the first value of a field never makes it an integer for ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby

from acquisition.model import Event, Numerics, Observation, Quality, Waveform
from acquisition.sinks.wave_lines import wave_lines

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
    runs = groupby(observations, key=lambda one: isinstance(one, Waveform))
    return b"".join(writer.run(list(run)) for _, run in runs)


class _Writer:
    def __init__(self, site: str, bed: str) -> None:
        self._bed = _tag("bed", bed)
        self._site = _tag("site", site)
        self._heads: dict[tuple[str, str, Quality], str] = {}

    def run(self, run: Sequence[Observation]) -> bytes:
        """The lines of consecutive observations, of which all or none are waveforms."""
        waves = [one for one in run if isinstance(one, Waveform)]
        if waves:
            heads = [f"{self._head('waves', wave.device, wave.quality)} {_key(wave.channel)}=" for wave in waves]
            return wave_lines(waves, [head.encode() for head in heads])
        return "".join(line for one in run for line in self._lines(one)).encode()

    def _lines(self, observation: Observation) -> Iterable[str]:
        match observation:
            case Numerics():
                return self._numerics(observation)
            case Event():
                return (self._event(observation),)
            case Waveform():
                raise TypeError("waveforms are written together")

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
                yield f"{self._head('numerics', numerics.device, quality)} {','.join(written)} {numerics.time_ns}\n"

    def _event(self, event: Event) -> str:
        detail = json.dumps(event.detail, separators=(",", ":"))
        tags = f"{self._bed}{_tag('device', event.device)}{_tag('kind', event.event.value)}{self._site}"
        return f"events{tags} text={_string(event.text)},detail={_string(detail)} {event.time_ns}\n"

    def _head(self, measurement: str, device: str, quality: Quality) -> str:
        key = measurement, device, quality
        if key not in self._heads:
            tags = f"{self._bed}{_tag('device', device)}{_tag('quality', quality.value)}{self._site}"
            self._heads[key] = f"{measurement}{tags}"
        return self._heads[key]


def _tag(name: str, value: str) -> str:
    """One tag with its comma; nothing for an empty value, which no server accepts."""
    return f",{name}={_key(value)}" if value else ""


@lru_cache(maxsize=10_000)
def _key(text: str) -> str:
    return _KEY_SPECIAL.sub(r"\\\1", _KEY_FORBIDDEN.sub("_", text))


def _string(text: str) -> str:
    return '"' + _STRING_SPECIAL.sub(r"\\\1", _STRING_FORBIDDEN.sub(" ", text)) + '"'
