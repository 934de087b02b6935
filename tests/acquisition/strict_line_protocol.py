"""An independent reader of line protocol, written from InfluxData's description of its syntax, strict on purpose."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Point:
    """One line; fields that are floats and strings, nothing else."""

    measurement: str
    tags: tuple[tuple[str, str], ...]
    fields: tuple[tuple[str, float | str], ...]
    time_ns: int


def parse(data: bytes) -> list[Point]:
    """The points of a whole body.

    Raises:
        ValueError: something in it is not line protocol.
    """
    return list(_points(data))


@lru_cache(16)
def _points(data: bytes) -> tuple[Point, ...]:
    """A body that is sent again and again is read once."""
    reader = _Reader(data.decode())
    points = []
    while not reader.at_end():
        points.append(_point(reader))
    return tuple(points)


def _point(reader: _Reader) -> Point:
    measurement = reader.until(", ", escapable=", ")
    tags = []
    while reader.peek() == ",":
        reader.take(",")
        key = reader.until("=", escapable=",= ")
        reader.take("=")
        tags.append((key, reader.until(", ", escapable=",= ")))
    reader.take(" ")
    fields: list[tuple[str, float | str]] = []
    while True:
        key = reader.until("=", escapable=",= ")
        reader.take("=")
        fields.append((key, reader.quoted() if reader.peek() == '"' else _number(reader.until(", ", escapable=""))))
        if reader.peek() != ",":
            break
        reader.take(",")
    reader.take(" ")
    time_ns = int(reader.until("\n", escapable=""))
    reader.take("\n")
    if [key for key, _ in tags] != sorted({key for key, _ in tags}):
        raise ValueError(f"tags unsorted or repeated: {tags}")
    if len(dict(fields)) != len(fields):
        raise ValueError(f"field repeated: {fields}")
    return Point(measurement, tuple(tags), tuple(fields), time_ns)


def _number(text: str) -> float:
    if not _FLOAT.fullmatch(text):
        raise ValueError(f"not a float: {text!r}")
    return float(text)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def at_end(self) -> bool:
        return self._at == len(self._text)

    def peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def take(self, wanted: str) -> None:
        if self.peek() != wanted:
            raise ValueError(f"{wanted!r} wanted at {self._at} of {self._text!r}")
        self._at += 1

    def until(self, ends: str, *, escapable: str) -> str:
        out = ""
        while True:
            here, following = self.peek(), self._text[self._at + 1 : self._at + 2]
            if here == "":
                raise ValueError("the line ends too early")
            if here == "\\" and following and following in escapable:
                out += following
                self._at += 2
            elif here in ends:
                break
            elif here in escapable or here in "\n\\":
                raise ValueError(f"{here!r} must not stand at {self._at} of {self._text!r}")
            else:
                out += here
                self._at += 1
        if not out:
            raise ValueError(f"empty element at {self._at} of {self._text!r}")
        return out

    def quoted(self) -> str:
        self.take('"')
        out = ""
        while self.peek() != '"':
            if self.peek() in ("", "\n"):
                raise ValueError("a string is not closed on its line")
            if self.peek() == "\\":
                self.take("\\")
                if self.peek() not in '"\\':
                    raise ValueError(f"unknown escape at {self._at}")
            out += self.peek()
            self._at += 1
        self.take('"')
        return out
