from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator

import pytest

from acquisition import logs
from acquisition.clock import NS, Instant, SystemClock
from acquisition.logs import REPEAT_NS, Repeats, configure, hide


@pytest.fixture(autouse=True)
def root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logs._secrets.clear()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_an_event_is_one_line_of_json_with_level_logger_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("acquisition.x").exception("it broke")
    (line,) = lines(capsys)
    told = json.loads(line)
    assert (told["event"], told["level"], told["logger"]) == ("it broke", "error", "acquisition.x")
    assert "two\nlines" in told["exception"]


def test_a_traceback_shows_no_value_of_a_variable(capsys: pytest.CaptureFixture[str]) -> None:
    received = "".join(("MUSTER", "MANN"))
    for layout in ("console", "json"):
        configure("info", layout)
        try:
            int(received[:0])
        except ValueError:
            logging.getLogger("acquisition.x").exception("it broke")
        told = capsys.readouterr().err
        assert "ValueError: invalid literal" in told
        assert received not in told


def test_in_the_journal_a_line_carries_its_priority(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "is_journal", lambda: True)
    configure("debug", "json")
    log = logging.getLogger("acquisition.x")
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        log.log(level, "said")
    assert [line[:3] for line in lines(capsys)] == ["<7>", "<6>", "<4>", "<3>", "<2>"]


def test_the_journal_is_known_by_device_and_inode(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "w", encoding="ascii") as stream:
        monkeypatch.setattr("sys.stderr", stream)
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert logs.is_journal()
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + 1}")
        assert not logs.is_journal()


@pytest.mark.parametrize("layout", ["json", "console"])
def test_a_secret_is_never_shown_whoever_logs_it(layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "console" if layout == "console" else "json")
    hide("s3cr3t-token")
    try:
        raise ValueError("Authorization: Token s3cr3t-token")
    except ValueError:
        logging.getLogger("aiohttp").exception("refused with %s", "s3cr3t-token")
    told = "\n".join(lines(capsys))
    assert "s3cr3t-token" not in told
    assert told.count("(hidden)") >= 2


class Hands(SystemClock):
    """Stands where it is put."""

    mono_ns = 0

    def now(self) -> Instant:
        return Instant(0, self.mono_ns)


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.WARNING, "x.py", 1, "%s", (text,), None)


def test_what_repeats_is_told_once_in_ten_minutes_and_then_how_often_it_was_not() -> None:
    clock = Hands()
    repeats = Repeats(clock)
    assert repeats.admits(record("no route"))
    for second in range(1, 500):
        clock.mono_ns = second * NS
        assert not repeats.admits(record("no route"))
        assert second > 1 or repeats.admits(record("something else"))
    clock.mono_ns = REPEAT_NS
    late = record("no route")
    assert repeats.admits(late)
    assert late.__dict__["repeats"] == 499


def test_who_comes_again_and_again_from_another_port_says_the_same() -> None:
    repeats = Repeats(Hands())
    assert repeats.admits(record("10.0.0.7:40001 on 0.0.0.0:2575: closed by the other end"))
    assert not repeats.admits(record("10.0.0.7:40002 on 0.0.0.0:2575: closed by the other end"))
    assert repeats.admits(record("10.0.0.8:40003 on 0.0.0.0:2575: closed by the other end"))
    assert repeats.admits(record("10.0.0.7:40002 on 0.0.0.0:2576: closed by the other end"))


def test_however_many_different_lines_there_are_few_are_remembered() -> None:
    repeats = Repeats(Hands())
    for number in range(10_000):
        assert repeats.admits(record(str(number)))
    assert len(repeats._told) <= 500


def test_the_count_of_repeats_is_in_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    late = record("no route")
    late.__dict__["repeats"] = 7
    logging.getLogger().handlers[0].handle(late)
    (line,) = lines(capsys)
    assert json.loads(line)["repeats"] == 7
