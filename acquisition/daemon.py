"""Composition root: the only file that names concrete transports and sinks, and puts the parts of one bed together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from acquisition.catalogue import Catalogue
from acquisition.clock import NS, Clock, SystemClock, rfc3339
from acquisition.config import Config, DeviceConfig
from acquisition.errors import JournalError
from acquisition.forwarder import Forwarder
from acquisition.health import ClockHealth, Health, JournalHealth
from acquisition.interfaces import Sink
from acquisition.journal.journal import Journal
from acquisition.live import LiveView
from acquisition.logs import hide
from acquisition.model import EventKind, GapCause
from acquisition.recording import Rotation, TraceRecorder
from acquisition.registry import build_driver
from acquisition.session import Session
from acquisition.sink_config import AnySink, InfluxV1Config, InfluxV2Config, MqttConfig, read_secret
from acquisition.sinks.influxdb_servers import InfluxV1Server, InfluxV2Server
from acquisition.sinks.made_late import MadeLate
from acquisition.stamping import GAP_NS, Stamper
from acquisition.supervisor import Supervisor
from acquisition.transports.links import Links
from acquisition.transports.trace import TraceTransport
from acquisition.upkeep.clock_watch import ClockWatch
from acquisition.upkeep.episode_relay import EpisodeRelay
from acquisition.upkeep.heartbeat import Heartbeat
from acquisition.upkeep.housekeeping import Housekeeper
from acquisition.upkeep.identity_watch import IdentityWatch
from acquisition.upkeep.notify import notify, patiently
from acquisition.upkeep.reports import SinkReports, device_health
from acquisition.upkeep.unassigned import Unassigned

logger = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Daemon:
    """One bed: its devices, its journal, its sinks.

    Args:
        config: Already validated.
        profiles: Directories searched for device profiles before the shipped ones.
        clock: Replaces the host's clocks in tests.
    """

    def __init__(self, config: Config, *, profiles: tuple[Path, ...] = (), clock: Clock | None = None) -> None:
        self.config = config
        self.live = LiveView(Catalogue.shipped())
        self.sessions: list[Session] = []
        self.forwarders: list[Forwarder] = []
        self.latest: Health | None = None
        self._profiles = profiles
        self._given_clock = clock
        self._supervisor = Supervisor()
        self._links = Links(device.link for device in config.device)
        self._closing = contextlib.ExitStack()
        self._real: list[Session] = []
        self._stuck: tuple[str, ...] = ()
        self._is_begun = False
        self._sink_reports = SinkReports()
        self._complaint = ""

    async def run(self) -> None:
        """Runs until cancelled, then stops the devices, flushes and closes.

        Raises:
            JournalError: the journal cannot be opened; the status file then says so.
        """
        try:
            await self._run()
        except JournalError as error:
            self._write_failure(str(error))
            raise

    async def _run(self) -> None:
        interval = self.config.journal.commit_interval_ms / 1000
        opening = Journal(self.config.journal.directory, commit_interval_s=interval)
        # Days that a crash or a damage left unfinished take a slow disk minutes.
        async with patiently("opening the journal", opening) as journal:
            clock = self._given_clock or SystemClock(not_before_ns=journal.newest_ns + 1)
            self._started_ns = clock.now().utc_ns
            sinks = [sink.id for sink in self.config.sink]
            self._housekeeper = Housekeeper(self.config.journal, sinks, journal, clock, Unassigned(self.config))
            self._clock_watch = ClockWatch(clock, self._housekeeper.tell)
            self._begin(journal, clock)
            for device in self.config.device:
                self._add_device(device, journal, clock)
            for sink in self.config.sink:
                self._add_sink(sink, journal, clock)
            self._supervisor.add("housekeeping", self._housekeeper.run)
            self._supervisor.add("episodes", EpisodeRelay(self.config.journal.directory, journal).run)
            self._supervisor.add("heartbeat", partial(self._heartbeat, journal, clock))
            try:
                await self._supervisor.run()
            finally:
                notify("STOPPING=1")
                self._closing.close()
                with contextlib.suppress(JournalError):  # the next start then says that this run did not end cleanly
                    if self._is_begun:
                        journal.end_run(clock.now().utc_ns)
                self._write_status(journal, clock)
                logger.info("stopped")

    def _begin(self, journal: Journal, clock: Clock) -> None:
        now = clock.now()
        boot_id = _boot_id()
        run = {"start_ns": now.utc_ns, "boot_id": boot_id, "pid": os.getpid(), "version": version("ecmo-daq")}
        try:
            previous, self._is_begun = journal.begin_run(run), True
        except JournalError as error:  # what is stored can still be delivered, and perhaps there will be space
            previous = None
            logger.error("%s", error)
        self._cause, self._evidence = GapCause.DAEMON_DOWN, "the service was not running"
        text = "started for the first time with this journal" if self._is_begun else "started; the disk did not take it"
        if previous is not None:
            clean = previous.get("end_ns") is not None
            rebooted = previous.get("boot_id", "").replace("-", "") != boot_id
            if rebooted:
                self._cause, self._evidence = GapCause.HOST_REBOOT, "the host was restarted"
            elif not clean:
                self._evidence = "the service ended without stopping and was started again"
            ending = "was stopped" if clean else "did not end cleanly"
            text = f"started; the run of {rfc3339(previous['start_ns'])} {ending}" + (", host rebooted" * rebooted)
        detail = {**run, "previous": previous, "damaged": journal.damaged}
        self._housekeeper.tell(now.utc_ns, EventKind.DAEMON, text, detail)
        self._last_seen = journal.last_seen()
        logger.info("%s", text)

    def _add_device(self, device: DeviceConfig, journal: Journal, clock: Clock) -> None:
        catalogue = Catalogue.shipped()
        driver = build_driver(device.driver, device.profile, device.options, catalogue, self._profiles)
        driver.remember(journal.keys(device.id))
        transport, floor = self._links.open(device.link, driver.link_defaults, driver.line_address)
        driver.shares_line = floor is not None
        if isinstance(transport, TraceTransport):
            clock = transport.clock  # a trace carries its own time
        zone = ZoneInfo(device.timezone or self.config.site.timezone)
        gap_after = GAP_NS if device.gap_after_s is None else round(device.gap_after_s * NS)
        stamper = Stamper(device.id, catalogue, zone=zone, gap_after_ns=gap_after)
        if device.id in self._last_seen and not isinstance(transport, TraceTransport):
            stamper.resume(self._last_seen[device.id], self._cause, self._evidence)
        recorder = None
        if device.record is not None:
            limits = Rotation(round(device.record.file_mb * 1e6), round(device.record.quota_mb * 1e6))
            recorder = TraceRecorder(
                device.record.file,
                link=device.link,
                driver=device.driver,
                clock=clock,
                shared=floor is not None,
                rotation=limits,
                cut=driver.trace_cut(),
                device=device.id,
                tell=self._housekeeper.tell,
            )
            self._closing.callback(recorder.close)
        session = Session(
            device.id, driver, transport, clock, journal, stamper, recorder=recorder, floor=floor, listener=self.live
        )
        self.sessions.append(session)
        if not isinstance(transport, TraceTransport):
            self._real.append(session)
        self._supervisor.add(device.id, session.run)

    def _add_sink(self, sink_config: AnySink, journal: Journal, clock: Clock) -> None:
        sink = MadeLate(partial(make_sink, sink_config, self.config))
        forwarder = Forwarder(sink_config.id, sink, journal, clock, batch_points=sink_config.batch_points, rng=Random())
        self.forwarders.append(forwarder)
        self._supervisor.add(sink_config.id, forwarder.run)

    async def _heartbeat(self, journal: Journal, clock: Clock) -> None:
        patience = {
            forwarder: sink.timeout_s for forwarder, sink in zip(self.forwarders, self.config.sink, strict=True)
        }
        heartbeat = Heartbeat(self._real, patience, journal, clock)
        identities = IdentityWatch(self._real, clock, journal.append)
        while True:
            stepped = self._clock_watch.look()
            if stepped is not None:
                for session in self.sessions:
                    session.stamper.clock_stepped(stepped)
            identities.look()
            self._write_status(journal, clock)
            self._stuck = tuple(heartbeat.beat(self.latest))
            await asyncio.sleep(HEARTBEAT_S)

    def _write_status(self, journal: Journal, clock: Clock) -> None:
        try:
            self.latest = self.health(journal, clock)
            self.latest.write(self.config.status_file)
            complaint = ""
        except (OSError, JournalError) as error:
            complaint = str(error)
        if complaint and complaint != self._complaint:  # said once, not every second
            logger.warning("status file %s: %s", self.config.status_file, complaint)
        self._complaint = complaint

    def _write_failure(self, failure: str) -> None:
        """Leaves the reason to `ecmo-daq status`: without it, what the last run wrote would just grow old."""
        now_ns = SystemClock().now().utc_ns
        health = Health(
            version=version("ecmo-daq"), site=self.config.site.site, bed=self.config.site.bed, pid=os.getpid(),
            started_ns=now_ns, time_ns=now_ns, devices=(), sinks=(), clock=ClockHealth(ahead_ns=0, steps=0),
            journal=JournalHealth(directory=str(self.config.journal.directory), size_bytes=0, free_bytes=0),
            failure=failure,
        )  # fmt: skip
        with contextlib.suppress(OSError):
            health.write(self.config.status_file)
        notify(f"STATUS={failure}")

    def health(self, journal: Journal, clock: Clock) -> Health:
        """What `ecmo-daq status` shows, as of now."""
        now = clock.now()
        disk = self._housekeeper.health()
        return Health(
            version=version("ecmo-daq"),
            site=self.config.site.site,
            bed=self.config.site.bed,
            pid=os.getpid(),
            started_ns=self._started_ns,
            time_ns=now.utc_ns,
            devices=tuple(map(partial(device_health, clock), self.config.device, self.sessions)),
            sinks=tuple(self._sink_reports.of(forwarder, journal, disk) for forwarder in self.forwarders),
            journal=disk,
            clock=self._clock_watch.health(),
            stuck=self._stuck,
            restarts={s.name: s.restarts for s in self._supervisor.services if s.restarts},
        )


def _boot_id() -> str:
    """Told by the unit (%b) where /proc is hidden from the service; without dashes, as systemd writes it."""
    told = os.environ.get("ECMO_DAQ_BOOT_ID", "")
    if not told and _BOOT_ID.exists():
        told = _BOOT_ID.read_text(encoding="ascii").strip()
    return told.replace("-", "")


def make_sink(sink: AnySink, config: Config, *, visits: bool = False) -> Sink[Any]:
    """The sink that a `[[sink]]` table asks for.

    Args:
        sink: The table.
        config: The whole file.
        visits: For who sends beside the daemon; see `MqttSink`.

    Raises:
        ConfigError: its secret is not where the table says.
        OSError: `ca_file` cannot be read, or holds no certificate.
    """
    # Their libraries take a third of the time that a command needs to start, and most commands send nothing.
    from acquisition.sinks.influxdb import InfluxV1Sink, InfluxV2Sink
    from acquisition.sinks.mqtt import MqttSink

    secret = read_secret(sink)
    plain = None if secret is None else secret.get_secret_value()
    hide(plain or "")
    site, bed = config.site.site, config.site.bed
    if not isinstance(sink, MqttConfig):
        server = influx_server(sink, plain)
        if isinstance(server, InfluxV2Server):
            return InfluxV2Sink(server, site=site, bed=bed, timeout_s=sink.timeout_s)
        return InfluxV1Sink(server, site=site, bed=bed, timeout_s=sink.timeout_s)
    return MqttSink(
        host=sink.host, port=sink.port, prefix=sink.prefix, username=sink.username, password=plain, tls=sink.tls,
        timeout_s=sink.timeout_s, verify_tls=sink.verify_tls, ca_file=sink.ca_file, site=site, bed=bed,
        visits=visits,
    )  # fmt: skip


def influx_server(sink: InfluxV1Config | InfluxV2Config, secret: str | None) -> InfluxV1Server | InfluxV2Server:
    """The server that a `[[sink]]` table names, and who we are there."""
    if isinstance(sink, InfluxV2Config):
        return InfluxV2Server(
            url=sink.url, bucket=sink.bucket, org=sink.org, token=secret,
            verify_tls=sink.verify_tls, ca_file=sink.ca_file,
        )  # fmt: skip
    return InfluxV1Server(
        url=sink.url, database=sink.database, username=sink.username, password=secret,
        retention_policy=sink.retention_policy, verify_tls=sink.verify_tls, ca_file=sink.ca_file,
    )  # fmt: skip
