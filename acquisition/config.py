"""The configuration of one bed: what may stand in the TOML file, and every mistake in it at once.

Attribute names are those of the file, so `[[device]]` is `config.device`. An environment variable such as
`ECMO_DAQ__SITE__BED` overrides a key of a table; devices and sinks stand in the file alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from acquisition.archive.episodes.rules import SUBJECT_PATTERN, pattern_mistake
from acquisition.config_check import device_mistakes, repeated_ids, secret_mistakes
from acquisition.config_places import Document, read_document
from acquisition.errors import ConfigError
from acquisition.mistakes import Mistake, bare_secrets, mistakes_in, nearest
from acquisition.sink_config import Id, SinkConfig, Table, anchored

ENV_PREFIX = "ECMO_DAQ__"
RESERVED_DEVICE = "daemon"
"""The device that events of the daemon itself belong to (model.Event)."""


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        close = nearest(name, available_timezones()).partition(" (have")[0]
        raise ValueError(f"unknown timezone {name!r}{close} (an IANA name such as 'Europe/Berlin')") from None
    return name


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""Goes into tags, topics and file names, so it has no space, slash or wildcard."""
Timezone = Annotated[str, AfterValidator(_timezone)]


class SiteConfig(Table):
    """`[site]`: where this daemon stands.

    Attributes:
        timezone: IANA name; the zone of device times that carry no offset.
    """

    site: Name
    bed: Name
    timezone: Timezone


class JournalConfig(Table):
    """`[journal]`: the durable store.

    Attributes:
        commit_interval_ms: How much at most is lost at a power cut.
        quota_gb: Of all day files together, in 10^9 bytes; none: the disk is the bound.
        min_free_gb: What the journal leaves free on its disk.
        keep_days: Age at which a day goes that every sink has, or any day where there is no sink; none: never.
            As many of the newest days stay in any case.
    """

    directory: Path
    commit_interval_ms: int = Field(default=200, ge=20, le=5000)
    quota_gb: float | None = Field(default=None, gt=0)
    min_free_gb: float = Field(default=1.0, ge=0)
    keep_days: int | None = Field(default=None, ge=2, le=36500)


class RecordConfig(Table):
    """`record`: raw traces of a device's link; a new file at midnight UTC, and when one is full.

    Attributes:
        file: Name of the files; the time of its beginning is put before the suffix of each.
        file_mb: Of one file, in 10^6 bytes.
        quota_mb: Of all files together; the oldest go.
    """

    file: Path
    file_mb: float = Field(default=64.0, gt=0)
    quota_mb: float = Field(default=2000.0, gt=0)

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.quota_mb < self.file_mb:
            raise ValueError(f"quota_mb has no room for one file of {self.file_mb:g} MB")
        return self


class DeviceConfig(Table):
    """`[[device]]`: one device.

    Attributes:
        driver: Name of a module in `drivers/`.
        profile: Name of a profile, or a path that ends in `.toml`.
        link: URL of the transport; devices with an address each, as Modbus units on RS-485, may have the same.
        timezone: Zone of the device's own clock, if it is not the site's.
        gap_after_s: Silence that counts as a gap; without it the driver's expected period decides.
        record: Keeps the raw bytes; a path alone is short for a table with that `file`.
        options: What the driver takes.
    """

    id: Id
    driver: str
    profile: str | None = None
    link: str
    timezone: Timezone | None = None
    gap_after_s: float | None = Field(default=None, gt=0)
    record: RecordConfig | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("record", mode="before")
    @classmethod
    def _file_alone(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, str | Path) else value

    @field_validator("id")
    @classmethod
    def _not_reserved(cls, value: str) -> str:
        if value == RESERVED_DEVICE:
            raise ValueError(f"{value!r} is the daemon's own name; choose another id")
        return value


