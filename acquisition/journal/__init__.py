"""The journal: every reading is on the disk before anyone is told that it is.

**Invariants.** What was acknowledged is on the disk: the future of `append` resolves only after the transaction that
holds all of it is synced. A block has one number, `seq`, for ever; numbers only rise, across day files, restarts and
damage. What is read is what was appended, to the last bit. A reader never waits for the writer and never makes it wait.

**Layout.** The journal is a directory with one SQLite file in WAL mode per UTC day. A row is a block: what one device
said on one channel, or in numerics, or in events, within one group commit, or many such blocks that were merged. Pieces
of a waveform that continue each other are one piece when read again. A block carries a checksum over everything else in
its row. The number of points up to and with it stands in every block, so that a backlog is a difference and not a
count. A file sums up what it holds every 256 groups; what is newer is summed by reading it. What finished days hold is
noted in `past.json`, so that neither a start nor a status opens them; the note counts for a file only while it is that
file. Cursors, quarantine, runs and the high-water mark of `seq` are in `cursors.db`, apart from the readings.

**Write.** One thread writes. One commit interval after the first append, or as soon as much has gathered, it commits
all that has as one transaction. A group goes to the day of its newest time, but never to an older file than the last.
An append never blocks. When too much waits for the disk, an append fails at once. When the disk refuses, the group
fails, what is appended before its callers know of it fails too, and the next is tried again: behind nothing that a
failed sync may have left in memory alone, and after taking back what of the failed group is there. One observation that
cannot be stored fails its own append and no other. Keys of messages are stored in the transaction of their readings.
One process writes; a second is refused.

**Merge.** Blocks that are still live are not merged, and older ones are: the small rows of a range of numbers go, and
one row for each device, kind and channel takes their place, in one transaction. A read of merged blocks is that of the
blocks as they were: each comes out under its own number, to the last bit, so that cursors and spans mean what they
meant. Merging changes no count. A damaged block is never merged. Damage inside of a merged row costs that row, and its
report names it. When the day changes what is left of it is merged, and the next start merges what a crash left of it.
Pages of merged blocks are used again.

**Read.** A batch is whole blocks in the order of `seq` between two numbers, at least one if there is any. A query is in
the order of time within a device, cut to the asked window. A row that fails its checksum is skipped and reported, and
never returned.

**Acknowledge.** A sink has everything up to its cursor, and spans of newer blocks that were delivered ahead of it.
Nothing is ever taken from what it has. A cursor is kept without a sync, because an old one only repeats what may be
repeated. What a sink rejected is kept with the reason, and is written no later than the cursor that passes it.

**Retain.** Below the quota nothing is deleted that a sink has not acknowledged. At the quota, days that every sink has
go first, then waveforms, then whole days, the oldest first each; the numerics of the present day never. What goes is
counted first. A past day is written anew without its waveforms and takes the old file's place in one step; in the
present day's file their pages are used again.

**Recover.** The journal opens always: a damaged file is set aside beside its old name and reported, and its readable
blocks are still served. So that they can be read, its first page, which holds no block, is replaced by that of a new
file, and a log that is damaged before its last transaction, of which SQLite would drop the rest without a word, is
sealed anew in a copy. Where a tree is damaged, which can lead past rows without a word, all blocks on the pages in use
are written to a new file that takes its place. That is looked for in the newest file after a crash, in a past day
before it is merged, and in every file before a purge. What is missing by a file's own sums is named. A start that is
cut short is done again by the next. What a power cut leaves is never called damage: in the last transaction a damaged
log cannot be told from it, and that one group goes unreported.
Numbers go on after the largest ever reserved, even when every day file is lost. A start knows how the run before it
ended. On a full disk a start serves what is stored and takes readings as soon as there is space; only if a log was left
and the reserve is gone, it must wait for space.
"""

from acquisition.journal.journal import Journal

__all__ = ["Journal"]
