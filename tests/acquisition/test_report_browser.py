"""Paper by a browser: here a script stands for it, which prints what Chromium's PDF has of dates."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from acquisition.archive.report.browser import print_pdf
from acquisition.errors import ConfigError

DATES = "/Title (ECMO run)\n/CreationDate (D:20261130205041+00'00')\n/ModDate (D:20261130205041+00'00')>>"
SCRIPT = f"""#!/bin/sh
for word; do case $word in --print-to-pdf=*) cat > "${{word#*=}}" << 'END'
{DATES}
END
esac; done
"""


@pytest.fixture
def browser(tmp_path: Path) -> Path:
    path = tmp_path / "browser"
    path.write_text(SCRIPT)
    path.chmod(0o700)
    return path


def test_paper_under_new_names_does_not_tell_when_it_was_made(browser: Path, tmp_path: Path) -> None:
    print_pdf(browser, tmp_path / "x.html", tmp_path / "dated.pdf")
    print_pdf(browser, tmp_path / "x.html", tmp_path / "x.pdf", dated=False)
    dated, text = (tmp_path / "dated.pdf").read_text(), (tmp_path / "x.pdf").read_text()
    assert "20261130205041" in dated
    assert "2026" not in text
    assert (len(text), "/Title (ECMO run)" in text) == (len(dated), True)


def test_a_disk_that_is_full_leaves_the_paper_that_was_there(
    browser: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "x.pdf"
    out.write_text("before")

    def half(_: Path, to: Path) -> None:
        to.write_text("ha")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", half)
    with pytest.raises(ConfigError, match="No space left"):
        print_pdf(browser, tmp_path / "x.html", out)
    assert out.read_text() == "before"
    assert not list(tmp_path.glob(".partial*"))
