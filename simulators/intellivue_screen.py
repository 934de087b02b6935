"""What a simulated IntelliVue monitor shows, object by object, as it is exported: values, labels, blocks of waves.

Terms and units: PROTOCOLS.md section 1.10; attributes: section 1.9. Handles are our choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import pack
from typing import NamedTuple

import numpy as np

from acquisition.clock import NS
from acquisition.model import MISSING_COUNT
from simulators import intellivue_pdu as pdu
from simulators.wave_source import Resampled, WaveSource

BLOCK_NS = 256_000_000
UNAVAILABLE = 0x2000

MMHG, PER_MIN, PERCENT, CELSIUS, BREATHS, MILLIVOLT, PLAIN, LITRES = 3872, 2720, 544, 6048, 2784, 4274, 512, 3072

NUMERICS: tuple[tuple[int, str, int, tuple[tuple[int, str], ...]], ...] = (
    # handle, label, unit, terms with their channels (PROTOCOLS.md section 1.10)
    (0x0041, "HR", PER_MIN, ((16770, "hr"),)),
    (0x0055, "ABP", MMHG, ((18965, "abp_sys"), (18966, "abp_dia"), (18967, "abp_mean"))),
    (0x0059, "PAP", MMHG, ((18973, "pap_sys"), (18974, "pap_dia"), (18975, "pap_mean"))),
    (0x005D, "CVP", MMHG, ((19015, "cvp"),)),
    (0x0061, "NBP", MMHG, ((18949, "nibp_sys"), (18950, "nibp_dia"), (18951, "nibp_mean"))),
    (0x0065, "SpO2", PERCENT, ((19384, "spo2"),)),
    (0x0069, "RR", BREATHS, ((20490, "rr"),)),
    (0x006D, "etCO2", MMHG, ((20656, "etco2"),)),
    (0x0071, "SvO2", PERCENT, ((19260, "svo2_pa"),)),
    (0x0075, "C.O.", LITRES, ((19204, "co_td"),)),
    (0x0079, "Tcore", CELSIUS, ((19296, "temp_core"),)),
    (0x007D, "ScvO2", PERCENT, ((61696, "scvo2"),)),
)


class Drawn(NamedTuple):
    """How a wave is drawn: handle, term, unit, and the two points of its scale."""

    handle: int
    term: int
    unit: int
    low: float
    high: float
    first: int
    last: int


WAVES: Mapping[str, Drawn] = {
    "wf_abp": Drawn(0x0155, 18964, MMHG, -40.0, 520.0, 0x00A0, 0x23A0),
    "wf_cvp": Drawn(0x015D, 19012, MMHG, -40.0, 520.0, 0x00A0, 0x23A0),
    "wf_pleth": Drawn(0x0165, 19380, PLAIN, 0.0, 1.0, 0, 4000),
    "wf_ecg_ii": Drawn(0x0141, 258, MILLIVOLT, -40.96, 40.96, 0, 16384),
}
INVALID_SAMPLE = 0x3FFF
CARRIES = frozenset({*WAVES, *(channel for _, _, _, terms in NUMERICS for _, channel in terms)})
"""What of a recording can be sent."""
TICKS_HZ = 8000
USUAL_HZ: Mapping[str, float] = {"wf_ecg_ii": 500.0}
"""At which rate a wave is sampled that has another than 125 Hz."""


def values(shown: Mapping[str, float | str], bits: int) -> list[bytes]:
    """The objects of which something is shown, with their values."""
    objects = []
    for handle, _, unit, terms in NUMERICS:
        if not any(channel in shown for _, channel in terms):
            continue
        items = []
        for term, channel in terms:
            value = shown.get(channel)
            if isinstance(value, float | int):
                items.append(pdu.observed(term, bits, unit, value))
            else:
                items.append(pdu.observed(term, bits | UNAVAILABLE, unit, None))
        single = pdu.attribute(0x0950, items[0]) if len(items) == 1 else pdu.attribute(0x094B, pdu.listed(items))
        objects.append(pack(">H", handle) + pdu.listed([single]))
    return objects


def labels() -> list[bytes]:
    """All objects with values, and what they are called."""
    return [
        pack(">H", handle) + pdu.listed([pdu.attribute(0x0927, pdu.text(label))]) for handle, label, _, _ in NUMERICS
    ]


def fitted(channel: str, source: WaveSource) -> WaveSource:
    """The wave at a rate of which a block has a whole number of samples and a sample a whole number of ticks."""
    if (TICKS_HZ / source.rate_hz).is_integer() and (source.rate_hz * BLOCK_NS / NS).is_integer():
        return source
    drawn = WAVES[channel]
    return Resampled(source, USUAL_HZ.get(channel, 125.0), (drawn.high - drawn.low) / (drawn.last - drawn.first))


def block(drawn: Drawn, source: WaveSource, bits: int, *, scaled: bool) -> bytes | None:
    """The next block of a wave, with what scales it unless that was said; None when the source has nothing more.

    A sample beyond what the monitor can show stands at its edge; one that is missing is marked as none.
    """
    count = round(source.rate_hz * BLOCK_NS / NS)
    taken = source.take(count)
    if not taken.size:
        return None
    taken = np.pad(taken, (0, count - taken.size), constant_values=MISSING_COUNT)
    raw = taken * source.resolution - drawn.low
    raw = raw * (drawn.last - drawn.first) / (drawn.high - drawn.low) + drawn.first
    shown = np.where(taken == MISSING_COUNT, INVALID_SAMPLE, np.clip(np.round(raw), 0, INVALID_SAMPLE - 1))
    samples = shown.astype(">u2").tobytes()
    attributes = [pdu.attribute(0x096E, pack(">3H", drawn.term, bits, len(samples)) + samples)]
    if not scaled:
        scale = pdu.decimal(drawn.low, 2) + pdu.decimal(drawn.high, 2) + pack(">2H", drawn.first, drawn.last)
        attributes = [
            pdu.attribute(0x0924, pack(">I", 0x20000 + drawn.term)),
            pdu.attribute(0x096D, pack(">H2BH", count, 16, 14, 0x2000)),
            pdu.attribute(0x096F, scale),
            pdu.attribute(0x098D, pack(">I", round(8000 / source.rate_hz))),
            pdu.attribute(0x0996, pack(">H", drawn.unit)),
            pdu.attribute(0x0A16, pdu.listed([pack(">2H", 1, INVALID_SAMPLE)])),
            *attributes,
        ]
    return pack(">H", drawn.handle) + pdu.listed(attributes)
