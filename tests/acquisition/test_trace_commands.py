from __future__ import annotations

import io
import json
import shutil
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from acquisition.commands.strip_chart import Chart, Panel, svg
from acquisition.journal.reader import JournalReader
from acquisition.model import Numerics, json_line
from acquisition.replay import Replayed
from acquisition.trace import Mark, TraceHeader, TraceWriter, read_trace
from tests.acquisition.command import Run, runner

NS = 10**9
CASES = Path(__file__).resolve().parent.parent / "drivers"
STARTED = "2026-01-01T00:00:00Z"
STARTED_NS = 1_767_225_600 * NS
PROFILE = ("--profile", "emtec_bioprott")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


def line(flow: int) -> bytes:
    return f"00 40 100 1.00 {flow:>7} {flow:>7} {flow:>7}    +41 \r\n".encode("ascii")


def flow_trace(path: Path, *flows: int, every_ns: int = NS, started: str = STARTED, continues: bool = False) -> Path:
    """Lines of a flow sensor; the driver leaves out the first of a conversation, which may be the rest of one."""
    header = TraceHeader("serial:///dev/ttyS0", "delimited", started, continues=continues)
    with TraceWriter(path, header) as writer:
        for number, flow in enumerate(flows):
            writer.write(number * every_ns, "<", line(flow))
    return path


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return flow_trace(tmp_path / "flow.trace", *range(3500, 3520))


def flows(text: str) -> list[float]:
    return [said["values"]["ecmo_flow"] for said in map(json.loads, text.splitlines()) if said["kind"] == "numerics"]


def test_info_counts_what_a_trace_holds(run: Run, tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "a.trace", TraceHeader(link="tcp://h:1", driver="modbus", started=STARTED)) as writer:
        writer.write(0, ">", b"ask")
        writer.write(1 * NS, "<", b"answer")
        writer.write(2 * NS, ">", b"")
        writer.write(5 * NS, ">", b"", Mark("lost", "cable pulled"))
        writer.write(8 * NS, ">", b"", Mark("open", "h:1"))
        writer.write(9 * NS, "<", b"again")
    code, out, _ = run("trace", "info", tmp_path / "a.trace", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["pieces"], found["bytes"], found["turns"]) == ({"<": 2, ">": 1}, {"<": 11, ">": 3}, 1)
    assert found["losses"] == [[5 * NS, "cable pulled"]]
    assert (found["duration_ns"], found["longest_silence_ns"], found["silence_at_ns"]) == (9 * NS, 8 * NS, NS)
    assert found["damage"] is None
    assert "cable pulled" in run("trace", "info", tmp_path / "a.trace")[1]


def spoil(path: Path, number: int) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = lines[number - 1][:-5]
    path.write_text("\n".join(lines) + "\n")


def test_info_and_cut_and_replay_go_up_to_the_damage_and_say_so(run: Run, trace: Path, tmp_path: Path) -> None:
    spoil(trace, 12)
    code, out, _ = run("trace", "info", trace, "--json")
    assert (code, json.loads(out)["pieces"]["<"]) == (0, 10)
    assert "line 12" in json.loads(out)["damage"]
    assert "line 12" in run("trace", "cut", trace, tmp_path / "cut.trace")[2]
    code, out, err = run("replay", trace, *PROFILE, "--json")
    assert code == 1
    assert flows(out) == [(3500 + number) / 1000 for number in range(1, 10)]
    assert "damaged, replayed up to there" in err
    assert "line 12" in err


@pytest.mark.parametrize(
    ("window", "kept"),
    [
        (("--from", "5", "--to", "8"), [5, 6, 7]),
        (("--from", "2026-01-01T01:00:05+01:00", "--to", "2026-01-01T00:00:08Z"), [5, 6, 7]),
        (("--to", "2"), [0, 1]),
        (("--from", "18"), [18, 19]),
    ],
)
def test_a_cut_has_the_pieces_of_its_window_at_their_own_times(
    run: Run, trace: Path, tmp_path: Path, window: tuple[str, ...], kept: list[int]
) -> None:
    assert run("trace", "cut", trace, tmp_path / "cut.trace.zst", *window)[0] == 0
    header, pieces = read_trace(tmp_path / "cut.trace.zst")
    found = [(header.started_ns + piece.t_ns, piece.data) for piece in pieces]
    assert found == [(STARTED_NS + number * NS, line(3500 + number)) for number in kept]


