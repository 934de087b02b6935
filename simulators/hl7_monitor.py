"""Bedside monitor with an HL7 gateway: connects to the daemon and sends IHE PCD-01 reports over MLLP, one at a time.

Layout: GE B40 / B1X5 PCD-01 description (OBX-3, OBX-4, OBX-6) for numerics; Mindray D series for NA waveforms with rate
and resolution in rows of their own. A report is sent again, on the same or a new connection, until it is acknowledged.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

import numpy as np

from acquisition.clock import NS, Clock, SystemClock
from acquisition.model import MISSING_COUNT
from simulators.arterial_line import ArterialLine
from simulators.faults import FaultKind
from simulators.readings import Shown
from simulators.wave_source import WaveSource

DEFAULT_LINK = "tcp://127.0.0.1:2575"
ACK_TIMEOUT_NS = 10 * NS
CLOCK_JUMP_NS = 3600 * NS
EUI64 = "02005EFFFE000001"
FICTITIOUS_PID = "PID|1||SIM-4711^^^SIMHOSPITAL^MR||FICTITIOUS^PERSON^^^^^L||19010101|U"
COUNTER = "1^SIM_COUNTER^99ECMODAQSIM"
INOP = 32767
_PROFILE = "|||NE|AL||UNICODE UTF-8|||PCD_DEC_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO"

_MMHG = "266016^MDC_DIM_MMHG^MDC"
_PER_MIN = "264864^MDC_DIM_BEAT_PER_MIN^MDC"
_BREATHS = "264928^MDC_DIM_RESP_PER_MIN^MDC"
_PERCENT = "262688^MDC_DIM_PERCENT^MDC"
_CELSIUS = "268192^MDC_DIM_DEGC^MDC"
_L_PER_MIN = "265216^MDC_DIM_L_PER_MIN^MDC"
_MILLIVOLT = "266418^MDC_DIM_MILLI_VOLT^MDC"
_NO_UNIT = "262656^MDC_DIM_DIMLESS^MDC"
_PER_SECOND = "264608^MDC_DIM_PER_SEC^MDC"

NUMERICS: Mapping[str, tuple[str, str, str]] = {
    # channel: OBX-3, OBX-4, OBX-6
    "hr": ("147842^MDC_ECG_HEART_RATE^MDC", "1.5.1.1", _PER_MIN),
    "pvc_rate": ("148066^MDC_ECG_V_P_C_RATE^MDC", "1.5.1.2", _PER_MIN),
    "rr": ("151562^MDC_RESP_RATE^MDC", "1.11.1.1", _BREATHS),
    "etco2": ("151708^MDC_CONC_AWAY_CO2_ET^MDC", "1.11.1.2", _MMHG),
    "abp_sys": ("150033^MDC_PRESS_BLD_ART_SYS^MDC", "1.13.1.1", _MMHG),
    "abp_dia": ("150034^MDC_PRESS_BLD_ART_DIA^MDC", "1.13.1.2", _MMHG),
    "abp_mean": ("150035^MDC_PRESS_BLD_ART_MEAN^MDC", "1.13.1.3", _MMHG),
    "pr_abp": ("149522^MDC_BLD_PULS_RATE_INV^MDC", "1.13.1.4", _PER_MIN),
    "pap_sys": ("150045^MDC_PRESS_BLD_ART_PULM_SYS^MDC", "1.13.2.1", _MMHG),
    "pap_dia": ("150046^MDC_PRESS_BLD_ART_PULM_DIA^MDC", "1.13.2.2", _MMHG),
    "pap_mean": ("150047^MDC_PRESS_BLD_ART_PULM_MEAN^MDC", "1.13.2.3", _MMHG),
    "cvp": ("150087^MDC_PRESS_BLD_VEN_CENT_MEAN^MDC", "1.13.3.1", _MMHG),
    "nibp_sys": ("150021^MDC_PRESS_BLD_NONINV_SYS^MDC", "1.14.1.1", _MMHG),
    "nibp_dia": ("150022^MDC_PRESS_BLD_NONINV_DIA^MDC", "1.14.1.2", _MMHG),
    "nibp_mean": ("150023^MDC_PRESS_BLD_NONINV_MEAN^MDC", "1.14.1.3", _MMHG),
    "spo2": ("150456^MDC_PULS_OXIM_SAT_O2^MDC", "1.22.1.2", _PERCENT),
    "svo2_pa": ("150332^MDC_SAT_O2_VEN^MDC", "1.23.1.1", _PERCENT),
    "co_td": ("150276^MDC_OUTPUT_CARD^MDC", "1.24.1.1", _L_PER_MIN),
    "temp_core": ("150368^MDC_TEMP_CORE^MDC", "1.26.1.1", _CELSIUS),
}
WAVES: Mapping[str, tuple[str, str, str]] = {
    "wf_ecg_ii": ("131330^MDC_ECG_ELEC_POTL_II^MDC", "1.7.6.131330", _MILLIVOLT),
    "wf_abp": ("150032^MDC_PRESS_BLD_ART^MDC", "1.7.1.150032", _MMHG),
    "wf_cvp": ("150084^MDC_PRESS_BLD_VEN_CENT^MDC", "1.7.3.150084", _MMHG),
    "wf_pleth": ("150452^MDC_PULS_OXIM_PLETH^MDC", "1.7.2.150452", _NO_UNIT),
}


class Report(NamedTuple):
    """One message that waits for its acknowledgement."""

    control_id: str
    framed: bytes


class Hl7Monitor:
    """A monitor at the other end of a TCP connection that it opens itself.

    Reports that fall due while the link is down are made when it is up again, with the times they were due at.

    Args:
        numerics: Present values by channel id; text in place of a number means that the monitor has none.
        waves: Sources of samples by channel id.
        every_s: Seconds from one report to the next.
        clock: Paces the reports and gives their times.
        zone_minutes: Offset of the monitor's zone from UTC.
        ahead_s: How far the monitor's clock is wrong.
        counter: Send the number of the report as a value of its own.
        identity: Send a patient's identity, an invented one.
        bed: PV1-3, bed.
        most_waiting: Reports kept while the link is down; the oldest go first.

    Attributes:
        made: Reports made.
        sent: Times that a report was put on the wire.
        acknowledged: Reports that the other end has said it has.
        refused: Reports that it will never take.
        dropped: Reports that waited too long.
        counted: The last number sent as `counter`.
    """

    def __init__(
        self,
        numerics: Shown,
        waves: Mapping[str, WaveSource] | None = None,
        *,
        every_s: float = 1.0,
        clock: Clock | None = None,
        zone_minutes: int = 0,
        ahead_s: float = 0.0,
        counter: bool = False,
        identity: bool = False,
        bed: str = "SIM-1",
        most_waiting: int = 1200,
    ) -> None:
        self.made = self.sent = self.acknowledged = self.refused = self.dropped = self.counted = 0
        self._numerics = numerics
        self._waves = dict(waves or {})
        self._every_ns = round(every_s * NS)
        self._clock = clock or SystemClock()
        self._zone = timezone(timedelta(minutes=zone_minutes))
        self._ahead_ns = round(ahead_s * NS)
        self._counter = counter
        self._patient = (FICTITIOUS_PID if identity else "PID|1", f"PV1||I|ICU^^{bed}")
        self._most_waiting = most_waiting
        self._waiting: deque[Report] = deque()
        self._due = self._clock.now().mono_ns + self._every_ns
        self._turns = 0
        self._stopped = False

    @property
    def waiting(self) -> int:
        """Reports that have been made and not yet been acknowledged."""
        return len(self._waiting)

    def extend(self, pressures: list[float]) -> None:
        """More of the arterial pressure, mmHg at 125 Hz, where the wave is the patient's."""
        line = self._waves.get("wf_abp")
        if isinstance(line, ArterialLine):
            line.extend(pressures)

    def stop(self) -> None:
        """Makes no more reports; those that wait are still delivered."""
        self._stopped = True

    def provoke(self, kind: FaultKind) -> bool:
        """Misbehaves once; whether it can in that way."""
        if kind is not FaultKind.CLOCK_JUMP:
            return False
        self._ahead_ns += CLOCK_JUMP_NS
        return True

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Sends what is due, oldest first, each only when the one before is acknowledged."""
        while True:
            self._make_due()
            if self._waiting:
                await self._deliver(self._waiting[0], reader, writer)
            else:
                await asyncio.sleep(self._clock.seconds_until(self._due))

    async def _deliver(self, report: Report, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(report.framed)
        self.sent += 1
        await writer.drain()
        patience = self._clock.seconds_until(self._clock.now().mono_ns + ACK_TIMEOUT_NS)
        try:
            async with asyncio.timeout(patience):
                code = await _answer_to(report.control_id, reader)
        except TimeoutError:
            return
        self._waiting.popleft()
        if code in ("AA", "CA"):
            self.acknowledged += 1
        else:
            self.refused += 1

    def _make_due(self) -> None:
        now = self._clock.now()
        if self._stopped:
            self._due = now.mono_ns + self._every_ns
            return
        behind = (now.mono_ns - self._due) // self._every_ns - self._most_waiting
        if behind > 0:
            self.dropped += behind * (2 if self._waves else 1)
            self._due += behind * self._every_ns
        while self._due <= now.mono_ns:
            end_ns = self._due + now.utc_ns - now.mono_ns + self._ahead_ns
            if self._waves:
                self._put(self._wave_rows(), end_ns - self._every_ns, end_ns)
            self._put(self._numeric_rows(), end_ns, end_ns)
            self._due += self._every_ns
            self._turns += 1

    def _put(self, rows: Sequence[str], start_ns: int, end_ns: int) -> None:
        self.made += 1
        control_id = f"{EUI64[-6:]}{self.made:010d}"
        end = self._stamp(end_ns)
        lines = (
            f"MSH|^~\\&|ECMO-SIM^{EUI64}^EUI-64|SIMULATOR|||{end}||ORU^R01^ORU_R01|{control_id}|P|2.6{_PROFILE}",
            *self._patient,
            f"OBR|1|||182777000^monitoring of patient^SCT|||{self._stamp(start_ns)}|{end}",
            "OBX|1||69965^MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS^MDC|1.0.0.0|||||||X",
            *(f"OBX|{number}|{row}" for number, row in enumerate(rows, start=2)),
        )
        self._waiting.append(Report(control_id, b"\x0b" + "".join(f"{line}\r" for line in lines).encode() + b"\x1c\r"))
        # The first may be under way: what it says must not change before it is acknowledged.
        while len(self._waiting) > self._most_waiting:
            del self._waiting[1]
            self.dropped += 1

    def _stamp(self, utc_ns: int) -> str:
        moment = datetime.fromtimestamp(utc_ns // NS, UTC).astimezone(self._zone)
        return f"{moment:%Y%m%d%H%M%S}.{utc_ns % NS // 1_000_000:03d}{moment:%z}"

    def _numeric_rows(self) -> list[str]:
        rows = []
        device = f"||||||{EUI64}^ECMO-SIM"
        for channel, value in self._numerics().items():
            if channel in NUMERICS:
                name, place, unit = NUMERICS[channel]
                shown, status = ("", "X") if isinstance(value, str) else (f"{round(value, 1):g}", "R")
                rows.append(f"NM|{name}|{place}|{shown}|{unit}|||||{status}|{device}")
        if self._counter:
            self.counted += 1
            rows.append(f"NM|{COUNTER}|1.99.1.1|{self.counted}|{_NO_UNIT}|||||R|{device}")
        return rows

    def _wave_rows(self) -> list[str]:
        rows = []
        for channel, source in self._waves.items():
            name, place, unit = WAVES[channel]
            per_turn = source.rate_hz * self._every_ns / NS
            count = round((self._turns + 1) * per_turn) - round(self._turns * per_turn)
            taken = source.take(count)
            samples = "^".join(map(str, np.where(taken == MISSING_COUNT, INOP, taken).tolist()))
            if not samples:
                continue  # a lead that gives nothing has no row
            rows += [
                f"NA|{name}|{place}|{samples}|{unit}|||||R",
                f"NM|0^MDC_ATTR_SAMP_RATE^MDC|{place}.1|{source.rate_hz:g}|{_PER_SECOND}",
                f"NM|2327^MDC_ATTR_NU_MSMT_RES^MDC|{place}.2|{float(source.resolution)!r}|{unit}",
                f"NM|262196^MDC_EVT_INOP^MDC|{place}.3|{INOP}",
            ]
        return rows


def create(readings: Shown) -> Hl7Monitor:
    """The device as the simulator command attaches it."""
    return Hl7Monitor(readings)


CARRIES = frozenset({*NUMERICS, *WAVES})
"""What of a recording it can send."""


def play(numerics: Shown, waves: Mapping[str, WaveSource], clock: Clock) -> Hl7Monitor:
    """The device as `ecmo-sim play` attaches it."""
    numerics()  # a recording begins when it is first looked at, and the first report is due only later
    return Hl7Monitor(numerics, waves, clock=clock)


async def _answer_to(control_id: str, reader: asyncio.StreamReader) -> str:
    """MSA-1 of the acknowledgement that names this message; others are of reports sent twice."""
    while True:
        answer = (await reader.readuntil(b"\x1c\r")).decode("utf-8", "replace")
        for line in answer.split("\r"):
            fields = line.split("|")
            if fields[0] == "MSA" and fields[2:3] == [control_id]:
                return fields[1]
