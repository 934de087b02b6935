from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from acquisition.clock import NS, Instant, ManualClock
from acquisition.errors import LinkEndedError, TraceError
from acquisition.model import EventKind
from acquisition.recording import DAY_NS, Rotation, TraceRecorder, trace_files
from acquisition.replay import record_link
from acquisition.trace import Mark, Piece, read_trace
from acquisition.trace_chain import Chain
from acquisition.transports.trace import TraceTransport

START = 1_772_000_000_123_456_789
MONO = 50_000
REQUEST = (
    b"\x0bMSH|^~\\&|MON^00091EFFFE8019A2^EUI-64|ICU|||20260225||ORU^R01^ORU_R01|7|P|2.6\r"
    b"PID|1||IPP0000042||DOE^JANE||19700101|F\r"
    b"OBX|1|NM|150037^MDC_PRESS_BLD_ART_ABP_SYS^MDC|1.1.1|83|266016^MDC_DIM_MMHG^MDC|||||R\r\x1c\r"
)
ANSWER = b"\x0bMSH|^~\\&|DAQ||MON||20260225||ACK^R01^ACK|7|P|2.6\rMSA|AA|7|DOE^JANE IPP0000042\r\x1c\r"
SECRETS = (b"DOE", b"JANE", b"IPP0000042", b"19700101")


