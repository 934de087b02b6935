"""What merged rows gave lately, because their range is read in many batches; bounded by the ranges they are of.

Not by values: an observation takes as much as seven of them, and a range of readings with two values each would count
for a quarter of what it takes. A row that was not merged is read once by each sink and costs little. Remembered, such
rows would pile up for a day before a bound is reached, scattered over memory that nothing else can use meanwhile.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from acquisition.journal.merged import MERGED, Original, originals
from acquisition.journal.schema import Block


class Remembering:
    """Decodes rows and remembers the merged ones of the last ranges; to be used by any thread.

    Args:
        most: How many ranges are remembered. All rows of a range begin with the same number.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._ranges: OrderedDict[int, dict[Block, tuple[Original, ...]]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, row: Block) -> tuple[Original, ...]:
        """The blocks of a row whose checksum was right.

        Raises:
            ValueError: as `originals` says.
        """
        if not row.codec & MERGED:
            return originals(row)
        with self._lock:
            content = self._ranges.get(row.since, {}).get(row)
        if content is None:
            content = originals(row)
        with self._lock:
            self._ranges.setdefault(row.since, {})[row] = content
            self._ranges.move_to_end(row.since)
            while len(self._ranges) > self._most:
                self._ranges.popitem(last=False)
        return content