class EpisodesConfig(Table):
    """`[episodes]`: the registry that says whose data it is.

    Attributes:
        subject_pattern: Regular expression that the whole of a study id matches; names and hospital numbers must not.
        unassigned_keep_days: Whole days after which the daemon deletes readings of no episode that every sink has, and
            the default age of `ecmo-daq episode unassigned`; none: they are deleted only when somebody asks for it.
    """

    subject_pattern: str = SUBJECT_PATTERN
    unassigned_keep_days: int | None = Field(default=None, ge=1, le=3650)

    @field_validator("subject_pattern")
    @classmethod
    def _of_ids(cls, value: str) -> str:
        mistake = pattern_mistake(value)
        if mistake is not None:
            raise ValueError(mistake)
        return value


class StatusConfig(Table):
    """`[status]`: the file that `ecmo-daq status` reads.

    Attributes:
        file: Without it, and where its directory does not exist because no unit made it, `status.json` in the
            journal's directory.
    """

    file: Path | None = None


class LogConfig(Table):
    """`[log]`: auto means for people on a terminal and JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class _TablesFromEnvironment(EnvSettingsSource):
    """Environment variables, but for the arrays of tables: half a device cannot be merged with half a device."""

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if name not in ("device", "sink")}


class Config(BaseSettings):
    """The whole file."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter="__")

    site: SiteConfig
    journal: JournalConfig
    device: tuple[DeviceConfig, ...]
    sink: tuple[SinkConfig, ...] = ()
    episodes: EpisodesConfig = EpisodesConfig()
    status: StatusConfig = StatusConfig()
    log: LogConfig = LogConfig()

    @field_validator("device")
    @classmethod
    def _not_empty(cls, value: tuple[DeviceConfig, ...]) -> tuple[DeviceConfig, ...]:
        if not value:
            raise ValueError("there must be at least one")
        return value

    @property
    def status_file(self) -> Path:
        """Where the daemon writes its status, and where it is to be read."""
        wanted = self.status.file
        is_there = wanted is not None and wanted.parent.is_dir()
        return wanted if wanted is not None and is_there else self.journal.directory / "status.json"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the file."""
        return _TablesFromEnvironment(settings_cls), init_settings


def profile_search(path: Path) -> tuple[Path, ...]:
    """Where the profiles of the configuration at `path` are looked for before the shipped ones."""
    return (path.parent / "devices",)


def load_config(path: Path, *, for_sinks: bool = True) -> Config:
    """Reads a configuration; relative paths in it count from its own directory.

    Args:
        path: The TOML file.
        for_sinks: Whether the sinks will be used, so that their secrets must be readable; who only wants to know where
            the journal is need not be allowed to read them.

    Raises:
        ConfigError: with every mistake, each as `file:line: [table] key: what (hint)`.
    """
    document = read_document(path)
    data = document.data
    secrets = list(bare_secrets(data))
    shown = {mistake.place for mistake in secrets}
    config, mistakes = _validated(data)
    mistakes = secrets + [mistake for mistake in mistakes if mistake.place not in shown]
    mistakes += device_mistakes(data, profile_search(path))
    mistakes += repeated_ids(data)
    if for_sinks:
        mistakes += secret_mistakes(data, path.parent)
    if config is None or mistakes:
        raise ConfigError(_located(document, mistakes))
    return anchored(config, path.parent)


def _validated(data: Mapping[str, Any]) -> tuple[Config | None, list[Mistake]]:
    try:
        return Config(**data), []
    except ValidationError as error:
        return None, mistakes_in(error, Config)
    except SettingsError as error:
        return None, [Mistake((), str(error))]


def _located(document: Document, mistakes: list[Mistake]) -> list[str]:
    lines = []
    for place, text in mistakes:
        variable = ENV_PREFIX + "__".join(map(str, place)).upper()
        if variable in os.environ:
            lines.append((0, f"environment {variable}: {text}"))
        else:
            lines.append((document.places.line(place), f"{document.where(place)}: {text}"))
    return [sentence for _, sentence in sorted(lines, key=lambda each: each[0])]
