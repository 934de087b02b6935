"""What the objects of one association say, as values and samples of channels; nothing of it holds in the next one.

Source: PROTOCOLS.md sections 1.8 and 1.9. An object is its context and its handle together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acquisition.errors import WireError
from acquisition.model import MISSING_COUNT, EventKind, State
from acquisition.wire.intellivue import messages, values
from acquisition.wire.intellivue.answers import Answer
from acquisition.wire.intellivue.naming import METRICS, Key, Names, Plan, Tell
from acquisition.wire.intellivue.streams import Stream, Ticks

MOST_OBJECTS = 512


class Wave(NamedTuple):
    """A block of one waveform, in the order of the driver's samples: value = count * scale + offset.

    Attributes:
        start_ns: Instant of the first sample, on the scale of `Ticks`.
        doubtful: The monitor flags the block, or its unit is not known.
    """

    channel: str
    counts: NDArray[np.int32]
    period_ns: int
    scale: float
    offset: float
    start_ns: int
    doubtful: bool


class Objects:
    """What is known of each object, and what follows for what it says.

    Args:
        names: Gives them channels.
        ticks: The monitor's running time.
        counters: Of the driver.
        reject: Counts something that was received and not used, by its reason.
        tell: Tells of a measurement state that has changed.

    Attributes:
        unscaled: Samples came that cannot be scaled yet; whoever reads it sets it back.
    """

    def __init__(
        self, names: Names, ticks: Ticks, counters: Counter[str], reject: Callable[[str], None], tell: Tell
    ) -> None:
        self.ticks = ticks
        self.unscaled = False
        self._names = names
        self._counters = counters
        self._reject = reject
        self._tell = tell
        self._streams: dict[Key, Stream] = {}
        self._labels: dict[Key, str] = {}
        self._bits: dict[str, int] = {}

    def learn_label(self, each: messages.Object) -> None:
        """Notes the text of a label; it is compared with the configuration and goes nowhere else."""
        value = each.attributes.get(messages.LABEL_TEXT)
        if value is None or len(self._labels) >= MOST_OBJECTS:
            return
        try:
            self._labels[each.context, each.handle] = values.label_text(value)
        except WireError as error:
            self._reject(str(error))

    def waves_were_lost(self) -> None:
        """The next block of every wave takes its place by the monitor's time."""
        for stream in self._streams.values():
            stream.broken = True

    def numerics(self, answer: Answer, now: int) -> tuple[dict[str, float], dict[str, State]]:
        """Values and states of one instant by channel."""
        rows = [row for part in answer for each in part.objects for row in self._rows(each)]
        given: dict[str, float] = {}
        states: dict[str, State] = {}
        # Where two names of one pressure meet, the catalogue's own goes first.
        for plan, one, key in sorted(rows, key=lambda row: row[0].alias):
            mine = self._names.claim(plan, one.unit, key, now, wave=False)
            channel = mine.channel
            if mine.problem or channel in given or channel in states:
                self._counters[f"rejected_{mine.problem or 'repeated'}"] += 1
                continue
            self._tell_bits(channel, one.bits)
            state = values.instead_of(one.bits) or one.special
            if state is None and one.value is not None:
                given[channel] = _rounded(one.value * mine.factor + mine.offset)
                state = values.beside(one.bits)
            if state is not None:
                states[channel] = state
        return given, states

    def waves(self, answer: Answer, now: int) -> Iterator[Wave]:
        """The blocks that can be scaled, each on its channel."""
        stamp_ns = self.ticks.place(answer[0].relative)
        for each in (each for part in answer for each in part.objects):
            key = (each.context, each.handle)
            stream = self._streams.get(key)
            if stream is None:
                if len(self._streams) >= MOST_OBJECTS:
                    self._counters["rejected_objects"] += 1
                    continue
                stream = self._streams[key] = Stream()
            self.learn_label(each)
            try:
                blocks = values.blocks(each.attributes)
                stream.learn(each.attributes, tuple(block.term for block in blocks))
                yield from self._scaled(stream, blocks, key, stamp_ns, now)
            except WireError as error:
                self._reject(str(error))
                stream.broken = True

    def _rows(self, each: messages.Object) -> list[tuple[Plan, values.Numeric, Key]]:
        try:
            found = values.numerics(each.attributes)
        except WireError as error:
            self._reject(str(error))
            return []
        self.learn_label(each)
        key = (each.context, each.handle)
        if found and self._names.labelled and key not in self._labels:
            # Its label may give it another channel than its code would.
            self._counters["values_before_label"] += len(found)
            return []
        label = self._labels.get(key, "")
        return [(self._names.plan(METRICS + one.term, one.unit, label, wave=False), one, key) for one in found]

    def _scaled(
        self, stream: Stream, blocks: Sequence[values.Block], key: Key, stamp_ns: int, now: int
    ) -> Iterator[Wave]:
        layout, scale = stream.array, stream.scale
        label = self._labels.get(key)
        if not blocks:
            return
        if layout is None or scale is None or not stream.ready or (self._names.labelled and label is None):
            self._counters["blocks_before_scale"] += len(blocks)
            stream.broken = self.unscaled = True
            return
        counted = [values.counts(block.data, layout, stream.marks) for block in blocks]
        start_ns = stream.start(stamp_ns, layout.samples)
        for block, counts in zip(blocks, counted, strict=True):
            plan = self._names.plan(METRICS + block.term, stream.unit, label or "", wave=True)
            plan = self._names.claim(plan, stream.unit, key, now, wave=True)
            if plan.problem:
                self._counters[f"rejected_{plan.problem}"] += 1
                continue
            self._tell_bits(plan.channel, block.bits)
            if values.instead_of(block.bits) is not None:
                counts[:] = MISSING_COUNT
            factor, offset = scale.factor * plan.factor, scale.offset * plan.factor + plan.offset
            doubtful = plan.assumed or values.beside(block.bits) is not None
            yield Wave(plan.channel, counts, stream.period_ns, _rounded(factor), _rounded(offset), start_ns, doubtful)

    def _tell_bits(self, channel: str, bits: int) -> None:
        """The measurement state as the monitor sent it, alarms among it, when it changes."""
        if self._bits.get(channel, 0) != bits:
            self._bits[channel] = bits
            self._tell(EventKind.STATE, f"{channel}: measurement state {bits:04X}", channel=channel, bits=bits)


def _rounded(value: float) -> float:
    """The value without the last bits that conversion left in it."""
    return float(f"{value:.12g}")