def test_a_cut_of_one_direction_keeps_what_became_of_the_link(run: Run, tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "a.trace", TraceHeader(link="l", driver="modbus", started=STARTED)) as writer:
        writer.write(0, ">", b"ask")
        writer.write(1, "<", b"answer")
        writer.write(2, ">", b"", Mark("lost", "gone"))
    run("trace", "cut", tmp_path / "a.trace", tmp_path / "cut.trace", "--direction", "received")
    pieces = list(read_trace(tmp_path / "cut.trace")[1])
    assert [(piece.data, piece.mark) for piece in pieces] == [(b"answer", None), (b"", Mark("lost", "gone"))]


@pytest.mark.parametrize("more", [(), PROFILE])
def test_a_window_that_ends_before_it_begins_is_a_mistake_and_leaves_no_file(
    run: Run, trace: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    code, _, err = run("trace", "cut", trace, tmp_path / "cut.trace", "--from", "4", "--to", "2", *more)
    assert code == 2
    assert "--from 4 is not before --to 2" in err
    assert not (tmp_path / "cut.trace").exists()


def test_a_cut_never_overwrites(run: Run, trace: Path) -> None:
    before = trace.read_bytes()
    assert run("trace", "cut", trace, trace)[0] == 1
    assert trace.read_bytes() == before


def test_a_trace_does_not_differ_from_itself(run: Run, trace: Path) -> None:
    code, out, _ = run("trace", "diff", trace, trace, *PROFILE, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["differences"] == []
    assert found["same"] >= 20


def test_a_difference_is_told_with_its_time_its_channel_and_both_values(run: Run, trace: Path, tmp_path: Path) -> None:
    other = flow_trace(tmp_path / "other.trace", *range(3500, 3510), 3600, *range(3511, 3521))
    code, out, _ = run("trace", "diff", trace, other, *PROFILE, "--json")
    found = json.loads(out)
    assert code == 1
    assert (found["different"], found["only_in_one"], found["only_in_other"]) == (1, 0, 1)
    first, second = found["differences"]
    assert (first["time_ns"], first["name"]) == (STARTED_NS + 10 * NS, "ecmo_flow")
    assert (first["one"], first["other"]) == ("3.51 good", "3.6 good")
    assert (second["one"], second["other"]) == (None, "3.52 good")
    assert found["by_name"] == {"ecmo_flow": 2}
    text = run("trace", "diff", trace, other, *PROFILE)[1]
    assert "first difference: 2026-01-01T00:00:10.000Z ecmo_flow" in text


def test_a_changed_driver_is_compared_on_the_same_trace(run: Run, trace: Path, tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "config" / "devices" / "emtec_bioprott.toml"
    changed = tmp_path / "changed.toml"
    changed.write_text(shipped.read_text().replace('unit = "mL/min"', 'unit = "L/min"'))
    code, out, _ = run("trace", "diff", trace, trace, *PROFILE, "--other-profile", changed, "--json")
    found = json.loads(out)
    assert code == 1
    assert (found["different"], found["by_name"]["ecmo_flow"]) == (19, 19)


def test_expected_observations_stand_in_for_a_trace(run: Run) -> None:
    case = CASES / "delimited" / "flow_reversed"
    assert run("trace", "diff", case / "expected.jsonl", case / "wire.trace", *PROFILE)[0] == 0


def test_two_recordings_of_two_days_are_compared_from_their_starts(run: Run, trace: Path, tmp_path: Path) -> None:
    other = flow_trace(tmp_path / "other.trace", *range(3500, 3520), started="2026-03-01T00:00:00Z")
    assert run("trace", "diff", trace, other, *PROFILE)[0] == 1
    assert run("trace", "diff", trace, other, *PROFILE, "--from-start")[0] == 0


def test_long_waveforms_that_differ_in_one_late_sample_differ(run: Run, tmp_path: Path) -> None:
    block = {"kind": "waveform", "device": "m", "channel": "wf_abp", "time_ns": 0, "period_ns": 1, "quality": "good"}
    for name, last in (("one", 1.0), ("other", 2.0)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({**block, "samples": [0.0] * 99 + [last]}) + "\n")
    assert run("trace", "diff", tmp_path / "one.jsonl", tmp_path / "other.jsonl")[0] == 1
    assert run("trace", "diff", tmp_path / "one.jsonl", tmp_path / "one.jsonl")[0] == 0


def test_a_picture_has_every_signal_its_quality_and_the_gap(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    with TraceWriter(path, TraceHeader(link="l", driver="delimited", started=STARTED)) as writer:
        for second in (*range(10), *range(30, 40)):
            if second == 30:
                writer.write(11 * NS, ">", b"", Mark("lost", "cable <pulled>"))
                writer.write(29 * NS, ">", b"", Mark("open", "/dev/ttyS0"))
            writer.write(second * NS, "<", line(3500 if second < 35 else 25_000))
    assert run("trace", "plot", path, tmp_path / "a.svg", *PROFILE)[0] == 0
    root = ElementTree.parse(tmp_path / "a.svg").getroot()  # noqa: S314 - our own file
    texts = ["".join(each.itertext()) for each in root.iter()]
    assert "ecmo_flow" in texts
    assert any("no readings for" in text and "cable <pulled>" in text for text in texts)
    colours = {each.get("fill") for each in root.iter("{http://www.w3.org/2000/svg}rect")}
    assert {"#35a07f", "#c8382e"} <= colours
    lines = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(lines) == 2  # not joined over the gap


def test_a_number_is_drawn_until_the_next_one_comes_and_shown_with_all_its_digits(run: Run, tmp_path: Path) -> None:
    trace = flow_trace(tmp_path / "a.trace", 3500, 3500, 3600, 12_345)
    assert run("trace", "plot", trace, tmp_path / "a.svg", *PROFILE, "--channels", "ecmo_flow")[0] == 0
    root = ElementTree.parse(tmp_path / "a.svg").getroot()  # noqa: S314 - our own file
    (drawn,) = (each.get("points", "").split() for each in root.iter("{http://www.w3.org/2000/svg}polyline"))
    corners = [tuple(map(float, each.split(","))) for each in drawn]
    assert len(corners) == 5
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(corners))
    texts = ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"12.35", "3.5", "L/min"} <= set(texts)


@pytest.mark.parametrize(("value", "shown"), [(0.0, "0"), (-0.3735, "-0.3735"), (65_535.0, "65,535"), (9999.0, "9999")])
def test_a_large_number_beside_a_curve_has_no_exponent(value: float, shown: str) -> None:
    times = np.array([0, 10**9], dtype=np.int64)
    panel = Panel("sim_counter", "1", times, np.array([value, value]), [], is_wave=False)
    texts = [each.text for each in ElementTree.fromstring(svg(Chart("", "", [panel]))).iter()]  # noqa: S314 - our own
    assert texts.count(shown) == 2  # beside the curve and as the last value, each once


def test_without_a_converter_a_png_is_refused_with_what_to_do(
    run: Run, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = run("trace", "plot", trace, tmp_path / "a.png", *PROFILE)
    assert code == 2
    assert "librsvg2-bin" in err
    assert not (tmp_path / "a.png").exists()


@pytest.mark.system
def test_a_png_has_the_pixels_of_the_drawing_twice_over(run: Run, trace: Path, tmp_path: Path) -> None:
    assert run("trace", "plot", trace, tmp_path / "a.png", *PROFILE)[0] == 0
    assert run("trace", "plot", trace, tmp_path / "a.svg", *PROFILE)[0] == 0
    root = ElementTree.parse(tmp_path / "a.svg").getroot()  # noqa: S314 - our own file
    data = (tmp_path / "a.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    size = [int.from_bytes(data[at : at + 4], "big") for at in (16, 20)]
    assert size == [2 * int(root.get(name, "0")) for name in ("width", "height")]


def test_a_page_is_a_picture_that_needs_nothing_else(run: Run, trace: Path, tmp_path: Path) -> None:
    assert run("trace", "plot", trace, tmp_path / "a.html", *PROFILE)[0] == 0
    text = (tmp_path / "a.html").read_text()
    assert "<svg" in text
    assert "<script" not in text
    assert text.replace("http://www.w3.org/2000/svg", "").count("://") == 1  # the link that is in the subtitle


def test_an_hour_of_wave_makes_no_larger_picture_than_its_pixels(tmp_path: Path, run: Run) -> None:
    trace = CASES / "hl7" / "ge_b1x5_invasive" / "wire.trace"
    assert run("trace", "plot", trace, tmp_path / "a.svg")[0] == 0
    assert (tmp_path / "a.svg").stat().st_size < 400_000


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("plot", "{trace}", "a.gif", *PROFILE), ".svg, .html or .png"),
        (("plot", "{trace}", "a.svg", *PROFILE, "--channels", "hr"), "nothing to draw"),
        (("cut", "{trace}", "b.trace", "--from", "soon"), "not a time"),
        (("cut", "{trace}", "b.trace", "--direction", "up"), "received or sent"),
    ],
)
def test_a_wish_that_cannot_be_meant_ends_with_two(run: Run, trace: Path, words: tuple[str, ...], told: str) -> None:
    code, _, err = run("trace", *(word.format(trace=trace) for word in words))
    assert code == 2
    assert told in err


def test_a_paced_replay_reports_how_late_it_was(run: Run, tmp_path: Path) -> None:
    trace = flow_trace(tmp_path / "a.trace", *range(3500, 3520), every_ns=NS // 20)
    code, _, err = run("replay", trace, *PROFILE, "--speed", "20")
    assert code == 0
    (told,) = [line for line in err.splitlines() if "handed out late" in line]
    assert "p99" in told
    assert "handed out late" not in run("replay", trace, *PROFILE)[2]


def test_how_late_is_what_that_part_of_all_pieces_does_not_exceed() -> None:
    late = Replayed(None, cut_short=False, unmatched=0, pacing_errors_ns=tuple(1000 * n for n in range(200)))
    assert [late.pacing_ms(part) for part in (0.0, 0.5, 0.99, 1.0)] == [0.0, 0.1, 0.198, 0.199]


@pytest.mark.parametrize("speed", ["step", "500"])
def test_at_every_speed_a_replay_prints_the_very_same_bytes(
    run: Run, monkeypatch: pytest.MonkeyPatch, speed: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    for case in ("delimited/flow_reversed", "modbus/late_reply"):
        folder = CASES / case
        profile = ("--profile", tomllib.loads((folder / "case.toml").read_text())["profile"])
        first = run("replay", folder / "wire.trace", *profile, "--json")[1]
        assert run("replay", folder / "wire.trace", *profile, "--json", "--speed", speed)[:2] == (0, first)


def test_step_by_step_shows_each_piece_and_goes_on_at_enter(
    run: Run, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n"))
    code, out, err = run("replay", trace, *PROFILE, "--speed", "step", "--json")
    assert (code, len(flows(out))) == (0, 19)
    assert "30 30 20 34 30" in err
    assert "00 40 100 1.00" in err


def test_a_replay_fills_a_journal_with_what_it_would_print(run: Run, trace: Path, tmp_path: Path) -> None:
    printed = run("replay", trace, *PROFILE, "--json")[1]
    code, out, _ = run("replay", trace, *PROFILE, "--journal", tmp_path / "journal", "--device", "flow")
    assert (code, out) == (0, "")
    kept = list(JournalReader(tmp_path / "journal").query(devices={"flow"}))
    lines = [json_line(each) for each in kept if isinstance(each, Numerics)]
    assert lines == [
        text.replace('"device":"delimited"', '"device":"flow"') for text in printed.splitlines() if "numerics" in text
    ]


def test_a_sink_without_a_journal_to_deliver_from_is_refused(run: Run, trace: Path) -> None:
    code, _, err = run("replay", trace, *PROFILE, "--sink", "central")
    assert code == 2
    assert "--journal" in err


def test_several_files_are_one_conversation(run: Run, trace: Path, tmp_path: Path) -> None:
    then = flow_trace(tmp_path / "then.trace", *range(3520, 3530), started="2026-01-01T00:00:20Z", continues=True)
    assert flows(run("replay", trace, then, *PROFILE, "--json")[1]) == [flow / 1000 for flow in range(3501, 3530)]
    shutil.copy(trace, tmp_path / "again.trace")
    assert run("replay", trace, tmp_path / "again.trace", *PROFILE)[0] == 1
