"""What is not in a day file though its sums say that it should be: a tree can lead past rows without a word.

Merging changes no sum, and what is dropped or purged is summed again, so that the two differ for damage alone.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left

from acquisition.journal.salvage import Selection, block_rows, unread
from acquisition.journal.schema import Block, suppress_damage


class Missing:
    """Compares the rows of a file, in the order of `seq`, with its sums.

    Args:
        connection: To the file.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._uptos: list[int] = []
        self._owed: dict[tuple[int, str], int] = {}
        self._since: dict[int, int] = {}
        self._total: int | None = None
        self._gaps: list[tuple[int, int]] = []
        with suppress_damage():
            for since, upto, device, blocks in connection.execute(
                "SELECT since, upto, device, blocks FROM span ORDER BY upto"
            ):
                if all(isinstance(each, int) for each in (since, upto, blocks)):  # damage turns any type into any
                    self._owed[upto, device] = blocks
                    self._since[upto] = since
        self._uptos = sorted(self._since)

    def add(self, row: Block) -> None:
        """Takes note of a row, and also of a damaged one: that is named already."""
        index = bisect_left(self._uptos, row.seq)
        if index < len(self._uptos):
            key = self._uptos[index], row.device
            if key in self._owed and isinstance(row.blocks, int):
                self._owed[key] -= row.blocks
        elif not row.intact:
            self._total = None
        else:
            points = row.total - row.points - (row.total - row.points if self._total is None else self._total)
            if points > 0:
                self._gaps.append((row.seq, points))
            self._total = row.total

    @property
    def reports(self) -> list[str]:
        """A sentence for each device and slice of which anything is missing, and for each gap after the last slice."""
        return [
            *(
                f"{blocks} blocks of {device} between {self._since[upto]} and {upto} are missing"
                for (upto, device), blocks in self._owed.items()
                if blocks > 0
            ),
            *(f"{points} points before block {seq} are missing" for seq, points in self._gaps),
        ]


def missing_in(connection: sqlite3.Connection, name: str) -> list[str]:
    """What is missing in a file that is read for nothing else.

    Raises:
        sqlite3.Error: the file cannot be read now, though it is not damaged.
    """
    missing = Missing(connection)
    for row, _ in block_rows(connection, name, Selection(), [], unread):
        missing.add(row)
    return missing.reports
