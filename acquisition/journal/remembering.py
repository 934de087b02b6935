"""What rows gave lately, because a merged range is read in many batches; bounded by what it weighs in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict

from acquisition.journal.merged import Original, originals
from acquisition.journal.schema import Block


class Remembering:
    """Decodes rows and remembers the last ones; to be used by any thread.

    Args:
        most: The weight that is remembered; one row is, however much it weighs.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._weight = 0
        self._rows: OrderedDict[Block, tuple[tuple[Original, ...], int]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, row: Block) -> tuple[Original, ...]:
        """The blocks of a row whose checksum was right.

        Raises:
            ValueError: as `originals` says.
        """
        with self._lock:
            if row in self._rows:
                self._rows.move_to_end(row)
                return self._rows[row][0]
        content = originals(row)
        weight = sum(each.weight for each in content)
        with self._lock:
            if row not in self._rows:
                self._rows[row] = content, weight
                self._weight += weight
            while self._weight > self._most and len(self._rows) > 1:
                self._weight -= self._rows.popitem(last=False)[1][1]
        return content
