"""The blocks on the leaf pages of a day file, whatever its tree leads to: pages in, blocks with a right checksum out.

Layout: "Database File Format", chapters 1.3 (header), 1.5 (freelist), 1.6 (b-tree page), 2.1 (record), of SQLite's
documentation. A page in use holds what is in the file now and nothing else; what pages out of use still hold was merged
or dropped, and is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from acquisition.journal.schema import Block
from acquisition.journal.wal import PAGE

Page = Callable[[int], bytes]
"""The content of a page, of which the first has the number 1; shorter, or nothing, behind the end."""

_LEAF = 0x0D
_HEAD = 8
_ALL_HERE = PAGE - 35
_LEAST_HERE = (PAGE - 12) * 32 // 255 - 23
_ON_OVERFLOW = PAGE - 4
_BLOB = 12
"""The first serial type of an even number that is a blob; of an odd number, a text."""
_WIDTHS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""Serial type to bytes of an integer."""


def blocks_in_use(page: Page, pages: int) -> Iterator[Block] | None:
    """The intact blocks on the leaf pages in use, each once, in the order of the pages.

    Args:
        page: Of the file.
        pages: How many there are.

    Returns:
        None if the list of pages out of use is damaged: then nobody can tell what is old.
    """
    unused = _out_of_use(page, pages)
    if unused is None:
        return None
    return (
        block
        for number in range(2, pages + 1)
        if number not in unused
        for block in _blocks_on(page(number), page, pages)
        if block.intact
    )


def _out_of_use(page: Page, pages: int) -> set[int] | None:
    first = page(1)
    trunk, count = (int.from_bytes(first[at : at + 4]) for at in (32, 36))
    found: set[int] = set()
    while trunk:
        if not 1 < trunk <= pages or trunk in found:
            return None
        words = page(trunk)
        number = int.from_bytes(words[4:8])
        if number > PAGE // 4 - 2:
            return None
        leaves = [int.from_bytes(words[at : at + 4]) for at in range(8, 8 + 4 * number, 4)]
        found |= {trunk, *leaves}
        trunk = int.from_bytes(words[:4])
    return found if len(found) == count and all(1 < each <= pages for each in found) else None


def _blocks_on(content: bytes, page: Page, pages: int) -> Iterator[Block]:
    if len(content) < PAGE or content[0] != _LEAF:
        return
    number = min(int.from_bytes(content[3:5]), (PAGE - _HEAD) // 2)
    for at in range(_HEAD, _HEAD + 2 * number, 2):
        try:
            block = _block_at(content, int.from_bytes(content[at : at + 2]), page, pages)
        except (IndexError, KeyError, UnicodeDecodeError):
            continue  # it is no row of ours, or damaged
        if block is not None:
            yield block


def _block_at(content: bytes, at: int, page: Page, pages: int) -> Block | None:
    """The row whose cell begins at a byte of a leaf page.

    Raises:
        IndexError: the cell does not end on the page, or a column not in the record.
        KeyError: a column is of a type that no column of ours is.
        UnicodeDecodeError: a text is none.
    """
    size, at = _varint(content, at)
    seq, at = _varint(content, at)
    if size > pages * PAGE:
        raise IndexError(size)
    record = _record(content, at, size, page)
    head, at = _varint(record, 0)
    types = []
    while at < head:
        kind, at = _varint(record, at)
        types.append(kind)
    if len(types) != len(Block._fields) or types[0] != 0:  # `seq` is the row's id, and NULL in the record
        return None
    columns: list[int | str | bytes] = [seq]
    for kind in types[1:]:
        column, at = _column(record, at, kind)
        columns.append(column)
    return Block(*columns)  # type: ignore[arg-type]  # of whatever types: the checksum tells


def _record(content: bytes, at: int, size: int, page: Page) -> bytes:
    """What a cell holds, its overflow pages followed."""
    if size <= _ALL_HERE:
        return _cut(content, at, size)
    here = _LEAST_HERE + (size - _LEAST_HERE) % _ON_OVERFLOW
    here = here if here <= _ALL_HERE else _LEAST_HERE
    parts, left = [_cut(content, at, here)], size - here
    overflow = _cut(content, at + here, 4)
    while left > 0:
        content = page(int.from_bytes(overflow))
        parts.append(_cut(content, 4, min(left, _ON_OVERFLOW)))
        overflow = content[:4]
        left -= _ON_OVERFLOW
    return b"".join(parts)


def _column(record: bytes, at: int, kind: int) -> tuple[int | str | bytes, int]:
    if kind >= _BLOB:
        size = (kind - _BLOB) // 2
        raw = _cut(record, at, size)
        return (raw.decode() if kind & 1 else raw), at + size
    if kind in (8, 9):
        return kind - 8, at
    size = _WIDTHS[kind]
    return int.from_bytes(_cut(record, at, size), signed=True), at + size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends; only the ninth has eight bits."""
    value = 0
    for _ in range(8):
        byte = content[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    return value << 8 | content[at], at + 1


def _cut(content: bytes, at: int, size: int) -> bytes:
    if at < 0 or at + size > len(content):
        raise IndexError(at + size)
    return content[at : at + size]
