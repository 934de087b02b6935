"""`ecmo-daq report`, as the data manager calls it."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from pathlib import Path

import pytest

from acquisition.archive.episodes.chain import Action
from acquisition.archive.episodes.registry import registry_path
from acquisition.archive.episodes.writing import Draft, record
from acquisition.cli import main
from tests.acquisition.archive_bed import HOUR, SECRETS, SUBJECT, T0, make_bed
from tests.acquisition.command import Run, runner

LOADS = re.compile(
    r"""<(script|link|img|iframe|object|embed|base|source|video|audio)\b|url\(|@import|src=|https?:""", re.I
)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a bed, with its configuration; nothing is written there."""
    directory = tmp_path_factory.mktemp("bed")
    asyncio.run(make_bed(directory))
    return directory


@pytest.fixture(scope="module")
def text(bed: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the subject as anybody gets it, made once."""
    out = tmp_path_factory.mktemp("page") / "run.html"
    with pytest.MonkeyPatch.context() as patch:
        words = ["report", "--config", bed / "bed.toml", "--subject", SUBJECT, "-o", out]
        patch.setattr(sys, "argv", ["ecmo-daq", *map(str, words)])
        with pytest.raises(SystemExit) as ending:
            main()
    assert not ending.value.code
    return out.read_text(encoding="utf-8")


def reported(run: Run, bed: Path, out: Path, *words: str | Path) -> str:
    code, told, err = run("report", "--config", bed / "bed.toml", "-o", out / "run.html", *words)
    assert (code, told) == (0, ""), err
    assert str(out / "run.html") in err
    return (out / "run.html").read_text(encoding="utf-8")


def section(text: str, name: str) -> str:
    """The text of one section, tags taken away."""
    (found,) = re.findall(
        rf'<section id="{name}"[^>]*>(.*?)</section>|<section class="\w+" id="{name}">', text, re.DOTALL
    )
    return re.sub(r"[ \n\xa0]+", " ", re.sub(r"<[^>]+>", " ", found))


def test_the_page_tells_who_when_how_much_and_how_complete(text: str) -> None:
    glance = section(text, "glance")
    for words in (SUBJECT, "site-paris", "bed-17", "emergency", "ecmo-daq 0.1.0", "+0.00 h", "−2.00 h to +2.00 h"):
        assert words in glance
    assert "4 h declared run" in glance
    assert "68.3 % complete" in glance
    assert "4\N{NARROW NO-BREAK SPACE}233 values" in glance
    assert "105\N{NARROW NO-BREAK SPACE}100 wave samples" in glance
    assert "1 h capture lag" in glance


def test_gaps_stand_there_with_their_causes_and_clocks_with_offset_and_drift(text: str) -> None:
    gaps = section(text, "gaps")
    assert "+0.11 h 5 min link lost monitor-17 4: abp_mean, hr, spo2, wf_abp" in gaps
    assert "−2.00 h 1 h unknown pump-17 1: ecmo_flow" in gaps
    assert "monitor-17 1 −2 −2 +12.5 none" in section(text, "clock")
    assert "Circuit flow pump-17 1 h −1.00 h" in section(text, "lag")


def test_a_main_signal_that_never_came_is_named_and_not_made_up(text: str) -> None:
    assert "No usable reading of: Pump speed, Pulse pressure." in section(text, "evidence")


def test_the_page_loads_nothing_and_has_no_leave_to(text: str) -> None:
    assert not LOADS.findall(text)
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'\"" in text


def test_what_is_left_out_stands_there_for_who_may_see_it(run: Run, bed: Path, text: str, tmp_path: Path) -> None:
    assert not re.search("study_drug|inf_rate|levosimendan|Study drug rate|Infusion|tolerates it well", text)
    whole = reported(run, bed, tmp_path, "--subject", SUBJECT, "--role", "unblinded", "--free-text")
    assert "Study drug rate" in whole
    assert "tolerates it well" in whole


@pytest.mark.parametrize("times", ["relative", "utc"])
def test_a_pseudonymous_page_gives_nobody_away(run: Run, bed: Path, tmp_path: Path, times: str) -> None:
    words: list[str | Path] = ["--pseudonymize", tmp_path / "study.key", "--request", "r7", "--times", times]
    told = reported(run, bed, tmp_path, "--subject", SUBJECT, *words).lower()
    assert [secret for secret in SECRETS if secret.lower() in told] == []
    assert "(pseudonym)" in told


def test_a_hostile_note_is_shown_as_it_was_written(run: Run, bed: Path, tmp_path: Path) -> None:
    registry = shutil.copy(registry_path(bed / "journal"), tmp_path)
    words = "<script>alert(1)</script><img src=x onerror=alert(2)> & more"
    draft = Draft(Action.NOTE, SUBJECT, {"time_ns": T0 + HOUR, "text": words})
    record(Path(registry), [draft], actor="cra", now_ns=T0 + 9 * HOUR)
    text = reported(run, bed, tmp_path, "--subject", SUBJECT, "--free-text", "--registry", registry)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=alert(2)&gt; &amp; more" in text
    assert "<script" not in text


def test_part_of_the_run_says_that_earlier_readings_do_not_count(run: Run, bed: Path, tmp_path: Path) -> None:
    text = reported(run, bed, tmp_path, "--subject", SUBJECT, "--from", "2026-03-14T17:00:00Z")
    assert "the report begins later than that" in section(text, "lag")


def test_a_signal_of_which_nothing_came_is_named_and_does_not_count_as_complete_unseen(
    run: Run, bed: Path, tmp_path: Path
) -> None:
    words = ["--subject", SUBJECT, "--from", "2026-03-14T17:07:00Z", "--to", "2026-03-14T17:11:00Z"]
    told = section(reported(run, bed, tmp_path, *words), "completeness")
    silent = "Heart rate (monitor-17), SpO₂ (monitor-17), Arterial pressure wave (monitor-17)."
    assert f"not once in this one: Mean pressure (monitor-17), {silent}" in told
    assert "study" not in told.lower()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--subject", "LEV-03-013"], "did you mean 'LEV-03-012'"),
        (["--subject", SUBJECT, "--from", "2026-03-14T16:00:00"], "not a time with a UTC offset"),
        (["--subject", SUBJECT, "--from", "2027-01-01T00:00:00Z"], "was not there then"),
        (["--from", "2026-03-15T00:00:00Z", "--to", "2026-03-14T00:00:00Z"], "the range is empty"),
        (["--bed", "bed-17", "--from", "2027-01-01T00:00:00Z"], "there are no readings in that time"),
        (["--bed", "bed-18"], "not the bed of the configuration"),
        (["--subject", SUBJECT, "--channels", "ecmo_flo"], "did you mean 'ecmo_flow'"),
        (["--subject", SUBJECT, "--channels", "cvp"], "there are no readings in that time"),
        (["--subject", SUBJECT, "--role", "blind"], "did you mean 'blinded'"),
        (["--subject", SUBJECT, "--pdf", "run.doc"], "name it run.pdf"),
        (["--subject", SUBJECT, "--pdf", "run.pdf", "--browser", "/no/such"], "no such program"),
        (["--subject", SUBJECT, "--pseudonymize", "k"], "name the data request"),
    ],
)
def test_a_mistake_ends_with_two_a_sentence_and_no_page(
    run: Run, bed: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    code, out, err = run("report", "--config", bed / "bed.toml", "-o", tmp_path / "run.html", *words)
    assert (code, out) == (2, "")
    assert told in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["-o", "--pdf", "--png"])
def test_a_directory_that_is_not_there_is_told_before_the_long_work(
    run: Run, bed: Path, tmp_path: Path, option: str
) -> None:
    files = {
        "-o": tmp_path / "run.html",
        option: tmp_path / "nowhere" / f"run.{'html' if option == '-o' else option[2:]}",
    }
    words = [word for pair in files.items() for word in pair]
    code, _, err = run("report", "--config", bed / "bed.toml", "--subject", SUBJECT, *words)
    assert code == 2
    assert f"there is no directory {tmp_path / 'nowhere'}" in err
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_it_is_said_and_nothing_half_is_left(run: Run, bed: Path, tmp_path: Path) -> None:
    (tmp_path / "run.html").mkdir()
    code, _, err = run("report", "--config", bed / "bed.toml", "--subject", SUBJECT, "-o", tmp_path / "run.html")
    assert code == 2
    assert "run.html: cannot be written: Is a directory" in err
    assert [path.name for path in tmp_path.iterdir()] == ["run.html"]


def test_neither_subject_nor_bed_is_asked_for(run: Run, bed: Path) -> None:
    code, _, err = run("report", "--journal", bed / "journal", "-o", bed / "run.html")
    assert code == 2
    assert "give --subject, --bed or --config" in err
