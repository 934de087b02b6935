"""A report of days, opened in Chromium without a network and looked at as its readers do."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from acquisition.archive.report.browser import found_browser
from tests.system.long_run import make_run

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parents[2]
DRAW, PRINT = re.findall(r"```sh\n(.+?)\n```", (ROOT / "docs/how-to/look-at-a-run.md").read_text(encoding="utf-8"))
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip


def command(config: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of the page in the directory of the bed."""
    program, *words = line.split()
    assert program == "ecmo-daq"
    run = [sys.executable, "-m", "acquisition.cli", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(run, cwd=config.parent, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(make_run(tmp_path_factory.mktemp("bed"), hours=64))


@pytest.fixture(scope="module")
def report(config: Path) -> Path:
    """As on a stick: the file alone in a directory."""
    done = command(config, DRAW)
    assert done.returncode == 0, done.stderr
    stick = config.parent / "stick"
    stick.mkdir()
    return (config.parent / "run.html").rename(stick / "run.html")


@pytest.fixture(scope="module")
def browser(report: Path) -> Iterator[Browser]:
    """Opened when the run is made: its loop runs on in this thread, and a second one cannot."""
    assert report.exists()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(found_browser()), args=FLAGS)
        yield opened
        opened.close()


class Look:
    """A page that was opened offline, with all that it asked for and complained of."""

    def __init__(self, browser: Browser, report: Path, width: int, scheme: str) -> None:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, offline=True, color_scheme="dark" if scheme == "dark" else "light"
        )
        self.page: Page = context.new_page()
        self.asked: list[str] = []
        self.said: list[str] = []
        self.page.on("request", self._request)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(report.as_uri())

    def _request(self, request: Request) -> None:
        self.asked.append(request.url)


def luminance(colour: str) -> float:
    red, green, blue = (int(part) for part in re.findall(r"\d+", colour)[:3])
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_drawn_without_a_network_a_complaint_or_a_sideways_scroll(
    browser: Browser, report: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    look = Look(browser, report, width, scheme)
    page = look.page
    assert look.asked == [report.as_uri()]
    assert look.said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sections = page.query_selector_all("main section")
    assert len(sections) >= 12
    for section in sections:
        box = section.bounding_box()
        assert box is not None
        assert box["width"] > 300
        assert box["height"] > 40, section.get_attribute("id")
    for picture in page.query_selector_all("svg"):
        box = picture.bounding_box()
        assert box is not None
        assert box["width"] > 60
        assert box["height"] >= 10
    ink, paper = (
        page.evaluate(f"getComputedStyle(document.documentElement).{name}") for name in ("color", "backgroundColor")
    )
    assert abs(luminance(ink) - luminance(paper)) > 0.7
    assert (luminance(paper) < 0.2) == (scheme == "dark")
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 100_000
    page.context.close()


def test_the_curves_are_where_the_ticks_say_and_stop_at_a_gap(browser: Browser, report: Path) -> None:
    page = Look(browser, report, 1280, "light").page
    panel = page.query_selector("#evidence .panel.mean")
    assert panel is not None
    line = panel.query_selector("path.line")
    assert line is not None
    assert str(line.get_attribute("d")).count("M") >= 4  # the monitor was silent three times and more
    silence, plot = panel.query_selector("path.silence"), panel.query_selector("svg")
    assert silence is not None
    assert plot is not None
    at_zero = page.evaluate(
        """() => { const tick = [...document.querySelectorAll('#evidence .x')].find(each => each.textContent === '0');
                   const box = tick.getBoundingClientRect(); return box.left + box.width / 2; }"""
    )
    letter = page.evaluate(
        """() => [...document.querySelectorAll('#evidence .marks li')]
             .find(each => each.textContent.includes('randomisation')).querySelector('.flag').textContent"""
    )
    flag = page.evaluate(
        """letter => { const flag = [...document.querySelectorAll('#evidence .flags .flag')]
                          .find(each => each.textContent === letter);
                       const box = flag.getBoundingClientRect(); return box.left + box.width / 2; }""",
        letter,
    )
    assert abs(at_zero - flag) < 1.5
    page.context.close()


def test_no_text_of_a_tick_or_a_flag_lies_on_another(browser: Browser, report: Path) -> None:
    look = Look(browser, report, 390, "light")
    covered = look.page.evaluate(
        """() => { const found = [];
             for (const figure of document.querySelectorAll('figure.chart, .scatter'))
               for (const kind of ['.x', '.panel .y']) {
                 const groups = new Map();
                 for (const each of figure.querySelectorAll(kind)) {
                   if (getComputedStyle(each).display === 'none') continue;
                   const own = groups.get(each.parentElement) || []; own.push(each.getBoundingClientRect());
                   groups.set(each.parentElement, own);
                 }
                 for (const boxes of groups.values())
                   for (let i = 0; i < boxes.length; i++) for (let j = 0; j < i; j++) {
                     const a = boxes[i], b = boxes[j];
                     if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
                       found.push(figure.parentElement.id + kind);
                   }
               }
             return found; }"""
    )
    assert covered == []
    look.page.context.close()


def test_paper_and_picture_come_from_the_browser_of_the_machine(config: Path) -> None:
    done = command(config, PRINT)
    assert done.returncode == 0, done.stderr
    paper = (config.parent / "run.pdf").read_bytes()
    assert paper.startswith(b"%PDF-")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 20
    picture = (config.parent / "run.png").read_bytes()
    assert int.from_bytes(picture[16:20], "big") == 1280
    assert int.from_bytes(picture[20:24], "big") > 3000


def test_a_browser_that_fails_is_told_of(config: Path) -> None:
    done = command(config, f"{PRINT.replace('run.', 'none.')} --browser false")
    assert done.returncode == 2
    assert "false: exit code 1" in done.stderr
    assert not (config.parent / "none.pdf").exists()
