"""Decoding of monitor messages to readings, beside python-hl7 merely parsing and reading the same fields."""

from __future__ import annotations

import time
from collections.abc import Callable

import hl7

from acquisition.catalogue import Catalogue
from acquisition.registry import build_driver
from benchmarks.messages import second
from benchmarks.result import Result

MESSAGES = 300


def measure() -> list[Result]:
    """Messages of 30 values a second."""
    framed = [second(number, waves=0, numerics=30) for number in range(MESSAGES)]
    texts = [message[1:-2].decode() for message in framed]
    driver = build_driver("hl7", None, {}, Catalogue.shipped(), ())
    driver.start(0)

    def ours() -> None:
        for message in framed:
            driver.receive(message, 0)
            driver.take_emissions()

    def theirs() -> None:
        for text in texts:
            for row in hl7.parse(text).segments("OBX"):
                float(str(row[5]))
                str(row[3])

    return [
        Result(
            "HL7 messages of 30 values to readings",
            _rate(ours),
            "messages/s",
            "",
            "python-hl7, parse only",
            _rate(theirs),
        )
    ]


def _rate(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return MESSAGES / (time.perf_counter() - start)
