"""Paper and pictures of a report by a browser that the machine has; it is given no network."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from acquisition.archive.whole import written_whole
from acquisition.errors import ConfigError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge", "chrome")
WIDTH = 1280
MOST_HEIGHT = 16_000
"""Chromium draws no picture that is higher than 16,384 pixels."""
PATIENCE_S = 120
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--no-first-run", "--no-default-browser-check", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--disable-dev-shm-usage",
)  # fmt: skip
"""Without its sandbox, which needs rights that a service account lacks; the page is our own and has no script."""
_DATE = re.compile(rb"/(?:Creation|Mod)Date \(D:[^)]*\)")
_MEASURE = "<script>document.title = 'height ' + document.documentElement.scrollHeight</script></html>"


def found_browser(named: Path | None = None) -> Path:
    """The browser.

    Args:
        named: By the user; None: the first that is on the path.

    Raises:
        ConfigError: there is none.
    """
    if named is not None:
        if shutil.which(named) is None:
            raise ConfigError([f"{named}: no such program"])
        return named
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        raise ConfigError(
            [
                "--pdf and --png need a browser, and none of these is on the path: "
                + ", ".join(BROWSERS)
                + " (install one, "
                "such as the Debian package chromium, or name it with --browser; or print the page from any browser)"
            ]
        )
    return Path(path)


def print_pdf(browser: Path, page: Path, out: Path, *, dated: bool = True) -> None:
    """Prints a page on A4.

    Args:
        browser: What prints.
        page: The page.
        out: File to write.
        dated: Whether the file may tell when it was made, as browsers have it; a page without dates must not.

    Raises:
        ConfigError: the browser fails, or `out` cannot be written.
    """
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "report.pdf"
        _run(browser, scratch, ["--no-pdf-header-footer", f"--print-to-pdf={made}"], page)
        if not dated and made.exists():
            made.write_bytes(_DATE.sub(_undated, made.read_bytes()))
        _kept(browser, made, out)


def picture(browser: Path, page: Path, out: Path) -> None:
    """A picture of the whole page, 1280 pixels wide.

    Raises:
        ConfigError: the browser fails, or `out` cannot be written.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # The height is known only to a browser, and the page itself has no script: a copy of it measures.
        measuring = Path(scratch) / "measuring.html"
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", text, count=1)
        measuring.write_text(text.replace("</html>", _MEASURE), encoding="utf-8")
        size = f"--window-size={WIDTH},900"
        told = re.search(r"<title>height (\d+)</title>", _run(browser, scratch, [size, "--dump-dom"], measuring))
        if told is None:
            raise ConfigError([f"{browser}: could not measure {page}"])
        made = Path(scratch) / "report.png"
        size = f"--window-size={WIDTH},{min(int(told[1]), MOST_HEIGHT)}"
        _run(browser, scratch, [size, f"--screenshot={made}"], page)
        _kept(browser, made, out)


def _run(browser: Path, scratch: str, words: Sequence[str], page: Path) -> str:
    command = [str(browser), *FLAGS, f"--user-data-dir={scratch}/profile", *words, page.absolute().as_uri()]
    try:
        done = subprocess.run(  # noqa: S603  the browser of this machine, and words of our own
            command, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        raise ConfigError([f"{browser}: not done after {PATIENCE_S} s"]) from None
    except OSError as error:
        raise ConfigError([f"{browser}: {error.strerror}"]) from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise ConfigError([f"{browser}: {last[0]}"])
    return done.stdout


def _kept(browser: Path, made: Path, out: Path) -> None:
    if not made.exists():
        raise ConfigError([f"{browser}: made no {out.suffix.lstrip('.').upper() or 'file'}"])
    with written_whole(out) as place:
        shutil.copyfile(made, place)


def _undated(date: re.Match[bytes]) -> bytes:
    """As long as before, because a PDF has places of bytes in it."""
    return re.sub(rb"\d", b"0", date[0])
