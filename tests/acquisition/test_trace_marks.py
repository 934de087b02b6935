from __future__ import annotations

import json
from pathlib import Path

import pytest

from acquisition.catalogue import Catalogue
from acquisition.errors import LinkEndedError, TransportError
from acquisition.model import Event, EventKind, Observation, json_line
from acquisition.registry import build_driver
from acquisition.replay import replay
from acquisition.trace import Mark, Piece, TraceHeader, TraceWriter, read_trace
from acquisition.transports.trace import TraceTransport
from simulators.virtual_time import run
from tests.acquisition.recorded_pump import PROFILE, recorded

HEADER = TraceHeader(link="serial:///dev/ttyS0", driver="modbus", started="2026-01-01T00:00:00Z")


async def replayed(trace: Path) -> list[Observation]:
    observed: list[Observation] = []
    driver = build_driver("modbus", PROFILE, {}, Catalogue.shipped(), ())
    await replay(trace, driver, observed.append, device="pump")
    return observed


def told(observations: list[Observation], kind: EventKind) -> list[Event]:
    return [each for each in observations if isinstance(each, Event) and each.event is kind]


@pytest.mark.parametrize("breaks", [1, 3])
def test_a_trace_with_a_lost_link_replays_to_the_very_observations_of_the_live_session(
    tmp_path: Path, breaks: int
) -> None:
    live = run(recorded(tmp_path / "a.trace", silent_s=20, breaks=breaks))
    again = run(replayed(tmp_path / "a.trace"))
    assert [json_line(each) for each in again] == [json_line(each) for each in live]
    texts = [event.text for event in told(again, EventKind.LINK)]
    assert texts[:2] == ["link lost: cable 0 pulled", "link open again: SimPumpConsole"]
    assert len(texts) == 2 * breaks


def test_the_gap_that_a_lost_link_left_has_its_cause_in_the_replay(tmp_path: Path) -> None:
    run(recorded(tmp_path / "a.trace", silent_s=20))
    (gap,) = told(run(replayed(tmp_path / "a.trace")), EventKind.GAP)
    assert gap.detail["cause"] == "link_lost"
    assert "cable 0 pulled" in gap.text


def test_an_earlier_reader_takes_a_mark_for_a_turn_in_which_nothing_was_sent(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "a.trace", HEADER) as writer:
        writer.write(7, ">", b"", Mark("lost", "cable pulled"))
    line = json.loads((tmp_path / "a.trace").read_text().splitlines()[1])
    # Of these three keys the reader of the first version knew, and it tolerated others.
    assert {key: line[key] for key in "tdx"} == {"t": 7, "d": ">", "x": ""}
    assert (line["e"], line["w"]) == ("lost", "cable pulled")


def test_a_mark_that_is_not_known_yet_is_a_turn_in_which_nothing_was_sent(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "a.trace", HEADER):
        pass
    with (tmp_path / "a.trace").open("a") as file:
        file.write('{"t":1,"d":">","x":"","e":"moon","w":"full"}\n')
    assert list(read_trace(tmp_path / "a.trace")[1]) == [Piece(1, ">", b"")]


async def test_a_link_fails_where_it_was_lost_and_opens_where_it_was_open_again(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "a.trace", HEADER) as writer:
        writer.write(1, "<", b"a")
        writer.write(2, ">", b"", Mark("lost", "reset by peer"))
        writer.write(3, ">", b"late answer")
        writer.write(9, ">", b"", Mark("open", "192.0.2.1:5000"))
        writer.write(10, "<", b"b")
    link = TraceTransport(tmp_path / "a.trace")
    async with link:
        assert await link.receive(None) == b"a"
        with pytest.raises(TransportError, match="reset by peer"):
            await link.receive(None)
    assert link.clock.now().mono_ns == 2
    async with link:
        assert (link.clock.now().mono_ns, link.peer) == (9, "192.0.2.1:5000")
        assert await link.receive(None) == b"b"
        with pytest.raises(LinkEndedError):
            await link.receive(None)
    assert link.sends_unmatched == 1


async def test_a_link_that_could_not_be_opened_cannot_be_opened_in_the_replay(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "a.trace", HEADER) as writer:
        writer.write(1, ">", b"", Mark("lost", "no such port"))
        writer.write(5, ">", b"", Mark("open", "/dev/ttyS0"))
        writer.write(6, "<", b"a")
    link = TraceTransport(tmp_path / "a.trace")
    with pytest.raises(TransportError, match="no such port"):
        await link.__aenter__()
    async with link:
        assert await link.receive(None) == b"a"


async def test_a_link_that_was_never_open_again_has_ended(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "a.trace", HEADER) as writer:
        writer.write(2, ">", b"", Mark("lost", "gone"))
    link = TraceTransport(tmp_path / "a.trace")
    with pytest.raises(TransportError, match="gone"):
        await link.__aenter__()
    with pytest.raises(LinkEndedError):
        await link.__aenter__()


async def test_a_trace_ends_where_it_is_damaged_and_what_came_before_is_played(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    with TraceWriter(path, HEADER) as writer:
        for number in range(6):
            writer.write(number, "<", bytes([number]))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], "!" + lines[4], *lines[5:]]) + "\n")
    link = TraceTransport(path)
    async with link:
        assert [await link.receive(None) for _ in range(3)] == [b"\x00", b"\x01", b"\x02"]
        with pytest.raises(LinkEndedError):
            await link.receive(None)
    assert link.damage is not None
    assert "line 5" in link.damage
    assert link.cut_short
