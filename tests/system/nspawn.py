"""A machine of its own: this host's files under an overlay, booted by a real systemd, with no network but loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

BOOT_S = 60.0
PATIENCE_S = 60.0
"""The forwarder's longest wait of its own choice."""
UNWANTED = (
    "getty.target", "console-getty.service", "systemd-logind.service", "influxdb.service", "mosquitto.service",
    "victoria-metrics.service", "postgresql.service", "ssh.service", "cron.service", "apt-daily.timer",
    "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_reap.service", "fstrim.timer", "man-db.timer",
    "systemd-networkd.service", "systemd-resolved.service", "networking.service",
)  # fmt: skip
"""Units of this host that would slow the boot or meet the test's own servers."""
CGROUPS = tuple(Path("/sys/fs/cgroup") / name for name in ("unified", "systemd", "."))
"""Where a hierarchy with control groups of systemd's may be: two on a hybrid host, else the last."""
FORGOTTEN = ("var/log/journal", "var/lib/apt/lists", "etc/apt/apt.conf.d")
"""What of this host it knows nothing of: its log, and what it could fetch from where, which takes seconds to read."""


@dataclass
class Machine:
    """One container with systemd as process 1; `boot` and `reboot` keep its disk."""

    base: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    pid: int = field(default=0, init=False)
    groups: list[Path] = field(default_factory=list, init=False)

    @property
    def root(self) -> Path:
        """Its file system as it is seen from here."""
        return self.base / "root"

    def mount(self) -> None:
        """Lays the overlay, and makes it another machine than this one."""
        self.base.mkdir(parents=True, exist_ok=True)
        _do("mount", "-t", "tmpfs", "tmpfs", str(self.base))
        for name in ("up", "work", "root"):
            (self.base / name).mkdir()
        options = f"lowerdir=/,upperdir={self.base}/up,workdir={self.base}/work"
        _do("mount", "-t", "overlay", "overlay", "-o", options, str(self.root))
        self.put("/etc/fstab", "")
        self.put("/etc/machine-id", uuid.uuid4().hex + "\n")
        for directory in FORGOTTEN:
            shutil.rmtree(self.root / directory, ignore_errors=True)
        for unit in UNWANTED:
            link = self.root / "etc/systemd/system" / unit
            link.unlink(missing_ok=True)
            link.symlink_to("/dev/null")

    def boot(self) -> None:
        """Starts it and returns when systemd has nothing more to start."""
        program = shutil.which("systemd-nspawn")
        if program is None:
            pytest.fail("systemd-nspawn is not installed; this test needs a real systemd (make servers)")
        with (self.base / "console").open("ab") as console:
            self.process = subprocess.Popen(
                [*self._in_its_own_groups(),
                 program, "--quiet", "--boot", "--register=no", "--keep-unit", "--private-network", "--console=pipe",
                 # As on a machine: devices and addresses are shut in by BPF programs, and the clock can be asked.
                 # It cannot be set: it is that of this host.
                 "--capability=CAP_BPF,CAP_PERFMON", "--system-call-filter=bpf adjtimex clock_adjtime",
                 f"--directory={self.root}", f"--machine=bed-{os.getpid()}"],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )  # fmt: skip
        try:
            until(self._is_up, BOOT_S)
        except TimeoutError:
            pytest.fail(f"the machine does not boot: {(self.base / 'console').read_text(errors='replace')[-3000:]}")

    def _in_its_own_groups(self) -> list[str]:
        """What starts a program in control groups of this machine: else it shares those of any other on this host."""
        present = [hierarchy for hierarchy in CGROUPS if (hierarchy / "cgroup.procs").exists()]
        self.groups = [hierarchy / f"{self.base.name}-{os.getpid()}" for hierarchy in present]
        for group in self.groups:
            group.mkdir(exist_ok=True)
        enter = "".join(f"echo $$ > '{group}/cgroup.procs'; " for group in self.groups)
        return ["sh", "-ec", f'{enter}exec "$@"', "sh"]

    def _is_up(self) -> bool:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        if not children:
            return False
        self.pid = int(children[0])
        state = self.try_run("systemctl is-system-running")
        return state.stdout.strip() in ("running", "degraded")

    def reboot(self) -> None:
        """Restarts it in order: the shut-down, then the boot."""
        self.try_run("systemctl reboot")
        self._end()
        self.boot()

    def cut(self) -> None:
        """Ends every process in it at once."""
        os.kill(self.pid, 9)
        self._end()

    def _end(self) -> None:
        if self.process is not None:
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def remove(self) -> None:
        """Ends it and takes its disk away; never raises."""
        with contextlib.suppress(OSError):
            if self.process is not None:
                if self.pid:
                    os.kill(self.pid, 9)
                self._end()
        for group in self.groups:
            for path in (*sorted(group.rglob("*/"), reverse=True), group):
                with contextlib.suppress(OSError):
                    path.rmdir()
        for path in (self.root, self.base):
            subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)

    def try_run(self, command: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """A shell command in it, whatever its exit code."""
        return subprocess.run(
            ["nsenter", "-t", str(self.pid), "-a", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "COLUMNS=180",
             "LC_ALL=C.UTF-8", "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", f"cd /; {command}"],
            capture_output=True, text=True, check=False, timeout=timeout_s, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, command: str, timeout_s: float = 60.0) -> str:
        """What a shell command in it printed; a failure fails the test and shows why."""
        done = self.try_run(command, timeout_s)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def put(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file in it, before or after the boot."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        target.chmod(mode)

    def inside(self, path: str) -> Path:
        """A file of the running machine as it is seen from here, with all that is mounted in it."""
        return Path(f"/proc/{self.pid}/root{path}")

    def property(self, name: str, unit: str = "ecmo-daq") -> str:
        """A property of a unit, as `systemctl show` has it."""
        return self.run(f"systemctl show -P {name} {unit}").strip()

    def log(self, unit: str = "ecmo-daq") -> str:
        """What a unit has logged since the boot."""
        return self.run(f"journalctl -u '{unit}' -o cat --no-pager")


@contextlib.contextmanager
def machine(base: Path) -> Iterator[Machine]:
    """A booted machine for the length of the block."""
    booted = Machine(base)
    try:
        booted.mount()
        booted.boot()
        yield booted
    finally:
        booted.remove()


def until(condition: Callable[[], object], patience_s: float = PATIENCE_S, told: Callable[[], str] = str) -> None:
    """Waits until something is so, looking five times a second.

    Raises:
        TimeoutError: it did not come about; says what `told` then tells.
    """
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(told())
        time.sleep(0.2)


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)}: {done.stderr.strip()} (these tests need root and systemd-nspawn)")
