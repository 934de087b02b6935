"""Reading for forwarders: whole blocks in the order of their numbers, between two of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from acquisition.journal.backlog import files_after
from acquisition.journal.merged import originals
from acquisition.journal.salvage import Decode, Selection, blocks, disk_errors, opened
from acquisition.model import Observation


@dataclass(frozen=True, slots=True)
class Batch:
    """What follows a number.

    Attributes:
        observations: In the order of their blocks' numbers.
        last_seq: Once all of them are delivered, everything up to here is.
        points: Numerics, samples and events in `observations`.
        damaged: One report for each row of blocks, or run of rows, that is passed over because it cannot be read.
    """

    observations: tuple[Observation, ...]
    last_seq: int
    points: int
    damaged: tuple[str, ...] = ()


def read_batch(directory: Path, after_seq: int, max_weight: int, upto_seq: int, decode: Decode = originals) -> Batch:
    """Whole blocks with `after_seq < seq <= upto_seq`, as many as fit into `max_weight`, at least one if there is any.

    Args:
        directory: Of the journal.
        after_seq: The block before.
        max_weight: Upper bound of the samples, values, states and events, unless the first block has more.
        upto_seq: Number of the last block that is wanted and was committed; what cannot be read is passed over.
        decode: What gives the blocks of a row; one that remembers spares merged rows of many batches.

    Raises:
        JournalError: the disk cannot be read now.
    """
    observations: list[Observation] = []
    points, weight, last_seq, damaged = 0, 0, after_seq, list[str]()
    with disk_errors():
        for path in files_after(directory, after_seq):
            with opened(path, damaged) as connection:
                if connection is None:
                    continue
                selection = Selection(after=last_seq, upto=upto_seq)
                for block in blocks(connection, path.name, selection, damaged, decode):
                    weight += block.weight
                    if observations and weight > max_weight:
                        return Batch(tuple(observations), last_seq, points, tuple(damaged))
                    observations += block.observations
                    points += block.points
                    last_seq = block.seq
    return Batch(tuple(observations), max(last_seq, upto_seq), points, tuple(damaged))