def record(path: Path) -> TraceRecorder:
    clock = ManualClock(START, MONO)
    return TraceRecorder(path, link="tcp-listen://127.0.0.1:2575", driver="hl7", clock=clock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bed.trace"


@pytest.fixture
def recorder(path: Path) -> Iterator[TraceRecorder]:
    recorder = record(path)
    yield recorder
    recorder.close()


def at(t_ns: int) -> Instant:
    return Instant(START + t_ns, MONO + t_ns)


def pieces(path: Path) -> list[Piece]:
    return list(read_trace(path)[1])


def test_the_header_says_what_was_recorded_and_since_when(recorder: TraceRecorder, path: Path) -> None:
    header, rest = read_trace(path)
    assert list(rest) == []
    assert (header.link, header.driver) == ("tcp-listen://127.0.0.1:2575", "hl7")
    assert header.started_ns == START


def test_both_directions_are_kept_with_times_since_the_start(recorder: TraceRecorder, path: Path) -> None:
    recorder.sent(b"\x01\x03", at(10))
    recorder.received(b"\x01\x83", at(25))
    assert pieces(path) == [Piece(10, ">", b"\x01\x03"), Piece(25, "<", b"\x01\x83")]
    assert recorder.pieces == 2


def test_a_turn_that_woke_the_driver_and_sent_nothing_is_an_empty_piece(recorder: TraceRecorder, path: Path) -> None:
    recorder.sent(b"", at(5))
    assert pieces(path) == [Piece(5, ">", b"")]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_identity_is_cut_in_both_directions_however_the_stream_is_split(
    recorder: TraceRecorder, path: Path, size: int
) -> None:
    for data, keep in ((REQUEST, recorder.received), (ANSWER, recorder.sent)):
        for begin in range(0, len(data), size):
            keep(data[begin : begin + size], at(begin))
    kept = dict.fromkeys("<>", b"")
    for piece in pieces(path):
        kept[piece.direction] += piece.data
    assert b"150037^MDC_PRESS_BLD_ART_ABP_SYS^MDC|1.1.1|83|" in kept["<"]
    assert b"MSA|AA|7" in kept[">"]
    for direction, secret in ((d, s) for d in "<>" for s in SECRETS):
        assert secret not in kept[direction]
        assert secret.hex().encode() not in path.read_bytes()


def test_what_is_not_yet_known_to_be_harmless_is_not_written(recorder: TraceRecorder, path: Path) -> None:
    recorder.received(b"\x0bPID|1||IPP00", at(1))
    recorder.received(b"00042||DOE^JA", at(2))
    before = pieces(path)
    assert all(secret not in piece.data for piece in before for secret in SECRETS)
    assert [piece.t_ns for piece in before] == [1]
    recorder.close()
    assert pieces(path) == before


async def test_a_recorded_trace_replays_the_same_bytes_at_the_same_times(recorder: TraceRecorder, path: Path) -> None:
    recorder.received(b"1.0\r\n", at(1_000))
    recorder.sent(b"?\r", at(2_000))
    recorder.received(b"2.0\r\n", at(3_000))
    recorder.close()
    transport = TraceTransport(path)
    heard = []
    try:
        async with transport:
            for _ in range(3):
                data = await transport.receive(None)
                heard.append((transport.clock.now().utc_ns - START, data))
            with pytest.raises(LinkEndedError):
                await transport.receive(None)
    finally:
        await transport.aclose()
    assert heard == [(1_000, b"1.0\r\n"), (2_000, b""), (3_000, b"2.0\r\n")]


@pytest.mark.parametrize("suffix", ["trace", "trace.gz", "trace.zst"])
def test_an_earlier_trace_is_not_overwritten(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bed.{suffix}"
    for number in range(3):
        recorder = record(path)
        recorder.received(bytes([number]), at(1))
        recorder.close()
    names = [f"bed.{suffix}", f"bed-2.{suffix}", f"bed-3.{suffix}"]
    assert {entry.name for entry in tmp_path.iterdir()} == set(names)
    assert [pieces(tmp_path / name) for name in names] == [[Piece(1, "<", bytes([number]))] for number in range(3)]


def test_a_reply_that_had_to_wait_is_kept_after_what_came_meanwhile(recorder: TraceRecorder, path: Path) -> None:
    recorder.received(b"b", at(20))
    recorder.sent(b"reply to a", at(10))
    assert pieces(path) == [Piece(20, "<", b"b"), Piece(20, ">", b"reply to a")]


def fill_the_disk(path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    for entry in Path("/proc/self/fd").iterdir():
        if os.path.realpath(entry) == str(path):
            os.dup2(full, int(entry.name))
    os.close(full)


def test_a_full_disk_ends_the_recording_and_nothing_else(
    recorder: TraceRecorder, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.received(b"a", at(1))
    fill_the_disk(path)
    for t_ns in (2, 3):
        recorder.received(b"b", at(t_ns))
        recorder.sent(b"c", at(t_ns))
    recorder.close()
    assert isinstance(recorder.error, TraceError)
    assert recorder.pieces == 1
    assert [record.getMessage() for record in caplog.records] == [
        "recording ends after 1 pieces: the trace cannot be written: No space left on device"
    ]
    assert pieces(path) == [Piece(1, "<", b"a")]


def test_a_disk_that_is_full_only_at_the_end_is_told_of_and_does_not_raise(tmp_path: Path) -> None:
    path = tmp_path / "bed.trace.gz"
    recorder = record(path)
    recorder.received(b"a", at(1))
    fill_the_disk(path)
    recorder.close()
    assert isinstance(recorder.error, TraceError)


async def test_the_command_that_records_fails_when_the_disk_is_full(path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fill_the_disk(path)
        writer.write(b"1.0\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1") as server:
        link = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(TraceError, match="No space left on device"):
            await record_link(link, path, driver_name=None, profile=None, options={}, seconds=10)


def test_a_trace_that_cannot_be_created_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be created"):
        record(tmp_path / "no such directory" / "bed.trace")


Told = tuple[int, EventKind, str, Mapping[str, object]]


class Turning:
    """A rotating recorder at the other end of time that the test makes."""

    def __init__(self, folder: Path, file_bytes: int = 2000, quota_bytes: int = 10_000, suffix: str = "trace") -> None:
        self.path = folder / f"bed.{suffix}"
        self.clock = ManualClock(START, MONO)
        self.told: list[Told] = []
        self.recorder = TraceRecorder(
            self.path, link="l", driver="hl7", clock=self.clock, rotation=Rotation(file_bytes, quota_bytes),
            device="mon", tell=lambda *told: self.told.append(told),
        )  # fmt: skip

    def after(self, ns: int) -> Instant:
        self.clock.advance_to(self.clock.now().mono_ns + ns)
        return self.clock.now()

    def said(self) -> list[bytes]:
        return [piece.data for file in trace_files(self.path) for piece in read_trace(file)[1] if piece.data]


@pytest.mark.parametrize("suffix", ["trace", "trace.gz", "trace.zst"])
def test_a_full_file_is_followed_by_another_and_nothing_is_lost_between(tmp_path: Path, suffix: str) -> None:
    turning = Turning(tmp_path, suffix=suffix, quota_bytes=1_000_000)
    pieces = [os.urandom(100) for _ in range(200)]
    for piece in pieces:
        turning.recorder.received(piece, turning.after(NS // 2))
    turning.recorder.close()
    assert turning.said() == pieces
    assert len(trace_files(turning.path)) > 5


def test_each_file_has_times_of_its_own(tmp_path: Path) -> None:
    turning = Turning(tmp_path)
    heard = []
    for _ in range(60):
        instant = turning.after(NS)
        turning.recorder.received(b"x" * 100, instant)
        heard.append(instant.utc_ns)
    turning.recorder.close()
    told = []
    for file in trace_files(turning.path):
        header, rest = read_trace(file)
        told += [header.started_ns + piece.t_ns for piece in rest]
    assert len(trace_files(turning.path)) > 1
    assert told == heard[-len(told) :]


def test_a_new_file_is_begun_at_midnight(tmp_path: Path) -> None:
    turning = Turning(tmp_path)
    for _ in range(3):
        turning.recorder.sent(b"?", turning.after(DAY_NS))
    turning.recorder.close()
    assert len(trace_files(turning.path)) == 4


def test_the_files_together_never_take_more_than_the_quota_and_the_newest_stay(tmp_path: Path) -> None:
    turning = Turning(tmp_path)
    (tmp_path / "bed.trace").write_text("of another recording")
    (tmp_path / "bed-notes.trace").write_text("likewise")
    for number in range(500):
        turning.recorder.sent(b"%03d" % number * 40, turning.after(NS))
        assert sum(file.stat().st_size for file in trace_files(turning.path)) <= 10_000 + 300
    turning.recorder.close()
    said = turning.said()
    assert said[-1] == b"499" * 40
    assert said == [b"%03d" % number * 40 for number in range(500 - len(said), 500)]
    assert (tmp_path / "bed.trace").exists()
    assert (tmp_path / "bed-notes.trace").exists()


def test_each_file_that_goes_for_the_quota_is_an_event_and_is_counted(tmp_path: Path) -> None:
    turning = Turning(tmp_path)
    sizes: dict[str, int] = {}
    while len(turning.told) < 3:
        sizes |= {file.name: file.stat().st_size for file in trace_files(turning.path)}
        turning.recorder.sent(b"x" * 100, turning.after(NS))
    turning.recorder.close()
    left = {file.name for file in trace_files(turning.path)}
    gone = sorted(set(sizes) - left)
    assert len(gone) == 3
    for number, (utc_ns, kind, text, detail) in enumerate(turning.told, start=1):
        assert kind is EventKind.RETENTION
        assert utc_ns <= turning.clock.now().utc_ns
        assert (detail["device"], detail["first"], detail["last"]) == ("mon", gone[number - 1], gone[number - 1])
        assert (detail["files"], detail["files_in_all"]) == (1, number)
        assert detail["bytes_in_all"] == sum(sizes[name] for name in gone[:number])
        assert "quota" in text


def test_what_an_earlier_run_left_beyond_the_quota_is_one_event_with_its_count(tmp_path: Path) -> None:
    before = Turning(tmp_path, quota_bytes=1_000_000)
    for _ in range(200):
        before.recorder.sent(b"x" * 100, before.after(NS))
    before.recorder.close()
    assert before.told == []
    had = len(trace_files(before.path))
    now = Turning(tmp_path)
    (told,) = now.told
    assert told[3]["files"] == now.recorder.removed[0] == had + 1 - len(trace_files(now.path)) > 1
    now.recorder.close()


def test_below_the_quota_nothing_is_told(tmp_path: Path) -> None:
    turning = Turning(tmp_path, quota_bytes=1_000_000)
    for _ in range(100):
        turning.recorder.sent(b"x" * 100, turning.after(NS))
    turning.recorder.close()
    assert len(trace_files(turning.path)) > 3
    assert (turning.told, turning.recorder.removed) == ([], (0, 0))


def test_a_recording_that_the_disk_ends_is_an_event(tmp_path: Path) -> None:
    turning = Turning(tmp_path)
    turning.recorder.received(b"a", turning.after(1))
    fill_the_disk(trace_files(turning.path)[0])
    turning.recorder.received(b"b", turning.after(1))
    turning.recorder.received(b"c", turning.after(1))
    turning.recorder.close()
    ((_, kind, text, detail),) = turning.told
    assert (kind, detail) == (EventKind.DAEMON, {"device": "mon", "pieces": 1})
    assert "No space left" in text


def test_a_file_begins_with_a_request_where_there_are_requests(tmp_path: Path) -> None:
    turning = Turning(tmp_path)
    for _ in range(200):
        turning.recorder.sent(b"ask", turning.after(NS // 4))
        turning.recorder.received(b"answer", turning.after(NS // 100))
    turning.recorder.close()
    for file in trace_files(turning.path):
        assert pieces(file)[0].data == b"ask"


def test_identity_that_begins_in_one_file_is_cut_in_the_next(tmp_path: Path) -> None:
    turning = Turning(tmp_path)
    for _ in range(30):
        for begin in range(0, len(REQUEST), 16):
            turning.recorder.received(REQUEST[begin : begin + 16], turning.after(NS))
    turning.recorder.close()
    assert len(trace_files(turning.path)) > 3
    assert not [secret for secret in SECRETS if secret in b"".join(turning.said())]


def test_the_marks_of_a_link_are_kept_with_their_times(recorder: TraceRecorder, path: Path) -> None:
    recorder.lost("cable", at(3))
    recorder.reopened("192.0.2.1", at(9))
    recorder.close()
    assert pieces(path) == [Piece(3, ">", b"", Mark("lost", "cable")), Piece(9, ">", b"", Mark("open", "192.0.2.1"))]


async def test_the_files_of_a_rotating_recording_replay_as_one_conversation(tmp_path: Path) -> None:
    turning = Turning(tmp_path, quota_bytes=1_000_000)
    for number in range(90):
        turning.recorder.received(b"%03d" % number * 30, turning.after(NS))
    turning.recorder.close()
    transport = TraceTransport(trace_files(turning.path))
    async with transport:
        said = [await transport.receive(None) for _ in range(90)]
    assert said == [b"%03d" % number * 30 for number in range(90)]
    assert transport.clock.now().utc_ns == turning.clock.now().utc_ns


async def test_between_recordings_of_two_runs_the_link_is_lost_and_open_again(tmp_path: Path) -> None:
    first, then = Turning(tmp_path), Turning(tmp_path)
    then.clock.advance_to(60 * NS)
    first.recorder.received(b"a", first.after(NS))
    second = TraceRecorder(tmp_path / "z.trace", link="l", driver="hl7", clock=then.clock)
    second.received(b"b", then.after(NS))
    for recorder in (first.recorder, then.recorder, second):
        recorder.close()
    chain = Chain([trace_files(first.path)[-1], tmp_path / "z.trace"])
    turns = [(piece.data, piece.mark and piece.mark.turn) for piece in chain]
    assert turns in (
        [(b"a", None), (b"", "lost"), (b"", "open"), (b"b", None)],
        [(b"", "lost"), (b"", "open"), (b"b", None)],
    )
    backwards = Chain([tmp_path / "z.trace", trace_files(first.path)[0]])
    with pytest.raises(TraceError, match="begins before"):
        list(backwards)
    backwards.close()
