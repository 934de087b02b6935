"""The bed itself needs none of the libraries of the data manager's side."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from acquisition.archive.extra import library
from acquisition.errors import ConfigError
from tests.acquisition.archive_bed import make_bed
from tests.processes import finished

ROOT = Path(__file__).parents[2]
EXTRA = ("duckdb", "matplotlib", "plotly", "pyarrow", "wfdb")
OF_THE_DAEMON = ("aiohttp", "aiomqtt", "influxdb_client", "pymodbus", "serial")


@pytest.fixture
async def bed(tmp_path: Path) -> Path:
    return await make_bed(tmp_path)


def without(libraries: tuple[str, ...], *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs `ecmo-daq` where these libraries cannot be imported."""
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({libraries}))\n"
        "from acquisition.cli import main\n"
        f"sys.argv = {['ecmo-daq', *map(str, words)]!r}\n"
        "main()"
    )
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_extra_is_these_five_and_developers_have_them_too() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert [line.partition(">=")[0] for line in extras["archive"]] == sorted(EXTRA)
    assert {*extras["archive"], *extras["atriumdb"]} <= set(extras["dev"])
    bedside = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert not [line for line in (*bedside, *extras["archive"]) if line.startswith("atriumdb")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("query", "--format", "parquet", "--out", "x"), "pyarrow"),
        (("query", "--plot", "x.html"), "plotly"),
        (("query", "--plot", "x.svg"), "matplotlib"),
        (("export", "--bed", "bed-17", "--subject", "LEV-03-012", "--out", "set"), "pyarrow"),
    ],
)
def test_what_needs_a_library_of_the_extra_says_how_to_install_it(
    bed: Path, tmp_path: Path, words: tuple[str, ...], needed: str
) -> None:
    *options, name = words
    done = without(EXTRA, *options, tmp_path / name, "--journal", bed)
    assert done.returncode == 2, done.stderr
    assert f"needs {needed}" in done.stderr
    assert "pip install 'ecmo-daq[archive]'" in done.stderr
    assert not (tmp_path / name).exists()


def test_atriumdb_is_asked_for_by_its_own_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "atriumdb", None)
    with pytest.raises(ConfigError, match=r"needs atriumdb.*'ecmo-daq\[atriumdb\]'"):
        library("atriumdb", "--format atriumdb")


@pytest.mark.slow
def test_csv_needs_no_library_of_the_extra_nor_of_the_daemon(bed: Path) -> None:
    done = without(EXTRA + OF_THE_DAEMON, "query", "--journal", bed, "--channels", "hr", "--every", "1h")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 4


@pytest.mark.slow
def test_a_pipe_gets_no_progress_bar(bed: Path, tmp_path: Path) -> None:
    words = ["export", "--journal", bed, "--subject", "LEV-03-012", "--out", tmp_path / "set"]
    command = [sys.executable, "-m", "acquisition.cli", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert len(done.stderr.splitlines()) == 1
    assert "\x1b" not in done.stderr


@pytest.mark.system
def test_a_command_that_sends_nothing_does_not_wait_for_the_libraries_that_send() -> None:
    program = "import sys, acquisition.cli; print({'aiohttp', 'aiomqtt', 'influxdb_client'} & set(sys.modules))"
    done = finished([sys.executable, "-c", program], cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr


@pytest.mark.parametrize("library", EXTRA)
def test_every_library_of_the_extra_is_installed_where_the_tests_run(library: str) -> None:
    __import__(library)
