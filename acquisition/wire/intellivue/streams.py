"""What is remembered of the wave objects of one association: scale, layout, period, and where each stream has got to.

Source: PROTOCOLS.md sections 1.8 and 1.9: these attributes come with the first answer and seldom again. A block that
comes before them, or after the object has become another wave, is not used: a guessed scale is a wrong pressure.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from acquisition.errors import WireError
from acquisition.wire.intellivue import messages, values
from acquisition.wire.intellivue.association import TICK_NS
from acquisition.wire.intellivue.fields import Fields

STRAY_NS = 1_000_000_000
"""How far the monitor's stamps may wander about the sample count before blocks are held to be missing."""
_HALF, _FULL = 1 << 31, 1 << 32


class Ticks:
    """Follows the monitor's running time across the end of its 32 bits, on a scale that begins at `origin_ns`.

    Args:
        relative: The monitor's running time now.
        origin_ns: What now is to be on the scale.
    """

    def __init__(self, relative: int, origin_ns: int) -> None:
        self._last = relative
        self._origin = max(0, origin_ns) - relative * TICK_NS

    def ahead(self, relative: int) -> int:
        """How many ticks a running time lies after the latest one seen; negative if before."""
        return (relative - self._last + _HALF) % _FULL - _HALF

    def place(self, relative: int) -> int:
        """The instant of a running time, ns."""
        ticks = self._last + self.ahead(relative)
        self._last = max(self._last, ticks)
        return max(0, self._origin + ticks * TICK_NS)


@dataclass(slots=True)
class Stream:
    """One wave object.

    Attributes:
        terms: What it sends; if that changes, nothing remembered of it holds.
        broken: Blocks of it were lost or not used: the next one takes its place by the monitor's time.
    """

    label: bytes | None = None
    terms: tuple[int, ...] = ()
    array: values.Array | None = None
    scale: values.Scale | None = None
    period_ns: int = 0
    unit: int | None = None
    marks: frozenset[int] = frozenset()
    broken: bool = False
    _next: int | None = None

    @property
    def ready(self) -> bool:
        """Whether samples can be given their values."""
        return self.array is not None and self.scale is not None and self.period_ns > 0

    def learn(self, attributes: dict[int, bytes], terms: tuple[int, ...]) -> None:
        """Takes over what came with a block, after forgetting what was of another wave.

        Raises:
            WireError: an attribute makes no sense; what it was before is forgotten.
        """
        label = attributes.get(messages.LABEL, self.label)
        if (self.label is not None and label != self.label) or (terms and self.terms and terms != self.terms):
            self.array = self.scale = self.unit = None
            self.period_ns, self.marks, self._next = 0, frozenset(), None
        self.label, self.terms = label, terms or self.terms
        try:
            self._take(attributes)
        except WireError:
            self.array = self.scale = None
            raise

    def start(self, stamp_ns: int, count: int) -> int:
        """The instant of the first of `count` samples, evenly spaced from the block before unless some were lost.

        Args:
            stamp_ns: The monitor's time of the message, on the scale of `Ticks`.
            count: Samples in the block.
        """
        begin = stamp_ns if self._next is None else self._next
        late = stamp_ns - begin
        length = count * self.period_ns
        if self.broken and late > 0:
            # What was lost is whole blocks; the rest of the difference is the wandering of the stamps.
            begin += round(Fraction(late, length)) * length
        elif late > STRAY_NS:
            begin += late // self.period_ns * self.period_ns
        self.broken = False
        self._next = begin + length
        return begin

    def _take(self, attributes: dict[int, bytes]) -> None:
        if messages.ARRAY in attributes:
            self.array = values.array(attributes[messages.ARRAY])
        if messages.SCALE in attributes:
            self.scale = values.scale(attributes[messages.SCALE])
        elif messages.CALIBRATION in attributes and self.scale is None:
            self.scale = values.scale(attributes[messages.CALIBRATION], calibration=True)
        if messages.FIXED in attributes:
            self.marks = values.fixed(attributes[messages.FIXED])
        if messages.PERIOD in attributes:
            self.period_ns = _only(attributes[messages.PERIOD], 4) * TICK_NS
        if messages.UNIT in attributes:
            self.unit = _only(attributes[messages.UNIT], 2)


def _only(value: bytes, size: int) -> int:
    fields = Fields(value)
    number = fields.u32() if size == 4 else fields.u16()
    fields.finish()
    return number
