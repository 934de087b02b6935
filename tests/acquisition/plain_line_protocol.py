"""Line protocol of waveforms written the plain way, a line at a time: what the fast way is held to, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from acquisition.model import Waveform


def plain_lines(waveforms: Iterable[Waveform], *, site: str, bed: str) -> bytes:
    """Names must need no escapes."""
    return "".join(line for waveform in waveforms for line in _lines(waveform, site, bed)).encode()


def _lines(waveform: Waveform, site: str, bed: str) -> Iterator[str]:
    head = f"waves,bed={bed},device={waveform.device},quality={waveform.quality},site={site} {waveform.channel}"
    for number, value in enumerate(waveform.samples.tolist()):
        if value == value:
            yield f"{head}={value!r} {waveform.time_ns + number * waveform.period_ns}\n"
