"""One EDF+ file of one signal: EDF+C, or EDF+D whose records begin anew where samples come again.

B. Kemp and J. Olivan, "European data format 'plus' (EDF+)", Clinical Neurophysiology 114 (2003) 1755: 2.1.1 header,
2.2.2 and 2.2.3 lists of annotations, 2.2.4 time keeping. Records are in the order of time and never overlap. A slot
without a sample holds the least digital value, and an annotation says from when on and for how long nothing came.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acquisition.clock import NS

MISSING = -(2**15)
HIGHEST = 2**15 - 1
NO_SAMPLES = "no samples"
_RECORD_NS = NS
_TALS = 64
"""Bytes of annotations in a record: its own time and one stretch without samples, of a day, to the nanosecond."""
_RESERVED_AT = 192
"""Where the header says whether there are gaps, and then how many records there are."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What the header says of a signal.

    Attributes:
        label: At most 16 characters.
        unit: At most 8 characters.
        period_ns: Nanoseconds between samples.
        low: Value in that unit of the least digital value, as 8 characters can tell it.
        high: Value of the greatest.
    """

    label: str
    unit: str
    period_ns: int
    low: float
    high: float

    def digital(self, values: NDArray[np.float64]) -> NDArray[np.int16] | None:
        """The values as a file can hold them; None if one lies outside of the range."""
        step = (self.high - self.low) / (HIGHEST - MISSING)
        counts = np.round((values - self.low) / step) + MISSING
        inside = counts.size == 0 or (counts.min() > MISSING and counts.max() <= HIGHEST)
        return counts.astype(np.int16) if inside else None


class EdfPlus:
    """A file that is being written.

    Args:
        path: Of the file.
        signal: The one signal.
        start_ns: Time of the first sample; every time in the file is counted from it.

    Raises:
        OSError: the disk refuses.
        ValueError: the header has no room for what it must say.
    """

    def __init__(self, path: Path, signal: Signal, start_ns: int) -> None:
        self.signal = signal
        self._zero_ns = start_ns
        size = max(1, round(_RECORD_NS / signal.period_ns))
        duration = f"{size * signal.period_ns / NS:.6f}".rstrip("0").rstrip(".")
        self.record_ns = round(float(duration) * NS)
        self._record = np.full(size, MISSING, "<i2")
        self._filled = 0
        self._onset_ns = 0
        self._records = 0
        self._has_gap = False
        self._untold: deque[bytes] = deque()
        header = _header(signal, size, duration)
        self._file = path.open("wb")
        self._file.write(header)

    def add(self, start_ns: int, counts: NDArray[np.int16]) -> bool:
        """Takes samples that come after all others; False, and nothing is done, if they overlap with them.

        The first stands within half a period of its time. So does each that follows it, but for what the header's
        duration of a record, in microseconds, rounds off: 40 ns a second at 120 Hz. A gap is told as long as the file
        lacks samples, which is within a period of how long it was.

        Raises:
            OSError: the disk refuses.
        """
        at, half = start_ns - self._zero_ns, self.signal.period_ns // 2
        away = at - self._due_ns
        if away < -half:
            return False
        if away > half:
            self._skip(at, away)
        done = 0
        while done < counts.size:
            part = counts[done : done + self._record.size - self._filled]
            self._record[self._filled : self._filled + part.size] = part
            self._filled += part.size
            done += part.size
            if self._filled == self._record.size:
                self._flush()
        return True

    def close(self) -> None:
        """Ends the file.

        Raises:
            OSError: the disk refuses.
        """
        try:
            if self._filled:
                self._tell(self._due_ns, self._onset_ns + self.record_ns - self._due_ns)
                self._flush()
            if self._untold:
                # A record for each that found no room, and one to say that there are no samples in them.
                more = len(self._untold) + 1
                self._tell(self._onset_ns, more * self.record_ns)
                for _ in range(more):
                    self._flush()
            self._file.seek(_RESERVED_AT)
            self._file.write(_field("EDF+D" if self._has_gap else "EDF+C", 44) + _field(str(self._records), 8))
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Lets go of the file on a disk that has refused already."""
        for _ in range(2):
            with suppress(OSError):
                self._file.close()

    @property
    def _due_ns(self) -> int:
        """When the next sample is due, if nothing is missing."""
        return self._onset_ns + self._filled * self.signal.period_ns

    def _skip(self, at_ns: int, away_ns: int) -> None:
        self._tell(self._due_ns, away_ns)
        slot = round((at_ns - self._onset_ns) / self.signal.period_ns)
        if self._filled and slot < self._record.size:
            self._filled = slot
            return
        if self._filled:
            self._flush()
        self._has_gap |= at_ns > self._onset_ns
        self._onset_ns = max(at_ns, self._onset_ns)

    def _tell(self, onset_ns: int, length_ns: int) -> None:
        self._untold.append(f"+{_seconds(onset_ns)}\x15{_seconds(length_ns)}\x14{NO_SAMPLES}\x14\0".encode())

    def _flush(self) -> None:
        told = f"+{_seconds(self._onset_ns)}\x14\x14\0".encode()
        while self._untold and len(told) + len(self._untold[0]) <= _TALS:
            told += self._untold.popleft()
        self._file.write(self._record.tobytes() + told.ljust(_TALS, b"\0"))
        self._record[:] = MISSING
        self._records += 1
        self._filled = 0
        self._onset_ns += self.record_ns


def number(value: float) -> str:
    """A value as a header tells it; longer than its 8 characters where they cannot."""
    return f"{round(value, 9):.12g}"


def _header(signal: Signal, size: int, duration: str) -> bytes:
    """Without a patient, and with a date that stands for none (2.1.3.3 of the specification)."""
    fields = [
        ("0", 8), ("X X X X", 80), ("Startdate X X X X", 80), ("01.01.85", 8), ("00.00.00", 8), (str(256 * 3), 8),
        ("EDF+C", 44), ("-1", 8), (duration, 8), ("2", 4),
        (signal.label, 16), ("EDF Annotations", 16), ("", 160), (signal.unit, 8), ("", 8), (number(signal.low), 8),
        ("-1", 8), (number(signal.high), 8), ("1", 8), (str(MISSING), 8), (str(MISSING), 8), (str(HIGHEST), 8),
        (str(HIGHEST), 8), ("", 160), (str(size), 8), (str(_TALS // 2), 8), ("", 64),
    ]  # fmt: skip
    return b"".join(_field(text, width) for text, width in fields)


def _field(text: str, width: int) -> bytes:
    if len(text) > width:
        raise ValueError(f"{text!r} has more than the {width} characters that an EDF header has for it")
    return text.encode("ascii").ljust(width)


def _seconds(nanoseconds: int) -> str:
    whole, rest = divmod(nanoseconds, NS)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")
