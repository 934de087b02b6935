"""Logging of the service: one event, one line; for people on a terminal, JSON elsewhere; never a secret.

Error needs a person now, warning may need one if it stays, info is what a person reading the story afterwards wants.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, Literal

import structlog

from acquisition.clock import NS, SystemClock

Line = MutableMapping[str, Any]
REPEAT_NS = 600 * NS
"""The same sentence is told at most this often; then with how often it was not."""
_REMEMBERED = 500
_PASSING_PORT = re.compile(r":\d{5}\b")
"""Of whoever connects; a gateway that comes back each second comes from another one each time."""
PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""Of syslog; systemd takes it from `<4>` at the beginning of a line (sd-daemon(3))."""
_HIDDEN = "(hidden)"
_secrets: set[str] = set()
_json_line = structlog.processors.JSONRenderer()


def _console_line() -> structlog.typing.Processor:
    """With plain tracebacks: those of its default show variables, and bytes of a device may be in them."""
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def hide(secret: str) -> None:
    """Never shows this string in any log again, whoever logs it."""
    if secret:
        _secrets.add(secret)


def configure(level: str = "info", layout: Literal["auto", "json", "console"] = "auto") -> None:
    """Sends all logging through structlog to standard error.

    Args:
        level: Least level shown: debug, info, warning or error.
        layout: `auto` is console on a terminal and JSON lines otherwise.
    """
    for_people = layout == "console" or (layout == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Repeats(SystemClock()).admits)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                _repeats,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([] if for_people else [structlog.processors.format_exc_info]),
                _rendered(_console_line() if for_people else _json_line),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("asyncio", "aiohttp.access", "pymodbus", "mqtt"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))


class Repeats:
    """Lets one line in `REPEAT_NS` pass of those that say the same.

    Args:
        clock: For the time since.
    """

    def __init__(self, clock: SystemClock) -> None:
        self._now_ns: Callable[[], int] = lambda: clock.now().mono_ns
        self._told: dict[tuple[str, int, str], list[int]] = {}

    def admits(self, record: logging.LogRecord) -> bool:
        """Whether to tell it; a record that is told after others were not says how many, as `repeats`."""
        now_ns = self._now_ns()
        what = (record.name, record.levelno, _PASSING_PORT.sub(":", record.getMessage()))
        last = self._told.pop(what, None)
        if last is not None and now_ns - last[0] < REPEAT_NS:
            last[1] += 1
            self._told[what] = last
            return False
        if last is not None and last[1]:
            record.repeats = last[1]
        self._told[what] = [now_ns, 0]
        if len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]
        return True


def _repeats(_logger: object, _name: str, line: Line) -> Line:
    if repeats := getattr(line.get("_record"), "repeats", 0):
        line["repeats"] = repeats
    return line


def _rendered(render: structlog.typing.Processor) -> structlog.typing.Processor:
    in_journal = is_journal()

    def rendered(logger: object, name: str, line: Line) -> str:
        priority = f"<{PRIORITY.get(line.get('level', ''), 6)}>" if in_journal else ""
        text = str(render(logger, name, line))
        for secret in _secrets:
            text = text.replace(secret, _HIDDEN)
        return priority + text

    return rendered


def is_journal() -> bool:
    """Whether standard error goes to systemd's journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        stream = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"
