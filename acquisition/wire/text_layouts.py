"""The five ways in which a line of text falls into columns; each gives one field for every column, or nothing.

Columns between separators, columns at fixed places, pairs of key and value, named groups of a regular expression, and
columns that a header line names.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence

from acquisition.wire.delimited import BLANK, split_fields
from acquisition.wire.text_records import Column


class Layout(ABC):
    """Finds the fields of a line, one for each column of the profile, in their order."""

    @abstractmethod
    def fields(self, line: str) -> list[str] | None:
        """The fields; None if the line is not a record of this layout."""

    def names_columns(self, line: str) -> bool:
        """Whether the line is a header, which is taken to heart."""
        return False

    def restart(self) -> None:  # noqa: B027 - most layouts remember nothing
        """Nothing is known of the stream."""


class Columns(Layout):
    """Fields between separators: exactly so many, so that a damaged line can never shift one."""

    def __init__(self, columns: Sequence[Column], separator: str, count: int) -> None:
        self._places = [(column.index or 0) - 1 for column in columns]
        self._separator, self._count = separator, count

    def fields(self, line: str) -> list[str] | None:
        """As `Layout.fields`."""
        found = split_fields(line, self._separator)
        return [found[place] for place in self._places] if len(found) == self._count else None


class Fixed(Layout):
    """Fields at fixed places of a line of fixed length."""

    def __init__(self, columns: Sequence[Column], length: int) -> None:
        self._slices = [
            slice((column.start or 1) - 1, (column.start or 1) - 1 + (column.width or 0)) for column in columns
        ]
        self._length = length

    def fields(self, line: str) -> list[str] | None:
        """As `Layout.fields`."""
        return [line[place].strip(BLANK) for place in self._slices] if len(line) == self._length else None


class Pairs(Layout):
    """Keys and values, each key once and none unknown; columns with an index have no key."""

    def __init__(self, columns: Sequence[Column], separator: str, assign: str) -> None:
        self._keys: list[str | int] = [column.key or (column.index or 0) - 1 for column in columns]
        self._separator, self._assign = separator, assign

    def fields(self, line: str) -> list[str] | None:
        """As `Layout.fields`."""
        items = split_fields(line, self._separator)
        found: dict[str | int, str] = {}
        for place, item in enumerate(items):
            key, assign, value = item.partition(self._assign)
            found[place if place in self._keys else key if assign else ""] = item if place in self._keys else value
        if len(items) != len(self._keys) or found.keys() != set(self._keys):
            return None
        return [found[key] for key in self._keys]


class Pattern(Layout):
    """Named groups of a regular expression that the whole line must match."""

    def __init__(self, columns: Sequence[Column], pattern: re.Pattern[str]) -> None:
        self._keys = [column.key for column in columns]
        self._pattern = pattern

    def fields(self, line: str) -> list[str] | None:
        """As `Layout.fields`."""
        found = self._pattern.fullmatch(line)
        return [found[key] or "" for key in self._keys] if found else None


class Header(Layout):
    """Fields between separators that a header line names; before the first header nothing is a record."""

    def __init__(self, columns: Sequence[Column], separator: str) -> None:
        self._keys = [column.key for column in columns]
        self._separator = separator
        self._count = 0
        self._places: list[int] = []

    def restart(self) -> None:
        """As `Layout.restart`."""
        self._count, self._places = 0, []

    def names_columns(self, line: str) -> bool:
        """As `Layout.names_columns`."""
        found = split_fields(line, self._separator)
        if any(found.count(key) != 1 for key in self._keys):
            return False
        self._count, self._places = len(found), [found.index(key) for key in self._keys]
        return True

    def fields(self, line: str) -> list[str] | None:
        """As `Layout.fields`."""
        found = split_fields(line, self._separator)
        return [found[place] for place in self._places] if self._count and len(found) == self._count else None

    def kept(self, line: str) -> str:
        """The line with every field emptied that no column names."""
        fields = split_fields(line, self._separator)
        return self._separator.join(field if place in self._places else "" for place, field in enumerate(fields))
